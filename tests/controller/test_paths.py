"""Oracle: networkx enumerates every simple path; ours must be the cheapest of them."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.paths import candidate_paths, k_shortest
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.peering import Egress
from neto.model.topology import Link, Node, Topology

from .networks import network, with_isp

DEFAULT = (TrafficClass("default"),)


def every_path(topology, source, target, closed=frozenset()):
    """All simple paths as link rows."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(len(topology.nodes)))
    for row, (tail, head) in enumerate(zip(topology.source, topology.target, strict=True)):
        graph.add_edge(int(tail), int(head), key=row)
    found = nx.all_simple_edge_paths(graph, source, target)
    return [
        tuple(key for _, _, key in path)
        for path in found
        if not closed & {int(topology.target[key]) for _, _, key in path[:-1]}
    ]


def rows_of(paths, demand):
    return [paths.path(row) for row in range(paths.demand_start[demand], paths.demand_start[demand + 1])]


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_paths_are_the_k_cheapest_simple_ones(seed, k):
    topology = network(seed)
    pairs = list(itertools.permutations(range(len(topology.nodes)), 2))
    paths = k_shortest(topology, topology.delay_us, pairs, k)
    for row, (source, target) in enumerate(pairs):
        simple = every_path(topology, source, target)
        cost = sorted((sum(topology.delay_us[list(path)]), len(path)) for path in simple)[:k]
        ours = rows_of(paths, row)
        assert [(sum(topology.delay_us[list(path)]), len(path)) for path in ours] == cost
        assert set(ours) <= set(simple)
        assert len(set(ours)) == len(ours)
        found = paths.delay_us[paths.demand_start[row] : paths.demand_start[row + 1]]
        assert found.tolist() == [delay for delay, _ in cost]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_unusable_links_and_closed_nodes_are_left_out(seed):
    topology = network(seed, nodes=7, links=18)
    draw = np.random.default_rng(seed)
    usable = draw.random(len(topology.links)) < 0.8
    transit = draw.random(len(topology.nodes)) < 0.7
    closed = frozenset(np.flatnonzero(~transit).tolist())
    pairs = list(itertools.permutations(range(len(topology.nodes)), 2))
    paths = k_shortest(topology, topology.delay_us, pairs, 3, usable=usable, transit=transit)
    for row, (source, target) in enumerate(pairs):
        allowed = [path for path in every_path(topology, source, target, closed) if usable[list(path)].all()]
        assert len(rows_of(paths, row)) == min(3, len(allowed))
        assert set(rows_of(paths, row)) <= set(allowed)


def test_the_same_question_has_the_same_answer():
    topology = network(3, nodes=12, links=60, delays=(1.0,))
    pairs = list(itertools.permutations(range(12), 2))
    first, second = (k_shortest(topology, topology.delay_us, pairs, 4) for _ in range(2))
    assert (first.links == second.links).all()
    backwards = k_shortest(topology, topology.delay_us, pairs[::-1], 4)
    assert rows_of(backwards, 0) == rows_of(first, len(pairs) - 1)


def test_delays_of_very_different_size_keep_their_order():
    nodes = tuple(Node(name) for name in "abcd")
    links = tuple(
        Link(name, name[0], name[1], 1.0, delay)
        for name, delay in (("ab", 1e9), ("bd", 0.25), ("ac", 1e9), ("cd", 0.125), ("ad", 3e9))
    )
    topology = Topology(nodes, links)
    paths = k_shortest(topology, topology.delay_us, [(0, 3)], 3)
    assert rows_of(paths, 0) == [(2, 3), (0, 1), (4,)]


@pytest.mark.parametrize("weight", [float("nan"), -1.0, float("inf")])
def test_a_weight_that_is_no_length_is_refused(weight):
    topology = network(1)
    with pytest.raises(ValueError, match="weight"):
        k_shortest(topology, np.full(len(topology.links), weight), [(0, 1)], 1)


