"""Shortest paths as the IGP sees them: distances, where they are unique, and how equal-cost paths split.

Peering links and ISPs take no part. Every router splits equally over its equal-cost next links, hop by hop, so
parallel links of one metric are two paths. Computed once per topology object and shared.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from neto.model.topology import NodeKind, Rows, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping

Split = tuple[Rows, NDArray[np.float64]]  # link rows (ascending), and the share of the traffic that each carries

_known: dict[int, Igp] = {}  # by id() of the topology: hashing a whole topology would cost more than it saves


def igp_of(topology: Topology) -> Igp:
    """Return the shortest paths of this topology object, computing them on first use."""
    known = _known.get(id(topology))
    if known is None:
        known = _known[id(topology)] = Igp(topology)
        weakref.finalize(topology, _known.pop, id(topology), None)
    return known


class Igp:
    """All-pairs shortest paths over the links between routers.

    distance: (nodes, nodes) float64, IGP metric from row to column; inf where there is no path, 0 on the diagonal.
    unique: (nodes, nodes) bool, exactly one shortest path leads from row to column.
    links: (links,) bool, the links that take part.
    metric: (links,) int64, as it counts here: at least 1, since paths without cost would not end.
    """

    def __init__(self, topology: Topology) -> None:
        count = len(topology.nodes)
        router = np.array([node.kind is NodeKind.ROUTER for node in topology.nodes], dtype=bool)
        self._source = topology.source
        self._target = topology.target
        self.metric = np.maximum(topology.igp_metric, 1)
        self._split: dict[tuple[int, int], Split | None] = {}
        self._out: Mapping[int, list[int]] = {node: [] for node in range(count)}
        self.links = router[self._source] & router[self._target] if len(topology.links) else np.zeros(0, dtype=bool)
        for link in np.flatnonzero(self.links):
            self._out[int(self._source[link])].append(int(link))
        self.distance = self._distances(count)
        self.unique = self._uniqueness(count)

    def split(self, source: int, target: int) -> Split | None:
        """Return how traffic from source to target spreads over links; None when there is no path.

        source == target gives no links at all.
        """
        key = (source, target)
        if key not in self._split:
            self._split[key] = self._spread(source, target)
        return self._split[key]

    def _distances(self, count: int) -> NDArray[np.float64]:
        shortest = np.full((count, count), np.inf)
        rows = np.flatnonzero(self.links)
        np.minimum.at(shortest, (self._source[rows], self._target[rows]), self.metric[rows].astype(np.float64))
        start, end = np.nonzero(np.isfinite(shortest))
        graph = csr_array((shortest[start, end], (start, end)), shape=(count, count))
        distance: NDArray[np.float64] = dijkstra(graph, directed=True) if count else shortest
        return distance

    def _uniqueness(self, count: int) -> NDArray[np.bool_]:
        """Follow the only next link of every node, towards every target at once, in doubling strides."""
        choices = np.zeros((count, count), dtype=np.int32)  # equal-cost next links at row, towards column
        follow = np.tile(np.arange(count)[:, None], (1, count))  # node after the (last counted) next link
        for link in np.flatnonzero(self.links):
            start, end = self._source[link], self._target[link]
            tight = self._tight(int(link)) & (np.arange(count) != start)
            choices[start, tight] += 1
            follow[start, tight] = end
        unique: NDArray[np.bool_] = (choices == 1) | np.eye(count, dtype=bool)
        columns = np.arange(count)[None, :]
        stride = 1
        while stride < count:
            unique = unique & unique[follow, columns]
            follow = follow[follow, columns]
            stride *= 2
        return unique

    def _tight(self, link: int) -> NDArray[np.bool_]:
        """(nodes,) the targets for which this link lies on a shortest path from its source."""
        through = self.metric[link] + self.distance[self._target[link]]
        tight: NDArray[np.bool_] = np.isfinite(through) & (self.distance[self._source[link]] == through)
        return tight

    def _spread(self, source: int, target: int) -> Split | None:
        toward = self.distance[:, target]
        if not np.isfinite(toward[source]):
            return None
        share = {source: 1.0}
        carried: dict[int, float] = {}
        waiting = {source}
        while waiting:
            node = max(waiting, key=lambda row: (toward[row], -row))  # all that flows into it is known by now
            waiting.remove(node)
            if node == target:
                continue
            tight = [link for link in self._out[node] if toward[node] == self.metric[link] + toward[self._target[link]]]
            for link in tight:
                carried[link] = share[node] / len(tight)
                after = int(self._target[link])
                share[after] = share.get(after, 0.0) + carried[link]
                waiting.add(after)
        rows = np.array(sorted(carried), dtype=np.int32)
        return rows, np.array([carried[int(row)] for row in rows], dtype=np.float64)
