"""Samples come in by HTTP, from a file and (tests/services) by MQTT; nothing else gets anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json

import pytest

from neto.agents.monitoring.latency import LatencyTable
from neto.agents.monitoring.probes import LARGEST_BODY, Probes
from tests.agents.monitoring.test_latency import NOW, PEERING

TOKEN = "secret"  # noqa: S105 of a test


def told(count=6, **changes):
    one = {"vantage": "fra1", "peering_link": "fra-a", "prefix": "192.0.2.0/24", "rtt_ms": 10.0, "loss": 0, "n": 5}
    return [one | {"ts": NOW - at} | changes for at in range(count)]


@pytest.fixture
async def probes():
    probes = Probes(LatencyTable(PEERING), now=lambda: NOW)
    task = asyncio.create_task(probes.listen(("127.0.0.1", 0), TOKEN))
    while probes.bound is None:  # noqa: ASYNC110 it has no event
        await asyncio.sleep(0.01)
    yield probes
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def ask(probes, method="POST", path="/samples", body=b"", token=TOKEN, kind="application/json"):
    """Ask with the standard library's client; several requests on one connection when body is a list."""

    def request():
        connection = http.client.HTTPConnection(*probes.bound, timeout=10)
        answers = []
        for each in body if isinstance(body, list) else [body]:
            connection.request(method, path, each, {"Authorization": f"Bearer {token}", "Content-Type": kind})
            response = connection.getresponse()
            answers.append((response.status, json.loads(response.read())))
        connection.close()
        return answers

    return await asyncio.to_thread(request)


async def test_samples_by_post(probes):
    ((status, answer),) = await ask(probes, body=json.dumps([*told(), *told(1, rtt_ms=0)]).encode())
    assert (status, answer["accepted"], answer["refused"]) == (200, 6, 1)
    assert "rtt_ms 0" in answer["why"][0]
    assert probes.counters["refused"] == 1
    (found,) = probes._table.copy().estimates(NOW)
    assert (found.peering_link, found.prefix_group, found.rtt_ms) == ("fra-a", "eu", 10.0)


async def test_samples_as_csv(probes):
    header = "ts,vantage,peering_link,prefix,rtt_ms,loss,n\n"
    lines = "".join(f"{NOW - at},fra1,fra-a,192.0.2.0/24,10,0,5\n" for at in range(6))
    ((status, answer),) = await ask(probes, body=(header + lines).encode(), kind="text/csv; charset=utf-8")
    assert (status, answer["accepted"]) == (200, 6)


async def test_a_connection_serves_several_requests(probes):
    answers = await ask(probes, body=[json.dumps(told(3)).encode()] * 3)
    assert [answer["accepted"] for _, answer in answers] == [3, 0, 0]
    assert probes.counters["repeated"] == 6


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"token": "guess"}, 401), ({"token": ""}, 401), ({"path": "/"}, 404), ({"method": "GET"}, 405),
        ({"body": b"{"}, 400), ({"body": b'["\xcf"]'}, 400), ({"body": b"nonsense", "kind": "text/csv"}, 400),
        ({"body": b"[" + b" " * LARGEST_BODY + b"]"}, 413),
    ],
)  # fmt: skip
async def test_anything_else_is_refused(probes, asked, status):
    if status == 413:
        with contextlib.suppress(ConnectionError):
            assert (await ask(probes, **asked))[0][0] == status
    else:
        assert (await ask(probes, **asked))[0][0] == status
    assert probes.counters["accepted"] == 0


@pytest.mark.parametrize("octets", [b"\x16\x03\x01\x02\x00", b"POST /samples HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, b""])
async def test_what_is_not_http_is_hung_up_on(probes, octets):
    reader, writer = await asyncio.open_connection(*probes.bound)
    writer.write(octets)
    if not octets:
        writer.write_eof()
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert (await ask(probes, body=json.dumps(told()).encode()))[0][0] == 200


async def test_connections_are_bounded(probes):
    open_ = [await asyncio.open_connection(*probes.bound) for _ in range(40)]
    async with asyncio.timeout(5):
        while probes.counters["http_refused"] < 8:  # noqa: ASYNC110 it has no event
            await asyncio.sleep(0.01)
    for _, writer in open_:
        writer.close()


async def test_a_file_is_read_again_when_it_changes(tmp_path):
    probes = Probes(LatencyTable(PEERING), now=lambda: NOW)
    file = tmp_path / "samples.csv"
    task = asyncio.create_task(probes.follow(file, 0.02))
    header = "ts,vantage,peering_link,prefix,rtt_ms,loss,n\n"

    async def until(name, count):
        async with asyncio.timeout(5):
            while probes.counters[name] < count:  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.01)

    await asyncio.sleep(0.05)
    file.write_text(header + f"{NOW},fra1,fra-a,192.0.2.0/24,10,0,5\n")
    await until("accepted", 1)
    file.write_text("garbage\n")
    await until("malformed", 1)
    file.write_text(header + f"{NOW - 1},fra1,fra-a,192.0.2.0/24,10,0,5\n{NOW},fra1,fra-a,192.0.2.0/24,nan,0,5\n")
    await until("accepted", 2)
    await until("refused", 1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
