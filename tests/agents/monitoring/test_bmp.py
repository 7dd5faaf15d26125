"""The BMP server: routers that are listed are heard, whatever they send; others are not."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from neto.agents.monitoring import bmp as bmp_agent
from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.rib import Rib
from tests.wire.bgp.octets import attributes, bmp, monitoring, nlri, peer, peer_up, tlv, update

BEGIN = bmp(4, tlv(2, b"border-1") + tlv(1, b"")) + bmp(3, peer_up())
A_ROUTE = bmp(0, monitoring(update(attributes(), nlri("198.51.100.0/24"))))
END = bmp(0, monitoring(update()))


class World:
    def __init__(self, agent, changes):
        self.agent, self.changes, self.open = agent, changes, []

    async def connect(self, source="127.0.7.1"):
        reader, writer = await asyncio.open_connection(*self.agent.bound, local_addr=(source, 0))
        self.open.append(writer)
        return reader, writer

    async def until(self, holds):
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 what is watched has no event
                await asyncio.sleep(0.01)

    def held(self, border="b1"):
        tables = self.agent.rib.borders[border].usable() if border in self.agent.rib.borders else []
        return sum(table.count for table in tables)


@pytest.fixture
async def world():
    changes = []
    rib = Rib(65000, 900)
    agent = BmpAgent(
        ("127.0.0.1", 0), {"127.0.7.1": "b1", "127.0.7.2": "b2"}, rib, lambda: changes.append(1), first_s=0.5
    )
    task = asyncio.create_task(agent.run())
    world = World(agent, changes)
    await world.until(lambda: agent.bound)
    yield world
    for writer in world.open:
        writer.close()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_routes_of_a_router_are_held_until_it_is_gone_for_too_long(world):
    _, writer = await world.connect()
    writer.write(BEGIN + A_ROUTE + END)
    await world.until(lambda: world.held() == 1)
    assert world.agent.up == {"b1"}
    assert world.changes
    writer.close()
    await world.until(lambda: not world.agent.up)
    assert world.held() == 1  # stale
    world.agent.rib.tick(1e12)
    assert world.held() == 0


async def test_a_stranger_is_hung_up_on(world):
    reader, writer = await world.connect("127.0.7.9")
    writer.write(BEGIN)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert world.agent.counters["strangers"] == 1
    assert not world.agent.rib.borders


async def test_of_two_sessions_of_a_router_the_newer_counts(world):
    reader, first = await world.connect()
    first.write(BEGIN + A_ROUTE + END)
    await world.until(lambda: world.held() == 1)
    _, second = await world.connect()
    assert await reader.read() == b""
    second.write(BEGIN + END)
    await world.until(lambda: world.held() == 0)
    assert world.agent.up == {"b1"}


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", b"\x03\xff\xff\xff\xff\x00"])
async def test_what_is_not_bmp_ends_the_session_and_nothing_else(world, octets):
    _, good = await world.connect("127.0.7.2")
    good.write(BEGIN + A_ROUTE + END)
    reader, bad = await world.connect()
    bad.write(octets)
    assert await reader.read() == b""
    await world.until(lambda: world.held("b2") == 1)
    assert world.agent.counters["wire_errors"] == 1
    assert world.agent.up == {"b2"}


async def test_a_malformed_message_is_counted_and_the_next_one_read(world):
    _, writer = await world.connect()
    writer.write(BEGIN + bmp(0, peer() + b"nonsense") + bmp(77, b"") + A_ROUTE + END)
    await world.until(lambda: world.held() == 1)
    assert world.agent.counters["wire_errors"] == 1
    assert world.agent.counters["passed_over"] == 1


async def test_a_router_that_talks_nonsense_is_hung_up_on(world):
    reader, writer = await world.connect()
    writer.write(BEGIN + bmp(0, peer()) * 200)
    assert await reader.read() == b""
    assert world.agent.counters["wire_errors"] == 101


@pytest.mark.parametrize("said", [b"", A_ROUTE[:20]])
async def test_a_router_that_does_not_go_on_is_hung_up_on(world, said):
    reader, writer = await world.connect()
    writer.write(said)
    assert await reader.read() == b""
    assert world.agent.counters["deadlines"] == 1


async def test_a_router_that_has_nothing_to_say_is_kept(world):
    reader, writer = await world.connect()
    writer.write(BEGIN + A_ROUTE + END)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.8)
    assert world.agent.up == {"b1"}
    assert not writer.is_closing()


async def test_a_termination_ends_the_session(world):
    reader, writer = await world.connect()
    writer.write(BEGIN + bmp(5, tlv(1, b"\0\0")))
    assert await reader.read() == b""
    await world.until(lambda: not world.agent.up)


async def test_a_peer_that_goes_down_takes_its_routes_with_it(world):
    _, writer = await world.connect()
    writer.write(BEGIN + A_ROUTE + END)
    await world.until(lambda: world.held() == 1)
    world.changes.clear()
    writer.write(bmp(2, peer() + b"\x04"))
    await world.until(lambda: world.held() == 0)
    assert world.changes


async def test_a_flood_does_not_starve_the_loop(world, monkeypatch):
    """While a router tells 20,000 routes, others are heard in between, each few milliseconds."""
    now = [0.0]

    def monotonic():
        now[0] += 0.0015  # a look at the clock takes so long: three, and it is somebody else's turn
        return now[0]

    monkeypatch.setattr(bmp_agent, "time", SimpleNamespace(monotonic=monotonic))
    _, writer = await world.connect()
    writer.write(BEGIN + A_ROUTE * 20_000)
    turns, before = 0, 0
    while world.agent.counters["messages"] < 20_000:
        turns += 1
        await asyncio.sleep(0)
        after = world.agent.counters["messages"]
        assert after - before < 500  # a piece of 65,536 octets holds more
        before = after
    assert turns > 20
    assert len(world.agent.rib.prefixes) == 1
