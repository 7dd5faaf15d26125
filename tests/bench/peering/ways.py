"""The ways to decide: jointly; first the exits, then the WAN; and as linear programs in HiGHS."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from neto.controller.allocation import allocate
from neto.controller.paths import candidate_paths
from neto.model.peering import Egress
from neto.model.topology import Topology

from .instance import CLASSES

_UNLIMITED = 1e15  # Mbit/s


@dataclass(frozen=True, eq=False)
class Result:
    """What one way gives. By class, highest first: share of the demand carried, and mean delay of what is carried."""

    seconds: float
    share: np.ndarray
    delay_ms: np.ndarray
    over: float  # worst load over capacity, less one
    status: str = "done"


def judged(instance, paths, rate, class_of, seconds, status="done"):
    """Judge path rates; class_of: (demands of paths,) row of the class."""
    of_path = class_of[paths.demand_of]
    carried = np.bincount(of_path, rate, minlength=len(CLASSES))
    delay = np.bincount(of_path, rate * paths.delay_us, minlength=len(CLASSES)) / np.maximum(carried, 1e-12) / 1000
    asked = np.bincount(classes_of(instance.demands), instance.rate, minlength=len(CLASSES))
    load = paths.loads(rate, len(instance.joint.links))
    return Result(seconds, carried / asked, delay, float((load / instance.joint.capacity_mbps).max()) - 1, status)


def classes_of(demands):
    row = {each.name: row for row, each in enumerate(CLASSES)}
    return np.array([row[demand.traffic_class] for demand in demands])


def together(instance, paths):
    """The joint decision."""
    began = time.perf_counter()
    found = allocate(instance.joint, instance.demands, CLASSES, paths, instance.joint.capacity_mbps)
    seconds = time.perf_counter() - began
    return judged(instance, paths, found.rate_mbps, classes_of(instance.demands), seconds)


def apart(instance, paths, k):
    """Two decisions: exits by delay and by their capacity, as if the WAN had no end; then the WAN toward these exits.

    The first knows the way through the WAN, only not how much fits: more than systems for peering alone know.
    """
    began = time.perf_counter()
    joint = instance.joint
    names = {each.name for each in instance.peering.links}
    wide = tuple(link if link.id in names else replace(link, capacity_mbps=_UNLIMITED) for link in joint.links)
    endless = Topology(joint.nodes, wide)
    first = allocate(endless, instance.demands, CLASSES, paths, endless.capacity_mbps)
    return _through(instance, paths, first.rate_mbps, k, began)


def as_bgp(instance, paths, k):
    """Exits as BGP has them without anybody's help, the nearest border's; then the WAN toward these exits."""
    began = time.perf_counter()
    delay = {(each.prefix_group, each.peering_link): each.delay_us for each in instance.peering.egresses}
    last = paths.links[paths.path_start[1:] - 1]
    groups = [demand.target for demand in instance.demands]
    names = [link.id for link in instance.joint.links]
    beyond = np.array(
        [delay[groups[d], names[x]] for d, x in zip(paths.demand_of.tolist(), last.tolist(), strict=True)]
    )
    order = np.lexsort((paths.delay_us - beyond, paths.demand_of))  # the way to the border alone
    rate = np.zeros(len(order))
    rate[order[paths.demand_start[:-1]]] = instance.rate
    return _through(instance, paths, rate, k, began)


def _through(instance, paths, first_mbps, k, began):
    """Allocate in the WAN toward the exits that path rates (paths,) chose."""
    joint = instance.joint
    last = paths.links[paths.path_start[1:] - 1]  # every path ends in a peering link
    used = np.flatnonzero(first_mbps > 0)
    pairs, of_pair = np.unique(np.stack([paths.demand_of[used], last[used]]), axis=1, return_inverse=True)
    given = np.bincount(of_pair.ravel(), first_mbps[used])
    delay = {(each.prefix_group, each.peering_link): each.delay_us for each in instance.peering.egresses}
    demands, egresses = [], {}
    for (row, link), mbps in zip(pairs.T.tolist(), given.tolist(), strict=True):
        demand, name = instance.demands[row], joint.links[link].id
        target = f"{demand.target}|{name}"
        egresses[target] = Egress(target, name, delay[demand.target, name])
        demands.append(replace(demand, target=target, rate_mbps=mbps))
    ways = candidate_paths(joint, demands, CLASSES, list(egresses.values()), k)
    second = allocate(joint, demands, CLASSES, ways, joint.capacity_mbps)
    return judged(instance, ways, second.rate_mbps, classes_of(demands), time.perf_counter() - began)


def linear(instance, paths, limit_s):
    """The most traffic, then the least delay, class by class: no fairness, so no way carries more in the first class.

    HiGHS as scipy has it; what is not done within limit_s is told as such.
    """
    began = time.perf_counter()
    class_of = classes_of(instance.demands)
    rate = np.zeros(len(paths.delay_us))
    left = instance.joint.capacity_mbps.copy()
    for row in range(len(CLASSES)):
        columns = np.flatnonzero(class_of[paths.demand_of] == row)
        if not len(columns):
            continue
        found = _class(instance, paths, columns, left, limit_s - (time.perf_counter() - began))
        if found is None:
            seconds = time.perf_counter() - began
            return Result(seconds, np.full(3, np.nan), np.full(3, np.nan), np.nan, f"not done in {limit_s:.0f} s")
        rate[columns] = found
        load = paths.loads(rate, len(left))
        left = np.maximum(instance.joint.capacity_mbps - load, 0)
    return judged(instance, paths, rate, class_of, time.perf_counter() - began)


def _class(instance, paths, columns, left, limit_s):
    lengths = np.diff(paths.path_start)[columns]
    hop = np.repeat(paths.path_start[columns] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    links = paths.links[hop + np.arange(lengths.sum())]
    n = len(columns)
    of_link = csr_array((np.ones(len(links)), (links, np.repeat(np.arange(n), lengths))), shape=(len(left), n))
    of_demand = csr_array((np.ones(n), (paths.demand_of[columns], np.arange(n))), shape=(len(instance.demands), n))
    rows = np.unique(paths.demand_of[columns])
    a, b = vstack([of_link, of_demand[rows]]), np.concatenate([left, instance.rate[rows]])
    deadline = time.perf_counter() + limit_s
    delay = paths.delay_us[columns]
    most = _solve(np.full(n, -1.0), a, b, deadline)
    if most is None:
        return None
    total = csr_array(np.full((1, n), -1.0))
    return _solve(delay / delay.max(), vstack([a, total]), np.append(b, -most.sum() * (1 - 1e-9)), deadline)


def _solve(cost, a, b, deadline):
    left_s = deadline - time.perf_counter()
    if left_s <= 0:
        return None
    found = linprog(cost, A_ub=a, b_ub=b, method="highs-ipm", options={"time_limit": left_s})
    return found.x if found.status == 0 else None
