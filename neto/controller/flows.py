"""The arrays of one allocation problem: demands, their paths, and what the links can still carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neto.jit import compiled
from neto.model.topology import Mbps, Rows

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Flows:
    """Demands of one class with their paths in compressed rows (as in PathSet), and the capacity left to them."""

    demand_start: Ints  # (demands + 1,)
    path_start: Ints  # (paths + 1,)
    links: Rows  # (hops,)
    demand_of: Ints  # (paths,)
    demand_mbps: Mbps  # (demands,)
    weight: Floats  # (demands,) > 0
    delay_us: Floats  # (paths,)
    capacity_mbps: Mbps  # (links,) >= 0

    @cached_property
    def by_level(self) -> Ints:
        """(demands,) rows in order of the level (rate / weight) that satisfies them."""
        return np.argsort(self.demand_mbps / self.weight, kind="stable")

    def loads(self, rate_mbps: Mbps) -> Mbps:
        """(links,) Mbit/s that rate_mbps (paths,) puts on each link."""
        return path_loads(self.path_start, self.links, rate_mbps, len(self.capacity_mbps))

    def rates(self, rate_mbps: Mbps) -> Mbps:
        """(demands,) Mbit/s that each demand gets."""
        given: Mbps = np.bincount(self.demand_of, rate_mbps, minlength=len(self.demand_mbps)).astype(np.float64)
        return given


@compiled
def path_loads(path_start: Ints, links: Rows, rate_mbps: Mbps, count: int) -> Mbps:
    """(count,) Mbit/s on each link."""
    load = np.zeros(count)
    for path in range(len(path_start) - 1):
        if rate_mbps[path] > 0:
            for hop in range(path_start[path], path_start[path + 1]):
                load[links[hop]] += rate_mbps[path]
    return load


@compiled
def least_over_paths(path_start: Ints, links: Rows, value: Floats) -> Floats:
    """(paths,) least value (links,) along each path; infinite for a path without links."""
    least = np.full(len(path_start) - 1, np.inf)
    for path in range(len(path_start) - 1):
        for hop in range(path_start[path], path_start[path + 1]):
            least[path] = min(least[path], value[links[hop]])
    return least


@compiled
def sum_over_paths(path_start: Ints, links: Rows, value: Floats) -> Floats:
    """(paths,) sum of value (links,) along each path."""
    total = np.zeros(len(path_start) - 1)
    for path in range(len(path_start) - 1):
        for hop in range(path_start[path], path_start[path + 1]):
            total[path] += value[links[hop]]
    return total


@compiled
def taken_paths(path_start: Ints, links: Rows, rows: Ints) -> tuple[Ints, Rows]:
    """Where each of the chosen paths (rows) starts, and their links."""
    start = np.zeros(len(rows) + 1, np.int64)
    for place in range(len(rows)):
        start[place + 1] = start[place] + path_start[rows[place] + 1] - path_start[rows[place]]
    taken = np.empty(start[-1], np.int32)
    for place in range(len(rows)):
        taken[start[place] : start[place + 1]] = links[path_start[rows[place]] : path_start[rows[place] + 1]]
    return start, taken


def trimmed(flows: Flows, rate_mbps: Mbps) -> Mbps:
    """Return the rates, lowered on every path that crosses an overloaded link until no link is over its capacity."""
    rate = np.maximum(rate_mbps, 0.0)
    capacity = flows.capacity_mbps
    for _ in range(3):
        load = flows.loads(rate)
        over = load > capacity
        if not over.any():
            break
        share = np.ones(len(capacity))
        share[over] = capacity[over] / load[over] * (1 - 1e-12)
        rate *= np.minimum(least_over_paths(flows.path_start, flows.links, share), 1.0)
    return rate
