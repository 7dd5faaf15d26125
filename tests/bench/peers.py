"""What others solve, in HiGHS on the whole problem: SWAN's sequence of programs and the geometric binner's one.

SWAN: Hong et al., SIGCOMM 2013, §4.3; the binner: Namyar et al., Solving Max-Min Fair Resource Allocations Quickly on
Large Graphs (Soroush), NSDI 2024, §3.1. Interior point without crossover, the fastest setting that we found for both.
"""

from __future__ import annotations

import highspy
import numpy as np


def _columns(flows):
    """Paths as columns over demand rows and then link rows."""
    demands, hops = len(flows.demand_mbps), np.diff(flows.path_start)
    start = flows.path_start + np.arange(len(flows.path_start))
    row = np.empty(start[-1], dtype=np.int64)
    first = np.zeros(len(row), dtype=bool)
    first[start[:-1]] = True
    row[first] = flows.demand_of
    row[~first] = flows.links + demands
    assert len(row) == hops.sum() + len(hops)
    return start, row


def _solver(cost, upper, bounds, start, row, value):
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(bounds[0])
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(len(cost)), upper
    lp.row_lower_, lp.row_upper_ = bounds
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_, lp.a_matrix_.index_ = start.astype(np.int32), row.astype(np.int32)
    lp.a_matrix_.value_ = value
    lp.sense_ = highspy.ObjSense.kMaximize
    highs = highspy.Highs()
    for option, setting in (("output_flag", False), ("solver", "ipm"), ("run_crossover", "off"), ("threads", 1)):
        highs.setOptionValue(option, setting)
    highs.passModel(lp)
    return highs


def _bins(flows, alpha, least):
    """Least bound, and how many bounds of ratio alpha reach the largest demand."""
    least = max(least, flows.capacity_mbps.max() / len(flows.demand_mbps))
    return least, max(1, int(np.ceil(np.log(flows.demand_mbps.max() / least) / np.log(alpha))))


def swan(flows, alpha=2.0, least=0.1):
    """Rates (demands,): level after level of ratio alpha, those who fall short of a level are fixed there."""
    start, row = _columns(flows)
    demands, paths, links = len(flows.demand_mbps), len(flows.demand_of), len(flows.capacity_mbps)
    least, steps = _bins(flows, alpha, least)
    bounds = (np.zeros(demands + links), np.concatenate([flows.demand_mbps, flows.capacity_mbps]))
    highs = _solver(np.ones(paths), np.full(paths, np.inf), bounds, start, row, np.ones(len(row)))
    fixed, rate = np.zeros(demands, dtype=bool), np.zeros(demands)
    rows = np.arange(demands, dtype=np.int32)
    for step in range(steps + 1):
        low, high = (0.0, least) if step == 0 else (alpha ** (step - 1) * least, alpha**step * least)
        upper = np.where(fixed, rate, np.minimum(flows.demand_mbps, high))
        lower = np.minimum(np.where(fixed, np.maximum(rate * (1 - 1e-7) - 1e-9, 0), low), upper)
        highs.changeRowsBounds(demands, rows, lower, upper)
        highs.run()
        got = np.minimum(flows.rates(np.array(highs.getSolution().col_value)), upper)
        close = 1e-5 * np.maximum(1, upper)
        done = (got < np.minimum(flows.demand_mbps, high) - close) | (got >= flows.demand_mbps - close)
        rate = np.where(done & ~fixed, got, rate)
        fixed |= done
        if fixed.all():
            break
    return rate


def geometric_binner(flows, alpha=2.0, least=0.1, last_weight=1e-2):
    """Rates (demands,): one program that pays less for each further bin of a rate."""
    start, row = _columns(flows)
    demands, paths, links = len(flows.demand_mbps), len(flows.demand_of), len(flows.capacity_mbps)
    least, steps = _bins(flows, alpha, least)
    edges = np.concatenate([[0.0], least * alpha ** np.arange(steps + 1)])
    width = np.clip(flows.demand_mbps[:, None] - edges[:-1], 0, np.diff(edges))
    owner, which = np.nonzero(width > 0)
    pay = last_weight ** (which / steps)
    bounds = (np.zeros(demands + links), np.concatenate([np.zeros(demands), flows.capacity_mbps]))
    highs = _solver(
        np.concatenate([np.zeros(paths), pay]),
        np.concatenate([np.full(paths, np.inf), width[owner, which]]),
        bounds,
        np.concatenate([start, start[-1] + 1 + np.arange(len(owner))]),
        np.concatenate([row, owner]),
        np.concatenate([np.ones(len(row)), -np.ones(len(owner))]),
    )
    highs.run()
    return flows.rates(np.array(highs.getSolution().col_value)[:paths])
