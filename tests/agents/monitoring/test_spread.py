"""Octets go where their flow lived, to the octet."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.counting import ACCOUNTS, PIECES, Sums, Times, _cut
from neto.agents.monitoring.spread import spread

SECONDS = st.integers(0, 5000).map(lambda tenths: tenths / 10)
FLOW = st.tuples(st.integers(0, 1 << 46), SECONDS, SECONDS)


def life(start, end, *, skew_s=0.0, now=100.0, window_s=10.0, reach=100):
    """First and last window, begin and length of one record's life."""
    told = np.empty(1, np.int64), np.empty(1, np.int64), np.empty(1), np.empty(1)
    columns = np.zeros(1, np.int32), np.array([start]), np.array([end]), np.array([skew_s])
    spread(*columns, now, window_s, reach, *told)
    return tuple(each[0] for each in told)


def cut(flow, window_s=10.0, earliest=0):
    """Octets by window, as the aggregator cuts a flow that was told at its end; those of one window are summed."""
    octets, (start, end) = flow[0], sorted(flow[1:])
    now = max(end, window_s * earliest)
    reach = int(now // window_s) - earliest
    window, last, begun, lasted = life(start, end, now=now, window_s=window_s, reach=max(reach, 0))
    none = np.zeros(0, np.int64)
    sums = Sums(np.zeros(ACCOUNTS, np.int64), np.zeros(1), np.zeros(600, np.int64), none.astype(np.int32), *[none] * 3)
    numbers, pieces = np.empty(PIECES, np.int64), np.empty(PIECES, np.int64)
    times = Times(now, window_s, reach, reach * window_s, by_arrival=False, base=0, stride=1, oldest=0, sent_from=0)
    columns = (np.array([each]) for each in (0, octets, window, last, begun, lasted))
    count, _ = _cut(*columns, 1, times, sums, numbers, pieces)
    counted = dict.fromkeys(range(window, last + 1), 0)
    for number, piece in zip(numbers[:count].tolist(), pieces[:count].tolist(), strict=True):
        counted[number] += piece
    return counted


@settings(deadline=None)  # the kernels are compiled first
@given(FLOW, st.integers(0, 40))
def test_no_octet_is_made_or_lost(flow, earliest):
    pieces = cut(flow, earliest=earliest)
    assert all(octets >= 0 for octets in pieces.values())
    assert sum(pieces.values()) == flow[0]


@settings(deadline=None)
@given(FLOW)
def test_a_window_gets_its_share_of_the_flows_life(flow):
    """Oracle: exact fractions; cutting at both ends of a window rounds by less than one octet each."""
    octets, (start, end) = flow[0], sorted(map(Fraction, flow[1:]))
    for window, counted in cut(flow).items():
        inside = max(Fraction(0), min(end, 10 * (window + 1)) - max(start, 10 * window))
        expected = octets * inside / (end - start) if end > start else octets
        assert abs(counted - expected) <= 1 + octets * 1e-12


def test_what_was_sent_before_the_earliest_window_counts_in_it():
    assert cut((1000, 0.0, 100.0), earliest=7) == {7: 800, 8: 100, 9: 100, 10: 0}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (nan, nan, (100, 100)),
        (5.0, nan, (5, 100)),
        (nan, 50.0, (50, 50)),
        (150.0, 160.0, (100, 100)),
        (-inf, inf, (100, 100)),
        (90.0, 80.0, (80, 80)),
        (-950.0, -901.0, (100, 100)),
        (-950.0, -899.0, (-950, -899)),
    ],
)
def test_times_that_are_not_told_or_not_believed_are_now(start, end, expected):
    for skew_s in (0.0, 7.0):
        window, last, begun, lasted = life(start + skew_s, end + skew_s, skew_s=skew_s)
        assert (begun, begun + lasted) == expected
        assert (window, last) == (max(expected[0] // 10, -90), max(expected[1] // 10, -90))
