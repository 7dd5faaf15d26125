"""The ledger charges every moment to the state it was spent in."""

import pytest

from neto.lab.accounting import Ledger, State

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
    assert account.lost_mbit == {"rest": 90.0}
    assert account.worst == {"ab": 1.3, "bc": 0.2}


def test_higher_classes_go_first_over_a_full_link(ledger):
    ledger.enter(State({"ab": (120.0, 30.0), "bc": (0.0, 0.0)}), 0.0)
    assert ledger.since("start", 1.0).lost_mbit == {"gold": 20.0, "rest": 30.0}


def test_a_state_that_lasts_no_time_still_counts_as_the_worst(ledger):
    ledger.enter(State({"ab": (200.0, 0.0), "bc": (0.0, 0.0)}), 1.0)
    ledger.enter(State({"ab": (10.0, 0.0), "bc": (0.0, 0.0)}), 1.0)
    account = ledger.since("start", 2.0)
    assert account.worst["ab"] == 2.0
    assert account.over_seconds.get("ab", 0.0) == 0.0
    assert account.episodes == [(1.0, "ab", 2.0)]


def test_a_mark_forgets_what_was_before_it_but_not_what_is(ledger):
    ledger.enter(State({"ab": (200.0, 0.0), "bc": (60.0, 0.0)}), 0.0)
    ledger.enter(State({"ab": (10.0, 0.0), "bc": (60.0, 0.0)}), 1.0)
    ledger.mark("later", 2.0)
    account = ledger.since("later", 3.0)
    assert account.worst == {"ab": 0.1, "bc": 1.2}
    assert account.over_seconds == {"bc": 1.0}
    assert [link for _, link, _ in account.episodes] == ["bc"]
    assert ledger.since("start", 3.0).worst["ab"] == 2.0


def test_traffic_that_arrives_nowhere_is_lost_as_such(ledger):
    ledger.enter(State({"ab": (0.0, 0.0), "bc": (0.0, 0.0)}, astray_mbps=8.0), 0.0)
    assert ledger.since("start", 2.0).lost_mbit == {"astray": 16.0}
