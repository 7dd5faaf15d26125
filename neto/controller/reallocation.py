"""From one allocation of some demands to another of the same demands, in safe steps: what `neto transition` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neto.controller.shifts import Shift, Strand
from neto.controller.transition import Transition, plan_transition
from neto.model.allocation import Allocation
from neto.model.topology import Mbps, Topology

Rates = Mapping[tuple[int, ...], float]  # Mbit/s by the link rows of a path


@dataclass(frozen=True, eq=False, slots=True)
class ReallocationStep:
    """Demands that may change in any order, and their rates afterwards."""

    moves: Mapping[int, Rates]  # by row of the demand
    worst_utilisation: float
    worst_link: int


@dataclass(frozen=True, eq=False, slots=True)
class Reallocation:
    """The steps, and what the planner says about them."""

    steps: tuple[ReallocationStep, ...]
    transition: Transition


def reallocate(topology: Topology, classes: Sequence[str], now: Allocation, then: Allocation) -> Reallocation:
    """Plan the way from one allocation to the other.

    topology: all links of both; `now` and `then` are rows on their own topologies, links are known by their ids, and
    demands stand in the same order in both. classes: names, highest first. Where nothing could move otherwise, the
    lowest class is sent slower between two steps.
    """
    level = {name: row for row, name in enumerate(classes)}
    of_class = [level[demand.traffic_class] for demand in now.demands]
    before = [_rates(topology, now, row) for row in range(len(now.demands))]
    after = [_rates(topology, then, row) for row in range(len(now.demands))]
    capacity = topology.capacity_mbps
    moving = [row for row in range(len(before)) if before[row] != after[row]]
    background = np.zeros((len(classes), len(topology.links)))
    for row in sorted(set(range(len(before))) - set(moving)):
        _put(background[of_class[row]], before[row])
    shifts = [_shift(str(row), of_class[row], before[row], after[row]) for row in moving]
    transition = plan_transition(shifts, background, capacity)
    if transition.stuck:  # the lowest class may have to make room even where it does not move
        still = [row for row in range(len(before)) if before[row] == after[row] and of_class[row] == len(classes) - 1]
        for row in still:
            _put(background[-1], before[row], -1.0)
        moving = moving + still
        shifts += [_shift(str(row), of_class[row], before[row], after[row]) for row in still]
        transition = plan_transition(shifts, np.maximum(background, 0.0), capacity, may_lower=True)
    ways = [list(dict.fromkeys([*before[row], *after[row]])) for row in moving]
    steps = tuple(
        ReallocationStep(
            {
                moving[shift]: {path: rate for path, rate in zip(ways[shift], rates, strict=True) if rate > 0}
                for shift, rates in step.rates_mbps.items()
            },
            step.worst_utilisation,
            step.worst_link,
        )
        for step in transition.steps
    )
    return Reallocation(steps, transition)


def _rates(topology: Topology, allocation: Allocation, demand: int) -> dict[tuple[int, ...], float]:
    paths, links = allocation.paths, allocation.topology.links
    rates: dict[tuple[int, ...], float] = {}
    for path in range(int(paths.demand_start[demand]), int(paths.demand_start[demand + 1])):
        if allocation.rate_mbps[path] > 0:
            key = tuple(topology.link_row[links[link].id] for link in paths.path(path))
            rates[key] = rates.get(key, 0.0) + float(allocation.rate_mbps[path])
    return rates


def _put(load: Mbps, rates: Rates, sign: float = 1.0) -> None:
    for path, rate in rates.items():
        load[list(path)] += sign * rate


def _shift(name: str, traffic_class: int, before: Rates, after: Rates) -> Shift:
    return Shift(
        name,
        tuple(
            Strand(
                np.array(path, dtype=np.int32),
                np.ones(len(path)),
                before.get(path, 0.0),
                after.get(path, 0.0),
                traffic_class,
            )
            for path in dict.fromkeys([*before, *after])
        ),
    )
