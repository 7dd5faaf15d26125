"""Why a demand gets less than it asks: the full link on each of its paths."""

from __future__ import annotations

import numpy as np

from neto.controller.flows import Ints
from neto.model.allocation import Allocation
from neto.model.topology import Mbps

_FULL = 1e-4  # relative room below which a link counts as full
_SHORT = 1e-6  # relative shortfall from which on a demand counts as unsatisfied


def unsatisfied(allocation: Allocation) -> Ints:
    """Rows of the demands that get less than they ask for."""
    wanted = np.array([demand.rate_mbps for demand in allocation.demands], dtype=np.float64)
    return np.flatnonzero(allocation.allocated_mbps < wanted * (1 - _SHORT))


def binding_links(allocation: Allocation, available_mbps: Mbps) -> Ints:
    """(paths,) row of the fullest link of each path if it is full; -1: the path still has room, or has no links."""
    paths = allocation.paths
    limit = np.maximum(available_mbps, 0.0)
    room = np.divide(limit - allocation.load_mbps, limit, out=np.zeros_like(limit), where=limit > 0)
    binding = np.full(len(paths.delay_us), -1, dtype=np.int64)
    for path in range(len(binding)):
        links = paths.links[paths.path_start[path] : paths.path_start[path + 1]]
        if len(links):
            fullest = links[np.argmin(room[links])]
            if room[fullest] <= _FULL:
                binding[path] = fullest
    return binding
