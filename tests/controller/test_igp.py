"""Oracle: networkx, and forwarding by recursion in exact fractions."""

import gc
import math
import weakref

import networkx as nx
import numpy as np
from hypothesis import given, settings

from neto.controller.igp import igp_of
from tests.controller.graphs import both_ways, igp_graph, igp_split, networks, topology


@settings(max_examples=60, deadline=None)
@given(net=networks())
def test_distances_and_uniqueness_are_those_of_an_enumeration_of_all_shortest_paths(net):
    igp = igp_of(net)
    graph = igp_graph(net)
    for a in net.nodes:
        lengths = nx.single_source_dijkstra_path_length(graph, a.name)
        for b in net.nodes:
            row, column = net.node_row[a.name], net.node_row[b.name]
            assert igp.distance[row, column] == lengths.get(b.name, math.inf)
            if a.name == b.name:
                assert igp.unique[row, column]
                continue
            costs = [
                sum(data["weight"] for data in (graph.edges[hop] for hop in path))
                for path in nx.all_simple_edge_paths(graph, a.name, b.name)
            ]
            assert igp.unique[row, column] == (costs.count(lengths.get(b.name)) == 1)


@settings(max_examples=60, deadline=None)
@given(net=networks())
def test_traffic_splits_equally_at_every_hop(net):
    igp = igp_of(net)
    for a in net.nodes:
        for b in net.nodes:
            rows, share = igp.split(net.node_row[a.name], net.node_row[b.name])
            split = {net.links[row].id: value for row, value in zip(rows, share, strict=True)}
            expected = igp_split(net, a.name, b.name)
            assert split.keys() == expected.keys()
            assert all(math.isclose(split[link], expected[link]) for link in split)


def test_a_node_without_a_way_is_infinitely_far_and_has_no_split():
    net = topology([("a", "b", 1), ("b", "c", 1), ("c", "b", 1)])
    igp = igp_of(net)
    assert np.isinf(igp.distance[net.node_row["b"], net.node_row["a"]])
    assert not igp.unique[net.node_row["b"], net.node_row["a"]]
    assert igp.split(net.node_row["b"], net.node_row["a"]) is None


def test_parallel_links_of_one_metric_are_two_paths_and_of_two_metrics_one():
    twins = topology(both_ways([("a", "b", 2), ("a", "b", 2)]))
    assert not igp_of(twins).unique[0, 1]
    unlike = topology(both_ways([("a", "b", 2), ("a", "b", 3)]))
    assert igp_of(unlike).unique[0, 1]
    assert igp_of(unlike).split(0, 1)[0].tolist() == [0]


def test_links_without_metric_do_not_make_a_loop():
    net = topology(both_ways([("a", "b", 0), ("b", "c", 0), ("a", "c", 0)]))
    assert igp_of(net).split(0, 2)[1].tolist() == [1.0]


def test_one_topology_is_computed_once_and_forgotten_with_it():
    net = topology(both_ways([("a", "b", 1)]))
    assert igp_of(net) is igp_of(net)
    alive = weakref.ref(igp_of(net))
    del net
    gc.collect()
    assert alive() is None
