"""Oracles: max-min fairness by definition and least delay, each a whole linear program of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller import fairness
from neto.controller.allocation import allocate
from neto.controller.deadline import Deadline
from neto.controller.paths import candidate_paths
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.topology import Link, Node, Topology

from . import maxmin
from .networks import network

DEFAULT = (TrafficClass("default"),)


def some_demands(seed, topology, count, *, low=-1.0, high=2.0, traffic_class="default"):
    """Rates spread over powers of ten; some zero, some repeated."""
    draw = np.random.default_rng([seed, 7])
    rates = np.round(10 ** draw.uniform(low, high, count), 4)
    rates[draw.random(count) < 0.1] = 0.0
    rates[draw.random(count) < 0.2] = 10.0
    ends = [draw.choice(len(topology.nodes), 2, replace=False) for _ in range(count)]
    return [
        Demand(f"d{row}", traffic_class, f"n{s}", f"n{t}", float(rate))
        for row, ((s, t), rate) in enumerate(zip(ends, rates, strict=True))
    ]


def check_bounds(allocation, available):
    wanted = np.array([demand.rate_mbps for demand in allocation.demands])
    assert np.isfinite(allocation.rate_mbps).all()
    assert (allocation.rate_mbps >= 0).all()
    assert (allocation.load_mbps <= np.maximum(available, 0)).all()
    assert (allocation.allocated_mbps <= wanted * (1 + 1e-12)).all()


@given(seed=st.integers(0, 100_000), k=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_rates_are_max_min_fair_and_paths_short(seed, k):
    topology = network(seed, nodes=7, links=18)
    demands = some_demands(seed, topology, 14)
    paths = candidate_paths(topology, demands, DEFAULT, (), k)
    found = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
    check_bounds(found, topology.capacity_mbps)
    exact = maxmin.exact_rates(paths, [demand.rate_mbps for demand in demands], topology.capacity_mbps)
    assert found.allocated_mbps == pytest.approx(exact, rel=1e-4, abs=1e-4)
    best = maxmin.least_delay(paths, found.allocated_mbps, topology.capacity_mbps)
    assert found.rate_mbps @ paths.delay_us <= best * (1 + 1e-3) + 1e-3


def check_any_instance(seed, spread):
    """Whatever the ranges: an answer, within capacity, and nobody could simply be given more.

    Also close to max-min fair, up to ranges at which the oracle's tolerances are smaller than its rates.
    """
    draw = np.random.default_rng([seed, 11])
    nodes, links = int(draw.integers(3, 10)), int(draw.integers(4, 36))
    capacities = (*(10 ** draw.uniform(-spread / 2, spread / 2, 6)), 0.0, 10.0, 10.0)
    topology = network(seed, nodes, links, capacities=capacities)
    demands = some_demands(seed, topology, int(draw.integers(1, 30)), low=-spread / 2, high=spread / 2)
    paths = candidate_paths(topology, demands, DEFAULT, (), int(draw.integers(1, 6)))
    found = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
    check_bounds(found, topology.capacity_mbps)
    wanted = [demand.rate_mbps for demand in demands]
    room = topology.capacity_mbps - found.load_mbps
    full = room <= topology.capacity_mbps * 1e-5
    for demand in np.flatnonzero(found.allocated_mbps < np.array(wanted) * (1 - 1e-5)):
        for path in range(paths.demand_start[demand], paths.demand_start[demand + 1]):
            links = list(paths.path(path))
            crumb = 2e-6 * found.allocated_mbps[demand]  # room that is not worth a path of its own
            assert full[links].any() or room[links].min() <= crumb
    if spread <= 5:
        exact = maxmin.exact_rates(paths, wanted, topology.capacity_mbps)
        assert maxmin.closeness(found.allocated_mbps, exact, 1e-7 * max(wanted, default=0.0) + 1e-9) >= 0.95


@given(seed=st.integers(0, 1_000_000), spread=st.sampled_from([0.0, 2.0, 5.0, 10.0]))
@settings(max_examples=15, deadline=None)
def test_rates_from_kilobits_to_terabits_are_allocated(seed, spread):
    check_any_instance(seed, spread)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(seed=st.integers(0, 1_000_000), spread=st.sampled_from([0.0, 2.0, 5.0, 10.0]))
@settings(max_examples=500, deadline=None)
def test_five_hundred_instances_of_any_kind_are_allocated(seed, spread):
    check_any_instance(seed, spread)


def test_running_splits_are_kept_while_a_change_gains_little():
    """Two equal links: what runs stays; a shorter way moves the traffic."""
    nodes = (Node("a"), Node("b"))
    demands = [Demand("d", "default", "a", "b", 50.0)]
    for other_delay, expected in ((100.0, [0.0, 51.0]), (150.0, [51.0, 0.0])):
        links = (Link("x", "a", "b", 100.0, 99.0), Link("y", "a", "b", 100.0, other_delay))
        topology = Topology(nodes, links)
        paths = candidate_paths(topology, demands, DEFAULT, (), 2)
        more = [replace(demands[0], rate_mbps=51.0)]
        found = allocate(topology, more, DEFAULT, paths, topology.capacity_mbps, running=np.array([0.0, 50.0]))
        assert found.rate_mbps.tolist() == expected


@given(seed=st.integers(0, 100_000))
@settings(max_examples=12, deadline=None)
def test_what_was_allocated_stays_when_nothing_changes(seed):
    topology = network(seed, nodes=7, links=18)
    demands = some_demands(seed, topology, 14)
    paths = candidate_paths(topology, demands, DEFAULT, (), 3)
    first = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
    again = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps, running=first.rate_mbps)
    check_bounds(again, topology.capacity_mbps)
    assert again.rate_mbps == pytest.approx(first.rate_mbps, rel=1e-6, abs=1e-6)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=12, deadline=None)
def test_a_class_gets_what_it_would_get_without_those_below_it(seed):
    topology = network(seed, nodes=7, links=18)
    classes = (TrafficClass("gold"), TrafficClass("silver"), TrafficClass("bronze"))
    demands = [
        replace(demand, traffic_class=classes[row % 3].name)
        for row, demand in enumerate(some_demands(seed, topology, 18))
    ]
    paths = candidate_paths(topology, demands, classes, (), 3)
    found = allocate(topology, demands, classes, paths, topology.capacity_mbps)
    check_bounds(found, topology.capacity_mbps)
    for last in (1, 2):
        above = [demand for demand in demands if demand.traffic_class in {each.name for each in classes[:last]}]
        alone = allocate(
            topology, above, classes, candidate_paths(topology, above, classes, (), 3), topology.capacity_mbps
        )
        with_all = [
            rate
            for demand, rate in zip(demands, found.allocated_mbps, strict=True)
            if demand.traffic_class in {each.name for each in classes[:last]}
        ]
        assert alone.allocated_mbps.tolist() == with_all
    # The lowest class is fair on exactly what the others leave.
    low = [row for row, demand in enumerate(demands) if demand.traffic_class == "bronze"]
    load = paths.loads(np.where(np.isin(paths.demand_of, low), 0.0, found.rate_mbps), len(topology.links))
    wanted = [demand.rate_mbps if row in low else 0.0 for row, demand in enumerate(demands)]
    exact = maxmin.exact_rates(paths, wanted, np.maximum(topology.capacity_mbps - load, 0))
    assert found.allocated_mbps[low] == pytest.approx(exact[low], rel=1e-3, abs=1e-3)


def test_a_class_keeps_its_own_headroom():
    topology = Topology((Node("a"), Node("b")), (Link("ab", "a", "b", 100.0),))
    classes = (TrafficClass("gold"), TrafficClass("bronze", headroom=0.3))
    demands = [Demand("g", "gold", "a", "b", 50.0), Demand("b", "bronze", "a", "b", 80.0)]
    paths = candidate_paths(topology, demands, classes, (), 1)
    found = allocate(topology, demands, classes, paths, np.array([90.0]))
    assert found.allocated_mbps == pytest.approx([50.0, 20.0])


def test_everything_fits_exactly():
    topology = Topology((Node("a"), Node("b")), (Link("ab", "a", "b", 100.0),))
    demands = [Demand("x", "default", "a", "b", 33.3), Demand("y", "default", "a", "b", 66.7)]
    paths = candidate_paths(topology, demands, DEFAULT, (), 1)
    found = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
    assert found.allocated_mbps == pytest.approx([33.3, 66.7], rel=1e-9)


def test_no_capacity_no_path_and_no_demand_are_answers():
    nodes = (Node("a"), Node("b"), Node("c"))
    topology = Topology(nodes, (Link("ab", "a", "b", 0.0), Link("ba", "b", "a", 10.0)))
    ends = [("a", "b", 5.0), ("a", "c", 5.0), ("b", "a", 0.0), ("c", "c", 7.0), ("b", "a", 4.0)]
    demands = [Demand(f"d{row}", "default", *end) for row, end in enumerate(ends)]
    paths = candidate_paths(topology, demands, DEFAULT, (), 2)
    found = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
    assert found.allocated_mbps.tolist() == [0.0, 0.0, 0.0, 7.0, 4.0]
    nothing = allocate(topology, [], DEFAULT, candidate_paths(topology, [], DEFAULT, (), 2), topology.capacity_mbps)
    assert len(nothing.rate_mbps) == 0
    below_nothing = allocate(topology, demands, DEFAULT, paths, np.array([-5.0, -1.0]))
    assert below_nothing.allocated_mbps.tolist() == [0.0, 0.0, 0.0, 7.0, 0.0]


@pytest.mark.parametrize("rate", [float("nan"), -1.0, float("inf")])
def test_a_rate_that_is_no_number_is_refused(rate):
    topology = network(1)
    demands = [Demand("d", "default", "n0", "n1", rate)]
    paths = candidate_paths(topology, demands, DEFAULT, (), 1)
    with pytest.raises(ValueError, match="demand"):
        allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)


def test_a_capacity_that_is_no_number_is_refused():
    topology = network(1)
    demands = [Demand("d", "default", "n0", "n1", 1.0)]
    paths = candidate_paths(topology, demands, DEFAULT, (), 1)
    with pytest.raises(ValueError, match="link"):
        allocate(topology, demands, DEFAULT, paths, np.full(len(topology.links), np.nan))


def test_without_time_everything_is_filled_in_order_of_delay_and_the_report_says_so():
    topology = network(9, nodes=8, links=30)
    demands = some_demands(9, topology, 40)
    paths = candidate_paths(topology, demands, DEFAULT, (), 4)
    late = Deadline.after(0.0)
    found = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps, exact=True, deadline=late)
    check_bounds(found, topology.capacity_mbps)
    assert found.classes[0].fell_back
    assert "no time" in found.classes[0].status
    assert (
        found.rate_mbps.sum()
        > 0.5 * allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps).rate_mbps.sum()
    )
    in_time = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps, deadline=Deadline.after(3600))
    assert not in_time.classes[0].fell_back


@given(seed=st.integers(0, 100_000))
@settings(max_examples=12, deadline=None)
def test_an_earlier_answer_is_a_start_and_not_an_end(seed):
    """From the answer to other demands on a network with one link less: as fair, and as short, as from nothing."""
    topology = network(seed, nodes=8, links=30)
    demands = some_demands(seed, topology, 40)
    other = [
        replace(demand, rate_mbps=demand.rate_mbps * (2.0 if row % 7 == 0 else 1.0))
        for row, demand in enumerate(demands)
    ]
    less = Topology(topology.nodes, topology.links[1:])
    before = candidate_paths(less, other, DEFAULT, (), 4)
    earlier = allocate(less, other, DEFAULT, before, less.capacity_mbps)
    paths = candidate_paths(topology, demands, DEFAULT, (), 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fairness, "_SMALL", -1)
        anew = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps)
        again = allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps, earlier=earlier)
    check_bounds(again, topology.capacity_mbps)
    assert maxmin.closeness(again.allocated_mbps, anew.allocated_mbps, 1e-2) >= 0.95
    best = maxmin.least_delay(paths, again.allocated_mbps, topology.capacity_mbps)
    assert again.rate_mbps @ paths.delay_us <= best * 1.01 + 1e-3


def test_the_same_inputs_give_the_same_answer():
    topology = network(9, nodes=8, links=30)
    demands = some_demands(9, topology, 40)
    paths = candidate_paths(topology, demands, DEFAULT, (), 4)
    first, second = (allocate(topology, demands, DEFAULT, paths, topology.capacity_mbps) for _ in range(2))
    assert first.rate_mbps.tolist() == second.rate_mbps.tolist()
