"""The peers on networks small enough to know the answer: by hand, by definition, or by their authors' loops."""

from __future__ import annotations

import numpy as np
import pytest

from neto.controller.paths import k_shortest
from neto.model.topology import Link, Node, Topology
from tests.controller import maxmin
from tests.controller.networks import network

from .fillers import adaptive_waterfiller, progressive_filling
from .linear import OverLimitError, fitted
from .peers import exact_levels, geometric_binner, least_delay, swan

PEERS = {
    "progressive filling": progressive_filling,
    "adaptive waterfiller": adaptive_waterfiller,
    "swan, simplex": lambda *args, **options: swan(*args, solver="simplex", **options),
    "swan, interior point": swan,
    "binner, simplex": lambda *args, **options: geometric_binner(*args, solver="simplex", **options),
    "binner, interior point": geometric_binner,
    "exact levels, simplex": exact_levels,
    "exact levels, interior point": lambda *args, **options: exact_levels(*args, solver="ipm", **options),
}
LIMIT_S = 30.0


def problem(seed, *, k=3, demands=14, nodes=7, links=20):
    """Random links, parallel and unconnected ones included; ties, demands of nothing, and one to its own source."""
    draw = np.random.default_rng([seed, 11])
    topology = network(seed, nodes, links)
    pairs = [tuple(draw.choice(nodes, 2, replace=False)) for _ in range(demands - 1)] + [(2, 2)]
    demand = 10 ** draw.uniform(0, 2, demands)
    demand[draw.random(demands) < 0.3] = 20.0
    demand[draw.random(demands) < 0.1] = 0.0
    return topology.capacity_mbps, demand, k_shortest(topology, topology.delay_us, pairs, k)


def rates(flow, paths):
    return np.bincount(paths.demand_of, flow, minlength=len(paths.demand_start) - 1)


def loads(flow, paths, links):
    """Mbit/s on each link, path by path."""
    load = np.zeros(links)
    for path, rate in enumerate(flow):
        for link in paths.path(path):
            load[link] += rate
    return load


@pytest.fixture(scope="module")
def two_ways():
    """From a to b: one link of 10 straight, and 6 by way of c; from c to b: the same 6."""
    links = (Link("ab", "a", "b", 10.0, 1.0), Link("ac", "a", "c", 100.0, 1.0), Link("cb", "c", "b", 6.0, 1.0))
    topology = Topology(tuple(map(Node, "abc")), links)
    return topology.capacity_mbps, k_shortest(topology, topology.delay_us, [(0, 1), (2, 1)], 2)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", range(6))
def test_nobody_gets_more_than_asked_for_and_no_link_is_over(name, seed):
    capacity, demand, paths = problem(seed)
    flow = PEERS[name](capacity, demand, paths, limit_s=LIMIT_S)
    assert (flow >= 0).all()
    assert (rates(flow, paths) <= demand * (1 + 1e-9)).all()
    assert (loads(flow, paths, len(capacity)) <= capacity * (1 + 1e-9)).all()


def test_what_a_solver_lets_through_is_taken_off_again(two_ways):
    """By hand: less than nothing is nothing; 12 for 9 wanted is cut to 9; 4.5 + 3 on cb is cut to 6 in proportion."""
    capacity, paths = two_ways
    flow = fitted(np.array([7.5, 4.5, 3.0]), capacity, np.array([20.0, 5.0]), paths)
    assert flow == pytest.approx([7.5, 3.6, 2.4])
    assert fitted(np.array([12.0, -1e-6, 0.0]), capacity, np.array([9.0, 5.0]), paths) == pytest.approx([9.0, 0.0, 0.0])


@pytest.mark.parametrize("name", PEERS)
def test_who_does_not_contend_gets_all(name, two_ways):
    capacity, paths = two_ways
    demand = np.array([9.0, 5.0])
    tolerance = 2e-2 if name == "adaptive waterfiller" else 1e-5  # its splits come to what is free step by step
    flow = PEERS[name](capacity, demand, paths, limit_s=LIMIT_S)
    assert rates(flow, paths)[1] == pytest.approx(5.0, rel=1e-5)
    assert rates(flow, paths)[0] == pytest.approx(9.0, rel=tolerance)


