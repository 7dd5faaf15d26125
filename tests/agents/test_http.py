"""One request by HTTP, to servers that behave and to those that do not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from neto.agents.http import Answer, Server, post
from neto.errors import WireError

LARGEST = 100_000


@contextlib.asynccontextmanager
async def serving(said, *, hangs=False):
    """A server that says these octets to whatever it is asked; yields where it is and what it was asked."""
    asked, writers = bytearray(), []

    async def serve(reader, writer):
        writers.append(writer)
        while not asked.endswith(b"query=up"):
            asked.extend(await reader.read(1000))
        for piece in said:
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
            await asyncio.sleep(0)
        if not hangs:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Server("127.0.0.1", server.sockets[0].getsockname()[1]), asked
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def ask(server, largest=LARGEST):
    async with asyncio.timeout(10):
        return await post(server, "/api", [("X-Token", "t")], b"query=up", largest)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ([HEAD + b"Content-Length: 5\r\n\r\nhello"], Answer(200, b"hello")),
        ([HEAD + b"Content-Length: 5\r\n\r\nhe", b"llo and more"], Answer(200, b"hello")),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"], Answer(200, b"hello")),
        ([HEAD + b"\r\nhel", b"lo"], Answer(200, b"hello")),  # until it hangs up
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"], Answer(200, b"")),
        ([b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"], Answer(302, b"")),
        ([HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(LARGEST)], Answer(200, bytes(LARGEST))),
    ],
)
async def test_the_answer_is_what_the_server_said(said, answer):
    async with serving(said) as (server, asked):
        assert await ask(server) == answer
    lines = bytes(asked).split(b"\r\n")
    assert lines[0] == b"POST /api HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}".encode() in lines
    assert {b"X-Token: t", b"Content-Length: 8", b"Accept-Encoding: identity", b"Connection: close"} <= set(lines)
    assert lines[-1] == b"query=up"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([HEAD + b"Content-Length: 100001\r\n\r\n", bytes(LARGEST + 1)], "more than 100000 octets"),
        ([HEAD + b"\r\n", *[bytes(1000)] * 200], "more than 100000 octets"),
        ([HEAD + b"Content-Length: 5\r\n\r\nhel"], "not HTTP"), ([HEAD], "not HTTP"), ([], "not HTTP"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "not HTTP"), ([b"\x16\x03\x01" * 100_000], "not HTTP"),
        ([HEAD + b"X: y\r\n" * 100_000], "not HTTP"),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\n"], "accepted: identity"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], "not HTTP"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_a_peer_s_error(said, why):
    async with serving(said) as (server, _):
        with pytest.raises(WireError, match=why):
            await ask(server)


@pytest.mark.parametrize("said", [[], [HEAD], [HEAD + b"Content-Length: 5\r\n\r\nhel"]])
async def test_a_server_that_is_silent_waits_for_the_caller_s_deadline_and_is_left(said):
    async with serving(said, hangs=True) as (server, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(server)


async def test_tiny_pieces_leave_the_event_loop_free():
    """Their like took seconds in a row, had others to wait for the end."""
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    pieces = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"
    async with serving([pieces]) as (server, _):
        turns = 0
        assert await ask(server) == Answer(200, b"a" * 10_000)
    assert turns >= 10_000 // 256
    task.cancel()


async def test_a_server_that_is_away_is_an_oserror():
    async with serving([]) as (server, _):
        pass
    with pytest.raises(OSError, match="Connect call failed"):
        await ask(server)
