"""The tiers on reduced problems: each against max-min fairness by definition, on the whole linear program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller import fairness
from neto.controller.contention import contend, hand_out
from neto.controller.deadline import Deadline
from neto.controller.fairness import NEAR, OPTIMAL, fair_rates
from neto.controller.flows import Flows, trimmed
from neto.controller.groups import group_levels, group_volumes, make_groups, member_rates
from neto.controller.levels import max_min_levels
from neto.controller.paths import k_shortest
from neto.controller.prices import price_splits
from neto.controller.shorten import least_delay, on_shortest
from neto.controller.waterfill import waterfill

from . import maxmin
from .networks import network


def problem(seed, *, nodes=7, links=20, demands=16, k=3, spread=2.0):
    """Random flows, their rates spread over 10 ** spread, with ties and weights."""
    draw = np.random.default_rng([seed, 3])
    topology = network(seed, nodes, links)
    pairs = [tuple(draw.choice(nodes, 2, replace=False)) for _ in range(demands)]
    paths = k_shortest(topology, topology.delay_us, pairs, k)
    rates = 10 ** draw.uniform(1 - spread / 2, 1 + spread / 2, demands)
    rates[draw.random(demands) < 0.3] = 20.0
    rates[draw.random(demands) < 0.05] = 0.0
    weight = draw.choice([1.0, 1.0, 3.0], demands)
    flows = Flows(
        paths.demand_start, paths.path_start, paths.links, paths.demand_of, rates, weight, paths.delay_us,
        topology.capacity_mbps,
    )  # fmt: skip
    return paths, flows


def near_fair(flows):
    """What prices and waterfilling give, with the exact levels switched off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fairness, "_SMALL", -1)
        return fair_rates(flows)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=15, deadline=None)
def test_exact_levels_are_max_min_fair(seed):
    paths, flows = problem(seed)
    found = fair_rates(flows, exact=True)
    assert found.status == OPTIMAL
    exact = maxmin.exact_rates(paths, flows.demand_mbps, flows.capacity_mbps, flows.weight)
    assert found.rate_mbps == pytest.approx(exact, rel=1e-5, abs=1e-5)
    assert (flows.loads(found.flow_mbps) <= flows.capacity_mbps * (1 + 1e-6)).all()
    assert flows.rates(found.flow_mbps) == pytest.approx(found.rate_mbps)


def test_exact_levels_that_take_too_long_are_replaced_by_near_ones():
    _, flows = problem(3)
    with pytest.MonkeyPatch.context() as patch:
        passed = Deadline.after(0.0)
        patch.setattr(
            fairness, "max_min_levels", lambda groups, floor, **_: max_min_levels(groups, floor, deadline=passed)
        )
        found = fair_rates(flows, exact=True)
    assert found.fell_back
    assert (flows.loads(found.flow_mbps) <= flows.capacity_mbps * (1 + 1e-6)).all()
    assert found.rate_mbps == pytest.approx(near_fair(flows).rate_mbps)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=15, deadline=None)
def test_prices_come_close_to_max_min_fairness(seed):
    paths, flows = problem(seed, demands=24)
    found = near_fair(flows)
    load = flows.loads(found.flow_mbps)
    assert (load <= flows.capacity_mbps * (1 + 1e-6)).all()
    exact = maxmin.exact_rates(paths, flows.demand_mbps, flows.capacity_mbps, flows.weight)
    if found.status == NEAR:
        assert maxmin.closeness(found.rate_mbps, exact, floor=1e-2) >= 0.85


@given(seed=st.integers(0, 100_000), alpha=st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=12, deadline=None)
def test_alpha_fair_rates_are_those_of_the_concave_program(seed, alpha):
    paths, flows = problem(seed, demands=10)
    found = fair_rates(flows, alpha=alpha)
    assert (flows.loads(found.flow_mbps) <= flows.capacity_mbps * (1 + 1e-6)).all()
    assert found.rate_mbps == pytest.approx(flows.rates(found.flow_mbps), rel=1e-6)
    best = maxmin.alpha_fair_rates(paths, flows.demand_mbps, flows.capacity_mbps, flows.weight, alpha)
    assert maxmin.closeness(found.rate_mbps, best, floor=1e-2) >= 0.95


