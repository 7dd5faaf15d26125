"""How far the daemon goes, and when it goes back."""

from hypothesis import given
from hypothesis import strategies as st

from neto.operation.mode import Mode, Operation, RampPolicy, after_cycle, begin, freeze, resume, to_legacy

RAMP = RampPolicy(portions=(0.05, 0.25, 1.0), hold_cycles=2)


def run(operation: Operation, outcomes: str) -> Operation:
    for outcome in outcomes:
        operation = after_cycle(operation, RAMP, clean=outcome == "+")
    return operation


def test_the_first_start_observes_unless_told_otherwise():
    assert not begin(RAMP, observe=True).pushes
    assert begin(RAMP, observe=False).portion == 0.05


def test_each_portion_lasts_its_clean_cycles_before_the_next():
    operation = begin(RAMP, observe=False)
    assert [run(operation, "+" * n).portion for n in range(7)] == [0.05, 0.05, 0.25, 0.25, 1.0, 1.0, 1.0]
    assert run(operation, "+" * 6).mode is Mode.FULL


def test_an_unclean_cycle_falls_back_one_portion_and_starts_counting_anew():
    assert run(begin(RAMP, observe=False), "++++-").portion == 0.25
    assert run(begin(RAMP, observe=False), "++-").portion == 0.05
    assert run(begin(RAMP, observe=False), "-").portion == 0.0
    assert run(begin(RAMP, observe=False), "-++").portion == 0.05


def test_full_stays_full_when_a_cycle_fails():
    assert run(Operation(Mode.FULL, portion=1.0), "--").portion == 1.0


def test_frozen_keeps_its_portion_and_goes_on_from_it_only_when_told():
    frozen = freeze(Operation(Mode.FULL, portion=1.0), "half of the nodes are gone")
    assert run(frozen, "+++") == frozen
    assert not frozen.pushes
    assert resume(frozen, RAMP) == Operation(Mode.RAMP, portion=1.0)


def test_the_kill_switch_stays_pulled_through_a_freeze_and_clean_cycles():
    legacy = to_legacy("operator")
    assert freeze(legacy, "x").mode is Mode.LEGACY
    assert run(legacy, "++++").portion == 0.0
    assert resume(legacy, RAMP).portion == 0.05


@given(outcomes=st.text("+-", max_size=40))
def test_the_portion_moves_by_one_rung_at_most(outcomes):
    ladder = [0.0, *RAMP.portions]
    operation = begin(RAMP, observe=False)
    for outcome in outcomes:
        after = run(operation, outcome)
        assert abs(ladder.index(after.portion) - ladder.index(operation.portion)) <= 1
        operation = after
