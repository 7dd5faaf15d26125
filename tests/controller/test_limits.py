"""What a head-end can hold and impose is kept in every state of a plan, whatever order routers act in."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from neto.controller.cycle import decide
from neto.model.plan import MoveKind
from tests.controller.wans import moved, snapshot, with_demand


def changed(seed, **limits):
    """A network that runs at full portion, and then has other demand; its routers with these limits."""
    now = snapshot(random.Random(seed), busiest=0.7)
    now = replace(now, running=decide(now).target)
    now = with_demand(now, random.Random(seed + 100), 0.8)
    routers = tuple(replace(router, max_policies=limits.get(router.name)) for router in now.inventory.routers)
    return replace(now, inventory=replace(now.inventory, routers=routers))


def held(state):
    return Counter(key.headend for key in state.policies)


def most_held(now, plan):
    """The most policies that each head-end has in any order: what a step installs before what it removes."""
    state, most = now.running, held(now.running)
    for step in plan.steps:
        installs = Counter(move.key.headend for move in step.moves if move.kind is MoveKind.INSTALL_POLICY)
        most |= held(state) + installs
        state = moved(state, step.moves)
    return most, state


def test_a_head_end_never_holds_more_policies_than_it_can():
    """The limit is one more than each needs before or after; without it some would hold more in between."""
    beyond = reached = 0
    for seed in range(12):
        free = changed(seed)
        decision = decide(free)
        wanted, _ = most_held(free, decision.plan)
        ends = held(free.running) | held(decision.target)
        limits = {name: ends[name] + 1 for name in wanted}
        tight = changed(seed, **limits)
        found = decide(tight)
        most, state = most_held(tight, found.plan)
        assert all(most[name] <= limits[name] for name in most)
        assert found.plan.stuck or state == found.target
        if any(wanted[name] > limits[name] for name in wanted):
            beyond += 1
            reached += state == found.target
    assert beyond >= 2
    assert reached >= 1


def test_without_room_the_plan_says_so_and_steers_nothing_onto_what_is_missing():
    now = snapshot(random.Random(3), busiest=0.7)
    routers = tuple(replace(router, max_policies=1) for router in now.inventory.routers)
    now = replace(now, inventory=replace(now.inventory, routers=routers))
    plan = decide(now).plan
    most, state = most_held(now, plan)
    assert max(most.values()) == 1
    assert "no room for another policy" in plan.stuck
    for route in state.routes.values():
        assert any((key.headend, key.endpoint) == (route.key.headend, route.next_hop) for key in state.policies)


@pytest.mark.parametrize("seed", range(3))
def test_no_list_on_the_way_is_longer_than_the_head_end_can_impose(seed):
    now = changed(seed)
    topology = replace(now.topology, nodes=tuple(replace(node, max_sid_depth=3) for node in now.topology.nodes))
    now = replace(now, topology=topology, running=decide(replace(now, topology=topology)).target)
    now = with_demand(now, random.Random(seed + 200), 0.8)
    plan = decide(now).plan
    lists = [
        one
        for step in plan.steps
        for move in step.moves
        if move.kind in {MoveKind.INSTALL_POLICY, MoveKind.REPLACE_POLICY}
        for one in move.policy.segment_lists
    ]
    assert lists
    assert all(len(one.segments) <= 3 for one in lists)
