"""From parts of bundles back to rates of strands, with as few changes of shifts as that allows; checked once more.

Whose traffic moves first within a bundle does not matter to links, so it moves shift by shift, not a little of each.
Then every shift that changes in more than one step is tried as a whole in each of these steps.
"""

from __future__ import annotations

import numpy as np

from neto.controller.contest import Contest
from neto.controller.shifts import SLACK, Ints
from neto.controller.transfers import LAST, Transfers
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_CLOSE = 1e-9  # share of a transfer that is not worth a change of its own


def settled(contest: Contest, moves: Transfers, parts: Mbps) -> list[Mbps] | None:
    """Return (strands,) Mbit/s after each step; None when they are not safe after all.

    parts: (steps, bundles) that have moved after each step.
    """
    order = np.argsort(moves.bundle, kind="stable")
    states = _states(
        contest.before, contest.after, moves.source, moves.target, moves.amount, moves.bundle, order, parts
    )
    columns = contest.column, contest.row, contest.part
    shift_start = np.searchsorted(contest.shift_of, np.arange(len(contest.shift) + 1))
    _consolidate(states, shift_start, *columns, *_profile(states, *columns, contest.load), contest.capacity)
    load, peak = _profile(states, *columns, contest.load)
    total = np.add.reduceat(states, shift_start[:-1], axis=1)
    floor = np.minimum(total[0], total[-1])
    limit = np.maximum(contest.capacity[:, None], load[:, :-1]) + SLACK * contest.capacity[:, None]
    kept = (total >= floor - SLACK * np.maximum(floor, 1.0)).all()
    return list(states[1:]) if kept and (peak[:, 1:] <= limit).all() else None


@compiled
def _profile(states: Mbps, column: Ints, row: Rows, part: Mbps, before: Mbps) -> tuple[Mbps, Mbps]:
    """Return, each (rows, steps + 1), the load after every step and the highest load in it; first of all, before."""
    steps = len(states)
    load = np.zeros((len(before), steps))
    peak = np.zeros((len(before), steps))
    rise, most = np.empty(steps), np.empty(steps)
    for strand in range(states.shape[1]):
        still = True
        for step in range(steps):
            rise[step] = states[step, strand] - states[0, strand]
            most[step] = max(rise[step], rise[step - 1]) if step else 0.0
            still &= rise[step] == 0.0
        if still:
            continue
        for entry in range(column[strand], column[strand + 1]):
            for step in range(1, steps):
                load[row[entry], step] += part[entry] * rise[step]
                peak[row[entry], step] += part[entry] * most[step]
    for place in range(len(before)):
        load[place] += before[place]
        peak[place] += before[place]
    return load, peak


@compiled
def _states(
    before: Mbps,
    after: Mbps,
    source: Ints,
    target: Ints,
    amount: Mbps,
    bundle: Ints,
    order: Ints,
    parts: Mbps,
) -> Mbps:
    """(steps + 1, strands) Mbit/s; transfers of a bundle move one after the other, in this order."""
    steps, bundles = parts.shape
    total, ahead = np.zeros(bundles), np.zeros(bundles)
    for transfer in range(len(bundle)):
        if bundle[transfer] >= 0:
            total[bundle[transfer]] += amount[transfer]
    states = np.empty((steps + 1, len(before)))
    states[:] = before
    for transfer in order:
        mine = bundle[transfer]
        for step in range(1, steps):
            share = 0.0 if mine == LAST else 1.0
            if mine >= 0:
                share = (parts[step - 1, mine] * total[mine] - ahead[mine]) / amount[transfer]
            if share <= _CLOSE:
                continue
            moved = amount[transfer] * (share if share < 1.0 - _CLOSE else 1.0)
            if source[transfer] >= 0:
                states[step, source[transfer]] -= moved
            if target[transfer] >= 0:
                states[step, target[transfer]] += moved
        if mine >= 0:
            ahead[mine] += amount[transfer]
    states[steps] = after
    _snap(states)
    return states


@compiled
def _snap(states: Mbps) -> None:
    """Bring rates that differ by rounding from the rate before, or from the last, to that one; in place."""
    steps = len(states) - 1
    for strand in range(states.shape[1]):
        before, after = states[0, strand], states[steps, strand]
        near = _CLOSE * abs(after - before)
        for step in range(1, steps):
            rate = min(max(states[step, strand], min(before, after)), max(before, after))
            rate = states[step - 1, strand] if abs(rate - states[step - 1, strand]) <= near else rate
            states[step, strand] = after if abs(rate - after) <= near else rate


@compiled
def _consolidate(
    states: Mbps, shift_start: Ints, column: Ints, row: Rows, part: Mbps, load: Mbps, peak: Mbps, capacity: Mbps
) -> None:
    """Let shifts that change in several steps change in one of them where that fits; in place."""
    steps = len(states) - 1
    for shift in range(len(shift_start) - 1):
        first, last = shift_start[shift], shift_start[shift + 1]
        if _changes(states, first, last) == 1:
            continue
        kept = states[:, first:last].copy()
        for step in range(1, steps + 1):
            if (kept[step] == kept[step - 1]).all():
                continue
            trial = kept.copy()
            trial[:step] = kept[0]
            trial[step:] = kept[steps]
            _exchange(load, peak, kept, trial, first, column, row, part)
            if _fits(load, peak, first, last, column, row, capacity):
                states[:, first:last] = trial
                break
            _exchange(load, peak, trial, kept, first, column, row, part)


@compiled
def _changes(states: Mbps, first: int, last: int) -> int:
    """Return in how many steps these strands change."""
    count = 0
    for step in range(1, len(states)):
        for strand in range(first, last):
            if states[step, strand] != states[step - 1, strand]:
                count += 1
                break
    return count


@compiled
def _exchange(load: Mbps, peak: Mbps, old: Mbps, new: Mbps, first: int, column: Ints, row: Rows, part: Mbps) -> None:
    """Put strands from `first` on the new rates (steps + 1, strands) instead of the old ones."""
    for place in range(old.shape[1]):
        for entry in range(column[first + place], column[first + place + 1]):
            for step in range(1, len(old)):
                load[row[entry], step] += part[entry] * (new[step, place] - old[step, place])
                highest = max(new[step, place], new[step - 1, place]) - max(old[step, place], old[step - 1, place])
                peak[row[entry], step] += part[entry] * highest


@compiled
def _fits(load: Mbps, peak: Mbps, first: int, last: int, column: Ints, row: Rows, capacity: Mbps) -> bool:
    """Whether no step overloads a row that these strands cross."""
    for entry in range(column[first], column[last]):
        for step in range(1, load.shape[1]):
            limit = max(capacity[row[entry]], load[row[entry], step - 1]) + 0.5 * SLACK * capacity[row[entry]]
            if peak[row[entry], step] > limit:
                return False
    return True
