"""Sums by window and number, exact, taken window by window."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.agents.monitoring.tally import Tally

PIECES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 1 << 55)), max_size=30)


@settings(deadline=None)  # the kernels are compiled first
@given(st.lists(PIECES, max_size=6), st.booleans())
def test_a_window_is_the_sum_of_all_that_was_counted_up_to_its_end(batches, far):
    stride = 1 << 40 if far else 7
    tally, expected = Tally(stride), Counter()
    for batch in batches:
        rows = np.array(batch, np.int64).reshape(-1, 3)
        tally.add(rows[:, 0] * stride + rows[:, 1], rows[:, 2])
        for window, number, octets in batch:
            expected[window, number] += octets
    numbers, sums = tally.take(4)
    for number in range(7):
        assert sums[numbers == number].sum() == sum(expected[window, number] for window in range(5))
    for window in range(5, 10):
        numbers, sums = tally.take(window)
        got = dict(zip(numbers.tolist(), sums.tolist(), strict=True))
        assert {k: v for k, v in got.items() if v} == {n: v for (w, n), v in expected.items() if w == window and v}
