"""Transitions to plan: demands change from one matrix to the next on real topologies, or by a draw where there is one.

Both allocations leave the slack free on every link, so that the plan may use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neto.controller.allocation import allocate
from neto.controller.fairness import fair_rates
from neto.controller.flows import Flows
from neto.controller.shifts import Shifts
from neto.wire.repetita import read_demands
from tests.bench.allocation.instances import CLASS, DATA, load_instance, missing

PATHS = 4
_SPREAD = 1.0  # of the logarithm of how demands change, where there is no second matrix: 60 % of the traffic moves


@dataclass(frozen=True, eq=False)
class Change:
    """One transition, path by path."""

    name: str
    load: float  # of the busiest link, if all took their shortest paths
    slack: float
    shifts: Shifts

    def __str__(self):
        return f"{self.name}, load {self.load:g}, slack {self.slack:.0%}"

    @property
    def moving(self):
        """Share of the traffic that leaves a path."""
        before, after = self.shifts.before, self.shifts.after
        return float(np.maximum(before - after, 0.0).sum() / before.sum())

    @property
    def demands(self):
        return len(self.shifts.shift_start) - 1


def absent(name):
    """Say what is missing for a topology with two matrices; None when all is there."""
    if said := missing(name):
        return said
    second = DATA / f"{name}.0001.demands"
    return None if second.is_file() else f"no {second}: set NETO_DATA to the folder that has repetita/{second.name}"


def matrices(name, load, slacks):
    """Yield, for every slack, the change from a topology's demand matrix 0000 to 0001."""
    instance = load_instance(name, PATHS, load)
    first, second = (
        read_demands(DATA / f"{name}.{matrix}.demands", instance.topology, CLASS.name) for matrix in ("0000", "0001")
    )
    ends = [(demand.source, demand.target) for demand in first]
    assert ends == [(demand.source, demand.target) for demand in second]
    grown = instance.demands[0].rate_mbps / first[0].rate_mbps
    demands = [tuple(replace(each, rate_mbps=each.rate_mbps * grown) for each in matrix) for matrix in (first, second)]
    for slack in slacks:
        rates = [
            allocate(instance.topology, each, (CLASS,), instance.paths, instance.capacity_mbps * (1 - slack)).rate_mbps
            for each in demands
        ]
        yield Change(name, load, slack, shifts(instance.paths, instance.capacity_mbps, *rates))


def gravity(name, load, slack, seed=1):
    """Return a change of every gravity demand between all pairs by a factor of its own (max-min fair rates)."""
    instance = load_instance(name, PATHS, load)
    paths = instance.paths
    factor = np.random.default_rng(seed).lognormal(0.0, _SPREAD, len(instance.demands))
    rates = [
        fair_rates(
            Flows(
                paths.demand_start, paths.path_start, paths.links, paths.demand_of, demand, np.ones(len(demand)),
                paths.delay_us, instance.capacity_mbps * (1 - slack),
            )
        ).flow_mbps
        for demand in (instance.demand_mbps, instance.demand_mbps * factor)
    ]  # fmt: skip
    return Change(name, load, slack, shifts(paths, instance.capacity_mbps, *rates))


def shifts(paths, capacity_mbps, before, after):
    """Lay a change of path rates out: one shift for each demand, one strand for each of its paths."""
    demands = len(paths.demand_start) - 1
    return Shifts(
        paths.demand_start, paths.path_start, paths.links, np.zeros(0), before, after,
        np.zeros(len(before), dtype=np.int64), np.ones(demands, dtype=bool), np.zeros(demands),
        np.zeros((1, len(capacity_mbps))), capacity_mbps,
    )  # fmt: skip
