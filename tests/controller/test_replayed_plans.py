"""Plans judged by replaying them on forwarding state alone: `tests/controller/judge.py`."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.controller.judge import Network, every_mixture, replay
from tests.controller.moving import moving


def assert_judged(seeds, orders):
    """Replay the plans of many cases, and the same changes at once."""
    trusting = stuck = overloads = overloads_at_once = overloaded_at_once = 0
    for seed in seeds:
        case = moving(seed)
        planned = case.plan()
        states = case.states(planned)
        assert planned.stuck or (states[-1] == case.after).all()
        verdict = replay(case.network, states, orders, seed, at_once=planned.at_once)
        assert verdict.clean, f"seed {seed}: {verdict}"
        overloads += verdict.overloads
        trusting += planned.at_once
        stuck += planned.stuck
        without = replay(case.network, [case.before, case.after], orders, seed).overloads
        overloads_at_once += without
        overloaded_at_once += without > 0
    sys.stdout.write(
        f"{len(seeds)} plans x ({orders} random orders and the worst for each link): {overloads} overloads; "
        f"{trusting} count on a demand's paths changing at once, {stuck} stop short; "
        f"in one step {overloads_at_once} overloads, in {overloaded_at_once} plans\n"
    )
    assert trusting <= len(seeds) // 20
    assert stuck <= len(seeds) // 20
    assert overloaded_at_once > len(seeds) // 2


def test_no_order_of_any_of_a_thousand_plans_overloads_a_link_and_changing_at_once_does():
    assert_judged(range(1000), 100)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_order_of_any_of_ten_thousand_plans_overloads_a_link():
    assert_judged(range(10_000), 100)


def test_every_subset_of_the_changes_of_a_step_fits_and_the_worst_is_what_the_plan_says():
    for seed in range(150):
        case = moving(seed, demands=(3, 6), nodes=(4, 6))
        planned = case.plan()
        if planned.at_once or not planned.steps:
            continue
        worst, safe = every_mixture(case.network, case.states(planned))
        assert safe
        assert [step.worst_utilisation for step in planned.steps] == pytest.approx(worst.tolist())


def swap():
    """Two demands that change places on two links."""
    network = Network(
        np.array([100.0, 100.0]), np.zeros((1, 2)), ((0,), (1,), (0,), (1,)), np.array([0, 0, 1, 1]), np.array([0, 0]),
        np.array([0, 1]),
    )  # fmt: skip
    return network, np.array([80.0, 0.0, 0.0, 80.0]), np.array([0.0, 80.0, 80.0, 0.0])


def test_the_judge_sees_an_overload_that_only_one_order_has():
    network, before, after = swap()
    verdict = replay(network, [before, after], 0, 1)
    assert verdict.overloads
    assert verdict.worst == pytest.approx(1.6)
    half = (before + after) / 2
    assert replay(network, [before, half, after], 50, 1).worst == pytest.approx(1.2)


def test_the_judge_sees_an_overload_of_a_higher_class_below_the_total_of_before():
    """Bronze alone overloads link 0; gold may take its place there, but not more of it than fits."""
    network = Network(
        np.array([100.0, 100.0, 200.0]), np.zeros((2, 3)), ((0,), (1,), (0,), (2,)), np.array([0, 0, 1, 1]),
        np.array([0, 1]), np.array([0, 1]),
    )  # fmt: skip
    before, away = [0.0, 90.0, 180.0, 0.0], [0.0, 90.0, 60.0, 120.0]
    assert replay(network, [before, [120.0, 0.0, 180.0, 0.0]], 0, 1).overloads
    assert replay(network, [before, away, [40.0, 60.0, 60.0, 120.0]], 0, 1).overloads == 0
    assert replay(network, [before, [120.0, 0.0, 0.0, 180.0]], 0, 1).overloads
    assert replay(network, [before, away, [40.1, 60.0, 60.0, 120.0]], 0, 1).overloads


def test_the_judge_sees_a_demand_that_has_less_than_before_and_after():
    network, before, after = swap()
    assert replay(network, [before, before / 2, after], 0, 1).starved
    assert not replay(network, [before, after], 0, 1).starved
