"""Carry fixed rates with the least total delay.

Minimise the sum of delay x rate over the paths, every demand keeping its rate and no link going over its capacity. Only
links that shortest paths overload can bind, so rows are added as they are violated, and a demand whose shortest path
crosses none of them stays out of the program.
"""

from __future__ import annotations

import numpy as np

from neto.controller.flows import Bools, Floats, Flows, Ints
from neto.controller.solver import LinearProgram, Solver
from neto.model.topology import Mbps

_OVER = 1e-9  # relative load above capacity that is rounding


def least_delay(flows: Flows, flow_mbps: Mbps, *, most_rounds: int = 50) -> Mbps | None:
    """(paths,) Mbit/s that give each demand what flow_mbps (paths,) gives it, with the least total delay.

    No link gets more than its capacity, or than flow_mbps puts on it where that is more by rounding. None: not solved.
    """
    rate_mbps = flows.rates(flow_mbps)
    limit = np.maximum(flows.capacity_mbps, flows.loads(flow_mbps))
    active = np.zeros(len(limit), dtype=bool)
    best = np.zeros(len(flows.demand_of))
    served = np.flatnonzero((rate_mbps > 0) & (np.diff(flows.demand_start) > 0))
    best[flows.demand_start[served]] = rate_mbps[served]  # paths are in order of delay
    solver = Solver()
    for _ in range(most_rounds):
        load = flows.loads(best)
        over = (load > limit * (1 + _OVER)) & ~active
        if not over.any():
            return best
        active |= load > limit * 0.99
        moved = _program(flows, rate_mbps, limit, active)
        if moved is None:
            return None
        program, path, demand = moved
        found = solver.solve(program)
        if found is None:
            return None
        best[path] = np.maximum(found.x, 0.0) * rate_mbps[demand]
    return None


def _program(flows: Flows, rate_mbps: Mbps, limit: Mbps, active: Bools) -> tuple[LinearProgram, Ints, Ints] | None:
    """The program over the demands that can be in each other's way, its paths (columns,), and their demands."""
    hops = np.diff(flows.path_start)
    crosses = np.zeros(len(hops), dtype=bool)
    hop_path = np.repeat(np.arange(len(hops)), hops)
    crosses[hop_path[active[flows.links]]] = True
    first = flows.demand_start[:-1]
    concerned = np.zeros(len(rate_mbps), dtype=bool)
    has_path = np.diff(flows.demand_start) > 0
    concerned[has_path] = crosses[first[has_path]]
    concerned &= rate_mbps > 0
    if not concerned.any():
        return None
    chosen = concerned[flows.demand_of]
    path = np.flatnonzero(chosen)
    demand = flows.demand_of[path]
    demand_row = np.cumsum(concerned) - 1
    links = np.flatnonzero(active)
    link_row = np.cumsum(active) - 1 + int(concerned.sum())
    entry = chosen[hop_path] & active[flows.links]
    column = np.cumsum(chosen) - 1
    entry_column = column[hop_path[entry]]
    column_start, row, value = _columns(
        len(path),
        np.concatenate([np.arange(len(path)), entry_column]),
        np.concatenate([demand_row[demand], link_row[flows.links[entry]]]),
        np.concatenate([np.ones(len(path)), rate_mbps[demand[entry_column]] / limit[flows.links[entry]]]),
    )
    cost = rate_mbps[demand] * (flows.delay_us[path] - flows.delay_us[first[demand]])
    largest = float(cost.max(initial=0.0))
    program = LinearProgram(
        cost / largest if largest > 0 else cost,
        column_start,
        row,
        value,
        np.concatenate([np.ones(int(concerned.sum())), np.full(len(links), -np.inf)]),
        np.concatenate([np.ones(int(concerned.sum())), np.full(len(links), 1 + _OVER)]),
    )
    return program, path, demand


def _columns(count: int, column: Ints, row: Ints, value: Floats) -> tuple[Ints, Ints, Floats]:
    """Sort entries into compressed columns."""
    order = np.argsort(column, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=count))])
    return start, row[order], value[order]
