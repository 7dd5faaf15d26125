"""The loop and what neighbours are told: changed only when nothing else is to do, and always to be had back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from ipaddress import ip_network

import pytest

from neto.errors import DeviceError
from neto.ha.process import this_process
from neto.model.announcement import Adjustment, AnnouncementKey
from neto.model.demand import InboundRate
from neto.model.intent import Ingress
from neto.model.peering import Isp, Peering, PeeringLink
from neto.model.plan import AnnouncementMove
from neto.operation import mode
from neto.operation.adjusting import Rules
from neto.operation.announcing import Announcing
from neto.operation.loop import ControlLoop
from neto.operation.mode import Mode
from neto.operation.records import Records
from tests.operation.test_loop import World, start

__all__ = ["start"]  # a fixture

PREFIX = ip_network("10.2.0.0/18")  # of b
KEY = AnnouncementKey("a", "100.64.1.2", PREFIX)
MED = Adjustment(KEY, med=100)
RULES = Rules(asn=65000, settle_s=0.0, hold_s=0.0)
LINKS = tuple(
    PeeringLink(f"l{n}", border, "i", 100.0, peer_address=f"100.64.{n}.2", interface=n)
    for n, border in enumerate("ac", start=1)
)
PEERING = Peering((Isp("i", 64500),), LINKS)


class Busy(World):
    """Twice too much comes in by l1, half of it toward each of two prefixes of b; what is changed there leaves it."""

    inbound_mbps = 100.0
    refuses = False

    def demand(self, now):
        told = [key for state in self.states.values() for key in state.announcements]
        rates = tuple(
            InboundRate("l2" if replace(KEY, prefix=prefix) in told else "l1", "b", prefix, self.inbound_mbps)
            for prefix in (PREFIX, ip_network("10.2.64.0/18"))
        )
        return replace(super().demand(now), begins=now, inbound=rates)

    async def run(self, plan, cycle):
        moves = [move for step in plan.steps for move in step.moves]
        if not any(isinstance(move, AnnouncementMove) for move in moves):
            return await super().run(plan, cycle)
        self.plans.append((cycle, plan))
        self.change(moves)
        done = await super().run(replace(plan, steps=()), cycle)
        self.plans.pop()
        return replace(done, done=not self.refuses, reason="not ours" if self.refuses else "")

    async def apply(self, headend, moves, check):
        check()
        if self.refuses:
            raise DeviceError(headend, "not ours")
        self.change(moves)

    def change(self, moves):
        for move in moves if not self.refuses else ():
            told = dict(self.states[move.key.headend].announcements)
            if move.adjustment is None:
                told.pop(move.key, None)
            else:
                told[move.key] = move.adjustment
            self.states[move.key.headend] = replace(self.states[move.key.headend], announcements=told)

    @property
    def changed(self):
        return {key: each for state in self.states.values() for key, each in state.announcements.items()}

    @property
    def adjusted(self):
        """Plans that changed announcements."""
        return [
            plan
            for _, plan in self.plans
            if any(isinstance(move, AnnouncementMove) for step in plan.steps for move in step.moves)
        ]


def asks_for(loop, ingress):
    loop._config = replace(
        loop._config, peering=PEERING, intents=replace(loop._config.intents, ingress=Ingress(ingress))
    )
    loop._announcing = Announcing(RULES)


async def full(start, world, ingress="apply"):
    """A loop that steers everything and has nothing to do."""
    loop = await start(world)
    asks_for(loop, "advise")
    for _ in range(4):
        await loop._cycle()
    assert loop.operation.mode is Mode.FULL
    assert not world.adjusted
    asks_for(loop, ingress)
    return loop


async def test_the_first_proposal_becomes_a_plan_of_its_own_and_the_next_waits_to_be_measured(start):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    (plan,) = world.adjusted
    assert [step.moves for step in plan.steps] == [(AnnouncementMove(KEY, MED),)]
    told = (await loop.store.document("plan")).json()
    assert told["steps"][0]["moves"] == [
        {"kind": "announcement", "device": "a", "subject": "announcement of 10.2.0.0/18 to 100.64.1.2"}
        | {"becomes": "with MED 100"}
    ]
    assert told["steps"][0]["worst_utilisation"] == pytest.approx(0.618, abs=0.001)  # no load depends on it
    assert loop._inputs.demand.begins < loop._announcing.memory()["changed_at"]
    await loop._cycle()
    ingress = (await loop.store.document("ingress")).json()
    assert [(row["prefix"], row["expected_mbps"]) for row in ingress["applied"]] == [("10.2.0.0/18", 100.0)]
    assert len(world.adjusted) == 1
    assert {row["peering_link"]: row["inbound_mbps"] for row in ingress["links"]} == {"l1": 100.0, "l2": 100.0}


@pytest.mark.parametrize("other", ["ramp", "frozen", "observe", "advise", "off"])
async def test_nothing_is_changed_in_any_other_mode(start, other):
    world = Busy()
    loop = await full(start, world, "apply" if other in list(Mode) else other)
    if other in list(Mode):
        loop._operation = replace(loop.operation, mode=Mode(other), clean_cycles=-9)
    for _ in range(3):
        await loop._cycle()
    assert not world.adjusted


async def test_what_is_steered_comes_first(start):
    world = Busy()
    loop = await full(start, world)
    world.states["a"] = replace(world.states["a"], routes={})  # somebody cleared its routes
    loop._unread["a"] = "cleared"
    await loop._cycle()
    assert not world.adjusted
    await loop._cycle()
    assert len(world.adjusted) == 1


async def test_a_router_that_is_not_known_leaves_everything_as_it_is(start):
    world = Busy()
    loop = await full(start, world)
    world.unreadable = frozenset({"b"})
    loop._unread["b"] = "does not answer"
    await loop._cycle()
    assert not world.adjusted


async def test_a_border_that_refuses_is_an_alarm_and_no_reason_to_steer_less(start):
    world = Busy()
    loop = await full(start, world)
    loop._announcing = Announcing(replace(RULES, hold_s=600.0))
    world.refuses = True
    await loop._cycle()
    assert loop.operation.mode is Mode.FULL
    assert not loop.operation.reason
    await loop._cycle()
    alarms = (await loop.store.document("status")).json()["alarms"]
    assert any("10.2.0.0/18 at l1: could not be made: not ours" in alarm for alarm in alarms)


@pytest.mark.parametrize("then", ["advise", "off"])
async def test_what_was_changed_is_taken_back_when_the_intents_no_longer_ask_for_it(start, then):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    assert world.changed
    asks_for(loop, then)
    await loop._cycle()
    assert not world.changed
    plans = len(world.plans)
    await loop._cycle()
    assert len(world.plans) == plans


@pytest.mark.parametrize("ingress", ["apply", "advise"])
async def test_the_kill_switch_takes_everything_back_and_tries_again_until_it_has(start, ingress):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    asks_for(loop, ingress)
    loop._operation = mode.to_legacy("neto legacy")
    world.refuses = True
    await loop._cycle()
    assert world.changed
    world.refuses = False
    await loop._cycle()
    assert not world.changed
    assert not world.announced
    for _ in range(3):
        await loop._cycle()
    assert not world.changed


async def test_the_kill_switch_needs_no_topology(start):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    loop._inputs.topology = loop._inputs.demand = None
    world.told_topology, world.demand = None, lambda _: None
    loop._operation = mode.to_legacy("neto legacy")
    await loop._cycle()
    assert not world.changed


async def test_a_router_that_the_operator_froze_keeps_what_it_has(start):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    loop._config = replace(loop._config, intents=replace(loop._config.intents, frozen=frozenset({"a"})))
    loop._operation = mode.to_legacy("neto legacy")
    await loop._cycle()
    assert world.changed


@pytest.mark.parametrize(("observes", "left"), [(False, {}), (True, {KEY: MED})])
async def test_a_clean_stop_takes_everything_back_unless_it_only_observed(start, observes, left):
    world = Busy()
    loop = await full(start, world)
    await loop._cycle()
    if observes:
        loop._operation = mode.Operation(Mode.OBSERVE)
    await loop.leave()
    assert world.changed == left


async def test_a_successor_reads_back_and_remembers(start):
    world = Busy()
    loop = await full(start, world)
    for _ in range(3):
        await loop._cycle()
    before = (await loop.store.document("ingress")).json()["applied"]
    assert before[0]["left"] == 1.0
    epoch = await loop.store.take_lead(this_process(), 0.0, time.time())
    term = replace(loop._term, epoch=epoch)
    records = Records(loop.store, term)
    other = ControlLoop(loop._config, loop._parts, records, term, observe=False)
    await other.resume(await records.stood())
    await other._cycle()
    await asyncio.sleep(0.01)
    await other._cycle()
    after = (await loop.store.document("ingress")).json()["applied"]
    assert [{**row, "age_s": 0, "stays_until": 0} for row in after] == [
        {**row, "age_s": 0, "stays_until": 0} for row in before
    ]
    assert world.changed == {KEY: MED}
