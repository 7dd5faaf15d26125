"""Say who got less than was asked for, and what stands in the way."""

from __future__ import annotations

import numpy as np

from neto.model.allocation import Allocation
from neto.model.topology import Mbps

_ALL = 1 - 1e-6


def shortfalls(allocation: Allocation, room_mbps: Mbps) -> tuple[str, ...]:
    """Return a line for each demand that is not fully placed: what it got, its bottleneck, and the fair share there.

    room_mbps: (links,) what there was to allocate. The bottleneck is the link on the demand's paths that is nearest
    to full; the fair share is the most that any demand of the same class got through it.
    """
    lines = []
    free = np.divide(room_mbps - allocation.load_mbps, room_mbps, out=np.zeros_like(room_mbps), where=room_mbps > 0)
    paths = allocation.paths
    for row, demand in enumerate(allocation.demands):
        got = float(allocation.allocated_mbps[row])
        if got >= demand.rate_mbps * _ALL:
            continue
        first, last = paths.path_start[paths.demand_start[row]], paths.path_start[paths.demand_start[row + 1]]
        links = np.unique(paths.links[first:last])
        head = f"{demand.traffic_class} {demand.source} -> {demand.target}: {got:.6g} of {demand.rate_mbps:.6g} Mbit/s"
        if not len(links):
            lines.append(f"{head}, it has no path")
            continue
        bottleneck = int(links[free[links].argmin()])
        share = _fair_share(allocation, bottleneck, demand.traffic_class)
        name = allocation.topology.links[bottleneck].id
        lines.append(f"{head}, bottleneck {name}, fair share there {share:.6g} Mbit/s")
    return tuple(lines)


def _fair_share(allocation: Allocation, link: int, traffic_class: str) -> float:
    paths = allocation.paths
    through = np.unique(np.searchsorted(paths.path_start, np.flatnonzero(paths.links == link), side="right") - 1)
    rows = np.unique(paths.demand_of[through[allocation.rate_mbps[through] > 0]])
    same = [row for row in rows if allocation.demands[row].traffic_class == traffic_class]
    return float(allocation.allocated_mbps[same].max(initial=0.0))
