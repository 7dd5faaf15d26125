"""Carry fixed rates with the least total delay.

Minimise the sum of delay x rate over the paths, every demand keeping its rate and no link going over its capacity: a
linear program with a row for each demand, solved here by what is small in it. Only links that shortest paths overload
can bind; rows come in as they are violated. Prices of those links, found by rounds of answer and adjustment (as in
`prices`, with delay + price for a path's cost), tell for most demands which path they take; only those that the prices
leave undecided go into a program, and its duals tell who else has to (column generation: Desrosiers and Luebbecke, A
Primer in Column Generation, 2005). The same duals bound what is left to gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neto.controller.contention import restrict
from neto.controller.flows import Bools, Floats, Flows, Ints, sum_over_paths
from neto.controller.jit import compiled
from neto.controller.solver import LinearProgram, Solver
from neto.model.topology import Mbps, Rows

_OVER = 1e-9  # relative load above the limit that is rounding
_NEAR = 0.99  # links this full of shortest paths get a row together with those that are over
_ROUNDS = 25  # of price adjustment at each softness
_SOFT = (0.3, 0.1, 0.03, 0.01)  # in mean delays
_UNDECIDED = 0.02  # paths this close to the best one, in mean delays, go into the first program
_GAP = 1e-3  # relative distance from the bound that is near enough
_MOST_PROGRAMS = 40


@dataclass(frozen=True, eq=False)
class Shortened:
    """Flows at the same rates, and by how much at most a better answer could be shorter."""

    flow_mbps: Mbps  # (paths,)
    gap: float  # relative


def least_delay(flows: Flows, flow_mbps: Mbps) -> Shortened | None:
    """Give each demand what flow_mbps (paths,) gives it, with the least total delay; None: the solver failed.

    No link gets more than its capacity, or than flow_mbps puts on it where that is more by rounding.
    """
    rate = flows.rates(flow_mbps)
    limit = np.maximum(flows.capacity_mbps, flows.loads(flow_mbps))
    best = on_shortest(flows, rate)
    active = np.zeros(len(limit), dtype=bool)
    result = Shortened(best, 0.0)
    for _ in range(len(limit) + 1):
        load = flows.loads(result.flow_mbps)
        if not ((load > limit * (1 + _OVER)) & ~active).any():
            return result
        active |= load > limit * _NEAR
        found = _with_rows(flows, flow_mbps, rate, limit, active)
        if found is None:
            return None
        result = found
    return None


def on_shortest(flows: Flows, rate_mbps: Mbps) -> Mbps:
    """(paths,) Mbit/s when every demand takes its first path; paths are in order of delay."""
    flow = np.zeros(len(flows.demand_of))
    served = np.flatnonzero(np.diff(flows.demand_start) > 0)
    flow[flows.demand_start[served]] = rate_mbps[served]
    return flow


def _with_rows(flows: Flows, start_mbps: Mbps, rate: Mbps, limit: Mbps, active: Bools) -> Shortened | None:
    """Solve with the rows of the active links alone."""
    row = np.where(active, np.cumsum(active) - 1, -1).astype(np.int32)
    path_start, links = restrict(flows.path_start, flows.links, row)
    room = limit[active]
    mean = float(rate @ _of_first(flows, flows.delay_us)) / max(float(rate.sum()), 1e-300)
    unit = max(mean, 1e-9)
    delay = flows.delay_us / unit
    price = _settle(flows.demand_start, path_start, links, delay, rate, room)
    served = rate[flows.demand_of] > 0
    # A demand whose shortest path crosses no active link keeps to it; all others can fall back on where they start.
    free = np.diff(path_start) == 0
    first = flows.demand_start[:-1][np.diff(flows.demand_start) > 0]
    settled = np.zeros(len(rate), dtype=bool)
    settled[flows.demand_of[first]] = free[first]
    is_first = np.zeros(len(delay), dtype=bool)
    is_first[first] = True
    solver = Solver()
    columns = np.zeros(len(delay), dtype=bool)
    near = _UNDECIDED
    for _ in range(_MOST_PROGRAMS):
        cost = delay + sum_over_paths(path_start, links, price)
        above = cost - _least(flows.demand_start, cost)[flows.demand_of]
        columns |= (above <= near) & served
        chosen = np.where(settled[flows.demand_of], is_first & served, columns)
        found = _program(flows.demand_of, path_start, links, delay, rate, room, chosen, solver)
        if found is None:
            # What was chosen cannot carry the rates: let everybody stay where they were.
            if (columns | ~((start_mbps > 0) & served)).all():
                return None
            columns |= (start_mbps > 0) & served
            near *= 4
            continue
        flow, price = found
        cost = delay + sum_over_paths(path_start, links, price)
        least = _least(flows.demand_start, cost)
        total = float(flow @ delay)
        bound = float(rate[rate > 0] @ least[rate > 0] - price @ room)
        gap = (total - bound) / max(total, 1e-300)
        if gap <= _GAP:
            return Shortened(flow, max(gap, 0.0))
        near = 1e-9
    return Shortened(flow, gap) if found is not None else None


def _of_first(flows: Flows, value: Floats) -> Floats:
    """(demands,) value (paths,) of each demand's first path; 0 where there is none."""
    result = np.zeros(len(flows.demand_mbps))
    served = np.flatnonzero(np.diff(flows.demand_start) > 0)
    result[served] = value[flows.demand_start[served]]
    return result


