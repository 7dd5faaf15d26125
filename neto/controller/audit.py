"""What must hold of any state, said in plain numpy, by itself: it knows nothing of how the numbers were made.

Runs before every push, on the allocation and on what each step can come to, and in the tests of whatever makes such
numbers. Each function returns what does not hold; nothing returned means that all of it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neto.model.allocation import Allocation
from neto.model.intent import TrafficClass
from neto.model.topology import Mbps, Topology

_ROUNDING = 1e-6  # share of a capacity or rate


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must hold and does not."""

    rule: str
    where: str
    amount_mbps: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.where} by {self.amount_mbps:.6g} Mbit/s"


def audit_step(joint: Topology, before_mbps: Mbps, peak_mbps: Mbps, admitted_mbps: Mbps) -> list[Violation]:
    """Say where a step can overload a link.

    All arguments (classes, links), Mbit/s of the traffic down to each class: before the step, the most that any
    mixture of it comes to, and what is admitted above capacity because its target cannot do with less.
    """
    found = _numbers("load of a step", joint, before_mbps) + _numbers("peak of a step", joint, peak_mbps)
    limit = np.maximum(np.maximum(joint.capacity_mbps, before_mbps), admitted_mbps)
    return found + _over("overload", joint, peak_mbps, limit)


def audit_allocation(allocation: Allocation, room_mbps: Mbps, classes: Sequence[TrafficClass]) -> list[Violation]:
    """Say what is wrong with an allocation into room_mbps (links,): numbers, paths, capacity, precedence.

    Precedence: a demand that did not get all it asked for has, on each of its paths, a link that demands of its own
    class and higher ones fill. Were there room but for lower classes, they would cost it bits.
    """
    joint, paths, rate = allocation.topology, allocation.paths, allocation.rate_mbps
    found = _numbers("room", joint, room_mbps)
    if not (np.isfinite(rate).all() and (rate >= 0).all()):
        return [*found, Violation("rate that is no rate", "path", float(np.nansum(np.minimum(rate, 0.0))))]
    asked = np.array([demand.rate_mbps for demand in allocation.demands], dtype=np.float64)
    got = np.bincount(paths.demand_of, rate, minlength=len(asked))
    beyond = got - asked * (1 + _ROUNDING) - _ROUNDING
    for row in np.flatnonzero(beyond > 0).tolist():
        found.append(Violation("more than asked", _name(allocation, row), float(beyond[row])))
    found += _astray(allocation)
    row_of = {each.name: row for row, each in enumerate(classes)}
    level = np.array([row_of[demand.traffic_class] for demand in allocation.demands], dtype=np.int64)
    short = np.flatnonzero(got < asked * (1 - 10 * _ROUNDING) - _ROUNDING)
    for row, each in enumerate(classes):
        load, own = (
            paths.loads(np.where(seen, rate, 0.0), len(joint.links))
            for seen in (level[paths.demand_of] <= row, level[paths.demand_of] == row)
        )
        ceiling = np.minimum(room_mbps, joint.capacity_mbps * (1 - (each.headroom or 0.0)))
        limit = np.where(own > _ROUNDING, ceiling, np.maximum(ceiling, load))  # higher classes may have more room
        found += _over(f"above the room of class {each.name}", joint, load, limit)
        left = ceiling - load
        for demand in short[level[short] == row]:
            free = [
                float(left[list(paths.path(path))].min())
                for path in range(int(paths.demand_start[demand]), int(paths.demand_start[demand + 1]))
                if len(paths.path(path))
            ]
            most = max(free, default=0.0)
            if most > 1e-4 * asked[demand] + _ROUNDING * joint.capacity_mbps.max(initial=0.0):
                found.append(Violation("precedence", _name(allocation, int(demand)), most))
    return found


def _astray(allocation: Allocation) -> list[Violation]:
    """Say which paths that carry something do not run from source to target, or run in circles."""
    joint, paths = allocation.topology, allocation.paths
    found = []
    for path in np.flatnonzero(allocation.rate_mbps > 0):
        demand = allocation.demands[paths.demand_of[path]]
        links = [joint.links[link] for link in paths.path(int(path))]
        nodes = [demand.source, *(link.target for link in links)]
        joined = all(link.source == node for link, node in zip(links, nodes, strict=False))
        ends = nodes[-1] == demand.target or demand.target not in joint.node_row
        if not (joined and ends and len(set(nodes)) == len(nodes)):
            found.append(
                Violation(
                    "path astray", _name(allocation, int(paths.demand_of[path])), float(allocation.rate_mbps[path])
                )
            )
    return found


def _numbers(what: str, joint: Topology, values: Mbps) -> list[Violation]:
    """Say where a load, by link in its last axis, is not a finite number or is below zero."""
    wrong = ~np.isfinite(values) | (values < -_ROUNDING * joint.capacity_mbps)
    links = np.unique(np.nonzero(wrong)[-1])
    return [Violation(f"{what} that is no load", joint.links[link].id, 0.0) for link in links]


def _over(rule: str, joint: Topology, load: Mbps, limit: Mbps) -> list[Violation]:
    """Say on which links a load is above its limit, the worst first."""
    over = np.atleast_2d(load - limit * (1 + _ROUNDING)).max(axis=0, initial=-np.inf)
    links = np.flatnonzero(over > _ROUNDING)
    order = links[np.argsort(-over[links], kind="stable")]
    return [Violation(rule, joint.links[link].id, float(over[link])) for link in order]


def _name(allocation: Allocation, row: int) -> str:
    demand = allocation.demands[row]
    return f"{demand.traffic_class}/{demand.id}"
