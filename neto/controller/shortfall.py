"""Say who got less than was asked for, and what stands in the way."""

from __future__ import annotations

import numpy as np

from neto.controller.bottleneck import binding_links, unsatisfied
from neto.model.allocation import Allocation
from neto.model.topology import Mbps


def shortfalls(allocation: Allocation, room_mbps: Mbps) -> tuple[str, ...]:
    """Return a line for each demand that is not fully placed: what it got, its bottlenecks, and the fair share there.

    room_mbps: (links,) what there was to allocate. The bottlenecks are the full links that close the demand's paths;
    the fair share is the most that any demand of the same class got through them.
    """
    lines = []
    paths, links = allocation.paths, allocation.topology.links
    binding = binding_links(allocation, room_mbps)
    for row in unsatisfied(allocation).tolist():
        demand = allocation.demands[row]
        full = binding[paths.demand_start[row] : paths.demand_start[row + 1]]
        closing = list(dict.fromkeys(full[full >= 0].tolist()))
        got = f"{allocation.allocated_mbps[row]:.6g} of {demand.rate_mbps:.6g} Mbit/s"
        names = ", ".join(links[link].id for link in closing) or "none of its paths is full"
        share = max((_fair_share(allocation, link, demand.traffic_class) for link in closing), default=0.0)
        lines.append(
            f"{demand.traffic_class} {demand.source} -> {demand.target}: {got}, bottleneck {names}, "
            f"fair share there {share:.6g} Mbit/s"
        )
    return tuple(lines)


def _fair_share(allocation: Allocation, link: int, traffic_class: str) -> float:
    """Return the most that one demand of a class gets that uses a link."""
    paths = allocation.paths
    through = np.unique(np.searchsorted(paths.path_start, np.flatnonzero(paths.links == link), side="right") - 1)
    rows = np.unique(paths.demand_of[through[allocation.rate_mbps[through] > 0]]).tolist()
    same = [row for row in rows if allocation.demands[row].traffic_class == traffic_class]
    return float(allocation.allocated_mbps[same].max(initial=0.0))
