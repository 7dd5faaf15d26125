"""Advice for what comes in: sums are done anew from the proposals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.ingress import Advice, advise
from neto.model.announcement import Change

SHAPE = (3, 5)


def _two(rates: list[list[float]], *, isp: tuple[int, int] = (0, 1), community: tuple[bool, bool] = (False, False)):
    rate = np.array(rates)
    return advise(rate, np.ones(rate.shape, np.bool_), np.array([100.0, 100.0]), np.array(isp), np.array(community))


def test_the_smallest_prefix_that_is_enough_leaves_an_overloaded_link() -> None:
    advice = _two([[60, 30, 25], [10, 0, 0]])
    assert [(each.prefix, each.rate_mbps) for each in advice.proposals] == [(2, 25.0)]
    assert advice.after_mbps.tolist() == [90.0, 35.0]


def test_nothing_is_proposed_when_nothing_is_over() -> None:
    advice = _two([[60, 40], [100, 0]])
    assert advice.proposals == ()
    assert advice.over == ()


def test_a_prefix_that_no_other_link_announces_stays() -> None:
    announced = np.array([[True, True], [False, False]])
    rates = np.array([[90.0, 30.0], [0.0, 0.0]])
    advice = advise(rates, announced, np.array([100.0, 100.0]), np.array([0, 1]), np.zeros(2, np.bool_))
    assert advice.proposals == ()
    assert advice.over == (0,)


def test_what_is_kept_is_not_changed_and_others_may_go_there() -> None:
    """The second prefix would be enough alone; the third is next, and goes to the link where it is kept as well."""
    rates, kept = (
        np.array([[60.0, 25.0, 30.0], [0.0, 0.0, 10.0]]),
        np.array([[False, True, False], [False, True, True]]),
    )
    args = np.ones(rates.shape, np.bool_), np.array([100.0, 100.0]), np.array([0, 1]), np.zeros(2, np.bool_)
    assert [each.prefix for each in advise(rates, *args).proposals] == [1]
    advice = advise(rates, *args, kept)
    assert [each.prefix for each in advice.proposals] == [2]
    assert advice.after_mbps.tolist() == [85.0, 40.0]
    nothing = advise(rates, *args, np.ones(rates.shape, np.bool_))
    assert (nothing.proposals, nothing.over) == ((), (0,))


@pytest.mark.parametrize(
    ("isp", "community", "change"),
    [
        ((0, 0), (False, False), Change.MED),
        ((0, 1), (False, False), Change.PREPEND),
        ((0, 1), (True, False), Change.COMMUNITY),
    ],
)
def test_med_is_for_links_of_one_isp_and_a_community_for_isps_that_offer_one(isp, community, change) -> None:
    assert _two([[90, 30], [0, 0]], isp=isp, community=community).proposals[0].change is change


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_rates_that_are_no_rates_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="rates are finite"):
        _two([[bad, 1], [0, 0]])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_advice_keeps_links_under_their_limits_and_prefixes_on_another_link(seed: int) -> None:
    """Oracle: the load of each link is summed from the proposals' own words; every move has a place to go."""
    random = np.random.default_rng(seed)
    announced = random.random(SHAPE) < 0.7
    rates = np.where(announced, random.integers(0, 60, SHAPE), 0).astype(np.float64)
    args = rates, announced, np.full(3, 100.0), random.integers(0, 2, 3), random.random(3) < 0.3
    advice: Advice = advise(*args)
    before = [sum(row) for row in rates.tolist()]
    assert advice.before_mbps.tolist() == before
    assert advice.after_mbps.sum() == pytest.approx(sum(before))
    for link in range(3):
        if link not in advice.over:
            assert advice.after_mbps[link] <= 100 + 1e-6
        if before[link] <= 100:
            assert advice.after_mbps[link] <= 100 + 1e-6
        assert advice.least_mbps[link] <= advice.after_mbps[link] + 1e-6 <= advice.most_mbps[link] + 2e-6
    assert len({each.prefix for each in advice.proposals}) == len(advice.proposals)
    for each in advice.proposals:
        assert sum(announced[other, each.prefix] for other in range(3) if other != each.link) >= 1
    assert advise(*args).proposals == advice.proposals