@pytest.mark.parametrize("name", [name for name in PEERS if name.startswith("exact")])
@pytest.mark.parametrize("seed", range(6))
def test_exact_levels_are_max_min_fair_by_definition(name, seed):
    """Oracle: a program for every demand at every level, in scipy."""
    capacity, demand, paths = problem(seed)
    flow = PEERS[name](capacity, demand, paths, limit_s=LIMIT_S)
    assert rates(flow, paths) == pytest.approx(maxmin.exact_rates(paths, demand, capacity), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("solver", ["simplex", "ipm"])
@pytest.mark.parametrize("seed", range(8))
def test_swan_gives_at_least_a_level_less_than_the_fair_rate(seed, solver):
    """Its guarantee: nobody is fixed more than one level, a factor of 2, away from max-min fairness."""
    capacity, demand, paths = problem(seed, links=14)
    flow = swan(capacity, demand, paths, limit_s=LIMIT_S, solver=solver)
    exact = maxmin.exact_rates(paths, demand, capacity)
    first = np.median(capacity) / len(demand)
    some = exact > first * 1.001
    assert (rates(flow, paths)[some] >= exact[some] / 2 * (1 - 1e-4)).all()


def test_swan_on_one_link_stops_within_a_level():
    """Four demands on 10: the fair rate is 2.5; levels are 2.5, 5, ...: the first is full."""
    topology = Topology((Node("a"), Node("b")), (Link("ab", "a", "b", 10.0, 1.0),))
    paths = k_shortest(topology, topology.delay_us, [(0, 1)] * 4, 1)
    demand = np.array([1.0, 8.0, 8.0, 8.0])
    flow = swan(topology.capacity_mbps, demand, paths, limit_s=LIMIT_S)
    assert flow[0] == pytest.approx(1.0, rel=1e-5)
    assert (flow[1:] >= 2.5 * (1 - 1e-5)).all()
    assert flow.sum() == pytest.approx(10.0, rel=1e-5)


@pytest.mark.parametrize("solver", ["simplex", "ipm"])
def test_the_binner_fills_a_bin_for_all_before_the_next(solver):
    """Three on 10 with bins of 10/3, 10/3, ...: the first bin of all three fits exactly."""
    topology = Topology((Node("a"), Node("b")), (Link("ab", "a", "b", 10.0, 1.0),))
    paths = k_shortest(topology, topology.delay_us, [(0, 1)] * 3, 1)
    flow = geometric_binner(topology.capacity_mbps, np.array([10.0, 20.0, 30.0]), paths, limit_s=LIMIT_S, solver=solver)
    assert flow == pytest.approx([10 / 3] * 3, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_binner_comes_closer_to_fairness_than_the_largest_total_does(seed):
    """With bins that all pay alike it is the largest total; with the paying less it must be at least as fair."""
    capacity, demand, paths = problem(seed, links=14)
    exact = maxmin.exact_rates(paths, demand, capacity)
    keep = exact > 0
    fair = rates(geometric_binner(capacity, demand, paths, limit_s=LIMIT_S, last_pay=1e-3), paths)[keep]
    total = rates(geometric_binner(capacity, demand, paths, limit_s=LIMIT_S, last_pay=1.0), paths)[keep]
    assert total.sum() >= fair.sum() * (1 - 1e-6)
    assert maxmin.closeness(fair, exact[keep], 0.01) >= maxmin.closeness(total, exact[keep], 0.01) - 1e-3


def filled_one_by_one(capacity, demand, paths):  # noqa: C901  an oracle that follows its source, loop for loop
    """B4's filling with one event at a time, in plain Python: the next that fills or is satisfied, and nothing else."""
    left, flow, active, level = list(map(float, capacity)), np.zeros(len(paths.delay_us)), {}, 0.0
    full = {link for link, room in enumerate(left) if room <= 0}

    def choose(which, after):
        for path in range(after, paths.demand_start[which + 1]):
            if not full & set(paths.path(path)):
                active[which] = path
                return
        active.pop(which, None)

    for which in range(len(demand)):
        if demand[which] > 0:
            choose(which, paths.demand_start[which])
    while active:
        users = {link: [w for w, p in active.items() if link in paths.path(p)] for link in range(len(left))}
        step = min(
            [left[link] / len(by) for link, by in users.items() if by] + [demand[which] - level for which in active]
        )
        for path in active.values():
            flow[path] += step
            for link in paths.path(path):
                left[link] -= step
        level += step
        for which in [which for which in active if demand[which] - level <= 1e-9]:
            del active[which]
        full |= {link for link, by in users.items() if by and left[link] <= 1e-9 * capacity[link]}
        for which, path in list(active.items()):
            if full & set(paths.path(path)):
                choose(which, paths.demand_start[which])
    return flow


@pytest.mark.parametrize("seed", range(20))
def test_progressive_filling_is_filling_event_by_event(seed):
    capacity, demand, paths = problem(seed)
    flow = progressive_filling(capacity, demand, paths, limit_s=LIMIT_S)
    assert flow == pytest.approx(filled_one_by_one(capacity, demand, paths), rel=1e-6, abs=1e-6)


def waterfilled_one_by_one(capacity, demand, paths, iterations):
    """The adaptive waterfiller as its authors write it: row after row, each a link or a demand, in plain Python."""
    split = np.zeros(len(paths.delay_us))
    rows = [[] for _ in range(len(capacity) + len(demand))]
    for which in range(len(demand)):
        own = range(paths.demand_start[which], paths.demand_start[which + 1])
        rows[len(capacity) + which] = list(own)
        for place, path in enumerate(own):
            split[path] = 0.9**place / sum(0.9**other for other in range(len(own)))
            for link in paths.path(path):
                rows[link].append(path)
    limit = np.concatenate([capacity, demand])
    for _ in range(iterations):
        rate = np.where(split > 0, 1e9, 0.0)
        weight = [sum(split[path] for path in row) for row in rows]
        used = [row for row in range(len(rows)) if weight[row] > 0]
        for row in sorted(used, key=lambda row: limit[row] / weight[row]):
            left, members = limit[row], [path for path in rows[row] if split[path] > 0]
            if sum(rate[path] for path in members) <= left:
                continue
            while members:
                fair = left / sum(split[path] for path in members)
                below = [path for path in members if rate[path] < fair * split[path]]
                if not below:
                    for path in members:
                        rate[path] = fair * split[path]
                    break
                left -= sum(rate[path] for path in below)
                members = [path for path in members if path not in below]
        carried = rates(rate, paths)[paths.demand_of]
        split = np.where(carried > 0, rate / np.where(carried > 0, carried, 1.0), split)
    return rate


@pytest.mark.parametrize("iterations", [1, 2, 10])
@pytest.mark.parametrize("seed", range(8))
def test_the_adaptive_waterfiller_is_its_authors_one(seed, iterations):
    capacity, demand, paths = problem(seed)
    flow = adaptive_waterfiller(capacity, demand, paths, limit_s=LIMIT_S, iterations=iterations)
    assert flow == pytest.approx(waterfilled_one_by_one(capacity, demand, paths, iterations), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", PEERS)
def test_who_is_not_done_in_time_says_so(name):
    with pytest.raises(OverLimitError):
        PEERS[name](*problem(1), limit_s=0.0)


@pytest.mark.parametrize("seed", range(4))
def test_least_delay_is_the_delay_that_another_solver_finds(seed):
    capacity, demand, paths = problem(seed)
    rate = rates(progressive_filling(capacity, demand, paths, limit_s=LIMIT_S), paths)
    flow = least_delay(capacity, rate, paths, limit_s=LIMIT_S)
    assert flow @ paths.delay_us == pytest.approx(maxmin.least_delay(paths, rate, capacity), rel=1e-4, abs=1e-4)
    assert rates(flow, paths) == pytest.approx(rate, rel=1e-4, abs=1e-4)
