"""K shortest paths of all pairs beside scipy's yen, which is timed on sampled pairs: the same costs, and the ratio.

CPU seconds of one core in one run. It fails for a wrong cost, never for a slow search.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import yen

from neto.controller.paths import k_shortest
from neto.wire.repetita import read_graph

from .instances import DATA, missing

K = 4
SAMPLES = 60

pytestmark = [pytest.mark.bench, pytest.mark.timeout(0)]


@pytest.mark.parametrize("name", ["GtsCe", "Cogentco", "Kdl"])
def test_all_pairs_beside_scipy(name):
    if said := missing(name):
        pytest.skip(said)
    topology = read_graph(DATA / f"{name}.graph")
    nodes = len(topology.nodes)
    weight = topology.delay_us + 1.0  # yen takes 0 for "no link"
    pairs = [(a, b) for a in range(nodes) for b in range(nodes) if a != b]
    usable = _lightest(topology, weight)
    k_shortest(topology, weight, pairs[:10], K, usable=usable)  # compiled
    began = time.process_time()
    found = k_shortest(topology, weight, pairs, K, usable=usable)
    ours = time.process_time() - began
    ends = topology.source[usable].astype(np.int32), topology.target[usable].astype(np.int32)
    graph = csr_matrix((weight[usable], ends), shape=(nodes, nodes))
    draw = np.random.default_rng(3)
    chosen = draw.choice(len(pairs), SAMPLES, replace=False)
    theirs = 0.0
    for row in chosen.tolist():
        source, target = pairs[row]
        began = time.process_time()
        costs = yen(graph, source, target, K)
        theirs += time.process_time() - began
        mine = found.delay_us[found.demand_start[row] : found.demand_start[row + 1]]
        assert mine[: len(costs)] == pytest.approx(costs)
    whole = theirs / SAMPLES * len(pairs)
    print(
        f"\n{name} K{K}, {len(pairs)} pairs: {ours:.2f} s; scipy's yen {1000 * theirs / SAMPLES:.2f} ms a pair, "
        f"{whole:.0f} s for all: {whole / ours:.0f} x"
    )


def _lightest(topology, weight):
    """(links,) bool, the lightest of parallel links: yen does not know more."""
    order = np.argsort(-weight, kind="stable")
    row = {(int(topology.source[link]), int(topology.target[link])): int(link) for link in order.tolist()}
    usable = np.zeros(len(weight), dtype=bool)
    usable[list(row.values())] = True
    return usable
