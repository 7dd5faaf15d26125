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

from neto.controller.allocation import allocate
from neto.controller.endpoints import choose_endpoint, possible_endpoints
from neto.controller.forwarding import merged
from neto.controller.igp import Split
from neto.controller.paths import candidate_paths
from neto.controller.realise import (
    Quanta,
    Segments,
    expressible,
    filled_in,
    of_demands,
    per_flow_policy,
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
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, SegmentList, SrPolicy
from neto.model.topology import Mbps

_ROUNDING = 1e-6

Pair = tuple[str, str]  # head-end, target
Slot = tuple[str, str, int]  # head-end, target, class row: what one policy carries


@dataclass(frozen=True, slots=True)
class CycleOptions:
    """What an operator may tune about decisions."""

    paths: int = 8  # candidate paths per demand
    quanta: Quanta = field(default_factory=Quanta)
    min_gain: float = 0.1  # share of its delay that a policy must save for a change to be worth it
    headroom_use: float = 0.5  # share of the headroom that running policies may eat up before they have to move
    portion_tolerance: float = 0.05  # by how much the steered share may drift above the portion


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """The state to reach, and what was decided on the way."""

    state: ForwardingState
    allocation: Allocation
    base_mbps: Mbps  # (classes, links) what is given: not steered, or not ours to change
    room_mbps: Mbps  # (links,) what was there to allocate
    too_far: tuple[str, ...]  # demands for which no path meets the bounds of their class

    @property
    def falls_short(self) -> bool:
        """Whether some demand was not placed in full."""
        asked = sum(demand.rate_mbps for demand in self.allocation.demands)
        return float(self.allocation.rate_mbps.sum()) < asked * (1 - _ROUNDING)


def decide_target(world: World, options: CycleOptions) -> Target:
    """Return the state to reach."""
    running = world.snapshot.running.routes.keys()
    found = _candidates(world, options)
    prefixes = _steerable(world, found)
    total = sum(row.rate_mbps for row in world.demand if row.source in world.managed)
    steered = choose(prefixes, running, total, world.snapshot.portion, options.portion_tolerance)
    share = _allocated(world, found, steered)
    while world.snapshot.portion < 1:
        short = {slot[:2] for slot, given in zip(share.slots, share.placed, strict=True) if not given}
        waiting = {key for key in steered if (key.headend, prefixes[key].target) in short and key not in running}
        if not waiting:  # what cannot be placed is not begun with, while it need not be
            break
        steered -= waiting
        share = _allocated(world, found, steered)
    lists = _settle(world, share, _wanted(world, share, options), options)
    state = _state(world, share.rates, lists, steered)
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


def _allocated(world: World, found: _Candidates, steered: frozenset[RouteKey]) -> _Share:
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
    return _Share(slots, rates, told, allocate(world.joint, chosen, world.classes, paths, room), base, room)


@dataclass(frozen=True, eq=False, slots=True)
class _Candidates:
    """The demands that could be steered, whole, with the paths that head-ends can express."""

    slots: list[Slot]
    demands: list[Demand]
    paths: PathSet
    told: list[Segments]
    too_far: list[Slot]  # no path meets the bounds of the class: the nearest there is stands in


def _candidates(world: World, options: CycleOptions) -> _Candidates:
    rates: dict[Slot, float] = {}
    for row in world.demand:
        if world.may_steer(RouteKey(row.source, row.prefix), row.target):
            slot = (row.source, row.target, world.forwarding.row_of(row.traffic_class))
            rates[slot] = rates.get(slot, 0.0) + row.rate_mbps
    slots = [slot for slot in sorted(rates) if slot[1] in world.joint.node_row or slot[1] in world.groups]
    demands = [
        Demand(f"{headend}>{target}", world.classes[each].name, headend, target, rates[headend, target, each])
        for headend, target, each in slots
    ]
    paths, told = _paths(world, demands, world.classes, options.paths)
    none = np.flatnonzero(np.diff(paths.demand_start) == 0).tolist()
    unbounded = [replace(each, max_delay_us=math.inf, max_stretch=math.inf) for each in world.classes]
    nearest = _paths(world, [demands[row] for row in none], unbounded, options.paths)
    too_far = [slots[row] for place, row in enumerate(none) if np.diff(nearest[0].demand_start)[place]]
    paths, told = filled_in(paths, told, none, *nearest)
    return _Candidates(slots, demands, paths, told, too_far)


def _paths(
    world: World, demands: Sequence[Demand], classes: Sequence[TrafficClass], k: int
) -> tuple[PathSet, list[Segments]]:
    """Return the candidate paths that head-ends can express."""
    egresses = world.snapshot.peering.egresses
    found = candidate_paths(world.joint, demands, classes, egresses, k, ~world.closed, transit=world.transit)
    return expressible(world.forwarding, demands, found)


def frozen_part(world: World) -> ForwardingState:
    """Return the part of the running state that is not ours to change."""
    running = world.snapshot.running
    return ForwardingState(
        {key: policy for key, policy in running.policies.items() if key.headend not in world.managed},
        {key: route for key, route in running.routes.items() if key.headend not in world.managed},
    )


def _wanted(world: World, share: _Share, options: CycleOptions) -> list[tuple[SegmentList, ...]]:
    """Return the segment lists of each demand as the allocation wants them."""
    allocation, joint = share.allocation, world.joint
    paths = allocation.paths
    requested = np.array([demand.rate_mbps for demand in allocation.demands], dtype=np.float64)
    now = world.forwarding.loads(world.snapshot.running, world.demand).sum(axis=0)
    over_now = now > joint.capacity_mbps
    rates = with_excess(joint, paths, allocation.rate_mbps, requested, share.base.sum(axis=0), over_now)
    parts = weights(joint, paths, rates, requested, share.room, options.quanta)
    return [segment_lists(share.told[a:b], parts[a:b]) for a, b in pairwise(paths.demand_start)]


def _settle(
    world: World, share: _Share, wanted: Sequence[tuple[SegmentList, ...]], options: CycleOptions
) -> dict[Slot, tuple[SegmentList, ...]]:
    """Return the segment lists of each slot: what runs, unless a change must be or earns its churn."""
    intents = world.snapshot.intents
    choices, running = [], []
    nearest = _nearest(share.allocation)
    for slot, lists, near_us in zip(share.slots, wanted, nearest, strict=True):
        now = _running_lists(world, slot, near_us)
        new = _spread(world, slot, lists)
        old = None if now is None else _spread(world, slot, now)
        if new is None:
            raise AssertionError(f"{slot}: a list that was just made cannot be followed")
        delay = world.delay_us(new, slot[1])
        before = delay if old is None else world.delay_us(old, slot[1])
        gain = (before - delay) / before if before > 0 else 0.0
        choices.append(Choice(slot[2], share.rates[slot], old, new, gain))
        running.append(now)
    free = np.array([max(intents.headroom, each.headroom or 0.0) for each in world.classes])[:, None]
    limit = world.joint.capacity_mbps[None, :] * (1 - free * (1 - options.headroom_use))
    changed = changes(choices, share.base, limit, options.min_gain)
    return {
        slot: wanted[row] if row in changed or (now := running[row]) is None else now
        for row, slot in enumerate(share.slots)
    }


def _nearest(allocation: Allocation) -> list[float]:
    starts = allocation.paths.demand_start[:-1]
    return [float(allocation.paths.delay_us[start]) for start in starts]


def _spread(world: World, slot: Slot, lists: Sequence[SegmentList]) -> Split | None:
    headend, target, _ = slot
    splits = [world.forwarding.list_split(headend, one.segments, target) for one in lists]
    if not lists or any(split is None for split in splits):
        return None
    return merged([(split, one.weight) for split, one in zip(splits, lists, strict=True) if split is not None])


def _running_lists(world: World, slot: Slot, nearest_us: float) -> tuple[SegmentList, ...] | None:
    """Return what runs for a slot now, if all of it may stay: it can be followed, and is near and open enough."""
    headend, target, traffic_class = slot
    endpoint = world.running_endpoint.get((headend, target), "")
    colour = world.targets.class_colour(target, traffic_class)
    policy = world.snapshot.running.policies.get(PolicyKey(headend, colour, endpoint))
    if policy is None or not policy.segment_lists:
        return None
    each = world.classes[traffic_class]
    bound = min(each.max_delay_us, each.max_stretch * nearest_us) * (1 + 1e-9)
    for one in policy.segment_lists:
        split = world.forwarding.list_split(headend, one.segments, target)
        if split is None or world.delay_us(split, target) > bound or not world.open_to(split, headend, target):
            return None
    return policy.segment_lists


def _state(
    world: World,
    rates: Mapping[Slot, float],
    lists: Mapping[Slot, tuple[SegmentList, ...]],
    steered: frozenset[RouteKey],
) -> ForwardingState:
    """Return the state: what is not ours stays, what carries traffic is told, what merely lies ready may lie."""
    frozen = frozen_part(world)
    policies, routes = dict(frozen.policies), dict(frozen.routes)
    endpoints = {pair: _endpoint(world, pair, rates, lists) for pair in {slot[:2] for slot in lists}}
    for (headend, target, each), one in lists.items():
        key = PolicyKey(headend, world.targets.class_colour(target, each), endpoints[headend, target])
        policies[key] = SrPolicy(key, one)
    idle = _idle(world, endpoints)
    for (headend, target), endpoint in (endpoints | idle).items():
        flow = per_flow_policy(world.targets, headend, target, endpoint, world.classes)
        policies[flow.key] = flow
        for row in range(len(world.classes)):
            if (headend, target, row) not in lists:
                policies |= _left_lying(world, PolicyKey(headend, world.targets.class_colour(target, row), endpoint))
    for prefix in steered | (world.snapshot.running.routes.keys() if world.snapshot.portion > 0 else frozenset()):
        target = world.listed.get(prefix.prefix, "")
        endpoint = (endpoints | idle).get((prefix.headend, target), "")
        stays = (prefix.headend, target, prefix.prefix) not in world.measured
        if endpoint and world.may_steer(prefix, target) and (prefix in steered or stays):
            routes[prefix] = Route(prefix, endpoint, world.targets.steering_colour(target))
    return ForwardingState(policies, routes)


def _endpoint(
    world: World, pair: Pair, rates: Mapping[Slot, float], lists: Mapping[Slot, tuple[SegmentList, ...]]
) -> str:
    exit_mbps: dict[int, float] = {}
    for row in range(len(world.classes)):
        slot = (*pair, row)
        split = _spread(world, slot, lists[slot]) if slot in lists else None
        for link, share in zip(*(part.tolist() for part in split), strict=True) if split else ():
            if world.is_exit(link):
                exit_mbps[link] = exit_mbps.get(link, 0.0) + share * rates[slot]
    return choose_endpoint(world, *pair, exit_mbps)


def _idle(world: World, endpoints: Mapping[Pair, str]) -> dict[Pair, str]:
    """Return the pairs that are steered now and have no demand at the moment: they may stay as they are."""
    idle: dict[Pair, str] = {}
    for key, route in world.snapshot.running.routes.items():
        pair = (key.headend, world.listed.get(key.prefix, ""))
        quiet = pair not in endpoints and pair not in world.measured_pairs
        if quiet and world.may_steer(key, pair[1]) and world.forwarding.usable(route):
            idle[pair] = world.running_endpoint.get(pair, "")
    return idle


def _left_lying(world: World, key: PolicyKey) -> dict[PolicyKey, SrPolicy]:
    """Return a running policy of a class without demand, if it can still be followed."""
    policy = world.snapshot.running.policies.get(key)
    meaning = world.targets.meaning(key.colour)
    if policy is None or meaning is None or meaning[1] is None:
        return {}
    known = _running_lists(world, (key.headend, meaning[0], meaning[1]), float("inf"))
    return {key: policy} if known is not None else {}
