"""From a snapshot to the state that routers should be in: who is steered, over which paths, out of which exit.

What is not steered, and what frozen routers do, is given: it uses capacity first. The rest is allocated, realised as
weighted segment lists, and held against what runs, so that a change earns its churn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neto.controller.deadline import Deadline
from neto.controller.endpoints import possible_endpoints
from neto.controller.goal import Slot, frozen_part, goal_state, running_lists, spread
from neto.controller.igp import Split
from neto.controller.isps import Isps
from neto.controller.path_cache import PathCache
from neto.controller.paths import candidate_paths
from neto.controller.peering import whole
from neto.controller.realise import (
    Quanta,
    Segments,
    expressible,
    filled_in,
    of_demands,
    segment_lists,
    weights,
    with_excess,
)
from neto.controller.stability import Choice, changes
from neto.controller.steering import Steerable, choose
from neto.controller.world import World
from neto.model.allocation import Allocation, PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.sr import ForwardingState, RouteKey, SegmentList
from neto.model.topology import Mbps

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class CycleOptions:
    """What an operator may tune about decisions."""

    paths: int = 8  # candidate paths per demand
    by_metric: bool = False  # the shortest by IGP metric instead of delay
    diverse: bool = False  # one of them shares as little risk as possible with the shortest
    quanta: Quanta = field(default_factory=Quanta)
    min_gain: float = 0.1  # share of its delay that a policy must save for a change to be worth it
    headroom_use: float = 0.5  # share of the headroom that running policies may eat up before they have to move
    portion_tolerance: float = 0.05  # by how much the steered share may drift above the portion
    solve_limit_s: float = math.inf  # after which the allocation falls back to quicker ways
    margin: float = 0.03  # share of a link that steps leave free where they can: demand is measured, not known


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """The state to reach, and what was decided on the way."""

    state: ForwardingState
    allocation: Allocation
    base_mbps: Mbps  # (classes, links) what is given: not steered, or not ours to change
    room_mbps: Mbps  # (links,) what was there to allocate
    too_far: tuple[str, ...]  # demands for which no path meets the bounds of their class
    notes: tuple[str, ...] = ()  # what else an operator should know

    @property
    def falls_short(self) -> bool:
        """Whether some demand was not placed in full."""
        asked = sum(demand.rate_mbps for demand in self.allocation.demands)
        return float(self.allocation.rate_mbps.sum()) < asked * (1 - _ROUNDING)


def decide_target(world: World, options: CycleOptions, cache: PathCache | None = None) -> Target:
    """Return the state to reach."""
    running = world.snapshot.running.routes.keys()
    found = _candidates(world, options, cache)
    prefixes = _steerable(world, found)
    total = sum(row.rate_mbps for row in world.demand if row.source in world.managed)
    steered = choose(prefixes, running, total, world.snapshot.portion, options.portion_tolerance)
    deadline, isps = Deadline.after(options.solve_limit_s), Isps(world)
    share = _allocated(world, isps, found, steered, options, deadline)
    while world.snapshot.portion < 1:
        short = {slot[:2] for slot, given in zip(share.slots, share.placed, strict=True) if not given}
        waiting = {key for key in steered if (key.headend, prefixes[key].target) in short and key not in running}
        if not waiting:  # what cannot be placed is not begun with, while it need not be
            break
        steered -= waiting
        share = _allocated(world, isps, found, steered, options, deadline)
    now = world.forwarding.loads(world.snapshot.running, world.demand).sum(axis=0)
    lists = _settle(world, isps, share, _wanted(world, share, now, options), now, options)
    state = goal_state(world, share.rates, lists, steered)
    names = [f"{world.classes[each].name} {headend} -> {target}" for headend, target, each in found.too_far]
    return Target(state, share.allocation, share.base, share.room, tuple(names))


def _steerable(world: World, found: _Candidates) -> dict[RouteKey, Steerable]:
    """Return the prefixes that can be steered whole: all their classes have paths, and there is an endpoint."""
    counts = np.diff(found.paths.demand_start)
    pathless = {slot[:2] for slot, count in zip(found.slots, counts, strict=True) if not count}
    pairs = {slot[:2] for slot in found.slots if possible_endpoints(world, *slot[:2])} - pathless
    prefixes: dict[RouteKey, Steerable] = {}
    for row in world.demand:
        key = RouteKey(row.source, row.prefix)
        if (row.source, row.target) in pairs and world.may_steer(key, row.target):
            known = prefixes.get(key, Steerable(row.target, 0.0))
            prefixes[key] = replace(known, rate_mbps=known.rate_mbps + row.rate_mbps)
    return prefixes


@dataclass(frozen=True, eq=False, slots=True)
class _Share:
    """What the steered part of the demand was given."""

    slots: list[Slot]  # of each demand of the allocation
    rates: Mapping[Slot, float]
    told: list[Segments]  # of each path of the allocation
    allocation: Allocation
    base: Mbps  # (classes, links)
    room: Mbps  # (links,)

    @property
    def placed(self) -> list[bool]:
        """Whether each demand got all that it asked for."""
        asked = np.array([demand.rate_mbps for demand in self.allocation.demands], dtype=np.float64)
        return [bool(each) for each in self.allocation.allocated_mbps >= asked * (1 - _ROUNDING)]


def _allocated(
    world: World,
    isps: Isps,
    found: _Candidates,
    steered: frozenset[RouteKey],
    options: CycleOptions,
    deadline: Deadline,
) -> _Share:
    """Split the demand into what is steered and what is given, and allocate."""
    rates: dict[Slot, float] = {}
    given = []
    for row in world.demand:
        slot = (row.source, row.target, world.forwarding.row_of(row.traffic_class))
        if RouteKey(row.source, row.prefix) in steered:
            rates[slot] = rates.get(slot, 0.0) + row.rate_mbps
        else:
            given.append(row)
    base = world.forwarding.loads(frozen_part(world), given)
    rows = [row for row, slot in enumerate(found.slots) if slot in rates]
    slots = [found.slots[row] for row in rows]
    paths, told = of_demands(found.paths, found.told, rows)
    chosen = [replace(found.demands[row], rate_mbps=rates[found.slots[row]]) for row in rows]
    open_share = 1 - world.snapshot.intents.headroom
    room = np.maximum(world.joint.capacity_mbps * open_share - base.sum(axis=0), 0.0)
    running = _running_mbps(world, slots, rates, paths, told)
    given_mbps = base.sum(axis=0)
    allocation = isps.allocate(chosen, paths, room, given_mbps, running, max(options.min_gain, 0.0), deadline)
    return _Share(slots, rates, told, allocation, base, room)


@dataclass(frozen=True, eq=False, slots=True)
class _Candidates:
    """The demands that could be steered, whole, with the paths that head-ends can express."""

    slots: list[Slot]
    demands: list[Demand]
    paths: PathSet
    told: list[Segments]
    too_far: list[Slot]  # no path meets the bounds of the class: the nearest there is stands in


def _candidates(world: World, options: CycleOptions, cache: PathCache | None) -> _Candidates:
    rates: dict[Slot, float] = {}
    for row in world.demand:
        if world.may_steer(RouteKey(row.source, row.prefix), row.target):
            slot = (row.source, row.target, world.forwarding.row_of(row.traffic_class))
            rates[slot] = rates.get(slot, 0.0) + row.rate_mbps
    slots = [slot for slot in sorted(rates) if slot[1] in world.joint.node_row or whole(slot[1]) in world.groups]
    demands = [
        Demand(f"{headend}>{target}", world.classes[each].name, headend, target, rates[headend, target, each])
        for headend, target, each in slots
    ]
    paths, told = _paths(world, demands, world.classes, options, cache)
    none = np.flatnonzero(np.diff(paths.demand_start) == 0).tolist()
    unbounded = [replace(each, max_delay_us=math.inf, max_stretch=math.inf) for each in world.classes]
    nearest = _paths(world, [demands[row] for row in none], unbounded, options, cache)
    too_far = [slots[row] for place, row in enumerate(none) if np.diff(nearest[0].demand_start)[place]]
    paths, told = filled_in(paths, told, none, *nearest)
    return _Candidates(slots, demands, paths, told, too_far)


def _paths(
    world: World,
    demands: Sequence[Demand],
    classes: Sequence[TrafficClass],
    options: CycleOptions,
    cache: PathCache | None,
) -> tuple[PathSet, list[Segments]]:
    """Return the candidate paths that head-ends can express."""
    usable = ~world.closed
    found = candidate_paths(
        world.joint,
        demands,
        classes,
        world.egresses,
        options.paths,
        usable,
        transit=world.transit,
        cache=cache,
        diverse=options.diverse,
        by_metric=options.by_metric,
    )
    return expressible(world.forwarding, demands, found)


def _wanted(world: World, share: _Share, now: Mbps, options: CycleOptions) -> list[tuple[SegmentList, ...]]:
    """Return the segment lists of each demand as the allocation wants them. now: (links,) what links carry."""
    allocation, joint = share.allocation, world.joint
    paths = allocation.paths
    requested = np.array([demand.rate_mbps for demand in allocation.demands], dtype=np.float64)
    over_now = now > joint.capacity_mbps
    rates = with_excess(joint, paths, allocation.rate_mbps, requested, share.base.sum(axis=0), over_now)
    parts = weights(joint, paths, rates, requested, share.room, options.quanta)
    return [segment_lists(share.told[a:b], parts[a:b]) for a, b in pairwise(paths.demand_start)]


def _running_mbps(
    world: World, slots: Sequence[Slot], rates: Mapping[Slot, float], paths: PathSet, told: Sequence[Segments]
) -> Mbps:
    """(paths,) Mbit/s that each slot sends over its paths now; nothing where it runs otherwise, or must not stay."""
    running = np.zeros(len(told))
    for row, slot in enumerate(slots):
        first, last = (int(paths.demand_start[place]) for place in (row, row + 1))
        now = running_lists(world, slot, float(paths.delay_us[first])) if last > first else None
        if now is None:
            continue
        weight = {one.segments: one.weight for one in now}
        share = np.array([weight.get(each, 0) for each in told[first:last]], dtype=np.float64)
        running[first:last] = rates[slot] * share / sum(weight.values())
    return running


def _settle(
    world: World,
    isps: Isps,
    share: _Share,
    wanted: Sequence[tuple[SegmentList, ...]],
    now_mbps: Mbps,
    options: CycleOptions,
) -> dict[Slot, tuple[SegmentList, ...]]:
    """Return the segment lists of each slot: what runs, unless a change must be or earns its churn."""
    intents, full = world.snapshot.intents, isps.over(now_mbps)
    choices, running = [], []
    nearest = _nearest(share.allocation)
    for slot, lists, near_us in zip(share.slots, wanted, nearest, strict=True):
        now = running_lists(world, slot, near_us)
        new = spread(world, slot, lists)
        old = None if now is None else spread(world, slot, now)
        if new is None:
            raise AssertionError(f"{slot}: a list that was just made cannot be followed")
        delay = world.delay_us(new, slot[1]) + isps.further_us(new)
        before = delay if old is None else world.delay_us(old, slot[1]) + isps.further_us(old)
        gain = (before - delay) / before if before > 0 else 0.0
        if old is not None and _on(old, full) > _on(new, full):
            gain = math.inf  # its ISP carries more than it may
        choices.append(Choice(slot[2], share.rates[slot], old, new, gain))
        running.append(now)
    free = np.array([max(intents.headroom, each.headroom or 0.0) for each in world.classes])[:, None]
    limit = world.joint.capacity_mbps[None, :] * (1 - free * (1 - options.headroom_use))
    changed = changes(choices, share.base, limit, options.min_gain)
    return {
        slot: wanted[row] if row in changed or (now := running[row]) is None else now
        for row, slot in enumerate(share.slots)
    }


def _on(split: Split, links: NDArray[np.bool_]) -> float:
    """Return which share of what spreads so is on these links."""
    return float(split[1][links[split[0]]].sum())


def _nearest(allocation: Allocation) -> list[float]:
    starts = allocation.paths.demand_start[:-1]
    return [float(allocation.paths.delay_us[start]) for start in starts]
