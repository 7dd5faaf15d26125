"""The number of steps by programs in HiGHS: SWAN's K-step linear program, and a mixed-integer one for the fewest.

Rates y[k] on every path after each step but the last, and m[k] >= y[k - 1], y[k] for what a path can carry in step k;
no link above its limit at m[k], no demand below the lower of its two rates (Hong et al., SWAN, SIGCOMM 2013, §4.2).
Rates are free: a path may carry more in between than before and after. Demands that do not change take part nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, coo_array, csc_array, csr_array, eye_array, kron

from tests.bench.allocation.linear import INFINITE, Deadline, OverLimitError

FEASIBLE = 1e-6  # of a link's capacity: what a solver may miss a limit by


@dataclass(frozen=True, eq=False)
class Parts:
    """What a program is made of: strands that take part, links in the way, what is left for them."""

    strands: np.ndarray  # rows of the whole problem
    onto: csr_array  # (links, strands)
    member: csr_array  # (shifts, strands)
    room: np.ndarray  # (links,) in units of the link's capacity
    first: np.ndarray  # (strands,) Mbit/s
    last: np.ndarray  # (strands,) Mbit/s
    unit: float  # Mbit/s that rates are counted in


def parts(shifts, *, hot_only):
    """Take what changes, and every link that it crosses; hot_only: but those that changing at once would overload."""
    strand_shift = np.repeat(np.arange(len(shifts.shift_start) - 1), np.diff(shifts.shift_start))
    changes = np.bincount(strand_shift, np.abs(shifts.after - shifts.before), len(shifts.shift_start) - 1) > 0
    hop_strand = np.repeat(np.arange(len(shifts.before)), np.diff(shifts.strand_start))
    whole = csr_array(
        coo_array((np.ones(len(shifts.links)), (shifts.links, hop_strand)), (len(shifts.capacity), len(shifts.before)))
    )
    load = shifts.background.sum(axis=0) + whole @ shifts.before
    limit = np.maximum(shifts.capacity, load)
    peak = shifts.background.sum(axis=0) + whole @ np.maximum(shifts.before, shifts.after)
    links = np.flatnonzero(peak > limit * (1 + 1e-9)) if hot_only else np.unique(shifts.links)
    if hot_only:
        touching = np.bincount(strand_shift, whole[links].sum(axis=0), len(changes)) > 0
        changes &= touching
    strands = np.flatnonzero(changes[strand_shift])
    _, member_of = np.unique(strand_shift[strands], return_inverse=True)
    shape = (int(member_of.max(initial=-1)) + 1, len(strands))
    still = np.where(changes[strand_shift], 0.0, shifts.before)
    capacity = shifts.capacity[links]
    room = (limit[links] - shifts.background.sum(axis=0)[links] - whole[links] @ still) / capacity
    unit = float(np.median(shifts.capacity))
    onto = csr_array(whole[links][:, strands].multiply((unit / capacity)[:, None]))
    return Parts(
        strands, onto, csr_array((np.ones(len(strands)), (member_of, np.arange(len(strands)))), shape), room,
        shifts.before[strands] / unit, shifts.after[strands] / unit, unit,
    )  # fmt: skip


def _layout(given, steps):
    """Return the matrix over y (steps - 1, strands) and m (steps, strands), and bounds of rows and columns."""
    count, between = len(given.strands), steps - 1
    each, same = eye_array(between), eye_array(count)
    matrix = block_array(
        [
            [None, kron(eye_array(steps), given.onto)],
            [kron(each, given.member), None],
            [kron(each, -same), kron(eye_array(between, steps), same)],
            [kron(each, -same), kron(eye_array(between, steps, k=1), same)],
        ]
    )
    sums = given.member @ given.first, given.member @ given.last
    nothing = np.zeros(2 * between * count)
    row_lower = np.concatenate(
        [np.full(steps * len(given.room), -np.inf), np.tile(np.minimum(*sums), between), nothing]
    )
    row_upper = np.concatenate(
        [np.tile(given.room, steps), np.tile(np.maximum(*sums), between), np.full(len(nothing), np.inf)]
    )
    lower = np.zeros((between + steps) * count)
    lower[between * count : (between + 1) * count] = given.first
    lower[-count:] = np.maximum(lower[-count:], given.last)
    return csc_array(matrix), row_lower, row_upper, lower


def k_steps(given, steps, deadline, solver="ipm"):
    """Whether so many steps are enough, and the rates (steps - 1, strands) after all but the last, in Mbit/s.

    Minimises by how much the fullest link is over its limit, so that there always is an answer.
    """
    if not len(given.strands):
        return True, np.zeros((steps - 1, 0))
    matrix, row_lower, row_upper, lower = _layout(given, steps)
    over = np.zeros((matrix.shape[0], 1))
    over[: steps * len(given.room)] = -1.0
    matrix = csc_array(block_array([[matrix, csc_array(over)]]))
    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = matrix.shape
    model.col_cost_ = np.append(np.zeros(len(lower)), 1.0)
    model.col_lower_, model.col_upper_ = np.append(lower, -1.0), np.full(len(lower) + 1, INFINITE)
    model.row_lower_ = np.where(np.isinf(row_lower), -INFINITE, row_lower)
    model.row_upper_ = np.where(np.isinf(row_upper), INFINITE, row_upper)
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.num_row_, model.a_matrix_.num_col_ = matrix.shape
    model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    highs = highspy.Highs()
    for option, setting in (("output_flag", False), ("solver", solver), ("run_crossover", "off"), ("threads", 1)):
        highs.setOptionValue(option, setting)
    highs.setOptionValue("time_limit", deadline.left())
    highs.passModel(model)
    highs.run()
    if highs.getModelStatus() == highspy.HighsModelStatus.kTimeLimit:
        raise OverLimitError
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"HiGHS: {highs.modelStatusToString(highs.getModelStatus())}")
    found = np.array(highs.getSolution().col_value)
    between = steps - 1
    return bool(found[-1] <= FEASIBLE), found[: between * len(given.strands)].reshape(between, -1) * given.unit


def fewest(shifts, limit_s, *, hot_only=False, solver="ipm", most=12):
    """(1,) the fewest steps by K-step programs for K = 2, 3, ...; the case must need two."""
    deadline = Deadline(limit_s)
    given = parts(shifts, hot_only=hot_only)
    for steps in range(2, most + 1):
        if k_steps(given, steps, deadline, solver)[0]:
            return np.array([float(steps)])
    raise RuntimeError(f"no plan of {most} steps")


def fewest_by_integers(shifts, limit_s, *, most):
    """(1,) the fewest steps by one mixed-integer program: rates after `most` steps, and which of them change anything.

    Over links that changing at once would overload, which is a relaxation: no plan has fewer steps.
    """
    deadline = Deadline(limit_s)
    given = parts(shifts, hot_only=True)
    count = len(given.strands)
    matrix, row_lower, row_upper, lower = _layout(given, most)
    # m[k] <= y[k - 1] + size * z[k] and m[k] <= y[k] + size * z[k]: in a step that is not used nothing changes.
    size = np.asarray(given.member.T @ np.maximum(given.member @ given.first, given.member @ given.last))
    between, same = most - 1, eye_array(count)
    uses = kron(eye_array(most), csr_array(-size[:, None]))
    after = block_array([[kron(eye_array(most, between), -same), eye_array(most * count), uses]])
    before = block_array([[kron(eye_array(most, between, k=-1), -same), eye_array(most * count), uses]])
    ends = np.zeros((2, most, count))
    ends[0, -1], ends[1, 0] = given.last, given.first
    answer = milp(
        np.concatenate([np.zeros(len(lower)), np.ones(most)]),
        integrality=np.concatenate([np.zeros(len(lower)), np.ones(most)]),
        bounds=Bounds(np.append(lower, np.zeros(most)), np.append(np.full(len(lower), np.inf), np.ones(most))),
        constraints=[
            LinearConstraint(block_array([[matrix, csr_array((matrix.shape[0], most))]]), row_lower, row_upper),
            LinearConstraint(after, -np.inf, ends[0].ravel()),
            LinearConstraint(before, -np.inf, ends[1].ravel()),
        ],
        options={"time_limit": deadline.left(), "mip_rel_gap": 0.0},
    )
    if answer.status == 1:
        raise OverLimitError
    if answer.status != 0:
        raise RuntimeError(f"HiGHS: {answer.message}")
    return np.array([round(answer.fun)], dtype=np.float64)