def test_demands_get_their_pairs_paths_whatever_their_order():
    topology = network(5)
    demands = [Demand(f"{s}{t}", "default", f"n{s}", f"n{t}", 1.0) for s, t in [(0, 1), (3, 2), (0, 1), (4, 4)]]
    paths = candidate_paths(topology, demands, DEFAULT, (), 3)
    pairs = k_shortest(topology, topology.delay_us, [(0, 1), (3, 2)], 3)
    assert rows_of(paths, 0) == rows_of(paths, 2) == rows_of(pairs, 0)
    assert rows_of(paths, 1) == rows_of(pairs, 1)
    assert rows_of(paths, 3) == [()]


def test_no_demands_have_no_paths():
    paths = candidate_paths(network(5), [], DEFAULT, (), 3)
    assert len(paths.demand_start) == 1
    assert len(paths.links) == 0


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_a_prefix_group_takes_the_best_ways_over_all_its_exits(seed, k):
    joint = with_isp(network(seed), ["n1", "n2", "n1"])
    egresses = [Egress("eyeballs", "peer0", 3.0), Egress("eyeballs", "peer1", 1.0), Egress("eyeballs", "peer2", 4.0)]
    demands = [Demand(name, "default", name, "eyeballs", 1.0) for name in ("n0", "n1", "n5")]
    paths = candidate_paths(joint, demands, DEFAULT, egresses, k)
    for row, demand in enumerate(demands):
        ways = []
        for egress in egresses:
            link = joint.link_row[egress.peering_link]
            border = int(joint.source[link])
            start = joint.node_row[demand.source]
            inside = [()] if start == border else every_path(joint, start, border)
            ways += [(sum(joint.delay_us[list(path)]) + egress.delay_us, (*path, link)) for path in inside]
        ways.sort(key=lambda way: way[0])
        ours = rows_of(paths, row)
        delays = paths.delay_us[paths.demand_start[row] : paths.demand_start[row + 1]].tolist()
        assert len(ours) == min(k, len(ways))
        assert set(zip(delays, ours, strict=True)) <= set(ways)
        assert delays == sorted(delays)
        if ways:
            assert delays[0] == ways[0][0]
        exits = len({path[-1] for path in ours})
        assert exits >= min((k + 1) // 2, len({path[-1] for _, path in ways}))
        best_of_exit = sorted(min(d for d, path in ways if path[-1] == link) for link in {p[-1] for _, p in ways})
        if k > 1 and len(best_of_exit) <= (k + 1) // 2:
            assert set(best_of_exit) <= set(delays)


def test_an_exit_beyond_a_bound_takes_no_place_of_paths_within_it():
    """By hand: four ways of 1 to 4 µs to one exit, and two far exits; of four places two are for the best exits."""
    near = [Link(f"near{delay}", "s", "b0", 1.0, float(delay), igp_metric=1) for delay in (1, 2, 3, 4)]
    far = [Link(f"far{border}", "s", border, 1.0, 50.0, igp_metric=1) for border in ("b1", "b2")]
    borders = ["b0", "b1", "b2"]
    joint = with_isp(Topology(tuple(Node(name) for name in ("s", *borders)), (*near, *far)), borders)
    egresses = [Egress("eyeballs", f"peer{number}", 0.0) for number in range(3)]
    classes = (
        TrafficClass("any"),
        TrafficClass("delay", max_delay_us=20.0),
        TrafficClass("stretch", max_stretch=4.0),
        TrafficClass("both", max_delay_us=3.5, max_stretch=4.0),
        TrafficClass("neither", max_delay_us=0.5),
    )
    demands = [Demand(each.name, each.name, "s", "eyeballs", 1.0) for each in classes]
    paths = candidate_paths(joint, demands, classes, egresses, 4)
    delays = [paths.delay_us[paths.demand_start[row] : paths.demand_start[row + 1]].tolist() for row in range(5)]
    assert delays == [[1, 2, 3, 50], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], []]


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), at=st.floats(0, 1), stretch=st.sampled_from([1.2, 1.5, 2.5]))
@settings(max_examples=40, deadline=None)
def test_bounds_hold_before_exits_are_chosen(seed, k, at, stretch):
    """Oracle: every simple path to every exit; of those within the bounds the best exits and paths."""
    joint = with_isp(network(seed), ["n1", "n2", "n3", "n1"])
    egresses = [Egress("eyeballs", f"peer{number}", beyond) for number, beyond in enumerate((1.0, 5.0, 2.0, 9.0))]
    ways = []
    for egress in egresses:
        link = joint.link_row[egress.peering_link]
        inside = every_path(joint, joint.node_row["n0"], int(joint.source[link]))
        ways += [(float(sum(joint.delay_us[list(path)]) + egress.delay_us), (*path, link)) for path in inside]
    ways.sort()
    nearest = ways[0][0] if ways else 1.0
    delay = ways[int(at * (len(ways) - 1))][0] if ways else 1.0
    classes = (
        TrafficClass("a", max_delay_us=delay),
        TrafficClass("b", max_stretch=stretch),
        TrafficClass("c"),
        TrafficClass("d", max_delay_us=delay, max_stretch=stretch),
    )
    demands = [Demand(each.name, each.name, "n0", "eyeballs", 1.0) for each in classes]
    paths = candidate_paths(joint, demands, classes, egresses, k)
    for row, each in enumerate(classes):
        within = [way for way in ways if way[0] <= min(each.max_delay_us, nearest * each.max_stretch)]
        delays = paths.delay_us[paths.demand_start[row] : paths.demand_start[row + 1]].tolist()
        ours = list(zip(delays, rows_of(paths, row), strict=True))
        assert len(ours) == len(set(ours)) == min(k, len(within))
        assert set(ours) <= set(within)
        assert delays == sorted(delays)
        first = (k + 1) // 2  # exits whose best path has a place
        assert best_of_exits(ours)[:first] == best_of_exits(within)[:first]