def test_a_lower_alpha_carries_more_over_a_chain():
    """Two links in a row, a demand over both and one over each: shares of 1/2, 1/3 at alpha 1, and none toward 0."""
    demands, links = np.array([10.0, 10.0, 10.0]), np.array([0, 1, 0, 1], dtype=np.int32)
    flows = Flows(
        np.arange(4), np.array([0, 2, 3, 4]), links, np.arange(3), demands, np.ones(3), np.ones(3), np.array([6.0, 6.0])
    )
    assert fair_rates(flows).rate_mbps == pytest.approx([3.0, 3.0, 3.0])
    assert fair_rates(flows, alpha=1.0).rate_mbps == pytest.approx([2.0, 4.0, 4.0], rel=2e-2)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=20, deadline=None)
def test_least_delay_is_that_of_the_whole_linear_program(seed):
    paths, flows = problem(seed, links=24, demands=40)
    start = near_fair(flows).flow_mbps
    limit = np.maximum(flows.capacity_mbps, flows.loads(start))
    found = least_delay(flows, start)
    assert found is not None
    assert flows.rates(found.flow_mbps) == pytest.approx(flows.rates(start), rel=1e-9, abs=1e-9)
    assert (flows.loads(found.flow_mbps) <= limit * (1 + 1e-5)).all()
    best = maxmin.least_delay(paths, flows.rates(start), limit)
    assert found.flow_mbps @ flows.delay_us <= best * (1 + 2e-3) + 1e-6
    assert found.flow_mbps @ flows.delay_us * (1 - found.gap) <= best * (1 + 1e-6) + 1e-6


@given(seed=st.integers(0, 100_000))
@settings(max_examples=15, deadline=None)
def test_waterfilling_stays_within_capacity_and_leaves_nobody_short_without_a_full_link(seed):
    _, flows = problem(seed)
    active = flows.loads(on_shortest(flows, flows.demand_mbps)) > flows.capacity_mbps
    groups = contend(flows, active).groups
    if len(groups.group_start) == 1:
        return
    flow = price_splits(groups, np.full(len(groups.capacity_mbps), np.inf)).flow_mbps
    share = flow / groups.sums(flow)[groups.group_of]
    assert groups.sums(share) == pytest.approx(np.ones(len(groups.group_start) - 1))
    flow = waterfill(groups, share)
    load = np.bincount(groups.links, np.repeat(flow, np.diff(groups.path_start)), minlength=len(groups.capacity_mbps))
    assert (load <= groups.capacity_mbps * (1 + 1e-9)).all()
    full = load >= groups.capacity_mbps * (1 - 1e-9)
    stopped = flow < share * groups.total_mbps[groups.group_of] * (1 - 1e-9)
    for path in np.flatnonzero(stopped):
        assert full[groups.links[groups.path_start[path] : groups.path_start[path + 1]]].any()


def test_waterfilling_gives_each_path_its_share_of_the_common_level():
    # Two groups over a link of 12; the first has half of its flow on a link of its own with room for 1 only.
    groups = make_groups(
        np.array([0, 2, 3]), np.array([0, 1, 2, 3]), np.array([0, 1, 0], dtype=np.int32), np.array([0, 1]),
        np.array([100.0, 100.0]), np.ones(2), np.arange(2), np.array([12.0, 1.0]),
    )  # fmt: skip
    # Levels rise together: 0.5 t + t = 12 on the first link, at t = 8; the second link stops its path at 1.
    assert waterfill(groups, np.array([0.5, 0.5, 1.0])) == pytest.approx([4.0, 1.0, 8.0])


