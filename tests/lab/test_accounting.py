"""The ledger charges every moment to the state it was spent in."""

import pytest

from neto.lab.accounting import MOST_MARKS, Episode, Ledger, Sample, State

CLASSES = ("gold", "rest")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger({"ab": 100.0, "bc": 50.0}, CLASSES, now=0.0)


def test_time_over_capacity_and_loss_are_integrated_exactly(ledger):
    ledger.enter(State({"ab": (60.0, 30.0), "bc": (0.0, 0.0)}), 0.0)
    ledger.enter(State({"ab": (60.0, 70.0), "bc": (0.0, 10.0)}), 2.0)
    ledger.enter(State({"ab": (0.0, 0.0), "bc": (0.0, 0.0)}), 5.0)
    account = ledger.since("start", 9.0)
    assert account.seconds == 9.0
    assert account.over_seconds == {"ab": 3.0}
    assert account.worst == {"ab": 1.3, "bc": 0.2}


def test_losses_deliveries_and_late_traffic_are_integrated_by_class_and_cause(ledger):
    quiet = State({"ab": (1.0, 1.0)}, {}, (1.0, 1.0), (1.0, 1.0), worst_delay_us=(5.0, 70.0))
    bad = State({"ab": (1.0, 1.0)}, {"gold": 2.0, "cut": 7.0}, (12.0, 4.0), (3.0, 4.0), 0.0, (90.0, 60.0), ("x: 90",))
    ledger.enter(quiet, 0.0)
    ledger.enter(bad, 10.0)
    ledger.mark("bad", 11.0)
    ledger.enter(quiet, 13.0)
    account = ledger.since("start", 20.0)
    assert account.lost_mbit == {"gold": 6.0, "cut": 21.0}
    assert account.offered_mbit == [10 + 36 + 7, 10 + 12 + 7]
    assert account.delivered_mbit == [10 + 9 + 7, 10 + 12 + 7]
    assert account.worst_delay_us == [90.0, 70.0]
    assert (account.late_seconds, account.late) == (3.0, {"x: 90"})
    account = ledger.since("bad", 20.0)
    assert account.lost_mbit == {"gold": 4.0, "cut": 14.0}
    assert account.late_seconds == 2.0


def test_a_state_that_lasts_no_time_still_counts_as_the_worst(ledger):
    ledger.enter(State({"ab": (200.0, 0.0), "bc": (0.0, 0.0)}), 1.0)
    ledger.enter(State({"ab": (10.0, 0.0), "bc": (0.0, 0.0)}), 1.0)
    account = ledger.since("start", 2.0)
    assert account.worst["ab"] == 2.0
    assert account.over_seconds.get("ab", 0.0) == 0.0
    assert account.episodes == [Episode("ab", 1.0, 2.0, ended=1.0)]


def test_a_mark_forgets_what_was_before_it_but_not_what_is(ledger):
    ledger.enter(State({"ab": (200.0, 0.0), "bc": (60.0, 0.0)}), 0.0)
    ledger.enter(State({"ab": (10.0, 0.0), "bc": (60.0, 0.0)}), 1.0)
    ledger.mark("later", 2.0)
    account = ledger.since("later", 3.0)
    assert account.worst == {"ab": 0.1, "bc": 1.2}
    assert account.over_seconds == {"bc": 1.0}
    assert account.episodes == [Episode("bc", 0.0, 1.2)]  # it began earlier, and goes on
    assert ledger.since("start", 3.0).worst["ab"] == 2.0


def test_an_episode_knows_its_beginning_its_worst_and_its_end(ledger):
    assert ledger.enter(State({"ab": (110.0, 0.0)}), 1.0) == [Episode("ab", 1.0, 1.1)]
    assert ledger.enter(State({"ab": (130.0, 0.0)}), 2.0) == []
    assert ledger.enter(State({"ab": (100.0, 0.0)}), 4.0) == [Episode("ab", 1.0, 1.3, ended=4.0)]
    assert ledger.overloaded() == []  # a full link is no overloaded one
    assert ledger.since("start", 5.0).over_seconds == {"ab": 3.0}


def test_history_is_a_ring_of_ticks():
    ledger = Ledger({"ab": 100.0, "bc": 50.0}, CLASSES, now=0.0, keep=3)
    ledger.enter(State({"ab": (60.0, 0.0), "bc": (0.0, 60.0)}, {"rest": 10.0}, (60.0, 60.0), steered_mbps=30.0), 0.0)
    for tick in range(5):
        ledger.tick(float(tick))
    assert [sample.at for sample in ledger.history] == [2.0, 3.0, 4.0]
    assert ledger.history[-1] == Sample(4.0, "bc", 1.2, 1, 30.0, 120.0, 10.0)


def test_old_marks_make_room_for_new_ones_and_the_start_stays(ledger):
    for number in range(MOST_MARKS + 10):
        ledger.mark(f"m{number}", float(number))
    assert ledger.since("start", 100.0).seconds == 100.0
    assert ledger.since(f"m{MOST_MARKS + 9}", 100.0).seconds == 100.0 - MOST_MARKS - 9
    with pytest.raises(KeyError):
        ledger.since("m0", 100.0)


def test_a_mark_that_is_made_again_begins_anew(ledger):
    ledger.mark("x", 1.0)
    ledger.mark("x", 5.0)
    assert ledger.since("x", 6.0).seconds == 1.0
