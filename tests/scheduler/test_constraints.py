"""The operator's rules."""

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neto.model.intent import Intents, MaintenanceWindow
from neto.scheduler.constraints import Constraints, in_window
from neto.scheduler.task import tasks_of
from tests.scheduler.plans import ROUTERS, adjust, announce, constraints, inventory, plan


def at(hour, minute=0):
    return datetime(2026, 3, 9, hour, minute, tzinfo=UTC).timestamp()


def tasks(*devices):
    return tasks_of(plan([announce(device) for device in devices]).steps[0], 0)


def test_a_frozen_router_is_not_touched_and_holds_the_whole_step():
    rules = constraints(intents=Intents((), frozen=frozenset({"nyc1"})))
    assert rules.step_refusal(tasks("lon1", "nyc1"), 0.0) == "nyc1 is frozen"
    assert rules.step_refusal(tasks("lon1"), 0.0) == ""


def test_a_router_frozen_in_the_inventory_is_not_touched():
    rules = Constraints(inventory(frozen=True), Intents(()), 1, 1, lambda _: "")
    assert rules.step_refusal(tasks("lon1"), 0.0) == "lon1 is frozen"


def test_a_router_that_nobody_listed_is_not_touched():
    assert constraints().step_refusal(tasks("tokyo1"), 0.0) == "tokyo1 is not in the inventory"


@pytest.mark.parametrize(
    ("begins", "ends", "now", "open_"),
    [
        (time(2), time(4), at(2), True),
        (time(2), time(4), at(3, 59), True),
        (time(2), time(4), at(4), False),
        (time(2), time(4), at(1, 59), False),
        (time(22), time(4), at(23), True),
        (time(22), time(4), at(3), True),
        (time(22), time(4), at(12), False),
        (time(0), time(0), at(12), True),
    ],
)
def test_a_router_with_a_window_is_changed_only_inside_it(begins, ends, now, open_):
    rules = constraints(intents=Intents((), windows=(MaintenanceWindow(("nyc1",), begins, ends),)))
    expected = "" if open_ else "nyc1 is outside its maintenance window"
    assert rules.step_refusal(tasks("nyc1"), now) == expected
    assert rules.step_refusal(tasks("lon1"), now) == ""


@given(st.times(), st.times(), st.times())
def test_a_window_and_the_one_that_fills_the_rest_of_the_day_cover_every_time_once(begins, ends, now):
    """Oracle: every time of the day is in exactly one of two windows that share their borders."""
    one, other = (MaintenanceWindow(("a",), *borders) for borders in ((begins, ends), (ends, begins)))
    assert in_window("a", [one, other], now)
    assert (in_window("a", [one], now) != in_window("a", [other], now)) == (begins != ends)


def test_several_windows_add_up():
    windows = [MaintenanceWindow(("a",), time(1), time(2)), MaintenanceWindow(("a", "b"), time(5), time(6))]
    assert [in_window("a", windows, time(hour, 30)) for hour in (1, 3, 5)] == [True, False, True]


@given(st.lists(st.sampled_from(ROUTERS), unique=True), st.sampled_from(ROUTERS), st.integers(1, 4), st.integers(1, 4))
def test_no_more_than_so_many_devices_and_so_many_of_a_site(busy, device, concurrency, per_site):
    """Oracle: count them, the newcomer included, whenever it is let in."""
    admitted = constraints(concurrency=concurrency, per_site=per_site).admits(device, busy)
    then = [*busy, device]
    fits = (
        len(set(then)) == len(then)
        and len(then) <= concurrency
        and sum(other[:3] == device[:3] for other in then) <= per_site
    )
    assert admitted == fits


def test_too_many_moves_are_refused_before_the_first():
    rules = constraints(max_moves=2)
    assert rules.plan_refusal(plan([announce("lon1")], [announce("nyc1")])) == ""
    assert rules.plan_refusal(plan([announce("lon1")], [announce("nyc1"), announce("par1")])) == "3 moves (accepted: 2)"


def test_one_move_of_a_forbidden_shape_refuses_the_plan():
    rules = constraints(vet=lambda move: "is odd" if move.key.headend == "nyc1" else "")
    assert rules.plan_refusal(plan([announce("lon1")], [announce("nyc1")])) == "nyc1: is odd"


def test_rules_that_let_nothing_happen_are_no_rules():
    with pytest.raises(ValueError, match="at least one"):
        constraints(per_site=0)


def test_a_step_that_adjusts_announcements_does_nothing_else():
    why = "a step that adjusts announcements does something else as well"
    both = [adjust("nyc1", med=1), announce("lon1")]
    assert constraints().plan_refusal(plan(both)) == why
    assert constraints().plan_refusal(plan(both[:1], both[1:])) == ""
    assert constraints().plan_refusal(plan([adjust("nyc1", med=1), adjust("lon1")])) == ""
