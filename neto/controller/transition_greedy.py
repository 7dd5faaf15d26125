"""Fill one step after the other with as much as is safe.

Inside a step only what rises takes room; what falls frees it for the next one. Room on links that cannot take
everything at once (hot rows) is shared in proportion to what is asked of it; all other shifts just move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from neto.controller.contest import Contest
from neto.controller.shifts import SLACK
from neto.model.topology import Mbps

_MOST_STEPS = 64
_ROUNDS = 8
_LEAST_PROGRESS = 2e-3  # of what is left to move; less in one step counts as none


def greedy(
    problem: Contest, start: Mbps, goal: Mbps, *, whole: bool = False, relief_first: bool = False
) -> tuple[list[Mbps], bool]:
    """Return the strand rates after each step from start toward goal, and whether the goal is reached.

    whole: shifts move as `Contest.worst` means it. relief_first: serve what frees hot links before the rest.
    """
    states: list[Mbps] = []
    rates = start
    while len(states) < _MOST_STEPS:
        load = problem.loads(rates)
        limit = problem.limits(load)
        hot = problem.worst(rates, goal, whole=whole) > limit
        if not hot.any():
            return [*states, goal], True
        then = _fill(problem, rates, goal, np.flatnonzero(hot), limit - load, whole=whole, relief_first=relief_first)
        left = np.abs(goal - rates).sum()
        if np.abs(then - rates).sum() < _LEAST_PROGRESS * left:
            return states, False
        states.append(then)
        rates = then
    return states, False


def _fill(
    problem: Contest,
    rates: Mbps,
    goal: Mbps,
    hot: NDArray[np.int64],
    room: Mbps,
    *,
    whole: bool,
    relief_first: bool,
) -> Mbps:
    """(strands,) rates after one safe step that moves as much as it finds room for."""
    change = goal - rates
    matrix = csr_array(problem.matrix[hot])
    room = np.maximum(room[hot], 0.0)
    by_strand = problem.divisible[problem.shift_of] & (not whole)
    net = csc_array(matrix.multiply(change[None, :]) @ problem.member.T)  # (hot, shifts)
    rise = csc_array(net.maximum(0))
    units = _units(problem, change, whole=whole)
    asked = rise @ (units | whole).astype(np.float64) + matrix @ np.where(by_strand, np.maximum(change, 0.0), 0.0)
    pressure = asked / np.maximum(room, SLACK * problem.capacity[hot])
    relief = -(net.T @ pressure)  # (shifts,) how much a shift eases what others wait for
    then = rates.copy()

    moved = _all_or_nothing(rise, relief, room, np.flatnonzero(units))
    chosen = np.isin(problem.shift_of, moved)
    then[chosen] = goal[chosen]

    if whole:
        parts = np.flatnonzero(problem.divisible & (problem.quantum == 0))
        share = _waterfill(csc_array(rise[:, parts]), np.ones(len(parts)), room)
        theta = np.zeros(len(problem.divisible))
        theta[parts] = share
        then += np.where(np.isin(problem.shift_of, parts), theta[problem.shift_of] * change, 0.0)
        return np.where(np.isin(problem.shift_of, parts[share >= 1]), goal, then)

    ups = np.flatnonzero(by_strand & (change > 0))
    raised = np.zeros(len(rates))
    tiers = [ups[relief[problem.shift_of[ups]] > 0], ups[relief[problem.shift_of[ups]] <= 0]] if relief_first else [ups]
    for tier in tiers:
        columns = csc_array(matrix[:, tier])
        amount = _waterfill(columns, change[tier], room)
        raised[tier] = _round(columns, amount, change[tier], problem.quantum[problem.shift_of[tier]], room)
    lowered = _lower(problem, rates, change, raised, by_strand, matrix.T @ pressure)
    then += raised - lowered
    return np.where(by_strand & (np.abs(goal - then) <= 1e-12 * np.abs(change)), goal, then)


def _units(problem: Contest, change: Mbps, *, whole: bool) -> NDArray[np.bool_]:
    """(shifts,) those that move all at once or not at all."""
    moves = np.bincount(problem.shift_of, np.abs(change), minlength=len(problem.divisible)) > 0
    undivided: NDArray[np.bool_] = moves & (~problem.divisible | (whole & (problem.quantum > 0)))
    return undivided


def _all_or_nothing(rise: csc_array, relief: Mbps, room: Mbps, rows: NDArray[np.int64]) -> list[int]:
    """Take shifts while they fit, the most relieving first; takes the room (hot rows,) they need."""
    taken = []
    for row in sorted(rows.tolist(), key=lambda row: (-relief[row], row)):
        part = slice(rise.indptr[row], rise.indptr[row + 1])
        where, needs = rise.indices[part], rise.data[part]
        if (needs <= room[where]).all():
            room[where] -= needs
            taken.append(row)
    return taken


def _waterfill(columns: csc_array, wanted: Mbps, room: Mbps) -> Mbps:
    """(columns,) how much of what each column wants it gets; takes the room (rows,) it needs.

    columns: (rows, columns) room taken on each row per unit.
    """
    given = np.zeros(len(wanted))
    left = wanted.astype(np.float64)
    hops = np.diff(columns.indptr)
    touching = np.flatnonzero(hops)
    for _ in range(_ROUNDS):
        need = columns @ left
        scale = np.minimum(1.0, np.divide(room, need, out=np.ones_like(room), where=need > 0))
        by_column = np.ones(len(wanted))
        if len(touching):
            by_column[touching] = np.minimum.reduceat(scale[columns.indices], columns.indptr[touching])
        take = np.where(by_column >= 1.0, left, left * by_column)
        given = np.where(by_column >= 1.0, wanted, given + take)
        left = wanted - given
        room[:] = np.maximum(room - columns @ take, 0.0)
        if not (take > SLACK * wanted).any() or not left.any():
            break
    return given


def _round(columns: csc_array, amount: Mbps, wanted: Mbps, quantum: Mbps, room: Mbps) -> Mbps:
    """Bring amounts down to whole quanta, then hand the room that this frees out again, quantum by quantum."""
    coarse = (quantum > 0) & (amount < wanted)
    if not coarse.any():
        return amount
    unit = np.where(coarse, quantum, 1.0)
    rounded = np.where(coarse, np.floor(amount / unit * (1 + 1e-9)) * quantum, amount)
    room += columns @ (amount - rounded)
    remainder = np.where(coarse, amount - rounded, -1.0)
    for column in np.argsort(-remainder, kind="stable"):
        if not coarse[column]:
            break
        part = slice(columns.indptr[column], columns.indptr[column + 1])
        where, needs = columns.indices[part], columns.data[part] * quantum[column]
        if rounded[column] + quantum[column] <= wanted[column] * (1 + 1e-9) and (needs <= room[where]).all():
            rounded[column] += quantum[column]
            room[where] -= needs
    return np.minimum(rounded, wanted)


def _lower(
    problem: Contest, rates: Mbps, change: Mbps, raised: Mbps, by_strand: NDArray[np.bool_], pressure: Mbps
) -> Mbps:
    """(strands,) what to take off falling strands so that each shift sends no less than it must: hottest first."""
    falling = np.where(by_strand, np.maximum(-change, 0.0), 0.0)
    surplus = np.maximum(-problem.totals(change), 0.0)  # what the shift gives up for good
    budget = problem.totals(raised) + surplus
    order = np.lexsort((np.arange(len(rates)), -pressure, problem.shift_of))
    ahead = np.cumsum(falling[order]) - falling[order]
    first = np.searchsorted(problem.shift_of[order], np.arange(len(budget)))  # each shift's first strand in order
    ahead -= ahead[np.minimum(first, max(len(order) - 1, 0))][problem.shift_of[order]] if len(order) else 0.0
    lowered = np.zeros(len(rates))
    lowered[order] = np.clip(budget[problem.shift_of[order]] - ahead, 0.0, falling[order])
    return lowered
