"""Splits of a group by whole prefixes: near the shares, stable, bounded, whatever order things come in."""

from __future__ import annotations

import random
from ipaddress import ip_network
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.prefix_split import SplitLimits, split

PREFIXES = [ip_network(f"10.{number}.0.0/16") for number in range(40)]
EXITS = ["a", "b", "c"]
FREE = SplitLimits(tolerance=0.02, max_prefixes=10**6, max_shift=1.0)

rates_ = st.lists(st.floats(0.1, 100), min_size=1, max_size=30).map(lambda r: dict(zip(PREFIXES, r, strict=False)))
shares_ = st.lists(st.floats(0.05, 1), min_size=2, max_size=3).map(lambda s: dict(zip(EXITS, s, strict=False)))


def carried(rates, exits):
    load = dict.fromkeys(EXITS, 0.0)
    for prefix, exit_ in exits.items():
        load[exit_] += rates[prefix]
    return load


def wanted(rates, shares):
    total, whole = sum(rates.values()), sum(shares.values())
    return {exit_: total * share / whole for exit_, share in shares.items()}


@settings(max_examples=300, deadline=None)
@given(rates_, shares_)
def test_every_prefix_has_an_exit_and_no_exit_has_too_much_by_more_than_a_prefix(rates, shares):
    found = split(rates, shares, {}, FREE)
    assert found.exits.keys() == rates.keys()
    load, target = carried(rates, found.exits), wanted(rates, shares)
    for exit_ in shares:
        assert load[exit_] - target[exit_] <= max(*rates.values(), 0.02 * sum(rates.values())) + 1e-6


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 100), min_size=1, max_size=7), shares_)
def test_no_single_move_would_bring_the_worst_exits_nearer(values, shares):
    """Oracle: try to move every prefix from the exit with most too much to the one with most too little."""
    rates = dict(zip(PREFIXES, values, strict=False))
    found = split(rates, shares, {}, FREE)
    load, target = carried(rates, found.exits), wanted(rates, shares)
    slack = 0.02 * sum(rates.values())
    over = max(shares, key=lambda each: load[each] - target[each])
    under = min(shares, key=lambda each: load[each] - target[each])
    if load[over] - target[over] <= slack:
        return
    error = abs(load[over] - target[over]) + abs(load[under] - target[under])
    for prefix in (p for p, exit_ in found.exits.items() if exit_ == over):
        r = rates[prefix]
        assert abs(load[over] - r - target[over]) + abs(load[under] + r - target[under]) >= error - 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_it_is_not_far_from_the_best_there_is(seed):
    """Oracle: all 3**8 assignments."""
    chance = random.Random(seed)
    rates = {prefix: chance.paretovariate(1.3) for prefix in PREFIXES[:8]}
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    target = wanted(rates, shares)

    def off(exits):
        load = carried(rates, exits)
        return max(abs(load[each] - target[each]) for each in shares)

    best = min(off(dict(zip(rates, ways, strict=True))) for ways in product(shares, repeat=8))
    assert off(split(rates, shares, {}, FREE).exits) <= best + 0.35 * max(rates.values())


@settings(max_examples=200, deadline=None)
@given(rates_, shares_, st.randoms())
def test_the_same_inputs_in_any_order_give_the_same_split_and_it_stays(rates, shares, chance):
    found = split(rates, shares, {}, FREE)
    shuffled = dict(chance.sample(sorted(rates.items()), len(rates)))
    assert split(shuffled, shares, {}, FREE).exits == found.exits
    again = split(rates, shares, found.exits, FREE)
    assert (again.exits, again.moved, again.forced, again.begun) == (found.exits, frozenset(), frozenset(), frozenset())


@settings(max_examples=200, deadline=None)
@given(rates_, shares_, st.randoms())
def test_rates_that_wobble_within_the_tolerance_move_nothing(rates, shares, chance):
    limits = SplitLimits(tolerance=0.05, max_prefixes=10**6, max_shift=1.0)
    found = split(rates, shares, {}, limits)
    excess = {e: load - wanted(rates, shares).get(e, 0) for e, load in carried(rates, found.exits).items()}
    if max(excess.values()) > 0:
        return  # already off: a wobble may then be one too much
    wobbled = {prefix: rate * (1 + chance.uniform(-0.02, 0.02)) for prefix, rate in rates.items()}
    assert split(wobbled, shares, found.exits, limits).moved == frozenset()


@settings(max_examples=200, deadline=None)
@given(rates_, st.fixed_dictionaries({"a": st.floats(0.2, 1), "b": st.floats(0.2, 1), "c": st.floats(0.2, 1)}))
def test_prefixes_of_an_exit_that_is_gone_leave_it_whatever_the_limits(rates, shares):
    limits = SplitLimits(tolerance=1.0, max_prefixes=0, max_shift=0.0)
    running = dict(zip(rates, EXITS * 14, strict=False))
    found = split(rates, {"a": shares["a"], "b": shares["b"]}, running, limits)
    assert found.forced == {prefix for prefix, exit_ in running.items() if exit_ == "c"}
    assert found.moved == frozenset()
    assert all(found.exits[prefix] == exit_ for prefix, exit_ in running.items() if exit_ != "c")
    assert found.exits.keys() == rates.keys()


@settings(max_examples=200, deadline=None)
@given(rates_, shares_, st.integers(0, 5), st.floats(0, 0.5))
def test_limits_cap_what_changes(rates, shares, most, shift):
    running = dict.fromkeys(rates, "a")
    limits = SplitLimits(tolerance=0.02, max_prefixes=most, max_shift=shift)
    for now in (running, {}):
        found = split(rates, shares, now, limits)
        changed = found.moved | found.begun
        assert len(changed) <= most
        assert sum(rates[prefix] for prefix in changed) <= shift * sum(rates.values()) * (1 + 1e-6)
        if not now:
            assert found.held_back >= len(rates) - len(found.exits) >= 0


def test_what_runs_is_brought_to_the_shares_with_few_moves():
    rates = dict.fromkeys(PREFIXES, 1.0)
    found = split(rates, {"a": 0.5, "b": 0.5}, dict.fromkeys(PREFIXES, "a"), FREE)
    assert carried(rates, found.exits) == {"a": 20, "b": 20, "c": 0}
    assert len(found.moved) == 20


def test_an_exit_that_is_off_by_less_than_the_tolerance_is_left_so():
    rates = dict.fromkeys(PREFIXES, 1.0)
    running = {prefix: "a" if at < 22 else "b" for at, prefix in enumerate(PREFIXES)}  # off by 5 %
    assert split(rates, {"a": 0.5, "b": 0.5}, running, SplitLimits(tolerance=0.06)).moved == frozenset()
    assert len(split(rates, {"a": 0.5, "b": 0.5}, running, SplitLimits(tolerance=0.04)).moved) == 1


def test_with_no_exit_everything_stays_on_plain_bgp():
    assert split({PREFIXES[0]: 1.0}, {}, {PREFIXES[0]: "a"}).exits == {}
    assert split({PREFIXES[0]: 1.0}, {"a": 0.0}, {}).exits == {}


def test_without_traffic_prefixes_stay_where_they_are():
    rates = dict.fromkeys(PREFIXES, 0.0)
    running = dict(zip(PREFIXES, ["a", "b"] * 20, strict=True))
    assert split(rates, {"a": 0.9, "b": 0.1}, running, FREE).exits == running
