"""The largest of many keys are found in bounded memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neto.agents.monitoring.heavy import HeavyHitters

BATCH = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 1000)), min_size=1, max_size=40)


@given(st.lists(BATCH, max_size=10), st.integers(1, 12))
def test_each_key_is_told_with_less_than_it_has_by_a_bounded_amount(batches, most):
    heavy, exact = HeavyHitters(most), Counter()
    for batch in batches:
        keys, octets = np.array(batch, np.int64).T
        heavy.add(keys, octets)
        for key, count in batch:
            exact[key] += count
    told = dict(heavy.top(1000))
    bound = sum(exact.values()) / (most + 1)
    assert len(told) <= most
    for key, count in exact.items():
        assert count - bound <= told.get(key, 0) <= count


def test_the_largest_come_first():
    heavy = HeavyHitters(10)
    heavy.add(np.array([1, 2, 3, 2]), np.array([5, 4, 7, 4]))
    assert heavy.top(2) == [(2, 8), (3, 7)]


def test_a_key_that_comes_often_but_never_as_the_largest_is_not_lost():
    heavy = HeavyHitters(1)
    heavy.add(np.array([1]), np.array([100]))
    for _ in range(10):
        heavy.add(np.array([2]), np.array([99]))
    ((key, octets),) = heavy.top(5)
    assert key == 2
    assert octets >= 990 - 1090 / 2
