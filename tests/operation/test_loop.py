"""The control loop with parts of the test's own: when it pushes, when it waits, when it holds still."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from neto.controller.cycle import decide
from neto.errors import DeviceError
from neto.ha.leader import Term
from neto.ha.process import this_process
from neto.model.demand import DemandMatrix, ExporterHealth, PrefixDemand
from neto.model.snapshot import Snapshot
from neto.model.sr import ForwardingState
from neto.model.topology import Link, Node, Topology
from neto.operation.loop import ControlLoop, Parts, merged
from neto.operation.mode import Mode
from neto.operation.records import Records
from neto.settings.load import load_config
from neto.store.codec import decode
from neto.store.sqlite import open_store

NETO = """
inventory = "inventory.toml"
intents = "intents.toml"
[bgp]
asn = 65000
router_id = "10.0.0.1"
local_address = "127.0.0.1"
[[bgpls.speaker]]
address = "127.0.2.1"
[netflow]
window_s = 0.001
smooth = 1
[ramp]
start = "{start}"
portions = [50, 100]
hold_cycles = 1
[safety]
max_shift = {max_shift}
"""
ROUTERS = {"a": 1, "b": 2, "c": 3}


def inventory() -> str:
    text = '[[site]]\nname = "s"\nregion = "r"\n'
    for name, n in ROUTERS.items():
        text += f'[[router]]\nname = "{name}"\nsite = "s"\nrouter_id = "10.255.0.{n}"\ndialect = "lab"\n'
        text += f'bgp = "127.0.1.{n}:1790"\nssh = "127.0.1.{n}:2222"\nexporters = ["127.0.1.{n}"]\n'
        text += f'prefixes = ["10.{n}.0.0/18", "10.{n}.64.0/18"]\n'
    return text


def ring() -> Topology:
    nodes = tuple(Node(name, router_id=f"10.255.0.{n}", node_sid=16000 + n) for name, n in ROUTERS.items())
    pairs = [(x, y) for x in ROUTERS for y in ROUTERS if x != y]
    links = tuple(
        Link(f"{x}-{y}", x, y, 100.0, delay_us=1000.0, igp_metric=10, adjacency_sid=24000 + row)
        for row, (x, y) in enumerate(pairs)
    )
    return Topology(nodes, links)


@dataclass
class World:
    """Routers that do what they are told, as far as the test lets them."""

    told: Topology | None = field(default_factory=ring)
    mbps: float = 60.0  # of each router toward each other
    heavy: dict[tuple[str, str], float] = field(default_factory=dict)  # but for these
    silent: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset(ROUTERS)
    states: dict[str, ForwardingState] = field(default_factory=lambda: dict.fromkeys(ROUTERS, ForwardingState()))
    plans: list = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    health: tuple[ExporterHealth, ...] = ()
    problems: tuple[str, ...] = ()
    overloaded: frozenset[str] = frozenset()
    begun: int = 0

    def topology(self):
        return self.told

    def peer_sids(self):
        return {}

    def demand(self, now):
        rates = tuple(
            PrefixDemand(x, y, "rest", ip_network(f"10.{n}.{third}.0/18"), self.heavy.get((x, y), self.mbps) / 2)
            for x in ROUTERS
            if x not in self.silent
            for y, n in ROUTERS.items()
            if x != y
            for third in (0, 64)
        )
        return DemandMatrix(now - 1, now, rates)

    async def read(self, headend):
        if headend in self.unreadable:
            raise DeviceError(headend, "does not answer")
        return self.states[headend]

    @property
    def announced(self):
        return merged(self.states.values()).routes

    async def withdraw_all(self, check):
        check()
        self.states = {name: replace(state, routes={}) for name, state in self.states.items()}

    async def run(self, plan, cycle):
        self.plans.append((cycle, plan))
        for step in plan.steps:
            for move in step.moves:
                state = self.states[move.key.headend]
                table = dict(state.routes if hasattr(move, "route") else state.policies)
                becomes = move.route if hasattr(move, "route") else move.policy
                if becomes is None:
                    table.pop(move.key, None)
                else:
                    table[move.key] = becomes
                what = {"routes": table} if hasattr(move, "route") else {"policies": table}
                self.states[move.key.headend] = replace(state, **what)
        return Done(dict(self.states))

    def interrupt(self, reason):
        pass


class Slow(World):
    """Routers that never get done with a plan; before its first step demand becomes something else."""

    async def run(self, plan, cycle):
        self.plans.append((cycle, plan))
        self.heavy, self.stopped = self.then, asyncio.Event()
        try:
            async with asyncio.timeout(0.5):
                await self.stopped.wait()
        except TimeoutError:
            return Done(dict(self.states))
        return Done(dict(self.states), done=False, reason="demand")

    def interrupt(self, reason):
        assert reason == "demand"
        self.stopped.set()


@dataclass
class Done:
    read: dict
    done: bool = True
    reason: str = ""
    unverified: frozenset[str] = frozenset()


@pytest.fixture
async def start(tmp_path: Path):
    """Make a loop around a world; it has read every router back."""
    stores = []

    async def make(world: World, *, how: str = "ramp", max_shift: int = 100) -> ControlLoop:
        (tmp_path / "neto.toml").write_text(NETO.format(start=how, max_shift=max_shift))
        (tmp_path / "inventory.toml").write_text(inventory())
        (tmp_path / "intents.toml").write_text('[[class]]\nname = "rest"\n')
        store = await open_store(tmp_path / "neto.db")
        stores.append(store)
        epoch = await store.take_lead(this_process(), 0.0, time.time())
        term = Term(epoch, lease_s=1e9, beaten_s=time.clock_gettime(time.CLOCK_BOOTTIME))
        parts = Parts(world, world, world, world, world, list)
        loop = ControlLoop(load_config(tmp_path / "neto.toml"), parts, Records(store, term), term, observe=False)
        await loop.resume(None)
        await loop._cycle()  # hears every exporter for the first time, and waits
        assert not world.plans
        await asyncio.sleep(0.01)
        loop.store = store
        return loop

    yield make
    for store in stores:
        await store.close()


async def test_it_ramps_up_to_everything_and_then_has_nothing_to_do(start):
    world = World()
    loop = await start(world)
    for _ in range(3):
        await loop._cycle()
    assert loop.operation.mode is Mode.FULL
    assert len(world.announced) == 12  # three routers, two targets each, two prefixes each
    before = len(world.plans)
    await loop._cycle()
    assert len(world.plans) == before


@pytest.mark.parametrize(("then", "stops"), [(10.0, False), (20.0, False), (98.0, True)])
async def test_a_plan_stops_where_demand_makes_its_next_step_unsafe(start, then, stops):
    """What a sends to b is too much for their link and is to go by c in part, where now something else may be."""
    world = Slow(mbps=10.0, heavy={("a", "b"): 130.0})
    world.then = {("a", "b"): 130.0, ("a", "c"): then, ("c", "b"): then}
    loop = await start(world)
    await loop._cycle()
    assert len(world.plans) == 1
    assert world.stopped.is_set() == stops


async def test_a_plan_for_a_network_that_changed_meanwhile_does_not_begin(start, monkeypatch):
    world = World()
    loop = await start(world)

    def slow(*arguments):
        decision = decide(*arguments)
        if changes:
            changes.pop()
            loop.nudge("topology")
        return decision

    monkeypatch.setattr("neto.operation.loop.decide", slow)
    changes = [1]
    await loop._cycle()
    assert not world.plans
    assert loop._wake.is_set()
    await loop._cycle()
    assert len(world.plans) == 1

    changes = [1] * 10  # a network that never rests does not stop everything for ever
    world.plans.clear()
    for _ in range(4):
        await loop._cycle()
    assert len(world.plans) == 1


async def test_observing_computes_and_never_pushes(start):
    world = World()
    loop = await start(world, how="observe")
    await loop._cycle()
    assert not world.plans
    plan = (await loop.store.document("plan")).json()
    assert plan["steps"]  # what it would do is there to be looked at


async def test_while_an_exporter_is_silent_nothing_is_moved(start):
    world = World(silent=frozenset({"c"}))
    loop = await start(world)
    await loop._cycle()
    assert not world.plans
    assert "waits for flows of c" in (await loop.store.document("status")).json()["alarms"]


@pytest.mark.parametrize("change", ["nothing", "classes", "the store"])
async def test_a_successor_decides_on_what_the_last_leader_knew_until_it_knows_more(start, change):
    world = World()
    loop = await start(world)
    for _ in range(3):
        await loop._cycle()
    (last,) = await loop.store.cycles(1)
    config = loop._config
    if change == "classes":
        other = replace(config.intents.classes[0], name="other")
        config = replace(config, intents=replace(config.intents, classes=(other,)))
    if change == "the store":  # an earlier version wrote it
        await loop.store.begin_cycle(loop._term.epoch, time.time(), b"{}", portion=1.0)
        (last,) = await loop.store.cycles(1)
    world.demand = lambda _: None  # nothing is counted yet
    epoch = await loop.store.take_lead(this_process(), 0.0, time.time())
    term = replace(loop._term, epoch=epoch)
    records = Records(loop.store, term)
    successor = ControlLoop(config, loop._parts, records, term, observe=False)
    await successor.resume(await records.stood())
    await successor._cycle()
    (now,) = await loop.store.cycles(1)
    if change == "nothing":
        assert now.id > last.id
        before, after = [(await loop.store.cycle(cycle.id)).snapshot for cycle in (last, now)]
        rates = [[r.rate_mbps for r in decode(body, Snapshot).demand.rates] for body in (before, after)]
        assert rates[0] == pytest.approx(rates[1])  # the margin is added once
    else:
        assert now.id == last.id
        assert "waits for flows of a, b, c" in (await loop.store.document("status")).json()["alarms"][-1]


async def test_a_plan_over_the_shift_limit_is_held_until_approved(start):
    world = World()
    loop = await start(world, max_shift=10)
    await loop._cycle()
    assert not world.plans
    assert loop.operation.portion == 0.5
    loop._approved = True
    await loop._cycle()
    assert len(world.plans) == 1


async def test_a_topology_that_loses_too_much_freezes_everything(start):
    world = World()
    loop = await start(world)
    await loop._cycle()
    world.told = replace(ring(), links=ring().links[:3])
    pushed = len(world.plans)
    await loop._cycle()
    assert loop.operation.mode is Mode.FROZEN
    assert len(world.plans) == pushed
    assert world.announced


async def test_the_kill_switch_withdraws_at_once_and_outlives_the_daemon(start):
    world = World()
    loop = await start(world)
    await loop._cycle()
    assert world.announced
    await loop.store.add_action("me", "legacy", {}, at=time.time())
    obeying = asyncio.create_task(loop._obey())
    async with asyncio.timeout(5):
        while world.announced:  # noqa: ASYNC110  the loop tells nobody
            await asyncio.sleep(0.01)
    obeying.cancel()
    stood = await Records(loop.store, loop._term).stood()  # what a successor finds if we die now
    assert stood.mode is Mode.LEGACY
    assert not await loop._records.new_actions()


async def test_on_legacy_what_is_announced_all_the_same_is_withdrawn(start):
    world = World()
    loop = await start(world)
    await loop._cycle()
    loop._operation = replace(loop.operation, mode=Mode.LEGACY, portion=0.0)
    await loop._cycle()
    assert not world.announced


@pytest.mark.parametrize("trouble", [{"unreadable": frozenset({"b"})}, {"up": frozenset({"a", "c"})}])
async def test_a_router_that_cannot_be_read_or_told_is_left_alone_and_holds_the_ramp(start, trouble):
    world = World(**trouble)
    loop = await start(world)
    await loop._cycle()
    await loop._cycle()
    assert {move.key.headend for _, plan in world.plans for step in plan.steps for move in step.moves} == {"a", "c"}
    assert loop.operation.portion == 0.5
    world.unreadable, world.up = frozenset(), frozenset(ROUTERS)
    for _ in range(3):
        await loop._cycle()
    assert loop.operation.mode is Mode.FULL


async def test_a_new_leader_stands_where_the_old_one_stood(start):
    world = World()
    loop = await start(world)
    for _ in range(3):
        await loop._cycle()
    records = Records(loop.store, loop._term)
    assert (await records.stood()) == loop.operation


async def test_a_topology_that_nobody_tells_any_more_freezes_what_runs(start):
    world = World()
    loop = await start(world)
    await loop._cycle()
    world.told = None
    await loop._cycle()
    assert loop.operation.mode is Mode.FROZEN
    assert world.announced


@pytest.mark.parametrize(("overloaded", "transited"), [(set(), {"b"}), ({"b"}, set())])
async def test_an_overloaded_router_is_not_transited(start, overloaded, transited):
    world = World(mbps=20.0, heavy={("a", "c"): 120.0}, overloaded=frozenset(overloaded))
    loop = await start(world)
    for _ in range(3):
        await loop._cycle()
    demands = (await loop.store.document("allocation")).json()["demands"]
    assert {link.split("-")[1] for d in demands for path in d["paths"] for link in path["links"][:-1]} == transited
