"""What others solve, in HiGHS on the whole problem, each as its authors write it.

Every peer takes capacity (links,) and demand (demands,), Mbit/s, and the paths, and returns the rate of every path,
(paths,) Mbit/s. It raises OverLimitError when it is not done within limit_s.
"""

from __future__ import annotations

import numpy as np

from .linear import INFINITE, Deadline, Program, columns, fitted

FIRST_BIN = 1e-4  # of a link's capacity: Soroush's U is 0.1 where every link has 1000


def _bins(capacity_mbps, demand_mbps, alpha):
    """First bound and the number of bounds after it, each alpha times the one before, up to the largest demand."""
    link = float(np.median(capacity_mbps))
    first = max(FIRST_BIN * link, link / len(demand_mbps))
    return first, max(1, int(np.ceil(np.log(max(demand_mbps.max() / first, 1.0)) / np.log(alpha))))


def swan(capacity_mbps, demand_mbps, paths, *, limit_s, alpha=2.0, solver="ipm"):
    """SWAN's approximate max-min: one program for each level of ratio alpha; who falls short of one is fixed there.

    Hong et al., Achieving High Utilization with Software-Driven WAN, SIGCOMM 2013, §4.3.3 (algorithm 2). Bounds as in
    Soroush's code. It never fixes a demand below 1/alpha of its fair rate.
    """
    deadline = Deadline(limit_s)
    laid = columns(paths)
    first, steps = _bins(capacity_mbps, demand_mbps, alpha)
    limits = np.concatenate([demand_mbps, capacity_mbps[laid.used]])
    program = Program(
        np.ones(laid.paths), np.full(laid.paths, INFINITE), (np.zeros(laid.rows), limits),
        (laid.start, laid.row, np.ones(len(laid.row))), solver=solver,
    )  # fmt: skip
    rows = np.arange(laid.demands)
    able = np.diff(paths.demand_start) > 0
    fixed, rate, flow = ~able | (demand_mbps <= 0), np.zeros(laid.demands), np.zeros(laid.paths)
    for step in range(steps + 1):
        if fixed.all():
            break
        top = np.minimum(demand_mbps, alpha**step * first)
        bottom = np.minimum(alpha ** (step - 1) * first if step else 0.0, top)
        # A whisker below: what the last program found must stay feasible within the solver's tolerance.
        lower = np.where(fixed, rate, bottom) * (1 - 1e-6)
        program.bound_rows(rows, lower, np.where(fixed, rate, top))
        flow, _ = program.solve(deadline)
        carried = np.minimum(np.bincount(paths.demand_of, flow, minlength=laid.demands), top)
        close = 1e-5 * np.maximum(top, first)
        done = ~fixed & ((carried < top - close) | (carried >= demand_mbps - close))
        rate = np.where(done, carried, rate)
        fixed |= done
    return fitted(flow, capacity_mbps, demand_mbps, paths)


def geometric_binner(capacity_mbps, demand_mbps, paths, *, limit_s, alpha=2.0, last_pay=1e-2, solver="ipm"):
    """The geometric binner: one program in which each further bin of a rate, alpha times as wide, pays less.

    Namyar et al., Solving Max-Min Fair Resource Allocations Quickly on Large Graphs (Soroush), NSDI 2024, §3.1.
    last_pay: what a unit in the last bin pays; the first pays 1, those between are in geometric progression.
    """
    deadline = Deadline(limit_s)
    laid = columns(paths)
    first, steps = _bins(capacity_mbps, demand_mbps, alpha)
    edges = np.concatenate([[0.0], first * alpha ** np.arange(steps + 1)])
    filled = np.clip(demand_mbps[:, None], edges[:-1], edges[1:]) - edges[:-1]  # (demands, bins)
    owner, which = np.nonzero(filled > 0)
    start = np.concatenate([laid.start, laid.start[-1] + 1 + np.arange(len(owner), dtype=np.int32)])
    row = np.concatenate([laid.row, owner.astype(np.int32)])
    value = np.concatenate([np.ones(len(laid.row)), -np.ones(len(owner))])
    program = Program(
        np.concatenate([np.zeros(laid.paths), last_pay ** (which / steps)]),
        np.concatenate([np.full(laid.paths, INFINITE), filled[owner, which]]),
        (
            np.concatenate([np.zeros(laid.demands), np.full(len(laid.used), -INFINITE)]),
            np.concatenate([np.zeros(laid.demands), capacity_mbps[laid.used]]),
        ),
        (start, row, value),
        solver=solver,
    )
    flow, _ = program.solve(deadline)
    return fitted(flow[: laid.paths], capacity_mbps, demand_mbps, paths)


