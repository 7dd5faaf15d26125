"""A path for each pair that shares as little risk as possible with its shortest one.

Two links share a risk when they are the same link, opposite directions of one line (both ends the same), or have a
shared-risk link group in common (RFC 5307 §1.2): one cut fibre should not take all paths of a demand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neto.controller.flows import Bools, Floats, Ints
from neto.controller.heap import drop_first, push
from neto.jit import compiled
from neto.model.allocation import PathSet
from neto.model.topology import Rows, Topology

_NONE = -1


def diversified(
    paths: PathSet, topology: Topology, weight: Floats, pairs: Sequence[tuple[int, int]], k: int, usable: Bools,
    transit: Bools,
) -> PathSet:  # fmt: skip
    """Return the paths of each pair with the one added that shares least with its first, then weighs least.

    Where there are k already, it takes the place of the last. A pair of which a path shares nothing is left as it is.
    """
    risk_start, risks, count = _risks(topology)
    links = np.flatnonzero(usable)
    links = links[np.lexsort((links, topology.source[links]))]
    start = np.searchsorted(topology.source[links], np.arange(len(topology.nodes) + 1)).astype(np.int64)
    # Sharing with one link more is worse than any detour.
    penalty = float(weight[links].sum()) + 1.0
    chosen: list[tuple[int, ...]] = []
    demand_start = [0]
    for row, (source, target) in enumerate(pairs):
        mine = [paths.path(path) for path in range(int(paths.demand_start[row]), int(paths.demand_start[row + 1]))]
        if mine and mine[0]:
            taken = np.zeros(count, dtype=np.bool_)
            for link in mine[0]:
                taken[risks[risk_start[link] : risk_start[link + 1]]] = True
            apart = [
                not taken[np.concatenate([risks[risk_start[x] : risk_start[x + 1]] for x in path])].any()
                for path in mine
            ]
            if not any(apart):
                other = _least_shared(
                    source, target, start, links, topology.target, weight, transit, risk_start, risks, taken, penalty
                )
                found = tuple(int(link) for link in other)
                if found and found not in mine:
                    mine = sorted([*mine[: k - 1], found] if k > 1 else mine, key=lambda path: _order(path, weight))
        chosen += mine
        demand_start.append(len(chosen))
    lengths = [len(path) for path in chosen]
    return PathSet(
        np.array(demand_start, dtype=np.int64),
        np.cumsum([0, *lengths]).astype(np.int64),
        np.array([link for path in chosen for link in path], dtype=np.int32),
        np.array([float(weight[list(path)].sum()) for path in chosen], dtype=np.float64),
    )


def _order(path: tuple[int, ...], weight: Floats) -> tuple[float, int]:
    return float(weight[list(path)].sum()), len(path)


def _risks(topology: Topology) -> tuple[Ints, Ints, int]:
    """(links + 1,) where each link's risks start, the risks, and how many there are."""
    number: dict[object, int] = {}
    start, risks = [0], []
    for link in topology.links:
        line = (min(link.source, link.target), max(link.source, link.target))
        own = [number.setdefault(("line", line), len(number))]
        own += [number.setdefault(("group", group), len(number)) for group in sorted(link.srlgs)]
        risks += own
        start.append(len(risks))
    return np.array(start, dtype=np.int64), np.array(risks, dtype=np.int64), len(number)


@compiled
def _least_shared(
    source: int, target: int, start: Ints, links: Ints, head: Rows, weight: Floats, transit: Bools, risk_start: Ints,
    risks: Ints, taken: Bools, penalty: float,
) -> Ints:  # fmt: skip
    """Links of the path that crosses fewest links with a risk that is taken, and then weighs least; none: no path."""
    nodes = len(start) - 1
    best = np.full(nodes, np.inf)
    via = np.full(nodes, _NONE)
    came = np.full(nodes, _NONE)
    done = np.zeros(nodes, np.bool_)
    keys = np.empty(len(links) + 2)
    items = np.empty(len(links) + 2, np.int64)
    best[source] = 0.0
    size = push(keys, items, 0, 0.0, source)
    while size > 0:
        node = items[0]
        size = drop_first(keys, items, size)
        if done[node]:
            continue
        done[node] = True
        if node == target or (node != source and not transit[node]):
            continue
        for place in range(start[node], start[node + 1]):
            link = links[place]
            cost = best[node] + weight[link]
            for at in range(risk_start[link], risk_start[link + 1]):
                if taken[risks[at]]:
                    cost += penalty
                    break
            if cost < best[head[link]]:
                best[head[link]] = cost
                via[head[link]] = link
                came[head[link]] = node
                size = push(keys, items, size, cost, head[link])
    hops = 0
    node = target
    while node != source and via[node] != _NONE:
        hops += 1
        node = came[node]
    path = np.empty(hops if node == source else 0, np.int64)
    node = target
    for place in range(len(path) - 1, -1, -1):
        path[place] = via[node]
        node = came[node]
    return path
