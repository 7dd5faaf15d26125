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
from neto.controller.flows import Bools, Floats, Flows, Ints, path_loads, sum_over_paths
from neto.controller.jit import compiled
from neto.controller.solver import LinearProgram, Solver
from neto.model.topology import Mbps, Rows

_OVER = 1e-9  # relative load above the limit that is rounding
_NEAR = 0.99  # links this full of shortest paths get a row together with those that are over
_ROUNDS = 12  # of price adjustment at each softness
_SOFT = (0.3, 0.1, 0.03, 0.01)  # in mean delays
_UNDECIDED = 0.02  # paths this close to the best one, in mean delays, go into the first program
_KEPT = 3e-3  # paths this close keep their place when columns are weeded
_PENALTY = 10.0  # mean delays that going over a link costs at first
_PRICED_OUT = 1e-9  # later on, only paths that the duals find at least as good
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
    active = np.zeros(len(limit), dtype=bool)
    result = Shortened(on_shortest(flows, rate), 0.0)
    price = np.zeros(len(limit))
    columns = np.zeros(len(flow_mbps), dtype=bool)
    for _ in range(len(limit) + 1):
        load = flows.loads(result.flow_mbps)
        if not ((load > limit * (1 + _OVER)) & ~active).any():
            return result
        known = active.copy()
        active |= load > limit * _NEAR
        program = _Program.over(flows, rate, limit, active)
        start = price[active] if known.any() else program.settled_prices()
        found = program.solve(start, columns)
        if found is None:
            return None
        result, price[active] = found
    return None


def on_shortest(flows: Flows, rate_mbps: Mbps) -> Mbps:
    """(paths,) Mbit/s when every demand takes its first path; paths are in order of delay."""
    flow = np.zeros(len(flows.demand_of))
    served = np.flatnonzero(np.diff(flows.demand_start) > 0)
    flow[flows.demand_start[served]] = rate_mbps[served]
    return flow


