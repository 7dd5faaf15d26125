"""Octets go where their flow lived, to the octet."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import floor, inf, nan

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neto.agents.monitoring.spread import lifetimes, spread

SECONDS = st.integers(0, 5000).map(lambda tenths: tenths / 10)
FLOW = st.tuples(st.integers(0, 1 << 46), SECONDS, SECONDS)


def cut(flows, window_s=10.0, earliest=0):
    octets, ends = np.array([f[0] for f in flows], np.int64), [sorted(f[1:]) for f in flows]
    return spread(octets, np.array([e[0] for e in ends]), np.array([e[1] for e in ends]), window_s, earliest=earliest)


@given(st.lists(FLOW, min_size=1, max_size=8), st.integers(0, 40))
def test_no_octet_is_made_or_lost_and_none_is_put_where_its_flow_was_not(flows, earliest):
    pieces = cut(flows, earliest=earliest)
    records = np.arange(len(flows)) if pieces.record is None else pieces.record
    sums = Counter()
    for record, window, octets in zip(records.tolist(), pieces.window.tolist(), pieces.octets.tolist(), strict=True):
        first, last = (max(int(at // 10), earliest) for at in sorted(flows[record][1:]))
        assert octets >= 0
        assert first <= window <= last
        sums[record] += octets
    assert [sums[row] for row in range(len(flows))] == [f[0] for f in flows]


@given(FLOW)
def test_a_window_gets_its_share_of_the_flows_life(flow):
    """Oracle: exact fractions; cutting at both ends of a window rounds by less than one octet each."""
    octets, (start, end) = flow[0], sorted(map(Fraction, flow[1:]))
    pieces = cut([flow])
    for window, counted in zip(pieces.window.tolist(), pieces.octets.tolist(), strict=True):
        inside = max(Fraction(0), min(end, 10 * (window + 1)) - max(start, 10 * window))
        expected = octets * inside / (end - start) if end > start else octets
        assert abs(counted - expected) <= 1 + octets * 1e-12


def test_what_was_sent_before_the_earliest_window_counts_in_it():
    pieces = cut([(1000, 0.0, 100.0)], earliest=7)
    assert pieces.window.tolist() == [7, 8, 9, 10]
    assert pieces.octets.tolist() == [800, 100, 100, 0]


def test_times_that_are_not_told_or_lie_in_the_future_are_now():
    start = np.array([nan, 5.0, nan, 150.0, -inf, 90.0])
    end = np.array([nan, nan, 50.0, 160.0, inf, 80.0])
    first, last = lifetimes(start, end, 0.0, 100.0, 1000.0)
    assert last.tolist() == [100, 100, 50, 100, 100, 80]
    assert first[[0, 1, 2, 3, 5]].tolist() == [100, 5, 50, 100, 80]
    assert floor(first[4]) == 100


def test_skew_is_taken_off():
    first, last = lifetimes(np.array([3610.0]), np.array([3620.0]), 3600.0, 25.0, 60.0)
    assert (first[0], last[0]) == (10.0, 20.0)


def test_a_life_that_ended_beyond_reach_is_not_believed():
    first, last = lifetimes(np.array([0.0, 5.0, 5.0]), np.array([39.9, 40.0, 90.0]), 0.0, 100.0, 60.0)
    assert first.tolist() == [100, 5, 5]
    assert last.tolist() == [100, 40, 90]
