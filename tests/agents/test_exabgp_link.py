"""Answers find the commands that they belong to, whatever happened before."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from neto.agents import exabgp_link
from neto.agents.exabgp_link import Link, RefusedError
from neto.errors import DeviceTimeoutError, LeaseLostError
from neto.wire.exabgp import PeerUp


class Exabgp:
    """The other end: hears lines, says what a test tells it to."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.events = []
        self.counters: Counter[str] = Counter()

    async def hear(self, count: int = 1) -> list[str]:
        heard = b""
        while heard.count(b"\n") < count:
            heard += await asyncio.get_running_loop().sock_recv(self.peer, 1 << 16)
        return heard.decode().splitlines()

    async def say(self, *lines: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, "".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
async def exabgp():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    exabgp = Exabgp(theirs)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 16)
    exabgp.link = Link(reader, writer, exabgp.events.append, exabgp.counters)
    exabgp.serving = asyncio.create_task(exabgp.link.serve())
    yield exabgp
    theirs.close()
    await exabgp.serving
    await writer.wait_closed()


def told(exabgp, *lines: str, check=lambda: None) -> asyncio.Task[None]:
    return asyncio.create_task(exabgp.link.command(lines, check))


async def test_a_window_with_an_error_in_it_is_sent_again_line_by_line(exabgp):
    command = told(exabgp, "a", "b", "c")
    assert await exabgp.hear(3) == ["a", "b", "c"]
    await exabgp.say("error", "done", "done")  # b is unknown: its answer overtakes
    for line, answer in (("a", "done"), ("b", "error"), ("c", "done")):
        assert await exabgp.hear() == [line]
        await exabgp.say(answer)
    with pytest.raises(RefusedError) as refused:
        await command
    assert refused.value.lines == ("b",)
    assert exabgp.counters["commands_refused"] == 1


async def test_a_window_is_answered_before_the_next_is_sent(exabgp, monkeypatch):
    monkeypatch.setattr(exabgp_link, "WINDOW", 2)
    command = told(exabgp, "a", "b", "c")
    assert await exabgp.hear(2) == ["a", "b"]
    await exabgp.say("done")
    await asyncio.sleep(0.02)
    with pytest.raises(BlockingIOError):
        exabgp.peer.recv(1)
    await exabgp.say("done")
    assert await exabgp.hear() == ["c"]
    await exabgp.say("done")
    await command


async def test_answers_to_a_command_that_was_given_up_do_not_count_for_the_next(exabgp):
    given_up = told(exabgp, "a")
    await exabgp.hear()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    command = told(exabgp, "b")
    await asyncio.sleep(0.02)
    with pytest.raises(BlockingIOError):
        exabgp.peer.recv(1)  # b waits until a is answered
    await exabgp.say("error")
    assert await exabgp.hear() == ["b"]
    await exabgp.say("done")
    await command


async def test_a_lost_lease_stops_between_two_lines(exabgp):
    checks = iter([None, LeaseLostError()])

    def check() -> None:
        if error := next(checks):
            raise error

    with pytest.raises(LeaseLostError):
        await told(exabgp, "a", "b", check=check)
    assert await exabgp.hear() == ["a"]


async def test_no_answer_in_time_hangs_up(exabgp, monkeypatch):
    monkeypatch.setattr(exabgp_link, "DEADLINE_S", 0.05)
    with pytest.raises(DeviceTimeoutError, match="did not answer"):
        await told(exabgp, "a")
    await exabgp.serving
    with pytest.raises(DeviceTimeoutError, match="is gone"):
        await told(exabgp, "b")


async def test_the_end_of_exabgp_leaves_the_outcome_unknown(exabgp):
    command = told(exabgp, "a")
    await exabgp.hear()
    exabgp.peer.close()
    with pytest.raises(DeviceTimeoutError, match="ended before it answered"):
        await command


@pytest.mark.parametrize("lines", [["a", "b\nc"], ["ä"], [""]])
async def test_a_line_that_is_no_command_stops_all_before_anything_is_sent(exabgp, lines):
    with pytest.raises(ValueError, match="no command"):
        await told(exabgp, *lines)
    assert exabgp.counters["commands"] == 0


async def test_garbage_is_counted_and_what_follows_is_heard(exabgp):
    up = '{ "type": "state", "neighbor": { "address": { "peer": "127.0.1.1" }, "state": "up" } }'
    await exabgp.say("garbage", '{"type": 7}', "done", up)
    while not exabgp.events:  # noqa: ASYNC110  every turn of the loop
        await asyncio.sleep(0)
    assert exabgp.events == [PeerUp("127.0.1.1")]
    assert exabgp.counters == {"lines_not_understood": 2, "answers_unasked": 1}


async def test_a_line_without_end_hangs_up(exabgp):
    await exabgp.say("x" * (1 << 17))
    await exabgp.serving


async def test_who_is_behind_is_told_no_more_until_there_is_room():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    free, heard = asyncio.Event(), []
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 16)
    link = Link(reader, writer, heard.append, Counter(), free.wait)
    serving = asyncio.create_task(link.serve())
    other = Exabgp(theirs)
    line = '{ "type": "state", "neighbor": { "address": { "peer": "127.0.2.1" }, "state": "up" } }'
    await other.say(line, line, line)
    async with asyncio.timeout(5):
        while not heard:  # noqa: ASYNC110 it has no event
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(heard) == 1
    free.set()
    async with asyncio.timeout(5):
        while len(heard) < 3:  # noqa: ASYNC110 it has no event
            await asyncio.sleep(0.01)
    theirs.close()
    await serving
    await writer.wait_closed()
