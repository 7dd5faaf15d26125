"""Borders that tell full tables by BMP, heard by the daemon's own agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from neto.agents.monitoring.bmp import BmpAgent
from neto.agents.monitoring.exits import copy, route_table
from neto.agents.monitoring.rib import Rib
from neto.lab.bmp import BmpSpeaker
from neto.lab.scenario import BmpBorder, load_scenario
from neto.lab.world import World
from neto.settings.load import load_config

CONFIG = Path(__file__).parents[2] / "neto.toml"
FRA, PREFIXES = "127.0.7.71", 2_020


@contextlib.asynccontextmanager
async def heard():
    """The agent, a speaker of fra1 that talks to it, and a function that waits for what fra-b-1 announces."""
    peering = load_config(CONFIG).peering
    agent = BmpAgent(("127.0.0.1", 0), {FRA: "fra1"}, Rib(65000, 900), lambda: None)
    serving = asyncio.create_task(agent.run())
    async with asyncio.timeout(20):
        while agent.bound is None:  # noqa: ASYNC110 it tells nobody
            await asyncio.sleep(0.01)
    border = BmpBorder("fra1", FRA)
    scenario = replace(load_scenario(CONFIG), bmp_collector=agent.bound, bmp=(border,), full_table=PREFIXES)
    speaker = BmpSpeaker(scenario, border)
    speaking = asyncio.create_task(speaker.run())

    async def announced(count):
        async with asyncio.timeout(20):
            while True:
                made = route_table(copy(agent.rib), peering.links)
                if int(made.exits[:, made.links.index("fra-b-1")].sum()) == count:
                    return made
                await asyncio.sleep(0.02)

    try:
        yield agent, speaker, announced
    finally:
        for task in (speaking, serving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_full_table_and_the_groups_that_the_link_is_an_exit_of_are_announced():
    async with heard() as (agent, _, announced):
        made = await announced(PREFIXES + 8)  # eu-eyeballs and cloud have four each
        column = made.links.index("fra-b-1")
        assert made.carries(column, ip_network("198.51.100.64/26"))
        assert not made.carries(column, ip_network("203.0.113.0/26"))
        assert made.carries(column, ip_network("16.7.227.0/24"))  # the last: 2019 is 7 * 256 + 227
        assert not made.carries(column, ip_network("16.7.228.0/24"))
        assert made.origin.max() == 100_000 + (PREFIXES - 1) // 50
        assert agent.counters["wire_errors"] == 0


async def test_a_session_that_is_back_tells_its_whole_table_anew():
    async with heard() as (agent, speaker, announced):
        await announced(PREFIXES + 8)
        speaker.sessions(frozenset({"fra-b-1"}))
        await announced(0)
        speaker.sessions(frozenset())
        await announced(PREFIXES + 8)
        assert agent.counters["peers_down"] == 1
        assert agent.counters["sessions_up"] == 1


async def test_a_border_can_be_made_to_say_what_it_should_not():
    async with heard() as (agent, speaker, announced):
        await announced(PREFIXES + 8)
        speaker.slip("nyc-a-1", "withdraw")  # another border's
        speaker.slip("fra-b-1", "default")
        async with asyncio.timeout(20):
            while not agent.counters["rib_defaults"]:  # noqa: ASYNC110 it tells nobody
                await asyncio.sleep(0.02)
        await announced(PREFIXES + 8)
        speaker.slip("fra-b-1", "withdraw")
        await announced(0)
        assert agent.counters["rib_withdrawals"] == PREFIXES + 8
        assert (agent.counters["peers_down"], agent.counters["sessions_down"]) == (0, 0)
        speaker.slip("fra-b-1", "hang-up")
        await announced(PREFIXES + 8)
        assert (agent.counters["sessions_up"], agent.counters["wire_errors"]) == (2, 0)


@dataclass
class Told:
    """A speaker that keeps what it is told."""

    sessions: Callable[[frozenset[str]], None]


@pytest.fixture
async def world(tmp_path):
    made = World(load_scenario(CONFIG), tmp_path)
    made._stale.update(made.states)
    made.settle()
    return made


async def test_a_session_that_flaps_is_left_while_it_is_down_and_used_again_when_it_is_up(world):
    before = world.ledger.state.load_mbps
    assert sum(before["nyc-a-1"]) > 0
    told = []
    world.bmp = [Told(told.append)]
    world.flap("nyc-a-1", 2, 0.02)
    assert sum(world.ledger.state.load_mbps["nyc-a-1"]) == 0
    async with asyncio.timeout(10):
        while len(told) < 4:  # noqa: ASYNC110 timers tell nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert told == [frozenset({"nyc-a-1"}), frozenset()] * 2
    assert world.ledger.state.load_mbps == before
