"""Put the state together that routers should be in: policies, the mapping of classes to them, and routes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from neto.controller.endpoints import choose_endpoint
from neto.controller.forwarding import merged
from neto.controller.igp import Split
from neto.controller.realise import per_flow_policy
from neto.controller.world import World
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, SegmentList, SrPolicy

Pair = tuple[str, str]  # head-end, target
Slot = tuple[str, str, int]  # head-end, target, class row: what one policy carries


def goal_state(
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
        target = world.target_of(prefix)
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
        split = spread(world, slot, lists[slot]) if slot in lists else None
        for link, share in zip(*(part.tolist() for part in split), strict=True) if split else ():
            if world.is_exit(link):
                exit_mbps[link] = exit_mbps.get(link, 0.0) + share * rates[slot]
    return choose_endpoint(world, *pair, exit_mbps)


def _idle(world: World, endpoints: Mapping[Pair, str]) -> dict[Pair, str]:
    """Return the pairs that are steered now and have no demand at the moment: they may stay as they are."""
    idle: dict[Pair, str] = {}
    for key, route in world.snapshot.running.routes.items():
        pair = (key.headend, world.target_of(key))
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
    known = running_lists(world, (key.headend, meaning[0], meaning[1]), float("inf"))
    return {key: policy} if known is not None else {}


def frozen_part(world: World) -> ForwardingState:
    """Return the part of the running state that is not ours to change."""
    running = world.snapshot.running
    return ForwardingState(
        {key: policy for key, policy in running.policies.items() if key.headend not in world.managed},
        {key: route for key, route in running.routes.items() if key.headend not in world.managed},
    )


def spread(world: World, slot: Slot, lists: Sequence[SegmentList]) -> Split | None:
    """Return how traffic of a slot spreads on these lists; None when there is none or one cannot be followed."""
    headend, target, _ = slot
    splits = [world.forwarding.list_split(headend, one.segments, target) for one in lists]
    if not lists or any(split is None for split in splits):
        return None
    return merged([(split, one.weight) for split, one in zip(splits, lists, strict=True) if split is not None])


def running_lists(world: World, slot: Slot, nearest_us: float) -> tuple[SegmentList, ...] | None:
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
        if split is None or not world.open_to(split, headend, target):
            return None
        delay_us = world.delay_us(split, target)
        if math.isinf(delay_us) or delay_us > bound:  # infinite: it leaves where the target cannot be reached now
            return None
    return policy.segment_lists
