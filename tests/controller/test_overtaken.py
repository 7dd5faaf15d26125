from __future__ import annotations

import random
from dataclasses import replace

import pytest

from neto.controller.cycle import decide
from neto.controller.overtaken import overtaken
from tests.controller.wans import Judge, capacities, moved, snapshot


@pytest.fixture(scope="module")
def planned():
    now = snapshot(random.Random(11), busiest=0.95)
    plan = decide(now).plan
    assert len(plan.steps) > 1
    assert not plan.stuck
    return now, plan


def scaled(demand, factor):
    return replace(demand, rates=tuple(replace(row, rate_mbps=row.rate_mbps * factor) for row in demand.rates))


def test_a_plan_goes_on_while_demand_stays_or_falls(planned):
    now, plan = planned
    for begun in range(len(plan.steps) + 1):
        assert not overtaken(now, plan, begun, now.demand)
        assert not overtaken(now, plan, begun, scaled(now.demand, 0.7))


def test_a_plan_whose_next_step_would_now_overload_a_link_does_not_go_on(planned):
    """Oracle: the judge of router state, after the step, with the new demand."""
    now, plan = planned
    capacity = capacities(now)
    for begun in range(len(plan.steps)):
        state = now.running
        for step in plan.steps[:begun]:
            state = moved(state, step.moves)
        then = moved(state, plan.steps[begun].moves)
        for factor in (1.2, 1.6, 2.5):
            more = scaled(now.demand, factor)
            judge = Judge(replace(now, demand=more))
            before, after = (
                {link: sum(row.values()) for link, row in judge.loads(each).items()} for each in (state, then)
            )
            worse = [link for link, load in after.items() if load > max(capacity[link], before.get(link, 0.0)) * 1.001]
            said = overtaken(now, plan, begun, more)
            assert said or not worse
            if worse:
                assert "no longer passes its audit" in said


def test_steps_that_have_begun_are_not_asked_about(planned):
    now, plan = planned
    assert overtaken(now, plan, 0, scaled(now.demand, 3.0))
    assert not overtaken(now, plan, len(plan.steps), scaled(now.demand, 3.0))
