"""From one allocation of some demands to another of the same demands, in safe steps: what `neto transition` asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neto.controller.deadline import NEVER, Deadline
from neto.controller.shifts import Shifts
from neto.controller.transition import Way, find_way
from neto.model.allocation import Allocation
from neto.model.topology import Mbps, Topology

Rates = Mapping[tuple[int, ...], float]  # Mbit/s by the link rows of a path


@dataclass(frozen=True, eq=False)
class Reallocation:
    """The way, one shift for each demand, one strand for each path of either allocation."""

    way: Way

    def moves(self) -> Iterator[Mapping[int, Rates]]:
        """Yield, for every step, the rates of the demands that change in it; by row of the demand."""
        for rates, moved in zip(self.way.states, self.way.moved(), strict=True):
            yield {int(demand): self._paths(int(demand), rates) for demand in moved}

    @cached_property
    def utilisation(self) -> tuple[Mbps, ...]:
        """(links,) the highest load / capacity in any order, for every step."""
        return tuple(self.way.utilisation())

    def _paths(self, demand: int, rates: Mbps) -> Rates:
        shifts = self.way.shifts
        strands = range(int(shifts.shift_start[demand]), int(shifts.shift_start[demand + 1]))
        links = [shifts.links[shifts.strand_start[row] : shifts.strand_start[row + 1]] for row in strands]
        return {tuple(path.tolist()): float(rates[row]) for path, row in zip(links, strands, strict=True) if rates[row]}


def reallocate(
    topology: Topology, classes: Sequence[str], now: Allocation, then: Allocation, deadline: Deadline = NEVER
) -> Reallocation:
    """Plan the way from one allocation to the other.

    topology: all links of both; `now` and `then` are rows on their own topologies, links are known by their ids, and
    demands stand in the same order in both. classes: names, highest first. Where nothing could move otherwise, the
    lowest class is sent slower between two steps. deadline: see `find_way`.
    """
    shifts = _joined(topology, classes, now, then)
    way = find_way(shifts, deadline=deadline)
    return Reallocation(find_way(shifts, may_lower=True, deadline=deadline) if way.blocked else way)


def _joined(topology: Topology, classes: Sequence[str], now: Allocation, then: Allocation) -> Shifts:
    level = {name: row for row, name in enumerate(classes)}
    ways: list[tuple[int, ...]] = []
    rates: list[tuple[float, float]] = []
    counts = []
    for row in range(len(now.demands)):
        before, after = _rates(topology, now, row), _rates(topology, then, row)
        mine = list(dict.fromkeys([*before, *after]))
        ways += mine
        rates += [(before.get(way, 0.0), after.get(way, 0.0)) for way in mine]
        counts.append(len(mine))
    ends = np.array(rates, dtype=np.float64).reshape(-1, 2)
    of_class = np.array([level[demand.traffic_class] for demand in now.demands], dtype=np.int64)
    return Shifts(
        np.cumsum([0, *counts]).astype(np.int64),
        np.cumsum([0, *map(len, ways)]).astype(np.int64),
        np.array([link for way in ways for link in way], dtype=np.int32),
        np.zeros(0),
        np.ascontiguousarray(ends[:, 0]),
        np.ascontiguousarray(ends[:, 1]),
        np.repeat(of_class, counts),
        np.ones(len(counts), dtype=bool),
        np.zeros(len(counts)),
        np.zeros((len(classes), len(topology.links))),
        topology.capacity_mbps,
    )


def _rates(topology: Topology, allocation: Allocation, demand: int) -> dict[tuple[int, ...], float]:
    paths, links = allocation.paths, allocation.topology.links
    rates: dict[tuple[int, ...], float] = {}
    for path in range(int(paths.demand_start[demand]), int(paths.demand_start[demand + 1])):
        if allocation.rate_mbps[path] > 0:
            key = tuple(topology.link_row[links[link].id] for link in paths.path(path))
            rates[key] = rates.get(key, 0.0) + float(allocation.rate_mbps[path])
    return rates