def exact_levels(capacity_mbps, demand_mbps, paths, *, limit_s, solver="simplex"):
    """Exact max-min fair rates, level by level: who has a price at a level can never get more, and is fixed.

    Danna, Mandal, Singh, A practical algorithm for balancing the max-min fairness and throughput objectives in
    traffic engineering, INFOCOM 2012; but the level t is found by solving with those fixed at their demand who ask
    for less than the last t (it only rises, to the right one), in place of their binary search.
    """
    deadline = Deadline(limit_s)
    laid = columns(paths)
    unit = float(np.median(capacity_mbps))
    demand, capacity = demand_mbps / unit, capacity_mbps[laid.used] / unit
    start = np.append(laid.start, laid.start[-1] + laid.demands).astype(np.int32)
    row = np.concatenate([laid.row, np.arange(laid.demands, dtype=np.int32)])
    fixed = (np.diff(paths.demand_start) == 0) | (demand <= 0)
    rate, level = np.zeros(laid.demands), 0.0
    program = Program(
        np.append(np.zeros(laid.paths), 1.0),
        np.append(np.full(laid.paths, INFINITE), float(demand.max())),
        (np.zeros(laid.rows), np.concatenate([np.full(laid.demands, INFINITE), capacity])),
        (start, row, np.concatenate([np.ones(len(laid.row)), np.full(laid.demands, -1.0)])),
        solver=solver,
    )
    rising, rows = np.ones(laid.demands, dtype=bool), np.arange(laid.demands)

    def highest(held):
        """Raise all who are not held as far as it goes: flows, then the level; and the price of every demand."""
        program.change_coefficients(np.flatnonzero(held & rising), laid.paths, 0.0)
        rising[held] = False
        lower = np.where(fixed, rate, np.where(held, demand, 0.0)) * (1 - 1e-7)
        program.bound_rows(rows, lower, np.full(laid.demands, INFINITE))
        program.forget()  # five times as fast as going on from the last basis
        found, dual = program.solve(deadline)
        return found, np.abs(dual[: laid.demands])

    while not fixed.all():
        held = fixed | (demand <= level)
        while not held.all():
            found, price = highest(held)
            level = max(level, float(found[-1]))
            more = held | (demand <= level * (1 + 1e-9))
            if (more == held).all():
                break
            held = more
        satisfied = held & ~fixed
        rate[satisfied] = demand[satisfied]
        fixed |= satisfied
        if fixed.all():
            break
        # Of price and slack one is zero; in the interior, the larger one tells which is not.
        slack = np.maximum(np.bincount(paths.demand_of, found[:-1], minlength=laid.demands) / level - 1, 0.0)
        price = np.where(fixed, 0.0, price)
        stopped = ~fixed & ((price > slack * price.max()) & (price > 1e-6 * price.max()))
        rate[stopped] = level
        fixed |= stopped
    return fitted(_carry(laid, rate * unit, capacity_mbps, deadline, solver), capacity_mbps, demand_mbps, paths)


def _carry(laid, rate_mbps, capacity_mbps, deadline, solver):
    """(paths,) flows that carry as much of these rates as fits: all, but for the tolerance they were found with."""
    limits = np.concatenate([rate_mbps, capacity_mbps[laid.used]])
    program = Program(
        np.ones(laid.paths), np.full(laid.paths, INFINITE), (np.zeros(laid.rows), limits),
        (laid.start, laid.row, np.ones(len(laid.row))), solver=solver,
    )  # fmt: skip
    return program.solve(deadline)[0]


def least_delay(capacity_mbps, rate_mbps, paths, *, limit_s, solver="simplex"):
    """(paths,) flows of least total delay that give each demand its rate: the program that our delay pass is up to."""
    laid = columns(paths)
    program = Program(
        paths.delay_us / max(float(paths.delay_us.max()), 1.0),
        np.full(laid.paths, INFINITE),
        (
            np.concatenate([rate_mbps * (1 - 1e-9), np.full(len(laid.used), -INFINITE)]),
            np.concatenate([rate_mbps, capacity_mbps[laid.used] * (1 + 1e-9)]),
        ),
        (laid.start, laid.row, np.ones(len(laid.row))),
        solver=solver,
        maximise=False,
    )
    return program.solve(Deadline(limit_s))[0]