@given(seed=st.integers(0, 100_000), level=st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_volume_and_level_are_each_others_inverse(seed, level):
    draw = np.random.default_rng(seed)
    demand, weight = draw.uniform(0.1, 100, 12), draw.uniform(0.5, 2, 12)
    group = draw.integers(0, 3, 12)
    group[:3] = [0, 1, 2]
    groups = make_groups(
        np.arange(4),
        np.arange(4),
        np.zeros(3, dtype=np.int32),
        group,
        demand,
        weight,
        np.argsort(demand / weight),
        np.array([1.0]),
    )
    volume, slope = group_volumes(groups, np.full(3, level))
    by_hand = np.minimum(demand, weight * level)
    assert volume == pytest.approx([by_hand[group == each].sum() for each in range(3)])
    unsatisfied = demand > weight * level
    assert slope == pytest.approx([weight[unsatisfied & (group == each)].sum() for each in range(3)])
    back = group_levels(groups, volume)
    assert member_rates(groups, back, demand, weight) == pytest.approx(by_hand)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=20, deadline=None)
def test_groups_keep_every_way_that_matters(seed):
    """A demand needs the paths whose active links contain no other path's; flows come back to its own paths."""
    _, flows = problem(seed)
    active = np.random.default_rng(seed).random(len(flows.capacity_mbps)) < 0.4
    found = contend(flows, active)
    codes = {}
    for demand in range(len(flows.demand_mbps)):
        paths = range(flows.demand_start[demand], flows.demand_start[demand + 1])
        sets = {
            path: frozenset(flows.links[flows.path_start[path] : flows.path_start[path + 1]][
                active[flows.links[flows.path_start[path] : flows.path_start[path + 1]]]
            ].tolist())
            for path in paths
        }  # fmt: skip
        minimal = {each for each in sets.values() if not any(other < each for other in sets.values())}
        if flows.demand_mbps[demand] <= 0 or not sets:
            continue
        if frozenset() in minimal:
            assert sets[found.free_path[demand]] == frozenset()
            continue
        kept = found.kept[found.kept_start[demand] : found.kept_start[demand + 1]]
        assert {sets[path] for path in kept} == minimal
        assert len(kept) == len(minimal)
        codes[demand] = frozenset(minimal)
    groups = found.groups
    for group in range(len(groups.group_start) - 1):
        members = groups.member[groups.member_start[group] : groups.member_start[group + 1]]
        assert len({codes[int(member)] for member in members}) == 1
    assert len(groups.group_start) - 1 == len(set(codes.values()))
    flow = np.random.default_rng(seed).uniform(0, 1, len(groups.group_of))
    rate = flows.demand_mbps * 0.5
    assert flows.rates(hand_out(flows, found, rate, flow))[list(codes)] == pytest.approx(rate[list(codes)])


@given(seed=st.integers(0, 100_000))
@settings(max_examples=20, deadline=None)
def test_where_delay_counts_a_path_is_given_up_for_one_that_is_no_longer(seed):
    _, flows = problem(seed)
    active = np.random.default_rng(seed).random(len(flows.capacity_mbps)) < 0.4
    found = contend(flows, active, by_delay=True)
    for demand in range(len(flows.demand_mbps)):
        paths = range(flows.demand_start[demand], flows.demand_start[demand + 1])
        if flows.demand_mbps[demand] <= 0 or not paths:
            continue
        sets = {
            path: frozenset(
                link
                for link in flows.links[flows.path_start[path] : flows.path_start[path + 1]].tolist()
                if active[link]
            )
            for path in paths
        }
        delay = {path: flows.delay_us[path] for path in paths}
        needed = {
            (sets[path], delay[path])
            for path in paths
            if not any(
                sets[other] <= sets[path]
                and delay[other] <= delay[path]
                and (sets[other], delay[other]) != (sets[path], delay[path])
                for other in paths
            )
        }
        if not sets[paths[0]]:
            assert found.free_path[demand] == paths[0]
            continue
        assert found.free_path[demand] == -1
        kept = found.kept[found.kept_start[demand] : found.kept_start[demand + 1]].tolist()
        assert sorted((sorted(sets[path]), delay[path]) for path in kept) == sorted(
            (sorted(one), far) for one, far in needed
        )


@given(seed=st.integers(0, 100_000))
@settings(max_examples=20, deadline=None)
def test_trimming_leaves_no_link_over_its_capacity(seed):
    _, flows = problem(seed)
    rate = trimmed(flows, np.random.default_rng(seed).uniform(-1, 50, len(flows.demand_of)))
    assert (rate >= 0).all()
    assert (flows.loads(rate) <= flows.capacity_mbps).all()
