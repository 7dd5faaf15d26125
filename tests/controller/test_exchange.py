"""Oracle: what each path of a group carries must not change, and a linear program per group says what is least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from neto.controller.delay_prices import Members
from neto.controller.exchange import exchange


def members_of(draw, paths, count):
    """One group; delays are such that ties are common."""
    return Members(
        np.array([0, paths]), np.zeros(paths + 1, dtype=np.int64), np.zeros(0, dtype=np.int32), np.array([0, count]),
        draw.uniform(0.1, 10, count), draw.integers(1, 9, count * paths).astype(float), np.array([0, count * paths]),
    )  # fmt: skip


def least_cost(members, carried, paths, count):
    """Return the least delay with which the members fill exactly what the paths carry."""
    rows = np.zeros((count + paths, count * paths))
    for member in range(count):
        rows[member, member * paths : (member + 1) * paths] = 1.0
        rows[count + np.arange(paths), member * paths + np.arange(paths)] = 1.0
    found = linprog(members.delay, A_eq=rows[:-1], b_eq=np.concatenate([members.rate, carried[:-1]]))
    assert found.status == 0
    return found.fun


@given(seed=st.integers(0, 100_000), paths=st.integers(1, 4), count=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_an_exchange_keeps_loads_and_rates_and_leaves_few_members_split(seed, paths, count):
    draw = np.random.default_rng(seed)
    members = members_of(draw, paths, count)
    share = draw.dirichlet(np.ones(paths), count)
    flow = (share * members.rate[:, None]).ravel()
    before = flow.reshape(count, paths).copy()
    exchange(members, flow)
    after = flow.reshape(count, paths)
    assert (after >= 0).all()
    assert after.sum(axis=0) == pytest.approx(before.sum(axis=0))
    assert after.sum(axis=1) == pytest.approx(members.rate)
    assert (after * members.delay.reshape(count, paths)).sum() <= before.ravel() @ members.delay + 1e-9
    for one in range(paths):
        for other in range(one + 1, paths):
            both = (after[:, one] > 1e-8) & (after[:, other] > 1e-8)
            assert both.sum() <= max(1, paths - 1)


@given(seed=st.integers(0, 100_000), count=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_over_two_paths_an_exchange_reaches_the_least_delay(seed, count):
    draw = np.random.default_rng(seed)
    members = members_of(draw, 2, count)
    flow = (draw.dirichlet(np.ones(2), count) * members.rate[:, None]).ravel()
    best = least_cost(members, flow.reshape(count, 2).sum(axis=0), 2, count)
    exchange(members, flow)
    assert flow @ members.delay == pytest.approx(best)
