"""Which lines a RouteAgent sends, in every order of sessions, moves and mishaps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from neto.agents.exabgp_link import RefusedError
from neto.agents.updating import bgp
from neto.agents.updating.bgp import RouteAgent
from neto.errors import DeviceError, DeviceTimeoutError, LeaseLostError
from neto.model.inventory import Router
from neto.model.plan import RouteMove
from neto.model.sr import Route, RouteKey

LISTED = [IPv4Network("10.5.0.0/18"), IPv4Network("10.6.0.0/18")]
ROUTERS = [
    Router("nyc1", "nyc", "10.255.0.1", "lab", "127.0.1.1"),
    Router("lon1", "lon", "10.255.0.2", "lab", "127.0.1.2"),
]
NYC, NYC2, LON = RouteKey("nyc1", LISTED[0]), RouteKey("nyc1", LISTED[1]), RouteKey("lon1", LISTED[0])


class Recorder:
    """In exabgp's place: writes down what it is told, and fails as asked."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.refuse = ""
        self.hang = False

    async def command(self, lines, check):
        for line in lines:
            check()
            self.lines.append(line)
        if self.hang:
            raise DeviceTimeoutError("exabgp", "did not answer")
        if refused := [line for line in lines if self.refuse and self.refuse in line]:
            raise RefusedError(refused)

    def take(self) -> list[str]:
        """Return the lines since the last time, shortened to: address, + or - and the prefix, or eor."""
        short = []
        for line in self.lines:
            _, address, verb, noun, prefix, *_ = line.split()
            sign = "+" if verb == "announce" else "-"
            short.append(f"{address} eor" if noun == "eor" else f"{address} {sign}{prefix}")
        self.lines.clear()
        return short


@pytest.fixture
def exabgp():
    return Recorder()


def agent_of(exabgp, *, up=("127.0.1.1", "127.0.1.2"), check=lambda: None, **options) -> RouteAgent:
    agent = RouteAgent(exabgp, ROUTERS, LISTED, "65000:900", check, **options)
    for address in up:
        agent.peer_up(address)
    return agent


def announce(key: RouteKey, **changes) -> RouteMove:
    return RouteMove(key, replace(Route(key, "10.255.0.2", 1105), **changes))


async def settled(agent: RouteAgent) -> None:
    """Let the agent's run() do all that is to do."""
    task = asyncio.create_task(agent.run())
    while agent._returned or agent._work.is_set() or agent._turn.locked():  # noqa: ASYNC110  every turn of the loop
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "prefix", ["10.5.0.0/19", "10.5.64.0/18", "10.0.0.0/8", "10.5.1.0/24", "0.0.0.0/0", "192.0.2.0/24"]
)
async def test_no_prefix_but_a_listed_one_is_ever_originated(exabgp, prefix):
    agent = agent_of(exabgp)
    stray = RouteKey("nyc1", IPv4Network(prefix))
    with pytest.raises(DeviceError, match=r"nyc1: not announced: .* is not listed"):
        await agent.apply([announce(NYC), announce(stray)], lambda: None)
    assert not exabgp.lines
    assert not agent.announced


async def test_what_the_operator_lists_can_change(exabgp):
    agent = agent_of(exabgp)
    agent.allow(LISTED[1:])
    with pytest.raises(DeviceError, match="is not listed"):
        await agent.apply([announce(NYC)], lambda: None)
    await agent.apply([announce(NYC2), RouteMove(NYC, None)], lambda: None)  # withdrawing is always allowed


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (announce(RouteKey("par1", LISTED[0])), "par1: is not in the inventory"),
        (RouteMove(NYC, announce(NYC2).route), "nyc1: not announced"),  # a route for another prefix
        (announce(NYC, next_hop="127.0.0.1"), "nyc1: not announced: next hop"),
        (RouteMove(RouteKey("nyc1", IPv6Network("2001:db8::/32")), None), "nyc1: not announced: prefix"),
    ],
)
async def test_a_move_that_cannot_be_made_stops_all_before_anything_is_sent(exabgp, move, why):
    agent = agent_of(exabgp)
    with pytest.raises(DeviceError, match=why):
        await agent.apply([announce(LON), move], lambda: None)
    assert not exabgp.lines


async def test_the_lease_is_checked_before_every_line(exabgp):
    agent = agent_of(exabgp)
    checks = iter([None, LeaseLostError()])

    def check() -> None:
        if error := next(checks):
            raise error

    with pytest.raises(LeaseLostError):
        await agent.apply([announce(NYC), announce(NYC2), announce(LON)], check)
    assert exabgp.take() == ["127.0.1.1 +10.5.0.0/18"]


async def test_a_refusal_names_the_headend_and_the_rest_counts_as_done(exabgp):
    agent = agent_of(exabgp)
    exabgp.refuse = "127.0.1.2"
    with pytest.raises(DeviceError, match="lon1: exabgp refused"):
        await agent.apply([announce(NYC), announce(LON)], lambda: None)
    assert set(agent.announced) == {NYC}