@compiled
def _least(demand_start: Ints, cost: Floats) -> Floats:
    """(demands,) least cost (paths,) of each demand; infinite without a path."""
    least = np.full(len(demand_start) - 1, np.inf)
    for demand in range(len(least)):
        for path in range(demand_start[demand], demand_start[demand + 1]):
            least[demand] = min(least[demand], cost[path])
    return least


def _settle(demand_start: Ints, path_start: Ints, links: Rows, delay: Floats, rate: Mbps, room: Mbps) -> Floats:
    """(links,) prices, in mean delays, at which the rates about fit the links when each demand takes cheap paths."""
    price = np.full(len(room), 0.01)
    load = np.empty(len(room))
    for soft in _SOFT:
        for _ in range(_ROUNDS):
            _answer(demand_start, path_start, links, delay, rate, price, soft, load)
            full = np.clip(load / np.maximum(room, 1e-300), 0.2, 5.0)
            price = np.clip(price * full ** (1 / (0.2 + price / soft)), 1e-3 * soft, 1e6)
    return price


@compiled
def _answer(
    demand_start: Ints, path_start: Ints, links: Rows, delay: Floats, rate: Mbps, price: Floats, soft: float, load: Mbps
) -> None:
    """Load of the links when every demand spreads over its paths by exp(-cost / soft)."""
    load[:] = 0.0
    cost = np.empty(64)
    for demand in range(len(demand_start) - 1):
        first, last = demand_start[demand], demand_start[demand + 1]
        if rate[demand] <= 0 or first == last:
            continue
        if last - first > len(cost):
            cost = np.empty(last - first)
        low = np.inf
        for path in range(first, last):
            along = delay[path]
            for hop in range(path_start[path], path_start[path + 1]):
                along += price[links[hop]]
            cost[path - first] = along
            low = min(low, along)
        shares = 0.0
        for path in range(first, last):
            cost[path - first] = np.exp((low - cost[path - first]) / soft)
            shares += cost[path - first]
        for path in range(first, last):
            sent = rate[demand] * cost[path - first] / shares
            for hop in range(path_start[path], path_start[path + 1]):
                load[links[hop]] += sent


def _program(
    demand_of: Ints, path_start: Ints, links: Rows, delay: Floats, rate: Mbps, room: Mbps, chosen: Bools, solver: Solver
) -> tuple[Mbps, Floats] | None:
    """Flows (paths,) of least delay over the chosen paths, and link prices (links,); None: they cannot carry the rates.

    A demand with one chosen path is not in the program: it takes that path.
    """
    options = np.bincount(demand_of, chosen, minlength=len(rate)).astype(np.int64)
    flow = np.where(chosen & (options[demand_of] == 1), rate[demand_of], 0.0)
    hops = np.diff(path_start)
    left = room - np.bincount(links, np.repeat(flow, hops), minlength=len(room))
    path = np.flatnonzero(chosen & (options[demand_of] > 1))
    is_open = options > 1
    opened = int(is_open.sum())
    demand_row = np.cumsum(is_open) - 1
    sent = rate[demand_of[path]]
    counts = hops[path]
    entry = np.repeat(path_start[path] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    column_start = np.concatenate([[0], np.cumsum(counts + 1)])
    row = np.empty(column_start[-1], dtype=np.int64)
    value = np.ones(column_start[-1])
    is_link = np.ones(len(row), dtype=bool)
    is_link[column_start[:-1]] = False
    row[~is_link] = demand_row[demand_of[path]]
    row[is_link] = links[entry] + opened
    value[is_link] = np.repeat(sent, counts) / room[links[entry]]
    scale = max(float(sent.max(initial=0.0)), 1e-300)
    found = solver.solve(
        LinearProgram(
            delay[path] * sent / scale,
            column_start,
            row,
            value,
            np.concatenate([np.ones(opened), np.full(len(room), -np.inf)]),
            np.concatenate([np.ones(opened), left / room + _OVER]),
        )
    )
    if found is None:
        return None
    flow[path] = np.maximum(found.x, 0.0) * sent
    return flow, np.abs(found.row_dual[opened:]) * scale / room
