"""Borders that announce their routes to us: what is held of it, and nothing of a session that hides routes."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from neto.agents.monitoring import ibgp
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.ibgp import IbgpAgent, Teller
from neto.agents.monitoring.rib import Rib
from neto.model.peering import PeeringLink
from neto.wire.exabgp import PeerDown, PeerUp, RawOpen, RawUpdate
from tests.wire.bgp.octets import attributes, nlri, open_body, sequence, update, word

ADDRESS, OTHER = "127.0.9.1", "127.0.9.2"
LINKS = [PeeringLink(f"to-{n}", "b1", f"isp-{n}", 1.0, peer_address=f"192.0.2.{n}") for n in (1, 2)]
FOUR_OCTETS = bytes([65, 4]) + word(4200000000)
SEVERAL = bytes([69, 4, 0, 1, 1, 2])  # it sends several paths of IPv4


def said(*capabilities):
    return open_body(23456, capabilities=b"".join(capabilities))


def told(far, *prefixes, path_id=None, **more):
    return update(
        attributes(sequence(64500 + far, 64499), hop=f"192.0.2.{far}", **more),
        b"".join(nlri(prefix, path_id) for prefix in prefixes),
    )


def gone(*prefixes, path_id=None):
    return update(withdrawn=b"".join(nlri(prefix, path_id) for prefix in prefixes))


class World:
    def __init__(self, *, single=False):
        self.nudges = 0
        self.rib = Rib(4200000000, 900, quiet_s=0.2)
        tellers = {ADDRESS: Teller("b1", single), OTHER: Teller("b2", single)}
        self.agent = IbgpAgent(4200000000, tellers, self.rib, self.nudge)

    def nudge(self):
        self.nudges += 1

    def up(self, opened, address=ADDRESS):
        self.agent.take(RawOpen(address, opened))
        self.agent.take(PeerUp(address))

    def tell(self, *bodies, address=ADDRESS):
        for body in bodies:
            self.agent.take(RawUpdate(address, body))

    async def read(self):
        async with asyncio.timeout(5):
            while self.agent._behind:  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0)

    def exits(self):
        table = route_table(copy(self.rib), LINKS)
        return {
            str(table.prefix(row)): "".join(link[-1] for link, there in zip(table.links, line, strict=True) if there)
            for row, line in enumerate(table.exits)
        }


@contextlib.asynccontextmanager
async def running(**how):
    world = World(**how)
    task = asyncio.create_task(world.agent.run())
    yield world
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_each_path_leaves_through_the_link_that_its_next_hop_is_at():
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.tell(
            told(1, "10.1.0.0/16", "10.2.0.0/16", path_id=7),
            told(2, "10.2.0.0/16", path_id=8),
            told(3, "10.3.0.0/16", path_id=9),
            update(),
        )
        await world.read()
        assert world.exits() == {"10.1.0.0/16": "1", "10.2.0.0/16": "12", "10.3.0.0/16": ""}
        assert world.nudges == 1
        world.up(said(FOUR_OCTETS, SEVERAL), OTHER)  # whose link to that next hop is another
        world.tell(told(1, "10.2.0.0/16", path_id=1), update(), address=OTHER)
        world.tell(told(2, "10.1.0.0/16", path_id=7), gone("10.2.0.0/16", path_id=7))
        await world.read()
        assert world.exits() == {"10.1.0.0/16": "2", "10.2.0.0/16": "2", "10.3.0.0/16": ""}
        assert "to-1" not in route_table(copy(world.rib), LINKS).told  # no route through it: as if its session is down


async def test_routes_of_ours_and_default_routes_are_not_held():
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        ours = b"".join(word(number) for number in (4200000000, 900, 0))
        mark = bytes([0xC0, 32, 12]) + ours
        marked = update(attributes(sequence(64501), hop="192.0.2.1") + mark, nlri("10.1.0.0/16", 1))
        world.tell(marked, told(1, "10.2.0.0/16", "0.0.0.0/0", path_id=2), update())
        await world.read()
        assert world.exits() == {"10.2.0.0/16": "1"}
        assert world.rib.counters["own"] == 1
        assert world.rib.counters["defaults"] == 1


async def test_of_a_lost_session_nothing_more_is_read_and_what_was_told_is_stale_until_it_is_told_anew():
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.tell(told(1, "10.1.0.0/16", path_id=1), update())
        await world.read()
        world.tell(told(1, "10.2.0.0/16", path_id=1))
        world.agent.take(PeerDown(ADDRESS, "reset"))
        assert world.agent._behind == 0
        assert world.nudges == 2
        assert world.exits() == {"10.1.0.0/16": "1"}
        assert not copy(world.rib).borders["b1"].up
        world.tell(told(1, "10.3.0.0/16", path_id=1))  # of no session
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.tell(told(2, "10.4.0.0/16", path_id=1))
        await world.read()
        assert world.exits() == {"10.1.0.0/16": "1", "10.4.0.0/16": ""}  # the new table is not whole yet
        world.tell(update())
        await world.read()
        assert world.exits() == {"10.4.0.0/16": "2"}
        assert world.agent.counters["not_listened_to"] == 1


@pytest.mark.parametrize("opened", [said(FOUR_OCTETS), b"\x04"])
async def test_a_session_in_which_routes_of_ours_may_hide_others_is_not_listened_to(opened):
    async with running() as world:
        world.up(opened)
        world.tell(told(1, "10.1.0.0/16"), update())
        await world.read()
        assert world.exits() == {}
        assert not world.agent.up
        (problem,) = world.agent.problems
        assert problem.startswith("b1: does not send several routes")
        world.agent.take(PeerDown(ADDRESS, "reset"))
        assert world.agent.problems == ()


async def test_a_border_that_may_send_one_route_does_so_with_two_octets_an_as():
    async with running(single=True) as world:
        world.up(said())
        body = attributes(sequence(64501, 64499, size=2), hop="192.0.2.1")
        world.tell(update(body, nlri("10.1.0.0/16")), update())
        await world.read()
        assert world.exits() == {"10.1.0.0/16": "1"}
        assert route_table(copy(world.rib), LINKS).origin.tolist() == [64499]


async def test_what_cannot_be_read_is_counted_and_said_and_the_rest_goes_on():
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.tell(b"\x00\x99", told(1, "10.1.0.0/16", path_id=1), update())
        await world.read()
        assert world.exits() == {"10.1.0.0/16": "1"}
        assert world.agent.counters["wire_errors"] == 1
        assert "b1: messages could not be read" in world.agent.problems[0]


async def test_a_border_that_sends_no_end_has_told_everything_once_it_is_quiet():
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.tell(told(1, "10.1.0.0/16", path_id=1))
        await world.read()
        assert world.exits() == {"10.1.0.0/16": ""}
        async with asyncio.timeout(5):
            while not world.nudges:  # noqa: ASYNC110 it has no event
                await asyncio.sleep(0.05)
        assert world.exits() == {"10.1.0.0/16": "1"}


async def test_a_full_table_is_read_in_slices_and_who_brings_it_waits_for_room(monkeypatch):
    monkeypatch.setattr(ibgp, "_MOST_BEHIND", 20_000)
    now = [0.0]

    def monotonic():
        now[0] += 0.001  # a look at the clock takes so long
        return now[0]

    monkeypatch.setattr(ibgp, "time", SimpleNamespace(monotonic=monotonic))
    async with running() as world:
        world.up(said(FOUR_OCTETS, SEVERAL))
        world.up(said(FOUR_OCTETS, SEVERAL), OTHER)
        most, turns = 0, 0
        for number in range(400):
            await world.agent.room()
            body = told(1, *(f"10.{number % 250}.{at}.0/24" for at in range(100)), path_id=number)
            world.tell(body, body, address=(ADDRESS, OTHER)[number % 2])
            most = max(most, world.agent._behind)
        assert 20_000 < most < 20_000 + 2 * len(body) + 1
        while world.agent._behind:
            before = world.agent.counters["updates"]
            await asyncio.sleep(0)
            turns += 1
            assert world.agent.counters["updates"] - before <= 10
        assert turns > 1
        await world.read()
        assert world.agent.counters["updates"] == 800
        assert world.rib.routes == 40_000