async def test_what_may_have_landed_is_withdrawn_with_the_rest(exabgp):
    agent = agent_of(exabgp)
    await agent.apply([announce(NYC)], lambda: None)
    exabgp.hang = True
    with pytest.raises(DeviceTimeoutError):
        await agent.apply([announce(LON)], lambda: None)
    assert set(agent.announced) == {NYC}
    exabgp.hang = False
    exabgp.take()
    await agent.withdraw_all()
    assert sorted(exabgp.take()) == ["127.0.1.1 -10.5.0.0/18", "127.0.1.2 -10.5.0.0/18"]
    await agent.withdraw_all()
    assert not exabgp.take()


async def test_a_headend_that_comes_back_is_told_its_own_routes(exabgp):
    agent = agent_of(exabgp)
    await settled(agent)
    await agent.apply([announce(NYC), announce(NYC2), announce(LON)], lambda: None)
    exabgp.take()
    agent.peer_down("127.0.1.1", "gone")
    assert agent.up == {"lon1"}
    agent.peer_up("127.0.1.1")
    await settled(agent)
    assert exabgp.take() == ["127.0.1.1 +10.5.0.0/18", "127.0.1.1 +10.6.0.0/18"]


async def test_a_session_of_somebody_else_is_none_of_its_business(exabgp):
    agent = agent_of(exabgp, up=["127.0.2.1"])
    agent.peer_down("127.0.2.1", "gone")
    await settled(agent)
    assert not agent.up
    assert not exabgp.lines


async def test_a_route_to_be_withdrawn_from_a_headend_that_is_down_does_not_come_back_with_it(exabgp):
    """And is withdrawn in so many words: exabgp may hold an announcement that never went out."""
    agent = agent_of(exabgp)
    await settled(agent)
    await agent.apply([announce(NYC), announce(NYC2)], lambda: None)
    agent.peer_down("127.0.1.1", "gone")
    exabgp.take()
    with pytest.raises(DeviceError, match="nyc1: its BGP session is down"):
        await agent.apply([RouteMove(NYC, None)], lambda: None)
    assert set(agent.announced) == {NYC2}
    agent.peer_up("127.0.1.1")
    await settled(agent)
    assert exabgp.take() == ["127.0.1.1 -10.5.0.0/18", "127.0.1.1 +10.6.0.0/18"]
    agent.peer_up("127.0.1.1")
    await settled(agent)
    assert exabgp.take() == ["127.0.1.1 +10.6.0.0/18"]


async def test_withdraw_all_reaches_later_whom_it_could_not_reach_now(exabgp):
    agent = agent_of(exabgp)
    await settled(agent)
    await agent.apply([announce(NYC), announce(LON)], lambda: None)
    agent.peer_down("127.0.1.2", "gone")
    exabgp.take()
    await agent.withdraw_all()
    assert exabgp.take() == ["127.0.1.1 -10.5.0.0/18"]
    agent.peer_up("127.0.1.2")
    await settled(agent)
    assert exabgp.take() == ["127.0.1.2 -10.5.0.0/18"]


async def test_end_of_rib_waits_until_it_is_known_what_should_be_there(exabgp):
    agent = agent_of(exabgp, up=["127.0.1.1"], graceful_restart=True)
    await settled(agent)
    assert not exabgp.take()
    unlisted = RouteKey("nyc1", IPv4Network("192.0.2.0/24"))
    unknown = RouteKey("par1", LISTED[0])
    await agent.resume({key: Route(key, "10.255.0.2", 1105) for key in (NYC, LON, unlisted, unknown)})
    await settled(agent)
    assert exabgp.take() == ["127.0.1.1 +10.5.0.0/18", "127.0.1.1 eor"]
    agent.peer_up("127.0.1.2")
    await settled(agent)
    assert exabgp.take() == ["127.0.1.2 +10.5.0.0/18", "127.0.1.2 eor"]
    assert set(agent.announced) == {NYC, LON}


async def test_a_failed_reannouncement_is_counted_and_tried_again_while_the_session_is_up(exabgp, monkeypatch):
    monkeypatch.setattr(bgp, "RETRY_S", 0.01)
    agent = agent_of(exabgp, up=())
    await agent.resume({NYC: announce(NYC).route})
    agent.peer_up("127.0.1.1")
    exabgp.hang = True
    task = asyncio.create_task(agent.run())
    await asyncio.sleep(0.05)
    assert agent.counters["reannouncements_failed"] >= 2
    exabgp.hang = False
    exabgp.take()
    await asyncio.sleep(0.05)
    assert exabgp.take() == ["127.0.1.1 +10.5.0.0/18"]
    task.cancel()


async def test_who_no_longer_leads_reannounces_nothing(exabgp):
    def lost() -> None:
        raise LeaseLostError

    agent = agent_of(exabgp, check=lost)
    await agent.apply([announce(NYC)], lambda: None)
    exabgp.take()
    with pytest.raises(LeaseLostError):
        await agent.run()
    assert not exabgp.lines
