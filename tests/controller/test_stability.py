from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.stability import Choice, changes

LINKS = 4


def split(*links):
    return np.array(sorted(links), dtype=np.int32), np.ones(len(links))


def total(choices, changed, base):
    load = base.copy()
    for row, each in enumerate(choices):
        way = each.wanted if row in changed or each.running is None else each.running
        load[each.traffic_class, way[0]] += way[1] * each.rate_mbps
    return np.cumsum(load, axis=0)


@st.composite
def cases(draw):
    ways = st.sets(st.integers(0, LINKS - 1), min_size=1, max_size=2)
    return [
        Choice(
            draw(st.integers(0, 1)),
            draw(st.floats(1, 40)),
            split(*draw(ways)) if draw(st.integers(0, 4)) else None,
            split(*draw(ways)),
            draw(st.sampled_from([0.0, 0.0, 0.5])),
        )
        for _ in range(draw(st.integers(1, 7)))
    ]


@settings(max_examples=150, deadline=None)
@given(choices=cases())
def test_no_link_is_fuller_than_its_limit_or_than_the_new_allocation_makes_it(choices):
    base = np.zeros((2, LINKS))
    limit = np.full((2, LINKS), 60.0)
    changed = changes(choices, base, limit, 0.1)
    everything = total(choices, range(len(choices)), base)
    assert (total(choices, changed, base) <= np.maximum(limit, everything) + 1e-3).all()
    assert changed >= {row for row, each in enumerate(choices) if each.running is None or each.gain >= 0.1}


def test_what_fits_stays():
    choices = [Choice(0, 10.0, split(0), split(1)), Choice(0, 10.0, split(1), split(0))]
    assert changes(choices, np.zeros((1, 2)), np.full((1, 2), 20.0), 0.1) == frozenset()


def test_only_what_relieves_a_full_link_most_changes():
    choices = [
        Choice(0, 10.0, split(0), split(1)),
        Choice(0, 30.0, split(0), split(1)),
        Choice(0, 5.0, split(1), split(0)),
    ]
    assert changes(choices, np.zeros((1, 2)), np.full((1, 2), 35.0), 0.1) == {1}


def test_a_class_has_its_own_limit():
    choices = [Choice(0, 30.0, split(0), split(1)), Choice(1, 30.0, split(0), split(1))]
    limit = np.array([[20.0, 90.0], [90.0, 90.0]])
    assert changes(choices, np.zeros((2, 2)), limit, 0.1) == {0}


def test_a_gain_earns_a_change():
    choices = [Choice(0, 10.0, split(0), split(1), gain) for gain in (0.05, 0.1, 0.3)]
    assert changes(choices, np.zeros((1, 2)), np.full((1, 2), 99.0), 0.1) == {1, 2}
