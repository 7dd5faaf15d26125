"""Oracle: all simple paths, by exhaustive search."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.paths import candidate_paths
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.topology import Link, Node, Topology

from .networks import network

CLASSES = (TrafficClass("default"),)


def risks(topology, link):
    ends = topology.links[link].source, topology.links[link].target
    return {frozenset(ends), *topology.links[link].srlgs}


def shared(topology, path, first):
    taken = set().union(*(risks(topology, link) for link in first))
    return sum(bool(risks(topology, link) & taken) for link in path)


def all_paths(topology, source, target):
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(node.name for node in topology.nodes)
    for row, link in enumerate(topology.links):
        graph.add_edge(link.source, link.target, key=row)
    return [tuple(key for _, _, key in path) for path in nx.all_simple_edge_paths(graph, source, target)]


@given(seed=st.integers(0, 100_000), k=st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_one_of_the_paths_shares_as_little_as_any(seed, k):
    draw = np.random.default_rng([seed, 9])
    plain = network(seed, nodes=6, links=16)
    topology = Topology(
        plain.nodes, tuple(replace(link, srlgs=frozenset({int(draw.integers(6))})) for link in plain.links)
    )
    names = [node.name for node in topology.nodes]
    demands = [Demand(f"{a}{b}", "default", a, b, 1.0) for a in names for b in names if a != b]
    paths = candidate_paths(topology, demands, CLASSES, (), k, diverse=True)
    for row, demand in enumerate(demands):
        mine = [paths.path(path) for path in range(paths.demand_start[row], paths.demand_start[row + 1])]
        if not mine:
            continue
        assert len(mine) <= k
        assert len(set(mine)) == len(mine)
        delays = [topology.delay_us[list(path)].sum() for path in mine]
        assert delays == sorted(delays)
        least = min(shared(topology, path, mine[0]) for path in all_paths(topology, demand.source, demand.target))
        assert min(shared(topology, path, mine[0]) for path in mine) == least


def test_a_longer_way_in_another_duct_replaces_the_last_of_the_near_ones():
    links = (
        Link("x", "a", "b", 10.0, 1.0, srlgs=frozenset({7})),
        Link("y1", "a", "c", 10.0, 1.0, srlgs=frozenset({7})),
        Link("y2", "c", "b", 10.0, 1.0),
        Link("z1", "a", "d", 10.0, 50.0),
        Link("z2", "d", "b", 10.0, 50.0),
    )
    topology = Topology((Node("a"), Node("b"), Node("c"), Node("d")), links)
    demands = [Demand("d", "default", "a", "b", 1.0)]
    near = candidate_paths(topology, demands, CLASSES, (), 2)
    assert [near.path(row) for row in range(2)] == [(0,), (1, 2)]
    apart = candidate_paths(topology, demands, CLASSES, (), 2, diverse=True)
    assert [apart.path(row) for row in range(2)] == [(0,), (3, 4)]
