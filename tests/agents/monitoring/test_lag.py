"""Windows wait as long as it takes for nearly all to be told, and no longer than is allowed."""

from __future__ import annotations

import numpy as np

from neto.agents.monitoring.clocks import Clocks
from neto.agents.monitoring.lag import Lag


def test_nothing_told_or_told_at_once_means_no_waiting():
    lag = Lag(10.0, 60.0)
    assert lag.seconds == 0
    lag.told(np.array([-3.0, 0.0]), np.array([100, 100]))
    assert lag.seconds == 0


def test_a_window_waits_for_99_of_a_hundred_octets():
    lag = Lag(10.0, 60.0)
    lag.told(np.array([0.0, 4.0, 31.0]), np.array([70.0, 29.5, 0.5]))
    assert lag.seconds == 5.0  # in steps of a quarter of a window
    lag.told(np.array([31.0]), np.array([2.0]))
    assert lag.seconds == 32.5


def test_no_window_waits_longer_than_allowed():
    lag = Lag(10.0, 60.0)
    lag.told(np.array([1e9]), np.array([100.0]))
    assert lag.seconds == 60.0
    assert Lag(10.0, 0.0).seconds == 0


def test_what_exporters_no_longer_do_is_forgotten():
    lag = Lag(10.0, 60.0)
    lag.told(np.array([55.0]), np.array([100.0]))
    for _ in range(30):
        lag.forget()
        lag.told(np.array([0.0]), np.array([100.0]))
    assert lag.seconds == 0.0


def test_a_clock_is_ahead_by_what_its_least_late_message_says():
    clocks = Clocks()
    for delay in (3.0, 0.25, 9.0):
        skew = clocks.told("a", 1000.0 + 120.0 - delay, 1000.0)
    assert skew == clocks.skew_s("a") == 119.75
    assert clocks.told("b", 999.2, 1000.0) == 0.0  # whole seconds in a header, and a network
    assert clocks.told("c", 900.0, 1000.0) == -100.0
    assert clocks.skew_s("nobody") == 0.0


def test_a_clock_that_is_set_right_is_believed_after_a_while():
    clocks = Clocks()
    clocks.told("a", 1300.0, 1000.0)
    for second in range(1, 121):
        skew = clocks.told("a", 1000.0 + second, 1000.0 + second)
    assert skew == 0.0
