"""Linear programs over candidate paths, handed to HiGHS as compressed columns: nothing is built in a Python loop.

Columns are paths (and what a program appends); rows are first the demands, then the links that any path uses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

INFINITE = highspy.kHighsInf
_CLOSE = 1e-3  # Mbit/s by which an interior point may miss a row; `fitted` takes it off again


class OverLimitError(Exception):
    """A peer was not done within its time limit."""


class Deadline:
    """Seconds from now in which a peer has to be done."""

    def __init__(self, limit_s):
        self.ends = time.monotonic() + limit_s

    def left(self):
        """Seconds that are left; raises OverLimitError when none are."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise OverLimitError
        return left


@dataclass(frozen=True)
class Columns:
    """The path columns: path p has a one in the row of its demand and one in the row of each of its links."""

    start: np.ndarray  # (paths + 1,)
    row: np.ndarray  # (entries,)
    demands: int
    used: np.ndarray  # links that have a row, in order

    @property
    def paths(self):
        return len(self.start) - 1

    @property
    def rows(self):
        return self.demands + len(self.used)


def columns(paths):
    """Lay the paths out as columns."""
    demands = len(paths.demand_start) - 1
    used, link_row = np.unique(paths.links, return_inverse=True)
    start = paths.path_start + np.arange(len(paths.path_start))
    row = np.empty(start[-1], dtype=np.int32)
    of_demand = np.zeros(len(row), dtype=bool)
    of_demand[start[:-1]] = True
    row[of_demand] = paths.demand_of
    row[~of_demand] = demands + link_row
    return Columns(start.astype(np.int32), row, demands, used)


class Program:
    """One linear program in HiGHS that may be changed and solved again.

    solver: "ipm" (interior point without crossover: what it returns is inside the optimal face) or "simplex" (the dual
    simplex method, which starts again from its last basis). One thread: the machine is shared, and so is ours.
    """

    def __init__(self, cost, upper, row_bounds, matrix, *, solver, maximise=True):
        start, row, value = matrix
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(cost), len(row_bounds[0])
        model.col_cost_, model.col_lower_, model.col_upper_ = cost, np.zeros(len(cost)), upper
        model.row_lower_, model.row_upper_ = row_bounds
        model.sense_ = highspy.ObjSense.kMaximize if maximise else highspy.ObjSense.kMinimize
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.num_col_, model.a_matrix_.num_row_ = len(cost), len(row_bounds[0])
        model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = start, row, value
        self.highs = highspy.Highs()
        for option, setting in (("output_flag", False), ("solver", solver), ("run_crossover", "off"), ("threads", 1)):
            self.highs.setOptionValue(option, setting)
        self.highs.passModel(model)

    def bound_rows(self, rows, lower, upper):
        """Give these rows other bounds."""
        self.highs.changeRowsBounds(len(rows), rows.astype(np.int32), lower, upper)

    def change_coefficients(self, rows, column, value):
        """Set these rows' entries in a column to one value."""
        for row in rows.tolist():
            self.highs.changeCoeff(row, column, value)

    def forget(self):
        """Start the next solution anew: presolved, where the last basis is too far away to be worth it."""
        self.highs.clearSolver()

    def solve(self, deadline):
        """(columns,) optimal values and (rows,) duals. Raises OverLimitError; RuntimeError when HiGHS gives up."""
        # The limit counts all the time that this object has been running.
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + deadline.left())
        self.highs.run()
        status = self.highs.getModelStatus()
        if status == highspy.HighsModelStatus.kTimeLimit:
            raise OverLimitError
        # Without crossover, HiGHS calls an answer unknown that misses its own tolerance by a little: judge it by ours.
        error = self.highs.getInfo().max_primal_infeasibility
        close = status == highspy.HighsModelStatus.kUnknown and error <= _CLOSE
        if status != highspy.HighsModelStatus.kOptimal and not close:
            raise RuntimeError(f"HiGHS: {self.highs.modelStatusToString(status)}")
        found = self.highs.getSolution()
        return np.array(found.col_value), np.array(found.row_dual)


def fitted(rate_mbps, capacity_mbps, demand_mbps, paths):
    """Take what a solver's tolerances let through off again: nobody below zero, above its demand, or over capacity."""
    rate = np.maximum(rate_mbps, 0.0)
    for _ in range(2):
        carried = np.bincount(paths.demand_of, rate, minlength=len(demand_mbps))
        share = np.divide(demand_mbps, carried, out=np.ones_like(carried), where=carried > demand_mbps)
        rate = rate * share[paths.demand_of]
        load = paths.loads(rate, len(capacity_mbps))
        fits = np.divide(capacity_mbps, load, out=np.ones_like(load), where=load > capacity_mbps)
        least = np.minimum.reduceat(np.append(fits[paths.links], 1.0), paths.path_start[:-1])
        rate = rate * np.where(np.diff(paths.path_start) > 0, least, 1.0)
    return rate
