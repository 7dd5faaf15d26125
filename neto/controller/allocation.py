"""Allocate bandwidth: strict precedence of classes, max-min fairness inside a class, then the least delay.

One class after the other on what the higher ones have left, so that no lower class can cost a higher one a bit.
Within a class, with level = rate / weight: the allocation is max-min fair when no level can rise without one that is
equal or lower having to fall. Then, at those rates, the paths of least total delay. How, and where:

flows         the arrays: demands, their paths, the capacity that is left
filling       tier 0: progressive filling; always there, and what hands out the last room
contention    only links that are in somebody's way count; demands that cross them alike form one group
needed        which of its paths each demand then needs
groups        a group's members share what it gets; what it takes at a level is a curve that is known
prices        tier 1: prices of links at which groups and capacity meet tell how each group splits over its paths
bids          what groups send at prices, and how that changes with them
waterfill     raise all levels together at those splits: fair for them, and within capacity
levels        exact max-min fairness over groups, level by level: small problems, and `exact`
fairness      which of these, and links that come in as they are violated
shorten       the least total delay at fixed rates
delay_prices  its dual, smoothed, by Newton steps: prices at which shortest priced paths fit
exchange      members of a group exchange shares, so that few are split
certificate   for each demand that gets too little, whether a full link on every path says why

What is granted stays within capacity by construction: loads are recomputed here, never taken from a solver.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import ThreadpoolController

from neto.controller.certificate import justified
from neto.controller.deadline import NEVER, Deadline
from neto.controller.fairness import OPTIMAL, fair_rates
from neto.controller.filling import top_up
from neto.controller.flows import Bools, Flows, Ints, least_over_paths, path_loads, taken_paths, trimmed
from neto.controller.shorten import least_delay, on_shortest
from neto.model.allocation import Allocation, ClassReport, LinkPrices, PathSet
from neto.model.demand import Demand
from neto.model.intent import TrafficClass
from neto.model.topology import Mbps, Microseconds, Topology

_BLAS = ThreadpoolController()
_DREGS = 1e-9  # share of a link that is not worth filling
_ROUNDING = 1e-6  # relative load above capacity that trimming may take away
_CRUMB = 1e-6  # share of a demand's rate below which a path is not worth a policy


def allocate(
    joint: Topology,
    demands: Sequence[Demand],
    classes: Sequence[TrafficClass],
    paths: PathSet,
    available_mbps: Mbps,
    *,
    running: Mbps | None = None,
    further_us: Microseconds | None = None,
    min_gain: float = 0.02,
    exact: bool = False,
    deadline: Deadline = NEVER,
    earlier: Allocation | None = None,
) -> Allocation:
    """Give every demand its rate on each of its paths.

    paths: a row of paths for each demand, in order of delay. available_mbps: (links,) what may be used, net of the
    general headroom and of traffic that is not ours; less than nothing counts as nothing. A class with a headroom of
    its own fills a link, with the classes above it, to (1 - headroom) x capacity at most. running: (paths,) Mbit/s
    that now run on these paths: traffic moves to others where it must, or where they are shorter by min_gain, relative
    to its delay now. further_us: (paths,) at least 0, by which a path is taken to be longer than it is. exact: exact
    max-min fairness however large the problem is. deadline: when to fall back to quicker ways, which the report of the
    class then says; an answer there always is. earlier: an answer to a similar problem, from which this one is found
    sooner.

    Infeasible is an answer: a demand gets what there is. Raises ValueError when an input is not a number.
    """
    rate = np.array([demand.rate_mbps for demand in demands], dtype=np.float64)
    _refuse(rate, available_mbps, classes, joint)
    row_of = {each.name: row for row, each in enumerate(classes)}
    class_of = np.array([row_of[demand.traffic_class] for demand in demands], dtype=np.int64)
    given = np.zeros(len(paths.delay_us))
    used = np.zeros(len(joint.links))
    reports, prices = [], []
    for row, each in enumerate(classes):
        began = time.perf_counter()
        mine = class_of == row
        ceiling = joint.capacity_mbps * (1 - (each.headroom or 0.0))
        left = _left(np.minimum(available_mbps, ceiling), used)
        flows, path = _flows(paths, mine, rate, each, left, _extra_us(paths, running, further_us, min_gain))
        known = _known(earlier, each.name, joint)
        with _BLAS.limit(limits=1, user_api="blas"):  # its threads would wait longer than they work
            result, report, price = _allocate_class(flows, each, deadline, known, exact=exact)
        prices.append(price)
        given[path] = result if running is None else _steady(flows, result, running[path], min_gain)
        used = path_loads(paths.path_start, paths.links, given, len(joint.links))
        report = replace(
            report,
            requested_mbps=float(rate[mine].sum()),
            allocated_mbps=float(given[path].sum()),
            justified=justified(flows, given[path]),
            seconds=time.perf_counter() - began,
        )
        reports.append(report)
    return Allocation(joint, tuple(demands), paths, given, tuple(reports), tuple(prices))


def _refuse(rate: Mbps, available_mbps: Mbps, classes: Sequence[TrafficClass], joint: Topology) -> None:
    """Raise ValueError for what would be silently wrong further in."""
    if not (np.isfinite(rate).all() and (rate >= 0).all()):
        raise ValueError("the rate of a demand is negative or not a number")
    if np.isnan(available_mbps).any() or np.isnan(joint.capacity_mbps).any():
        raise ValueError("the capacity of a link is not a number")
    if not all(np.isfinite(each.weight) and each.weight > 0 for each in classes):
        raise ValueError("the weight of a class is not a positive number")


def _left(limit: Mbps, used: Mbps) -> Mbps:
    """(links,) what the higher classes leave; next to nothing is nothing, and sums in another order stay below."""
    left = np.where(used > 0, limit * (1 - 1e-12) - used, limit)
    return np.where(left > _DREGS * limit, left, 0.0)


def _flows(
    paths: PathSet, mine: Bools, rate: Mbps, each: TrafficClass, left: Mbps, extra_us: Microseconds | None
) -> tuple[Flows, Ints]:
    """Return the problem of the demands `mine` (demands,) without paths that are closed, and the rows of its paths.

    extra_us: (paths,) by which each is taken to be longer than it is.
    """
    is_open = mine[paths.demand_of]
    if (left <= 0).any():
        is_open &= least_over_paths(paths.path_start, paths.links, left) > 0
    rows = np.flatnonzero(is_open)
    cost = paths.delay_us[rows]
    if extra_us is not None:
        cost = cost + extra_us[rows]
        order = np.lexsort((cost, paths.demand_of[rows]))
        rows, cost = rows[order], cost[order]
    counts = np.bincount(paths.demand_of[rows], minlength=len(mine))[mine]
    whole = extra_us is None and len(rows) == len(is_open)
    path_start, links = paths.path_start, paths.links
    if not whole:
        path_start, links = taken_paths(path_start, links, rows)
    flows = Flows(
        np.concatenate([[0], np.cumsum(counts)]),
        path_start,
        links,
        np.repeat(np.arange(len(counts)), counts),
        rate[mine],
        np.full(len(counts), each.weight),
        cost,
        left,
    )
    return flows, rows


def _extra_us(
    paths: PathSet, running: Mbps | None, further_us: Microseconds | None, min_gain: float
) -> Microseconds | None:
    """(paths,) by how much paths are taken to be longer; None where nothing says so.

    Where something runs, paths over which it does not are as much longer as a change has to gain.
    """
    if running is None:
        return further_us
    friction = _friction(paths, running, min_gain)
    return friction if further_us is None else friction + further_us


def _friction(paths: PathSet, running: Mbps, min_gain: float) -> Microseconds:
    """(paths,) what a path has to be shorter by, if the demand does not run over it but over others."""
    ran = np.bincount(paths.demand_of, running, minlength=len(paths.demand_start) - 1)
    total = np.bincount(paths.demand_of, running * paths.delay_us, minlength=len(ran)).astype(np.float64)
    mean = np.divide(total, ran, out=np.zeros_like(total), where=ran > 0)
    return np.where(running > 0, 0.0, min_gain * mean[paths.demand_of])


def _known(earlier: Allocation | None, name: str, joint: Topology) -> LinkPrices:
    """Return the prices of a class in an earlier allocation, on this topology."""
    nothing = _no_prices(len(joint.links))
    names = [each.traffic_class for each in earlier.classes] if earlier is not None else []
    if earlier is None or name not in names or not earlier.prices:
        return nothing
    known = earlier.prices[names.index(name)]
    for row, link in enumerate(joint.links):
        before = earlier.topology.link_row.get(link.id)
        if before is not None:
            nothing.level_mbps[row], nothing.delay_us[row] = known.level_mbps[before], known.delay_us[before]
    return nothing


def _no_prices(links: int) -> LinkPrices:
    return LinkPrices(np.full(links, np.inf), np.zeros(links))


def _allocate_class(
    flows: Flows, each: TrafficClass, deadline: Deadline, known: LinkPrices, *, exact: bool
) -> tuple[Mbps, ClassReport, LinkPrices]:
    """(paths,) Mbit/s for one class, how it went, and the prices of links."""
    report = ClassReport(each.name, OPTIMAL, 0.0, 0.0, 0.0)
    shortest = on_shortest(flows, flows.demand_mbps)
    if (flows.loads(shortest) <= flows.capacity_mbps).all():
        return shortest, report, _no_prices(len(flows.capacity_mbps))
    fair = fair_rates(flows, exact=exact, alpha=each.alpha, deadline=deadline, known_mbps=known.level_mbps)
    report = replace(report, status=fair.status, fell_back=fair.fell_back)
    fair_flow = top_up(flows, trimmed(flows, fair.flow_mbps))  # near tiers leave some room
    fair_rate = flows.rates(fair_flow)
    shorter = least_delay(flows, fair_flow, deadline, known.delay_us)
    if shorter is not None:
        prices = LinkPrices(fair.level_mbps, shorter.price_us)
        return _finished(flows, shorter.flow_mbps, fair_rate), replace(report, delay_gap=shorter.gap), prices
    why = "there was no time" if deadline.passed else "prices did not settle"
    status = f"{fair.status}; delay is not least: {why}"
    unknown = replace(report, status=status, fell_back=True, delay_gap=None)
    prices = LinkPrices(fair.level_mbps, np.zeros(len(flows.capacity_mbps)))
    return _finished(flows, fair_flow, fair_rate), unknown, prices


def _steady(flows: Flows, flow: Mbps, running: Mbps, min_gain: float) -> Mbps:
    """Return the running splits at the new rates when those fit and cost little delay, else the flow."""
    rate, ran = flows.rates(flow), flows.rates(running)
    if (ran[rate > 0] <= 0).any():
        return flow
    kept = running * np.divide(rate, ran, out=np.zeros_like(rate), where=ran > 0)[flows.demand_of]
    fits = (flows.loads(kept) <= flows.capacity_mbps * (1 + _ROUNDING)).all()
    near = kept @ flows.delay_us <= (1 + min_gain) * (flow @ flows.delay_us)
    return trimmed(flows, kept) if fits and near else flow


def _finished(flows: Flows, flow: Mbps, rate: Mbps) -> Mbps:
    """Drop crumbs, keep within capacity and demand, and hand out what that leaves."""
    kept = np.where(flow > _CRUMB * rate[flows.demand_of], flow, 0.0)
    carried = flows.rates(kept)
    scale = np.divide(rate, carried, out=np.zeros_like(rate), where=carried > 0)
    kept = trimmed(flows, kept * scale[flows.demand_of])
    filled = top_up(flows, kept)
    worth = (kept > 0) | (filled > _CRUMB * flows.rates(filled)[flows.demand_of])
    return trimmed(flows, np.where(worth, filled, 0.0))
