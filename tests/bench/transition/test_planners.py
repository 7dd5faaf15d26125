"""The peers themselves: what they say is compared among them, and with the judge of replays."""

from __future__ import annotations

import numpy as np
import pytest

from neto.controller.contest import contested
from neto.controller.shifts import laid_out
from tests.controller.judge import replay
from tests.controller.moving import moving

from .changes import Change
from .planners import interpolation, neto, one_shot, starved, touches, worst
from .programs import fewest, fewest_by_integers


def cases(count, **options):
    """Yield small changes that need more than one step, and what the judge needs to replay them."""
    seed = 0
    while count:
        case = moving(seed, classes=1, **options)
        seed += 1
        change = Change(str(seed), 1.0, 0.0, laid_out(case.shifts(), case.network.background, case.network.capacity))
        within = change.shifts.loads(change.shifts.before) <= case.network.capacity
        if within.all() and contested(change.shifts) is not None:
            count -= 1
            yield case, change


def test_programs_agree_and_no_plan_has_fewer_steps():
    for _, change in cases(12, slack=0.05, demands=(4, 8)):
        states = neto(change)
        steps = fewest(change.shifts, 60)
        assert steps == fewest(change.shifts, 60, solver="simplex")
        assert fewest(change.shifts, 60, hot_only=True) <= steps
        assert fewest_by_integers(change.shifts, 60, most=len(states)) <= steps
        assert steps <= len(states) <= steps + 1


def test_the_judge_sees_the_same_worst_load_and_equal_parts_are_safe():
    for case, change in cases(20, slack=0.1):
        for plan, clean in ((neto, True), (interpolation, True), (one_shot, False)):
            states = plan(change)
            verdict = replay(case.network, [case.before, *states], 20, 1)
            assert (verdict.overloads == 0) == clean
            assert verdict.worst <= worst(change, states) + 1e-9
            assert not starved(change, states)


def test_equal_parts_touch_everything_every_time():
    for _, change in cases(5, slack=0.1):
        equal = interpolation(change)
        assert touches(change, equal) == len(equal) * touches(change, one_shot(change))
        assert touches(change, neto(change)) <= touches(change, equal)


def test_a_demand_that_falls_below_both_ends_is_seen():
    _, change = next(cases(1, slack=0.1))
    nothing = np.zeros_like(change.shifts.before)
    assert starved(change, [nothing, change.shifts.after]) == pytest.approx(
        np.minimum(*(np.add.reduceat(rates, change.shifts.shift_start[:-1])
                     for rates in (change.shifts.before, change.shifts.after))).max()
    )  # fmt: skip