def best_of_exits(ways):
    """The least delay to each exit."""
    return sorted(min(delay for delay, path in ways if path[-1] == exit_) for exit_ in {path[-1] for _, path in ways})


def test_a_closed_peering_link_is_no_exit():
    joint = with_isp(network(5, links=40), ["n1", "n2"])
    usable = np.ones(len(joint.links), dtype=bool)
    usable[joint.link_row["peer0"]] = False
    egresses = [Egress("eyeballs", "peer0", 0.0), Egress("eyeballs", "peer1", 0.0), Egress("eyeballs", "gone", 0.0)]
    paths = candidate_paths(joint, [Demand("d", "default", "n0", "eyeballs", 1.0)], DEFAULT, egresses, 4, usable)
    assert {path[-1] for path in rows_of(paths, 0)} == {joint.link_row["peer1"]}


def test_a_class_takes_no_path_beyond_its_bounds():
    topology = network(11, nodes=6, links=24, delays=(1.0, 2.0, 3.0))
    classes = (TrafficClass("gold", max_stretch=1.5), TrafficClass("silver", max_delay_us=2.0), TrafficClass("bronze"))
    demands = [Demand(c.name, c.name, "n0", "n1", 1.0) for c in classes]
    paths = candidate_paths(topology, demands, classes, (), 8)
    by_class = [paths.delay_us[paths.demand_start[row] : paths.demand_start[row + 1]] for row in range(3)]
    everything = by_class[2]
    assert by_class[0].tolist() == everything[everything <= 1.5 * everything[0]].tolist()
    assert by_class[1].tolist() == everything[everything <= 2.0].tolist()
    assert 0 < len(by_class[0]) < len(everything)


def test_paths_by_metric_are_those_of_plain_forwarding_in_order_of_delay():
    links = (
        Link("far", "a", "b", 10.0, 90.0, igp_metric=1),
        Link("ac", "a", "c", 10.0, 10.0, igp_metric=5),
        Link("cb", "c", "b", 10.0, 10.0, igp_metric=5),
        Link("near", "a", "b", 10.0, 1.0, igp_metric=99),
    )
    topology = Topology((Node("a"), Node("b"), Node("c")), links)
    demands = [Demand("d", "default", "a", "b", 1.0)]
    classes = (TrafficClass("default"),)
    by_metric = candidate_paths(topology, demands, classes, (), 2, by_metric=True)
    assert [by_metric.path(row) for row in range(2)] == [(1, 2), (0,)]
    assert by_metric.delay_us.tolist() == [20.0, 90.0]
    assert candidate_paths(topology, demands, classes, (), 2).path(0) == (3,)
