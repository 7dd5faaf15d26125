"""Octets go where their flow lived, to the octet."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.spread import lifetime, passed

SECONDS = st.integers(0, 5000).map(lambda tenths: tenths / 10)
FLOW = st.tuples(st.integers(0, 1 << 46), SECONDS, SECONDS)


def cut(flow, window_s=10.0, earliest=0):
    """Octets by window, as the aggregator cuts a flow."""
    octets, (start, end) = flow[0], sorted(flow[1:])
    first, last = (max(int(at // window_s), earliest) for at in (start, end))
    by_then = [0, *(passed(octets, window, start, end, window_s) for window in range(first, last)), octets]
    return {window: by_then[n + 1] - by_then[n] for n, window in enumerate(range(first, last + 1))}


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
    ("start", "end", "life"),
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
def test_times_that_are_not_told_or_not_believed_are_now(start, end, life):
    assert lifetime(start, end, 0.0, 100.0, 1000.0) == life
    assert lifetime(start + 7, end + 7, 7.0, 100.0, 1000.0) == life
