"""Tier 0 on cases small enough to work out by hand, and its promises on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neto.controller.filling import fill
from neto.controller.flows import Flows
from neto.controller.paths import k_shortest

from .networks import network


def flows_of(demand_paths, demands, capacity, weight=None):
    """Flows from lists of link tuples, one list per demand."""
    counts = [len(paths) for paths in demand_paths]
    flat = [path for paths in demand_paths for path in paths]
    return Flows(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(path) for path in flat])]).astype(np.int64),
        np.array([link for path in flat for link in path], dtype=np.int32),
        np.repeat(np.arange(len(counts)), counts),
        np.array(demands, dtype=float),
        np.ones(len(demands)) if weight is None else np.array(weight, dtype=float),
        np.arange(len(flat), dtype=float),
        np.array(capacity, dtype=float),
    )


def test_a_full_link_sends_its_demands_on_to_their_next_path():
    # Two demands share link 0 (10); the first can go on over link 1 (4), the second has nothing else.
    flows = flows_of([[(0,), (1,)], [(0,)]], [100.0, 100.0], [10.0, 4.0])
    assert fill(flows).tolist() == [5.0, 4.0, 5.0]


def test_a_satisfied_demand_leaves_its_share_to_the_others():
    flows = flows_of([[(0,)], [(0,)], [(0,)]], [2.0, 100.0, 100.0], [10.0])
    assert fill(flows).tolist() == [2.0, 4.0, 4.0]


def test_growth_follows_the_weights():
    flows = flows_of([[(0,)], [(0,)]], [100.0, 100.0], [9.0], weight=[2.0, 1.0])
    assert fill(flows) == pytest.approx([6.0, 3.0])


def test_nothing_flows_over_a_link_without_capacity():
    flows = flows_of([[(0,), (1,)], [(0,)], []], [3.0, 3.0, 3.0], [0.0, 10.0])
    assert fill(flows).tolist() == [0.0, 3.0, 0.0]


@given(seed=st.integers(0, 10_000), spread=st.floats(0, 8))
@settings(max_examples=15, deadline=None)
def test_nobody_could_simply_be_given_more(seed, spread):
    """Within capacity and demand, and every unsatisfied demand has a full link on each of its paths."""
    topology = network(seed)
    draw = np.random.default_rng(seed)
    pairs = [tuple(draw.choice(8, 2, replace=False)) for _ in range(20)]
    paths = k_shortest(topology, topology.delay_us, pairs, 3)
    demands = 10 ** draw.uniform(-spread / 2, spread / 2, len(pairs))
    flows = Flows(
        paths.demand_start, paths.path_start, paths.links, paths.demand_of, demands,
        draw.uniform(0.5, 2, len(pairs)), paths.delay_us, topology.capacity_mbps,
    )  # fmt: skip
    rate = fill(flows)
    load = flows.loads(rate)
    assert (rate >= 0).all()
    assert (load <= flows.capacity_mbps * (1 + 1e-9)).all()
    assert (flows.rates(rate) <= demands * (1 + 1e-9)).all()
    full = load >= flows.capacity_mbps * (1 - 1e-9)
    for demand in np.flatnonzero(flows.rates(rate) < demands * (1 - 1e-9)):
        for path in range(flows.demand_start[demand], flows.demand_start[demand + 1]):
            assert full[list(paths.path(path))].any()
