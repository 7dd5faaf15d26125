"""Who may send how much over which path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neto.model.demand import Demand
from neto.model.topology import Mbps, Microseconds, Rows, Topology


@dataclass(frozen=True, eq=False)
class PathSet:
    """Candidate paths of every demand, as link rows of one topology, in compressed rows.

    Paths of demand d are rows demand_start[d]:demand_start[d+1]; links of path p are
    links[path_start[p]:path_start[p+1]], from source to target. Paths of one demand are in order of delay.
    """

    demand_start: NDArray[np.int64]  # (demands + 1,)
    path_start: NDArray[np.int64]  # (paths + 1,)
    links: Rows  # (hops,)
    delay_us: Microseconds  # (paths,), egress delay included

    @cached_property
    def demand_of(self) -> NDArray[np.int64]:
        """(paths,) row of the demand that each path belongs to."""
        return np.repeat(np.arange(len(self.demand_start) - 1), np.diff(self.demand_start))

    def path(self, row: int) -> tuple[int, ...]:
        """Link rows of one path."""
        return tuple(int(link) for link in self.links[self.path_start[row] : self.path_start[row + 1]])

    def loads(self, rate_mbps: Mbps, links: int) -> Mbps:
        """(links,) Mbit/s that rate_mbps (paths,) puts on each link."""
        hop_mbps = np.repeat(rate_mbps, np.diff(self.path_start))
        return np.bincount(self.links, hop_mbps, minlength=links).astype(np.float64)


@dataclass(frozen=True, slots=True)
class ClassReport:
    """How one class fared."""

    traffic_class: str
    status: str  # how good the answer is, and why it is not better
    seconds: float
    requested_mbps: float
    allocated_mbps: float
    fell_back: bool = False  # a quicker way had to do: the status says which and why
    justified: float = 1.0  # share of the demands that get less than they ask and have a bottleneck on every path
    delay_gap: float | None = 0.0  # by how much, relative, delay at these rates could at most be less; None: unknown


@dataclass(frozen=True, eq=False)
class LinkPrices:
    """What links cost one class: where the next allocation can begin to look."""

    level_mbps: Mbps  # (links,) level at which the link held demands back; infinite: it was in nobody's way
    delay_us: Microseconds  # (links,) delay that room on the link was worth; 0: nobody had to go around


@dataclass(frozen=True, eq=False)
class Allocation:
    """A rate for every candidate path of every demand of a joint graph."""

    topology: Topology  # the joint graph: peering links and ISPs included
    demands: tuple[Demand, ...]
    paths: PathSet
    rate_mbps: Mbps  # (paths,)
    classes: tuple[ClassReport, ...]  # highest first
    prices: tuple[LinkPrices, ...] = ()  # of each class

    @cached_property
    def allocated_mbps(self) -> Mbps:
        """(demands,) Mbit/s given to each demand."""
        given = np.bincount(self.paths.demand_of, self.rate_mbps, minlength=len(self.demands))
        return given.astype(np.float64)

    @cached_property
    def load_mbps(self) -> Mbps:
        """(links,) Mbit/s on each link from these demands alone."""
        return self.paths.loads(self.rate_mbps, len(self.topology.links))
