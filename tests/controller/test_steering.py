from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.steering import Steerable, choose
from neto.model.sr import RouteKey


def key(headend, number):
    return RouteKey(headend, IPv4Network(f"10.{number}.0.0/16"))


rates = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9)), st.floats(0.01, 100), min_size=1, max_size=9
)


def steerable(drawn):
    return {key(headend, number): Steerable(f"t{number % 3}", rate) for (headend, number), rate in drawn.items()}


def share(chosen, prefixes):
    return sum(prefixes[each].rate_mbps for each in chosen)


@settings(max_examples=150, deadline=None)
@given(drawn=rates, portion=st.floats(0, 1), other=st.floats(0, 200))
def test_no_more_than_the_portion_is_steered_and_nothing_that_fits_is_left(drawn, portion, other):
    prefixes = steerable(drawn)
    total = share(prefixes, prefixes) + other
    chosen = choose(prefixes, (), total, portion, 0.0)
    room = portion * total - share(chosen, prefixes)
    assert room >= -1e-6
    if portion < 1:
        assert all(prefixes[each].rate_mbps > room - 1e-6 for each in prefixes.keys() - chosen)


@settings(max_examples=60, deadline=None)
@given(drawn=rates, portion=st.floats(0.05, 0.95))
def test_one_prefix_alone_is_the_largest_that_fits(drawn, portion):
    prefixes = steerable(drawn)
    total = share(prefixes, prefixes)
    chosen = choose(prefixes, (), total, portion, 0.0)
    fitting = [each.rate_mbps for each in prefixes.values() if each.rate_mbps <= portion * total]
    if len(chosen) == 1:
        assert share(chosen, prefixes) >= max(fitting) - 1e-6


@settings(max_examples=100, deadline=None)
@given(
    drawn=rates, first=st.floats(0.05, 0.95), second=st.floats(0.05, 1), moved=st.lists(st.floats(0.5, 2), min_size=9)
)
def test_what_is_steered_stays_while_the_portion_does_not_fall_and_rates_drift_little(drawn, first, second, moved):
    prefixes = steerable(drawn)
    total = share(prefixes, prefixes)
    before = choose(prefixes, (), total, first, 0.05)
    drifted = {
        each: Steerable(one.target, one.rate_mbps * factor)
        for (each, one), factor in zip(prefixes.items(), moved, strict=False)
    }
    now = share(drifted, drifted)
    after = choose(drifted, before, now, max(first, second), 0.05)
    if share(before, drifted) <= (max(first, second) + 0.05) * now:
        assert before <= after


def test_the_largest_go_first_when_the_portion_falls():
    prefixes = {key("a", number): Steerable("t", float(number + 1)) for number in range(4)}
    everything = frozenset(prefixes)
    chosen = choose(prefixes, everything, 10.0, 0.35, 0.05)
    assert chosen == {key("a", 0), key("a", 1)}


def test_every_pair_gets_its_part_before_any_gets_more():
    prefixes = {key(headend, number): Steerable("t", 10.0) for headend in "abcd" for number in range(4)}
    chosen = choose(prefixes, (), 160.0, 0.5, 0.0)
    assert sorted(each.headend for each in chosen) == ["a", "a", "b", "b", "c", "c", "d", "d"]


@pytest.mark.parametrize(("portion", "count"), [(0.0, 0), (-1.0, 0), (1.0, 3)])
def test_nothing_and_everything(portion, count):
    prefixes = {key("a", number): Steerable("t", 10.0) for number in range(3)}
    assert len(choose(prefixes, frozenset(prefixes), 1000.0, portion, 0.0)) == count


def test_the_order_in_which_prefixes_are_told_does_not_matter():
    prefixes = {key(headend, number): Steerable("t", 10.0) for headend in "ab" for number in range(6)}
    backwards = dict(reversed(prefixes.items()))
    assert choose(prefixes, (), 120.0, 0.3, 0.0) == choose(backwards, (), 120.0, 0.3, 0.0)
