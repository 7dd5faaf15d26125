"""In every state of a plan that moves paths and exits, no demand of a class above the lowest has less than it must.

Oracle: what links pass on under strict priority, by the judge of router state.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neto.controller.cycle import CycleOptions, decide
from neto.model.plan import RouteMove
from tests.controller.wans import Judge, capacities, moved, snapshot, with_demand

CLASSES = ("gold", "silver", "bronze")
ROUNDING = 1e-6
STATES = 12  # looked at in each step


def passed_on(loads, capacity):
    """Return the share of its load that each link passes on, by class: the lower get what the higher leave."""
    shares = {}
    for link, by_class in loads.items():
        left = capacity[link]
        for name in CLASSES:
            load = by_class.get(name, 0.0)
            shares[link, name] = min(1.0, left / load) if load > 0 else 1.0
            left = max(0.0, left - load)
    return shares


def got(judge, state, capacity):
    """(demands,) the share of each demand that the worst link on its ways passes on."""
    shares = passed_on(judge.loads(state), capacity)
    return [
        min((shares[link, row.traffic_class] for link in judge.spread(state, row) or ()), default=0.0)
        for row in judge.now.demand.rates
    ]


def changes(seed):
    """A network in which everything is steered, with other demand and one exit less than before."""
    rng = random.Random(seed)
    now = snapshot(rng, busiest=0.9)
    now = replace(now, running=decide(now).target)
    now = with_demand(now, rng, 1.1)
    gone = rng.choice(now.peering.egresses)
    kept = [each for each in now.peering.egresses if each.prefix_group == gone.prefix_group]
    if len(kept) > 1:
        egresses = tuple(each for each in now.peering.egresses if each is not gone)
        now = replace(now, peering=replace(now.peering, egresses=egresses))
    return now


@pytest.mark.parametrize("seed", range(8))
def test_no_order_costs_a_higher_class_what_it_has_before_and_after(seed):
    now = changes(seed)
    decision = decide(now)
    judge, capacity, rng = Judge(now), capacities(now), random.Random(seed)
    assert any(isinstance(move, RouteMove) for step in decision.plan.steps for move in step.moves)
    end = now.running
    for step in decision.plan.steps:
        end = moved(end, step.moves)
    floor = [min(pair) for pair in zip(got(judge, now.running, capacity), got(judge, end, capacity), strict=True)]
    state = now.running
    for step in decision.plan.steps:
        order = rng.sample(step.moves, len(step.moves))
        for count in sorted(rng.sample(range(1, len(order) + 1), min(len(order), STATES))):
            partial = moved(state, order[:count])
            for row, share, least in zip(now.demand.rates, got(judge, partial, capacity), floor, strict=True):
                assert row.traffic_class == CLASSES[-1] or share >= least - ROUNDING
        state = moved(state, step.moves)


def test_one_step_for_everything_would_cost_higher_classes_something():
    harmed = 0
    for seed in range(8):
        now = changes(seed)
        decision = decide(now, CycleOptions(min_gain=-9.0))  # whatever can change does
        judge, capacity = Judge(now), capacities(now)
        moves = [move for step in decision.plan.steps for move in step.moves]
        end = moved(now.running, moves)
        floor = [min(pair) for pair in zip(got(judge, now.running, capacity), got(judge, end, capacity), strict=True)]
        order = random.Random(seed).sample(moves, len(moves))
        for count in range(1, len(order) + 1, max(1, len(order) // STATES)):
            shares = got(judge, moved(now.running, order[:count]), capacity)
            harmed += any(
                row.traffic_class != CLASSES[-1] and share < least - ROUNDING
                for row, share, least in zip(now.demand.rates, shares, floor, strict=True)
            )
    assert harmed >= 3