@dataclass(frozen=True, eq=False)
class _Program:
    """The problem over the active links alone. Delays and prices are in mean delays."""

    demand_start: Ints
    demand_of: Ints
    path_start: Ints  # (paths + 1,) over active links
    links: Rows
    delay: Floats  # (paths,)
    rate: Mbps  # (demands,)
    room: Mbps  # (active links,)
    only: Bools  # (paths,) the shortest of a demand, and it crosses no active link: nothing else is needed
    bound: Bools  # (demands,) have such a path, or no rate

    @classmethod
    def over(cls, flows: Flows, rate: Mbps, limit: Mbps, active: Bools) -> _Program:
        row = np.where(active, np.cumsum(active) - 1, -1).astype(np.int32)
        path_start, links = restrict(flows.path_start, flows.links, row)
        shortest = on_shortest(flows, rate)
        mean = float(shortest @ flows.delay_us) / max(float(shortest.sum()), 1e-300)
        only = (shortest > 0) & (np.diff(path_start) == 0)
        bound = rate <= 0
        bound[flows.demand_of[only]] = True
        delay = flows.delay_us / max(mean, 1e-9)
        return cls(flows.demand_start, flows.demand_of, path_start, links, delay, rate, limit[active], only, bound)

    def settled_prices(self) -> Floats:
        """(links,) prices at which the rates about fit the links when each demand takes cheap paths."""
        price = np.full(len(self.room), 0.01)
        load = np.empty(len(self.room))
        rate = np.where(self.bound, 0.0, self.rate)
        for soft in _SOFT:
            for _ in range(_ROUNDS):
                _answer(self.demand_start, self.path_start, self.links, self.delay, rate, price, soft, load)
                full = np.clip(load / np.maximum(self.room, 1e-300), 0.2, 5.0)
                price = np.clip(price * full ** (1 / (0.2 + price / soft)), 1e-3 * soft, 1e6)
        return price

    def solve(self, price: Floats, columns: Bools) -> tuple[Shortened, Floats] | None:
        """Return the flows and the links' prices. Paths that were worth a column are marked in `columns` (paths,)."""
        solver = Solver()
        first = not columns.any()
        near, penalty = _UNDECIDED if first else _PRICED_OUT, _PENALTY
        free = ~self.bound[self.demand_of]
        for _ in range(_MOST_PROGRAMS):
            cost = self.delay + sum_over_paths(self.path_start, self.links, price)
            above = cost - _least(self.demand_start, cost)[self.demand_of]
            wanted = free & (above <= near)
            stuck = not (wanted & ~columns).any()
            columns |= wanted
            found = self._program((free & columns) | self.only, penalty, solver)
            if found is None:
                return None
            flow, price, over = found
            gap = self._gap(flow, price)
            done = over <= _OVER and (gap <= _GAP or stuck)
            if done or first:  # the duals know better than earlier prices what is worth a column
                cost = self.delay + sum_over_paths(self.path_start, self.links, price)
                columns &= (flow > 0) | (cost - _least(self.demand_start, cost)[self.demand_of] <= _KEPT)
            if done:
                return Shortened(flow, gap), price
            if stuck and not first:
                penalty *= 10  # going over is still cheaper than the paths that would avoid it
            near, first = _PRICED_OUT, False
        return None

    def _gap(self, flow: Mbps, price: Floats) -> float:
        """How far the flows are, relatively, from the bound that the prices prove."""
        cost = self.delay + sum_over_paths(self.path_start, self.links, price)
        served = self.rate > 0
        bound = float(self.rate[served] @ _least(self.demand_start, cost)[served] - price @ self.room)
        total = float(flow @ self.delay)
        return max(total - bound, 0.0) / max(total, 1e-300)

    def _program(self, chosen: Bools, penalty: float, solver: Solver) -> tuple[Mbps, Floats, float] | None:
        """Flows (paths,) of least delay over the chosen paths, link prices, and how far a link is over (relative).

        A demand with one chosen path is not in the program: it takes that path. Where the chosen paths cannot carry
        the rates, links go over at `penalty` mean delays, which prices then tell. None: the solver failed.
        """
        options = np.bincount(self.demand_of[chosen], minlength=len(self.rate))
        flow = np.where(chosen & (options[self.demand_of] == 1), self.rate[self.demand_of], 0.0)
        left = self.room - path_loads(self.path_start, self.links, flow, len(self.room))
        path = np.flatnonzero(chosen & (options[self.demand_of] > 1))
        if not len(path):
            return flow, np.where(left < 0, penalty, 0.0), float((-left / self.room).max(initial=0.0))
        is_open = options > 1
        opened = int(is_open.sum())
        sent = self.rate[self.demand_of[path]]
        counts = np.diff(self.path_start)[path]
        entry = np.repeat(self.path_start[path] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        column_start = np.concatenate([[0], np.cumsum(counts + 1)])
        row = np.empty(column_start[-1], dtype=np.int64)
        value = np.ones(column_start[-1])
        is_link = np.ones(len(row), dtype=bool)
        is_link[column_start[:-1]] = False
        row[~is_link] = (np.cumsum(is_open) - 1)[self.demand_of[path]]
        row[is_link] = self.links[entry] + opened
        value[is_link] = np.repeat(sent, counts) / self.room[self.links[entry]]
        links = len(self.room)
        scale = float(sent.max())
        found = solver.solve(
            LinearProgram(
                np.concatenate([self.delay[path] * sent, penalty * self.room]) / scale,
                np.concatenate([column_start, column_start[-1] + 1 + np.arange(links)]),
                np.concatenate([row, opened + np.arange(links)]),
                np.concatenate([value, np.full(links, -1.0)]),
                np.concatenate([np.ones(opened), np.full(links, -np.inf)]),
                np.concatenate([np.ones(opened), left / self.room + _OVER / 2]),
            )
        )
        if found is None:
            return None
        flow[path] = np.maximum(found.x[:-links], 0.0) * sent
        price = np.abs(found.row_dual[opened:]) * scale / self.room
        return flow, price, float(found.x[-links:].max())


@compiled
def _least(demand_start: Ints, cost: Floats) -> Floats:
    """(demands,) least cost (paths,) of each demand; infinite without a path."""
    least = np.full(len(demand_start) - 1, np.inf)
    for demand in range(len(least)):
        for path in range(demand_start[demand], demand_start[demand + 1]):
            least[demand] = min(least[demand], cost[path])
    return least


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
