"""Where traffic goes that nothing of ours steers: IGP shortest paths with equal splits, and the nearest exit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neto.controller.igp import Split, igp_of
from neto.controller.peering import legacy_exit
from neto.model.peering import Peering
from neto.model.topology import Mbps, Topology


def legacy_split(joint: Topology, peering: Peering, source: int, target: str) -> Split | None:
    """Return how legacy traffic from a router spreads over the links of the joint graph.

    source: node row. target: a router or a prefix group; a router's name wins. None when there is no way.
    """
    igp = igp_of(joint)
    if target in joint.node_row:
        return igp.split(source, joint.node_row[target])
    way_out = legacy_exit(joint, peering, source, target)
    if way_out is None:
        return None
    inside = igp.split(source, int(joint.source[way_out]))
    if inside is None:
        return None
    return np.append(inside[0], np.int32(way_out)), np.append(inside[1], 1.0)


def legacy_loads(joint: Topology, peering: Peering, demands: Iterable[tuple[str, str, float]]) -> Mbps:
    """(links,) Mbit/s that legacy forwarding of (source, target, rate_mbps) puts on each link of the joint graph.

    Demands with an unknown source or no way to their target put nothing anywhere.
    """
    load = np.zeros(len(joint.links))
    for source, target, rate_mbps in demands:
        row = joint.node_row.get(source)
        split = None if row is None else legacy_split(joint, peering, row, target)
        if split is not None:
            load[split[0]] += split[1] * rate_mbps
    return load


def legacy_paths(joint: Topology, peering: Peering, source: int, target: str) -> list[tuple[tuple[int, ...], float]]:
    """Return the legacy paths as (link rows, fraction), in order of link rows; the fractions sum to 1.

    source: node row. Empty when there is no way. There can be very many where equal-cost paths branch often: loads
    are better taken from `legacy_split`.
    """
    split = legacy_split(joint, peering, source, target)
    if split is None:
        return []
    carried = dict(zip(split[0].tolist(), split[1].tolist(), strict=True))
    out: dict[int, list[int]] = {}
    for link in carried:
        out.setdefault(int(joint.source[link]), []).append(link)
    paths: list[tuple[tuple[int, ...], float]] = []
    open_paths: list[tuple[tuple[int, ...], float, int]] = [((), 1.0, source)]
    while open_paths:
        path, fraction, node = open_paths.pop()
        onward = out.get(node, [])
        if not onward:
            paths.append((path, fraction))
        open_paths += [((*path, link), fraction / len(onward), int(joint.target[link])) for link in onward]
    return sorted(paths)
