"""Candidate paths that are kept from decision to decision, and repaired for what a link's change touches.

A pair of nodes is searched anew when one of its paths crosses a link that is gone or has grown longer, or when a link
that is new or shorter lies on a way that is no longer than the pair's last path. Of paths that are equally good, those
that were known stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from neto.controller.compressed import take_demands
from neto.controller.flows import Bools, Floats, Ints, sum_over_paths
from neto.model.allocation import PathSet
from neto.model.topology import Rows, Topology

Search = Callable[[Sequence[tuple[int, int]]], PathSet]

_MOST_IDLE = 4  # times as many pairs as were asked for are kept at most
_MOST_NEW = 64  # links that are new or shorter: for more, everything is searched anew
_NONE = -1
_EQUAL = 1e-9  # difference of lengths, relative or in the unit of weights, that is none


@dataclass(frozen=True, eq=False)
class _Graph:
    """What paths depend on."""

    nodes: tuple[str, ...]
    transit: Bools  # (nodes,)
    ids: tuple[str, ...]  # of all links
    weight: Floats  # (links,) infinite where a link may not be used
    source: Rows
    target: Rows
    k: int


@dataclass(frozen=True, eq=False)
class _Known:
    """Paths of some pairs on a graph."""

    graph: _Graph
    code: Ints  # (pairs,) of the demands of `paths`
    paths: PathSet

    def places(self, code: Ints) -> Ints:
        """(codes,) row of each of these pairs; _NONE where it is not known."""
        if not len(self.code):
            return np.full(len(code), _NONE)
        order = np.argsort(self.code)
        at = np.minimum(np.searchsorted(self.code, code, sorter=order), len(order) - 1)
        rows = order[at]
        return np.where(self.code[rows] == code, rows, _NONE)


class PathCache:
    """The paths of the last topology. One user at a time."""

    def __init__(self) -> None:
        self._known: _Known | None = None
        self.searched = 0  # pairs, in all
        self.reused = 0

    def shortest(
        self,
        topology: Topology,
        weight: Floats,
        pairs: Sequence[tuple[int, int]],
        k: int,
        usable: Bools,
        transit: Bools,
        search: Search,
    ) -> PathSet:
        """Return the k shortest paths of each pair, as `search` does; of the pairs that it must, by `search`."""
        weights = np.where(usable, weight, np.inf)
        graph = _Graph(
            tuple(node.name for node in topology.nodes),
            transit,
            tuple(link.id for link in topology.links),
            weights,
            topology.source,
            topology.target,
            k,
        )
        if not pairs:
            return search(pairs)
        kept = _kept(self._known, graph) if self._known is not None else None
        code = _codes(np.array(pairs, dtype=np.int64), len(graph.nodes))
        place = np.full(len(code), _NONE) if kept is None else kept.places(code)
        missing = np.flatnonzero(place == _NONE)
        self.searched += len(missing)
        self.reused += len(pairs) - len(missing)
        found = search([pairs[row] for row in missing.tolist()])
        if kept is None:
            known = _Known(graph, code, found)
            place = np.arange(len(code))
        else:
            known = _Known(graph, np.concatenate([kept.code, code[missing]]), _joined(kept.paths, found))
            place[missing] = len(kept.code) + np.arange(len(missing))
        chosen = take_demands(known.paths, place)
        if len(known.code) > _MOST_IDLE * len(pairs):  # most of it has not been asked for
            known = _Known(graph, code, chosen)
        self._known = known
        return chosen


def _codes(pair: Ints, nodes: int) -> Ints:
    """(pairs,) a number for each pair (pairs, 2) of node rows."""
    codes: Ints = pair[:, 0] * nodes + pair[:, 1]
    return codes


def _kept(known: _Known, graph: _Graph) -> _Known | None:
    """Return what of the known paths holds on this graph, with its link rows; None: nothing."""
    old = known.graph
    if (old.nodes, old.k) != (graph.nodes, graph.k) or not np.array_equal(old.transit, graph.transit):
        return None
    if not graph.ids:
        return None
    place = {name: row for row, name in enumerate(graph.ids)}
    now = np.array([place.get(name, -1) for name in old.ids], dtype=np.int64)
    there = now >= 0
    same_ends = (old.source == graph.source[now]) & (old.target == graph.target[now])
    if (there & ~same_ends).any():
        return None
    after = np.where(there, graph.weight[now], np.inf)
    before = np.full(len(graph.ids), np.inf)
    before[now[there]] = old.weight[there]
    better = np.flatnonzero(graph.weight < before)
    if len(better) > _MOST_NEW:
        return None
    paths = known.paths
    worse = after > old.weight
    stale = np.zeros(len(paths.demand_start) - 1, dtype=bool)
    stale[paths.demand_of[_crosses(paths, worse)]] = True
    pair = np.stack(np.divmod(known.code, len(old.nodes)), axis=1)
    if len(better):
        stale |= _improved(graph, better, pair, paths, old)
    rows = np.flatnonzero(~stale)
    held = take_demands(paths, rows)
    # A link that became shorter is on no path that stays: such a path would itself have become shorter.
    links = now[held.links].astype(np.int32)
    moved = PathSet(held.demand_start, held.path_start, links, held.delay_us)
    return _Known(graph, known.code[rows], moved)


def _crosses(paths: PathSet, links: Bools) -> Bools:
    """(paths,) whether a path crosses one of the links."""
    crossed: Bools = sum_over_paths(paths.path_start, paths.links, links.astype(np.float64)) > 0
    return crossed


def _improved(graph: _Graph, better: Ints, pair: Ints, paths: PathSet, old: _Graph) -> Bools:
    """(pairs,) whether a way over one of the better links is as short as the pair's last path, or it has too few."""
    count = np.diff(paths.demand_start)
    length = sum_over_paths(paths.path_start, paths.links, old.weight)
    last = np.full(len(count), np.inf)
    full = count == graph.k
    last[full] = length[paths.demand_start[1:][full] - 1]
    graph_there = _matrix(graph)
    ends, which = np.unique(np.concatenate([graph.source[better], graph.target[better]]), return_inverse=True)
    onward = dijkstra(graph_there, indices=ends)
    toward = dijkstra(graph_there.T, indices=ends)
    found = np.zeros(len(pair), dtype=bool)
    for place, link in enumerate(better.tolist()):
        first, second = which[place], which[len(better) + place]
        way = toward[first][pair[:, 0]] + graph.weight[link] + onward[second][pair[:, 1]]
        found |= np.isfinite(way) & (way <= last * (1 + _EQUAL) + _EQUAL)
    return found


def _matrix(graph: _Graph) -> csr_matrix:
    """Lightest link between each two nodes; a little more than nothing where it is free: 0 means no link."""
    open_links = np.flatnonzero(np.isfinite(graph.weight))
    order = open_links[np.argsort(-graph.weight[open_links], kind="stable")]
    lightest = {(int(graph.source[row]), int(graph.target[row])): float(graph.weight[row]) for row in order.tolist()}
    ends = np.array(list(lightest), dtype=np.int64).reshape(-1, 2)
    weight = np.maximum(np.array(list(lightest.values())), 1e-12)
    return csr_matrix((weight, (ends[:, 0], ends[:, 1])), shape=(len(graph.nodes), len(graph.nodes)))


def _joined(one: PathSet, other: PathSet) -> PathSet:
    """Return the demands of one, then those of the other."""
    return PathSet(
        np.concatenate([one.demand_start, one.demand_start[-1] + other.demand_start[1:]]),
        np.concatenate([one.path_start, one.path_start[-1] + other.path_start[1:]]),
        np.concatenate([one.links, other.links]),
        np.concatenate([one.delay_us, other.delay_us]),
    )
