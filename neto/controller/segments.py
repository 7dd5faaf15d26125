"""Turn a path into the shortest segment list that pins it.

A node segment stands for a stretch of the path where the IGP has exactly one shortest path and it is that stretch;
an adjacency segment stands for one link (RFC 8402 §3.1, §3.4). A peering link at the end becomes its peer segment
(RFC 9086), or nothing when it has no SID: the list then ends at the border, which sends the traffic out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, overload

import numpy as np

from neto.controller.igp import Igp, igp_of
from neto.model.sr import Segment, SidKind
from neto.model.topology import NodeKind, Topology


@overload
def pin_path(
    topology: Topology, path: Sequence[int], *, require_labels: Literal[False] = False
) -> tuple[Segment, ...]: ...


@overload
def pin_path(topology: Topology, path: Sequence[int], *, require_labels: bool) -> tuple[Segment, ...] | None: ...


def pin_path(topology: Topology, path: Sequence[int], *, require_labels: bool = False) -> tuple[Segment, ...] | None:
    """Return the fewest segments that keep traffic on exactly this path.

    path: link rows from source to target, loop-free; the last may be a peering link. Among lists of equal length
    the one with fewest adjacency segments is taken, then the one whose earlier segments reach farthest.
    require_labels: use only SIDs that routers have told. Returns None when they do not suffice. Without it, a SID
    that nobody has told has label 0 and its name counts.
    """
    if not path:
        return ()
    peer = topology.nodes[topology.target[path[-1]]].kind is NodeKind.ISP
    inside = path[:-1] if peer else path
    segments = _pin_inside(topology, igp_of(topology), inside, require_labels=require_labels)
    if segments is None or not peer:
        return segments
    link = topology.links[path[-1]]
    if link.adjacency_sid is None:
        return segments
    return (*segments, Segment(link.adjacency_sid, SidKind.PEER, link.id))


def _pin_inside(
    topology: Topology, igp: Igp, path: Sequence[int], *, require_labels: bool
) -> tuple[Segment, ...] | None:
    """Dynamic programming from the end: best[i] = cost of pinning the path from its node i on."""
    hops = len(path)
    if not hops:
        return ()
    nodes = [int(topology.source[path[0]]), *(int(topology.target[link]) for link in path)]
    reach = np.concatenate(([0.0], np.cumsum(igp.metric[list(path)])))
    usable = [not require_labels or topology.nodes[node].node_sid is not None for node in nodes]
    best: list[tuple[float, int]] = [(math.inf, 0)] * hops + [(0, 0)]  # (segments, adjacency segments)
    step: list[tuple[int, Segment] | None] = [None] * (hops + 1)
    for start in range(hops - 1, -1, -1):
        node = nodes[start]
        for end in range(hops, start, -1):
            pinned = igp.unique[node, nodes[end]] and igp.distance[node, nodes[end]] == reach[end] - reach[start]
            count, adjacencies = best[end]
            if usable[end] and pinned and (count + 1, adjacencies) < best[start]:
                best[start] = (count + 1, adjacencies)
                step[start] = (end, _node_segment(topology, nodes[end]))
        count, adjacencies = best[start + 1]
        link = topology.links[path[start]]
        known = not require_labels or link.adjacency_sid is not None
        if known and (count + 1, adjacencies + 1) < best[start]:
            best[start] = (count + 1, adjacencies + 1)
            step[start] = (start + 1, Segment(link.adjacency_sid or 0, SidKind.ADJACENCY, link.id))
    segments = []
    at = 0
    while at < hops:
        taken = step[at]
        if taken is None:
            return None
        at, segment = taken
        segments.append(segment)
    return tuple(segments)


def _node_segment(topology: Topology, row: int) -> Segment:
    node = topology.nodes[row]
    return Segment(node.node_sid or 0, SidKind.NODE, node.name)
