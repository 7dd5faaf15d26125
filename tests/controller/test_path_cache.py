"""What is kept and repaired must be worth as much as what is searched anew, and whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.path_cache import PathCache
from neto.controller.paths import candidate_paths
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.topology import Link, Node, Topology

from .networks import network

CLASSES = (TrafficClass("default"),)


def demands_between(names):
    return [Demand(f"{a}{b}", "default", a, b, 1.0) for a in names for b in names if a != b]


def changed(topology, links, draw):
    """Cut some links, bring one of `links` back, give some another delay."""
    kept = [link for link in topology.links if draw.random() > 0.1]
    gone = [link for link in links if link.id not in {each.id for each in kept}]
    back = [gone[int(draw.integers(len(gone)))]] if gone and draw.random() < 0.7 else []
    moved = [
        replace(link, delay_us=float(draw.integers(1, 9))) if draw.random() < 0.1 else link for link in kept + back
    ]
    return Topology(topology.nodes, tuple(moved))


def check_same(paths, anew, topology, demands):
    assert paths.demand_start.tolist() == anew.demand_start.tolist()
    assert paths.delay_us == pytest.approx(anew.delay_us)
    delay = topology.delay_us
    for row, demand in enumerate(demands):
        seen = set()
        for path in range(paths.demand_start[row], paths.demand_start[row + 1]):
            links = list(paths.path(path))
            assert delay[links].sum() == pytest.approx(paths.delay_us[path])
            assert topology.nodes[topology.source[links[0]]].name == demand.source
            assert topology.nodes[topology.target[links[-1]]].name == demand.target
            assert (topology.target[links[:-1]] == topology.source[links[1:]]).all()
            seen.add(tuple(links))
        assert len(seen) == paths.demand_start[row + 1] - paths.demand_start[row]


@given(seed=st.integers(0, 100_000), k=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_repaired_paths_are_as_good_as_new_ones(seed, k):
    draw = np.random.default_rng([seed, 3])
    topology = network(seed, nodes=8, links=26)
    everything = topology.links
    cache = PathCache()
    demands = demands_between([node.name for node in topology.nodes])
    for _ in range(6):
        some = [demand for demand in demands if draw.random() < 0.9]
        usable = draw.random(len(topology.links)) > 0.05
        paths = candidate_paths(topology, some, CLASSES, (), k, usable, cache=cache)
        anew = candidate_paths(topology, some, CLASSES, (), k, usable)
        check_same(paths, anew, topology, some)
        topology = changed(topology, everything, draw)


def test_after_a_cut_only_pairs_over_the_link_are_searched():
    topology = network(4, nodes=12, links=50)
    demands = demands_between([node.name for node in topology.nodes])
    cache = PathCache()
    before = candidate_paths(topology, demands, CLASSES, (), 3, cache=cache)
    assert cache.searched == len(demands)
    cut = 7
    over = {
        row
        for row in range(len(demands))
        for path in range(before.demand_start[row], before.demand_start[row + 1])
        if cut in before.path(path)
    }
    usable = np.arange(len(topology.links)) != cut
    candidate_paths(topology, demands, CLASSES, (), 3, usable, cache=cache)
    assert cache.searched == len(demands) + len(over)
    assert 0 < len(over) < len(demands)
    candidate_paths(topology, demands, CLASSES, (), 3, usable, cache=cache)
    assert cache.searched == len(demands) + len(over)


def test_a_new_link_without_delay_is_found():
    nodes = (Node("a"), Node("b"), Node("c"))
    around = (Link("ac", "a", "c", 10.0, 0.0), Link("cb", "c", "b", 10.0, 0.0))
    demands = [Demand("d", "default", "a", "b", 1.0)]
    cache = PathCache()
    candidate_paths(Topology(nodes, around), demands, CLASSES, (), 1, cache=cache)
    more = Topology(nodes, (*around, Link("ab", "a", "b", 10.0, 0.0)))
    assert candidate_paths(more, demands, CLASSES, (), 1, cache=cache).path(0) == (2,)
    none = candidate_paths(Topology(nodes, ()), demands, CLASSES, (), 1, cache=cache)
    assert none.demand_start.tolist() == [0, 0]


def test_pairs_that_are_not_asked_for_are_forgotten():
    topology = network(4, nodes=12, links=50)
    demands = demands_between([node.name for node in topology.nodes])
    cache = PathCache()
    candidate_paths(topology, demands, CLASSES, (), 3, cache=cache)
    for _ in range(2):
        candidate_paths(topology, demands[:10], CLASSES, (), 3, cache=cache)
    before = cache.searched
    candidate_paths(topology, demands[10:20], CLASSES, (), 3, cache=cache)
    assert cache.searched == before + 10


def test_links_that_go_elsewhere_make_everything_new():
    topology = network(4, nodes=6, links=20)
    demands = demands_between([node.name for node in topology.nodes])
    cache = PathCache()
    candidate_paths(topology, demands, CLASSES, (), 3, cache=cache)
    links = list(topology.links)
    other = next(node.name for node in topology.nodes if node.name not in (links[0].source, links[0].target))
    links[0] = replace(links[0], target=other)
    moved = Topology(topology.nodes, tuple(links))
    paths = candidate_paths(moved, demands, CLASSES, (), 3, cache=cache)
    check_same(paths, candidate_paths(moved, demands, CLASSES, (), 3), moved, demands)
