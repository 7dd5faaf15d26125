"""The runner with agents that behave: slow ones, deaf ones, ones that do half, and a journal in a real store."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from neto.errors import DeviceError, DeviceTimeoutError, LeaseLostError, StoreError, WireError
from neto.model.intent import Intents
from neto.model.plan import RouteMove
from neto.model.sr import ForwardingState
from neto.scheduler.progress import End, Patience
from neto.scheduler.runner import Runner
from neto.store.protocol import Process
from neto.store.sqlite import open_store
from tests.scheduler.plans import (
    ROUTERS,
    adjust,
    announce,
    constraints,
    install,
    plan,
    remove,
    replace,
    state,
    withdraw,
)


@dataclass
class Device:
    """A router: what it has, and how it misbehaves. Each misbehaviour is used up, one a call."""

    has: dict = field(default_factory=dict)
    pushes: list = field(default_factory=list)  # how the next pushes go wrong
    reads: list = field(default_factory=list)
    delay_s: float = 0.0
    at_work: int = 0


class World:
    """Every router, both agents, and the fence: they see everything that is asked."""

    def __init__(self):
        self.devices = defaultdict(Device)
        self.epoch = 1
        self.lost = asyncio.Event()
        self.lapsed = 0  # checks that find the lease too old
        self.done = []  # (device, moves) in the order in which they took effect
        self.most_at_once = 0

    def check(self):
        if self.lapsed:
            self.lapsed -= 1
            raise LeaseLostError("no beat for 0.9 s")
        if self.lost.is_set():
            raise LeaseLostError("epoch 1 is over")

    async def push(self, name, moves, check):
        device = self.devices[name]
        assert device.at_work == 0, "two tasks at once on one device"
        device.at_work += 1
        self.most_at_once = max(self.most_at_once, sum(each.at_work for each in self.devices.values()))
        try:
            check()
            await asyncio.sleep(device.delay_s)
            how = device.pushes.pop(0) if device.pushes else "well"
            if how == "rejects":
                raise DeviceError(name, "% unknown command")
            if how == "breaks our code":
                raise ZeroDivisionError
            self.effect(name, moves[:1] if how == "half" else moves, late=how == "late")
            if how in {"half", "done, then breaks"}:
                raise DeviceTimeoutError(name, "connection lost")
            if how in {"deaf", "late"}:
                await asyncio.sleep(3600)
        finally:
            device.at_work -= 1

    def effect(self, name, moves, *, late=False):
        if late:
            asyncio.get_running_loop().call_later(0.12, self.effect, name, moves)
            return
        self.done.append((name, moves))
        for move in moves:
            self.devices[name].has[move.key] = move

    async def read(self, headend):
        device = self.devices[headend]
        how = device.reads.pop(0) if device.reads else "well"
        await asyncio.sleep(3600 if how == "deaf" else 0)
        if how == "fails":
            raise DeviceError(headend, "no route to host")
        if how == "babbles":
            raise WireError("line 3 is no policy")
        return state(*device.has.values())


class Policies:
    def __init__(self, world):
        self.world = world
        self.read = world.read

    async def apply(self, headend, moves, check):
        assert {move.key.headend for move in moves} == {headend}
        assert len({type(move) for move in moves} - {RouteMove}) == 1
        await self.world.push(headend, moves, check)


class Routes:
    def __init__(self, world):
        self.world = world

    async def apply(self, moves, check):
        (headend,) = {move.key.headend for move in moves}
        await self.world.push(headend, moves, check)


@pytest.fixture
async def store(tmp_path):
    async with await open_store(tmp_path / "neto.db") as store:
        await store.take_lead(Process(1), 1.0, at=1.0)
        await store.begin_cycle(1, 1.0, b"{}", portion=0.5)
        yield store


@pytest.fixture
def world():
    return World()


@pytest.fixture
def runner(world, store):
    return make_runner(world, store)


def make_runner(world, journal, *, deadline_s=5.0, **rules):
    return Runner(
        Policies(world),
        Routes(world),
        journal,
        world,
        lambda: constraints(**rules),
        deadline_s=deadline_s,
        patience=Patience(reads=3, read_wait_s=0.02, push_wait_s=0.01),
        clock=lambda: 1000.0,
    )


FULL = plan(
    [install("nyc1", 16001), install("lon1", 16002)],
    [announce("nyc1"), announce("lon1"), replace("par1", 16003)],
    [remove("lon1", colour=77)],
)


async def journal(store):
    return [(entry.step, entry.device, entry.kind, entry.state) for entry in await store.tasks(1)]


async def test_announcements_are_adjusted_by_command_line_and_read_back(runner, store):
    moves = [adjust("nyc1", med=5), adjust("lon1")]
    outcome = await runner.run(plan(moves), cycle=1)
    assert outcome.done
    assert (outcome.read["nyc1"], outcome.read["lon1"]) == (state(moves[0]), state())
    assert sorted(await journal(store)) == [
        (0, "lon1", "announcements", "verified"),
        (0, "nyc1", "announcements", "verified"),
    ]


async def test_a_plan_is_carried_out_and_read_back(runner, store):
    outcome = await runner.run(FULL, cycle=1)
    assert outcome.done
    assert (outcome.reason, outcome.steps_done, outcome.unverified) == ("", 3, frozenset())
    assert outcome.read["nyc1"] == state(install("nyc1", 16001), announce("nyc1"))
    assert await journal(store) == [
        (0, "lon1", "policies", "verified"),
        (0, "nyc1", "policies", "verified"),
        (1, "lon1", "routes", "verified"),
        (1, "nyc1", "routes", "verified"),
        (1, "par1", "policies", "verified"),
        (2, "lon1", "removals", "verified"),
    ]
    assert {(entry.began, entry.ended, entry.error) for entry in await store.tasks(1)} == {(1000.0, 1000.0, "")}


async def test_no_step_begins_before_the_slowest_device_of_the_one_before(world, runner):
    world.devices["lon1"].delay_s = 0.05
    assert (await runner.run(FULL, cycle=1)).done
    step_of = {move.key: number for number, step in enumerate(FULL.steps) for move in step.moves}
    numbers = [step_of[moves[0].key] for _, moves in world.done]
    assert numbers == sorted(numbers)


async def test_what_is_about_to_be_pushed_is_in_the_journal_first(world, store):
    seen = []

    class Watching(Policies):
        async def apply(self, headend, moves, check):
            seen.extend(await journal(store))
            await super().apply(headend, moves, check)

    runner = make_runner(world, store)
    runner._policies = Watching(world)
    await runner.run(plan([install("nyc1", 16001)]), cycle=1)
    assert seen == [(0, "nyc1", "policies", "pushing")]


@pytest.mark.parametrize("misbehaviour", ["deaf", "done, then breaks", "late"])
async def test_a_push_whose_answer_is_lost_counts_once_it_is_read_back(world, store, misbehaviour):
    world.devices["nyc1"].pushes = [misbehaviour]
    runner = make_runner(world, store, deadline_s=0.1)
    assert (await runner.run(FULL, cycle=1)).done


async def test_a_rejected_push_is_retried_once(world, runner):
    world.devices["nyc1"].pushes = ["rejects"]
    assert (await runner.run(FULL, cycle=1)).done


async def test_a_device_that_rejects_twice_ends_the_plan_and_is_known(world, runner, store):
    world.devices["nyc1"].pushes = ["rejects", "rejects"]
    outcome = await runner.run(FULL, cycle=1)
    assert (outcome.end, outcome.steps_done, outcome.unverified) == (End.FAILED, 0, frozenset())
    assert "unknown command" in outcome.reason
    assert outcome.read["nyc1"] == ForwardingState()
    assert (0, "nyc1", "policies", "differs") in await journal(store)
    assert {name for name, _ in world.done} == {"lon1"}


async def test_a_device_that_does_half_ends_the_plan_and_shows_what_it_did(world, runner):
    world.devices["nyc1"].pushes = ["half"]
    half, other = install("nyc1", 16001), install("nyc1", 16002, colour=1002)
    outcome = await runner.run(plan([half, other], [announce("nyc1")]), cycle=1)
    assert (outcome.end, outcome.unverified) == (End.FAILED, {"nyc1"})
    assert outcome.read["nyc1"] == state(half)
    assert "policy 1002 to 10.255.0.5 is missing" in outcome.reason


@pytest.mark.parametrize("how", ["fails", "babbles", "deaf"])
async def test_a_device_that_cannot_be_read_is_unverified_and_nothing_goes_on(world, store, how):
    world.devices["nyc1"].reads = [how] * 3
    outcome = await make_runner(world, store, deadline_s=0.1).run(FULL, cycle=1)
    assert (outcome.end, outcome.steps_done, outcome.unverified) == (End.FAILED, 0, {"nyc1"})
    assert await journal(store) == [(0, "lon1", "policies", "verified"), (0, "nyc1", "policies", "unverified")]
    (entry,) = [entry for entry in await store.tasks(1) if entry.device == "nyc1"]
    assert entry.error in outcome.reason


async def test_a_device_that_can_be_read_at_last_is_verified(world, store):
    world.devices["nyc1"].reads = ["fails", "deaf"]
    assert (await make_runner(world, store, deadline_s=0.1).run(FULL, cycle=1)).done


@pytest.mark.parametrize(("rules", "most"), [({}, 5), ({"concurrency": 2}, 2), ({"per_site": 1}, 3)])
async def test_no_more_devices_are_worked_on_at_once_than_allowed(world, store, rules, most):
    runner = make_runner(world, store, **rules)
    for name in ROUTERS:
        world.devices[name].delay_s = 0.03
    assert (await runner.run(plan([announce(name) for name in ROUTERS]), cycle=1)).done
    assert world.most_at_once == most


async def test_a_plan_that_is_refused_pushes_nothing(world, store):
    runner = make_runner(world, store, intents=Intents((), frozen=frozenset({"par1"})))
    outcome = await runner.run(FULL, cycle=1)
    assert (outcome.end, outcome.reason, outcome.steps_done) == (End.REFUSED, "par1 is frozen", 1)
    capped = await make_runner(world, store, max_moves=1).run(FULL, cycle=1)
    assert (capped.end, capped.reason) == (End.REFUSED, "6 moves (accepted: 1)")


async def test_an_interruption_stops_between_two_steps(world, runner):
    world.devices["lon1"].delay_s = 0.05
    running = asyncio.create_task(runner.run(FULL, cycle=1))
    await asyncio.sleep(0.02)
    runner.interrupt("link down")
    outcome = await running
    assert (outcome.end, outcome.reason, outcome.steps_done) == (End.INTERRUPTED, "link down", 1)
    assert (await runner.run(plan([withdraw("nyc1")]), cycle=1)).done  # the next plan is not interrupted


async def test_a_lost_lease_ends_everything_at_once(world, runner):
    world.devices["nyc1"].delay_s = 3600.0
    running = asyncio.create_task(runner.run(FULL, cycle=1))
    await asyncio.sleep(0.02)
    world.lost.set()
    world.devices["lon1"].pushes = []
    with pytest.raises(LeaseLostError, match="in the middle of a plan"):
        await asyncio.wait_for(running, 10)
    assert all(device.at_work == 0 for device in world.devices.values())


async def test_nothing_is_pushed_without_the_lease(world, runner):
    world.lost.set()
    with pytest.raises(LeaseLostError):
        await runner.run(FULL, cycle=1)
    assert world.done == []


async def test_an_agent_that_forgets_to_look_at_the_lease_is_not_even_asked(world, runner):
    async def careless(headend, moves, _check):
        world.effect(headend, moves)

    runner._policies.apply = careless
    world.lapsed = 1000
    outcome = await runner.run(FULL, cycle=1)
    assert (outcome.end, world.done) == (End.FAILED, [])


async def test_a_deposed_leader_is_stopped_by_its_journal(world, runner, store):
    await store.take_lead(Process(2), 2.0, at=2.0)
    with pytest.raises(LeaseLostError):
        await runner.run(FULL, cycle=1)
    assert world.done == []


async def test_a_late_beat_costs_a_retry_and_no_more(world, runner):
    world.lapsed = 1
    assert (await runner.run(FULL, cycle=1)).done


async def test_a_journal_that_cannot_be_written_stops_the_plan_before_the_push(world, runner):
    with pytest.raises(StoreError):
        await runner.run(FULL, cycle=99)
    assert world.done == []


async def test_a_mistake_of_ours_is_not_hidden(world, runner):
    world.devices["nyc1"].pushes = ["breaks our code"]
    with pytest.raises(ExceptionGroup) as raised:
        await runner.run(FULL, cycle=1)
    assert raised.group_contains(ZeroDivisionError)


async def test_cancelling_leaves_nothing_running(world, runner):
    world.devices["nyc1"].delay_s = 3600.0
    running = asyncio.create_task(runner.run(FULL, cycle=1))
    await asyncio.sleep(0.02)
    with pytest.raises(RuntimeError, match="running already"):
        await runner.run(FULL, cycle=1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert all(device.at_work == 0 for device in world.devices.values())
    world.devices["nyc1"].delay_s = 0.0
    assert (await runner.run(FULL, cycle=1)).done
