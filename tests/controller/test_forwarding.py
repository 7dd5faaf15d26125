"""Oracle: the judge of `wans`, which forwards in fractions and shares nothing with the code."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from neto.controller.cycle import decide
from neto.controller.forwarding import Forwarding, added, merged
from neto.controller.peering import join
from neto.controller.replay import after_moves, step_peak
from neto.model.plan import MoveKind, PolicyMove, RouteMove
from neto.model.sr import ForwardingState, PolicyKey, RouteKey, Segment, SegmentList, SrPolicy
from tests.controller.wans import Judge, moved, snapshot, with_demand

CLASSES = ("gold", "silver", "bronze")


def forwarding_of(now):
    return Forwarding(join(now.topology, now.peering), now.peering, now.inventory, now.intents.classes)


def broken_at_random(state, rng):
    """The same state with policies lost, lists that lead nowhere, and next hops that nobody has."""
    policies = {}
    for key, policy in state.policies.items():
        fate = rng.random()
        if fate < 0.4 and policy.segment_lists:
            nonsense = (Segment(99999),) if fate < 0.3 else (*policy.segment_lists[0].segments, Segment(24000))
            policies[key] = replace(policy, segment_lists=(SegmentList(nonsense, 50), *policy.segment_lists[1:]))
        elif policy.per_flow and fate < 0.5:  # classes are told apart in another way
            colours = [colour for _, colour in policy.per_flow]
            pairs = zip((dscp for dscp, _ in policy.per_flow), colours[1:] + colours[:1], strict=True)
            policies[key] = replace(policy, per_flow=tuple(pairs))
        elif fate < 0.85:
            policies[key] = policy
    routes = {
        key: replace(route, next_hop="10.9.9.9") if rng.random() < 0.1 else route for key, route in state.routes.items()
    }
    return ForwardingState(policies, routes)


@pytest.mark.parametrize("seed", range(8))
def test_loads_are_those_of_a_judge_whatever_is_on_the_routers(seed):
    rng = random.Random(seed)
    now = snapshot(rng, busiest=0.9)
    state = broken_at_random(decide(now).target, rng)
    forwarding, judged = forwarding_of(now), Judge(now).loads(state)
    loads = forwarding.loads(state, now.demand.rates)
    for row, link in enumerate(forwarding.joint.links):
        for level, name in enumerate(CLASSES):
            assert loads[level, row] == pytest.approx(judged.get(link.id, {}).get(name, 0.0), abs=1e-9)
    sparse = forwarding.loads_by_link(state, now.demand.rates)
    assert all(loads[key] == pytest.approx(load) for key, load in sparse.items())
    assert (loads > 0).sum() == sum(load > 0 for load in sparse.values())


@pytest.mark.parametrize("seed", range(10))
def test_the_peak_of_a_step_is_the_worst_of_all_subsets_of_its_moves(seed):
    """Random moves, sensible or not: policies lost and changed, routes onto them in the same step."""
    rng = random.Random(50 + seed)
    now = snapshot(rng, nodes=4, busiest=0.9, prefixes=1)
    state = decide(now).target
    then = broken_at_random(decide(with_demand(now, rng, 0.9)).target, rng)
    steering = [key for key in sorted(state.policies) if state.policies[key].per_flow]
    keys = rng.sample(sorted({*state.policies, *then.policies} - {*steering}), 2) + rng.sample(steering, 2)
    prefixes = rng.sample(sorted({*state.routes, *then.routes}, key=str), 3)
    moves = [PolicyMove(MoveKind.REPLACE_POLICY, key, then.policies.get(key)) for key in keys]
    moves += [RouteMove(key, then.routes.get(key) if rng.random() < 0.5 else None) for key in prefixes]
    forwarding, judge = forwarding_of(now), Judge(now)
    peak = step_peak(forwarding, state, moves, now.demand.rates)
    worst = {link.id: [0.0] * 3 for link in forwarding.joint.links}
    for chosen in product((False, True), repeat=len(moves)):
        loads = judge.loads(moved(state, [move for move, on in zip(moves, chosen, strict=True) if on]))
        for link, by_class in loads.items():
            for level in range(3):
                down_to = sum(by_class.get(name, 0.0) for name in CLASSES[: level + 1])
                worst[link][level] = max(worst[link][level], down_to)
    for row, link in enumerate(forwarding.joint.links):
        for level in range(3):
            assert peak[level, row] >= worst[link.id][level] - 1e-9


def test_moves_are_carried_out_as_they_say():
    now = snapshot(random.Random(1), busiest=0.8)
    target = decide(now).target
    moves = [PolicyMove(MoveKind.INSTALL_POLICY, key, policy) for key, policy in target.policies.items()]
    moves += [RouteMove(key, route) for key, route in target.routes.items()]
    state = after_moves(ForwardingState(), moves)
    assert state == target
    undone = [PolicyMove(MoveKind.REMOVE_POLICY, key, None) for key in target.policies]
    undone += [RouteMove(key, None) for key in target.routes]
    assert after_moves(state, [*undone, *undone]) == ForwardingState()


def test_a_policy_without_a_mapping_takes_all_classes_of_its_route():
    now = snapshot(random.Random(2), busiest=0.8)
    forwarding = forwarding_of(now)
    target = decide(now).target
    key, route = next(iter(sorted(target.routes.items(), key=lambda item: str(item[0]))))
    rows = [row for row in now.demand.rates if RouteKey(row.source, row.prefix) == key]
    lists = next(
        policy.segment_lists
        for at, policy in sorted(target.policies.items())
        if policy.segment_lists and at.headend == key.headend and at.endpoint == route.next_hop
    )
    steering = PolicyKey(key.headend, route.colour, route.next_hop)
    state = ForwardingState({steering: SrPolicy(steering, lists)}, {key: route})
    judge = Judge(now)
    for row in rows:
        split = forwarding.split(state, row)
        told = {forwarding.joint.links[link].id: share for link, share in zip(*split, strict=True)}
        assert told == pytest.approx({link: float(share) for link, share in judge.spread(state, row).items()})


@pytest.mark.parametrize("seed", range(4))
def test_plain_segments_lead_where_plain_forwarding_does(seed):
    now = snapshot(random.Random(seed), busiest=0.8)
    forwarding, judge = forwarding_of(now), Judge(now)
    said = 0
    for router in now.inventory.routers:
        for target in (*(other.name for other in now.inventory.routers), "group0", "group1"):
            segments = forwarding.plain_segments(router.name, target)
            if segments and target != router.name:
                said += 1
                assert judge.follow(router.name, target, tuple(each.label for each in segments)) == judge.plain(
                    router.name, target
                )
    assert said > 20


def test_sums_of_splits_have_each_link_once_in_order():
    now = snapshot(random.Random(3), busiest=0.8)
    forwarding = forwarding_of(now)
    one, other = (forwarding.toward(0, f"10.0.0.{row}", f"r{row - 1}") for row in (3, 4))
    total = added([(one, 2.0), (other, 1.0)])
    assert total[0].tolist() == sorted({*one[0].tolist(), *other[0].tolist()})
    assert total[1].sum() == pytest.approx(2 * one[1].sum() + other[1].sum())
    assert merged([(one, 3.0), (one, 1.0)])[1] == pytest.approx(one[1])
