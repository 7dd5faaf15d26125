"""Linear programmes over a fixed number of steps, for small cases: fewer steps, or the least that must be lowered.

The programme of SWAN (Hong et al., SIGCOMM 2013, §4.2): strand rates y[k] after each of the steps but the last, and
m[k] >= y[k], y[k+1] for what the strand can carry during step k. Only rows that a single step would overload and
shifts that touch them take part; everything else moves in the first step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import block_array, csr_array, eye_array, kron

from neto.controller.contest import Contest
from neto.controller.deadline import NEVER, Deadline
from neto.controller.shifts import SLACK
from neto.model.topology import Mbps

SIZE = 6000  # variables; solved within seconds
_ITERATIONS = 50_000  # not seconds: the same case must have the same answer on every machine
MOST_STEPS = 8
_WORTH_A_STEP = 0.1  # share of what is given up that one more step must spare
_TIDY = 1e-6  # weight of what is carried during steps: among equal plans, the one that moves less
_SOLVERS_PART = 0.1  # of the slack that counts as rounding
_SNAP = 1e-7  # share of a rate that is the solver's rounding


def fewer_steps(problem: Contest, steps: int, size: int = SIZE) -> list[Mbps] | None:
    """Return the strand rates after each of so many steps; None when there is no such plan or it was not found.

    Only where all shifts that matter are divisible and have no quantum.
    """
    none = np.zeros(len(problem.shift), dtype=bool)
    found = _solve(problem, problem.before, steps, none, size)
    return found[0] if found else None


def lower_and_move(
    problem: Contest, start: Mbps, *, classes: int, size: int = 10 * SIZE, deadline: Deadline = NEVER
) -> tuple[list[Mbps], float] | None:
    """Return steps that send the lowest class below the lower of two rates, by as little as possible.

    classes: how many there are; the last is the lowest. Returns the strand rates after each step and the Mbit/s that
    is given up at the worst point; None when that does not help either.
    """
    lowest = np.zeros(len(problem.shift), dtype=bool)
    lowest[problem.shift_of[problem.traffic_class == classes - 1]] = True
    best = None
    for steps in range(2, MOST_STEPS + 1):
        if best is not None and deadline.passed:
            break
        found = _solve(problem, start, steps, lowest, size)
        if best is None:
            best = found
        elif found is None or found[1] >= best[1] * (1 - _WORTH_A_STEP):
            break
        else:
            best = found
    return best


def _solve(
    problem: Contest, start: Mbps, steps: int, may_lower: NDArray[np.bool_], size: int
) -> tuple[list[Mbps], float] | None:
    """Return the states and what is given up; None when too big, infeasible or not found.

    Variables: y (steps - 1, strands), m (steps, strands), and what each shift gives up (shifts,); all in units of
    the largest capacity involved, which keeps the solver's absolute tolerance small.
    """
    goal = problem.after
    limit = problem.limits(problem.loads(start))
    hot = np.flatnonzero(problem.worst(start, goal) > limit)
    matrix = csr_array(problem.matrix[hot])
    touches = np.zeros(len(problem.shift), dtype=bool)
    touches[problem.shift_of[np.unique(matrix.indices)]] = True
    moves = np.bincount(problem.shift_of, np.abs(goal - start), minlength=len(touches)) > 0
    taking_part = touches & (moves | may_lower)
    strands = np.flatnonzero(taking_part[problem.shift_of])
    shifts, member_of = np.unique(problem.shift_of[strands], return_inverse=True)
    count, between = len(strands), steps - 1
    divisible = problem.divisible[shifts].all() and not problem.quantum[shifts].any()
    if not count or not divisible or (between + steps) * count + len(shifts) > size:
        return None
    unit = float(problem.capacity[hot].max())
    first, last = start[strands] / unit, goal[strands] / unit
    others = np.maximum(start, goal)  # whatever else moves touches no hot row
    others[strands] = 0.0
    exact = limit[hot] - (1 - _SOLVERS_PART) * SLACK * problem.capacity[hot]  # the rest is for the solver's rounding
    room = (exact - problem.background[hot] - matrix @ others) / unit
    sums = np.bincount(member_of, first), np.bincount(member_of, last)
    floor, most = np.minimum(*sums), np.maximum(*sums)
    give = np.where(may_lower[shifts], floor, 0.0)
    low = np.where(may_lower[shifts][member_of], 0.0, np.minimum(first, last))
    high = np.maximum(first, last)
    answer = linprog(
        c=np.concatenate([np.zeros(between * count), np.full(steps * count, _TIDY), np.ones(len(shifts))]),
        A_ub=_constraints(csr_array(matrix[:, strands]), member_of, steps),
        b_ub=np.concatenate(
            [np.tile(room, steps), np.tile(-floor, between), np.tile(most, between), np.zeros(2 * between * count)]
        ),
        bounds=np.concatenate(
            [
                np.tile(np.stack([low, high], axis=1), (between, 1)),
                np.stack([np.maximum(first, low), high], axis=1),
                np.tile(np.stack([low, high], axis=1), (steps - 2, 1)),
                np.stack([last, high], axis=1),
                np.stack([np.zeros(len(give)), give], axis=1),
            ]
        ),
        method="highs",
        options={"maxiter": _ITERATIONS},
    )
    if answer.status != 0 or not np.isfinite(answer.x).all():
        return None
    return _checked(problem, start, strands, answer.x[: between * count].reshape(between, count) * unit)


def _constraints(onto: csr_array, member_of: NDArray[np.int64], steps: int) -> csr_array:
    """Rows, in this order: room in each step; floor, then ceiling of each state; m >= y before and after each state."""
    count, between = len(member_of), steps - 1
    shifts = int(member_of.max()) + 1
    member = csr_array((np.ones(count), (member_of, np.arange(count))), shape=(shifts, count))
    each = eye_array(between)
    gives = csr_array(np.ones((between, 1)))
    rates = kron(each, eye_array(count))
    during = eye_array(between, steps), eye_array(between, steps, k=1)  # the step that ends in a state; the next
    return csr_array(
        block_array(
            [
                [None, kron(eye_array(steps), onto), None],
                [kron(each, -member), None, kron(gives, -eye_array(shifts))],
                [kron(each, member), None, None],
                [rates, kron(during[0], -eye_array(count)), None],
                [rates, kron(during[1], -eye_array(count)), None],
            ]
        )
    )


def _checked(problem: Contest, start: Mbps, strands: NDArray[np.int64], found: Mbps) -> tuple[list[Mbps], float] | None:
    """Return the full states and what they give up, if they hold: a solver's word is not enough."""
    goal = problem.after
    states: list[Mbps] = []
    for rates in found:
        state = goal.copy()
        state[strands] = np.maximum(rates, 0.0)
        near = np.abs(state[:, None] - np.stack([goal, states[-1] if states else start], axis=1))
        for choice, known in enumerate((goal, states[-1] if states else start)):
            state = np.where(near[:, choice] <= _SNAP * np.maximum(known, 1e-3), known, state)
        states.append(state)
    states.append(goal)
    before = start
    for state in states:
        if (problem.worst(before, state) > problem.limits(problem.loads(before))).any():
            return None
        before = state
    floor = np.minimum(problem.totals(start), problem.totals(goal))
    return states, max(float(np.maximum(floor - problem.totals(state), 0.0).sum()) for state in states)
