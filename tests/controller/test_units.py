from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neto.controller.cycle import decide
from neto.controller.forwarding import Forwarding
from neto.controller.peering import join
from neto.controller.units import Traffic, same, together, weighted
from neto.model.plan import MoveKind
from neto.model.sr import Segment, SegmentList, SrPolicy
from tests.controller.wans import Judge, moved, snapshot


def lists(*weights):
    return tuple(SegmentList((Segment(16000 + row),), weight) for row, weight in enumerate(weights))


def test_policies_are_the_same_in_any_order_and_scale():
    key = object()
    one = SrPolicy(key, lists(2, 4))
    assert same(one, SrPolicy(key, lists(50, 100)[::-1]))
    assert not same(one, SrPolicy(key, lists(2, 3)))
    assert not same(one, None)
    assert same(None, None)
    assert same(SrPolicy(key, per_flow=((1, 2), (3, 4))), SrPolicy(key, per_flow=((3, 4), (1, 2))))


def test_weights_are_told_in_lowest_terms_without_what_carries_nothing():
    assert weighted(lists(1, 1, 1), [50, 0, 100]) == (
        SegmentList((Segment(16000),), 1),
        SegmentList((Segment(16002),), 2),
    )


@pytest.fixture
def traffic_and_goal():
    """A policy in use with weights 1 : 2, to become 3 : 4 of which one list is new."""
    now = snapshot(random.Random(7), busiest=1.15)
    state = decide(now).target
    split = [policy for _, policy in sorted(state.policies.items()) if len(policy.segment_lists) == 2]
    key, policy = split[0].key, split[0]
    one, other = policy.segment_lists
    odd = SrPolicy(key, (replace(one, weight=1), replace(other, weight=2)))
    state = replace(state, policies={**state.policies, key: odd})
    goal = SrPolicy(key, (replace(one, weight=3), replace(other, weight=4)))
    joint = join(now.topology, now.peering)
    forwarding = Forwarding(joint, now.peering, now.inventory, now.intents.classes)
    return now, Traffic(forwarding, state, now.demand.rates, grain=100), goal


def test_rates_on_the_way_are_told_exactly_whatever_the_two_sets_of_weights(traffic_and_goal):
    now, traffic, goal = traffic_and_goal
    unit = traffic.replacement(goal.key, goal)
    lists_, grain = unit.lists
    assert grain % 21 == 0
    assert grain >= 100
    first, last = ([getattr(one, end) for one in unit.shift.strands] for end in ("before_mbps", "after_mbps"))
    quantum = unit.shift.quantum_mbps
    assert all(rate / quantum == pytest.approx(round(rate / quantum)) for rate in first + last)
    half = [first[0] + quantum, first[1] - quantum]
    policy = unit.move_at(half).policy
    total = sum(one.weight for one in policy.segment_lists)
    shares = {one.segments: one.weight / total for one in policy.segment_lists}
    assert [shares[one.segments] for one in lists_] == pytest.approx([rate / sum(first) for rate in half])
    assert unit.move_at(last).policy is goal
    judge = Judge(now)
    before, after = (judge.loads(state) for state in (traffic.state, moved(traffic.state, [unit.move_at(half)])))
    moved_mbps = sum(abs(sum(after[link].values()) - sum(before[link].values())) for link in before)
    assert moved_mbps > 0


def test_a_unit_knows_what_it_moves(traffic_and_goal):
    now, traffic, goal = traffic_and_goal
    unit = traffic.replacement(goal.key, goal)
    changed = moved(traffic.state, [unit.move])
    judge = Judge(now)
    for row, each in enumerate(now.demand.rates):
        assert (judge.spread(traffic.state, each) != judge.spread(changed, each)) <= (row in unit.rows)
    assert unit.rows


def test_a_policy_that_nothing_uses_moves_nothing(traffic_and_goal):
    _, traffic, goal = traffic_and_goal
    unused = SrPolicy(replace(goal.key, colour=9999), goal.segment_lists)
    unit = traffic.replacement(unused.key, unused)
    assert unit.shift is None
    assert unit.move.kind is MoveKind.INSTALL_POLICY


def test_what_sees_what_another_changes_waits(traffic_and_goal):
    _, traffic, goal = traffic_and_goal
    replacement = traffic.replacement(goal.key, goal)
    prefixes = {key for key in traffic.state.routes if key.headend == goal.key.headend}
    flips = [traffic.flip(key, None) for key in sorted(prefixes, key=str)]
    chosen, waiting = together([replacement, *flips])
    assert replacement in chosen
    for unit in flips:
        touched = bool(unit.rows & replacement.rows)
        assert (unit in waiting) >= touched
        assert (unit in waiting) == (goal.key in unit.reads or touched)
