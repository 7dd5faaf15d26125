"""Linear programs in HiGHS: matrices in, a checked answer out.

HiGHS drops a row whose bound is NaN and says Optimal, so nothing that is not finite goes in, and callers check the
loads that come out. Compressed columns; rows and columns are scaled by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from neto.controller.deadline import NEVER, Deadline
from neto.controller.flows import Floats, Ints

# Where HiGHS gives up (status Unknown) on tight tolerances it does not without presolve, or on its own tolerances.
_ATTEMPTS = (
    {"presolve": "choose", "primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    {"presolve": "off", "primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    {"presolve": "choose", "primal_feasibility_tolerance": 1e-7, "dual_feasibility_tolerance": 1e-7},
)


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """Minimise cost @ x over lower <= A x <= upper, 0 <= x."""

    cost: Floats  # (columns,)
    column_start: Ints  # (columns + 1,)
    row: Ints  # (entries,)
    value: Floats  # (entries,)
    lower: Floats  # (rows,) -inf: none
    upper: Floats  # (rows,) inf: none


@dataclass(frozen=True, eq=False)
class Solution:
    """An optimal point and the price of each row."""

    x: Floats  # (columns,)
    row_dual: Floats  # (rows,)


class Solver:
    """One HiGHS instance; programs of the same shape that follow each other start from the last basis."""

    def __init__(self) -> None:
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy's stub leaves it untyped
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 1),
        ):
            self._highs.setOptionValue(option, value)
        self._shape = (0, 0)

    def solve(self, program: LinearProgram, deadline: Deadline = NEVER) -> Solution | None:
        """Return the optimum, or None when HiGHS finds none, or not in time.

        Raises ValueError when a number of the program is NaN or a cost or coefficient is infinite.
        """
        finite = np.isfinite(program.cost).all() and np.isfinite(program.value).all()
        if not finite or np.isnan(program.lower).any() or np.isnan(program.upper).any():
            raise ValueError("a linear program has a coefficient that is not a number")
        shape = (len(program.cost), len(program.lower))
        basis = self._highs.getBasis() if shape == self._shape else None
        self._shape = shape
        self._highs.passModel(_model(program))
        if basis is not None and basis.valid:
            self._highs.setBasis(basis)
        for attempt in _ATTEMPTS:
            for option, value in attempt.items():
                self._highs.setOptionValue(option, value)
            if math.isfinite(deadline.at):
                self._highs.setOptionValue("time_limit", self._highs.getRunTime() + deadline.left_s)
            self._highs.run()
            if self._highs.getModelStatus() == highspy.HighsModelStatus.kOptimal:
                found = self._highs.getSolution()
                return Solution(np.array(found.col_value), np.array(found.row_dual))
            self._highs.clearSolver()
            if deadline.passed:
                break
        self._shape = (0, 0)
        return None


def _model(program: LinearProgram) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(program.cost), len(program.lower)
    lp.col_cost_ = program.cost
    lp.col_lower_ = np.zeros(lp.num_col_)
    lp.col_upper_ = np.full(lp.num_col_, highspy.kHighsInf)
    lp.row_lower_ = program.lower
    lp.row_upper_ = program.upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_ = program.column_start.astype(np.int32)
    lp.a_matrix_.index_ = program.row.astype(np.int32)
    lp.a_matrix_.value_ = program.value
    return lp
