"""Shifts as transfers: so much leaves this strand for that one. Transfers that cross the same hot rows are one bundle.

A shift that rises on strands p and falls on strands q is split in proportion into transfers q -> p; what it gains or
gives up in all is a transfer from or to nowhere. However far each transfer is, the shift never sends less than the
lower of its two rates, so transfers need no rule between them but room on links. For links it does not matter whose
traffic it is: a few thousand bundles stand for a million strands (contention classes: Hong et al., SWAN, SIGCOMM 2013,
solve over tunnels one by one; the aggregation is exact).

What leaves a hot row without coming to one moves in the first step, what comes to one without leaving another in the
last: neither can be better elsewhere. Only what leaves hot rows for hot rows has to be timed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neto.controller.contest import Contest
from neto.controller.shifts import SLACK, Bools, Ints
from neto.jit import compiled
from neto.model.topology import Mbps, Rows

_NOWHERE = -1
_ODD = 0x9E3779B97F4A7C15
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False, slots=True)
class Transfers:
    """Transfers, and the bundles of those that have to be timed.

    What bundle b brings to hot rows, and takes from them, are rows start[b]:start[b + 1] of `row` and `mbps`.
    """

    source: Ints  # (transfers,) strand that it leaves; -1: the shift grows
    target: Ints  # (transfers,) strand that it comes to; -1: the shift shrinks
    amount: Mbps  # (transfers,) Mbit/s
    bundle: Ints  # (transfers,) FIRST or LAST where there is nothing to time
    start: Ints  # (bundles + 1,)
    row: Rows  # (entries,)
    mbps: Mbps  # (entries,) Mbit/s; above zero: comes, below: leaves
    loose: Bools  # (bundles,) its shifts could be split in other ways too
    early: Mbps  # (rows,) Mbit/s that leaves in the first step
    late: Mbps  # (rows,) Mbit/s that comes in the last step

    @property
    def bundles(self) -> int:
        """How many there are."""
        return len(self.loose)


FIRST, LAST = -1, -2  # bundles of what moves in the first and in the last step


def transfers(contest: Contest) -> Transfers:
    """Split the shifts of a contest, all of them divisible, into transfers."""
    rows = len(contest.link)
    shift_start = np.searchsorted(contest.shift_of, np.arange(len(contest.shift) + 1))
    source, target, amount, loose = _split(shift_start, contest.before, contest.after)
    marks = np.random.default_rng(1).integers(1, 2**63, rows, dtype=np.uint64)
    columns = contest.column, contest.row, contest.part
    signature = _signatures(*columns, marks)
    comes = np.where(target >= 0, signature[target], np.uint64(0))
    leaves = np.where(source >= 0, signature[source], np.uint64(0))
    timed = np.flatnonzero((comes != 0) & (leaves != 0))
    key = (comes[timed] * np.uint64(_ODD) + leaves[timed]) * np.uint64(_ODD) + loose[timed]
    _, sample, of_timed = np.unique(key, return_index=True, return_inverse=True)
    bundle = np.where(comes != 0, LAST, FIRST)
    bundle[timed] = of_timed
    total = np.bincount(of_timed, amount[timed], minlength=len(sample)).astype(np.float64)
    shown = timed[sample]
    start, row, mbps = _entries(*columns, target[shown], source[shown], total)
    first = (bundle == FIRST) & (leaves != 0)
    early = _put(*columns, source[first], amount[first], rows)
    late = _put(*columns, target[bundle == LAST], amount[bundle == LAST], rows)
    return Transfers(source, target, amount, bundle, start, row, mbps, loose[shown], early, late)


@compiled
def _split(shift_start: Ints, before: Mbps, after: Mbps) -> tuple[Ints, Ints, Mbps, Bools]:
    """Return source, target, amount of every transfer, and whether its shift could be split in other ways too."""
    most = 0
    for shift in range(len(shift_start) - 1):
        strands = shift_start[shift + 1] - shift_start[shift]
        most += strands + strands * strands // 4
    source, target = np.full(most, _NOWHERE), np.full(most, _NOWHERE)
    amount, loose = np.empty(most), np.zeros(most, dtype=np.bool_)
    count = 0
    for shift in range(len(shift_start) - 1):
        mine = range(shift_start[shift], shift_start[shift + 1])
        gain, larger, one_way = _balance(mine.start, mine.stop, before, after)
        for strand in mine:
            rise = after[strand] - before[strand]
            if rise * gain / max(larger, SLACK) > 0.0:  # its part in what the shift gains, or gives up, in all
                source[count] = strand if rise < 0.0 else _NOWHERE
                target[count] = strand if rise > 0.0 else _NOWHERE
                amount[count] = rise * gain / larger
                count += 1
            for other in mine:
                fall = before[other] - after[other]
                if rise > 0.0 and fall > 0.0 and rise * fall / larger > 0.0:
                    source[count], target[count] = other, strand
                    amount[count], loose[count] = rise * fall / larger, not one_way
                    count += 1
    return source[:count].copy(), target[:count].copy(), amount[:count].copy(), loose[:count].copy()


@compiled
def _balance(first: int, last: int, before: Mbps, after: Mbps) -> tuple[float, float, bool]:
    """Return what a shift gains in all, the larger of what rises and what falls, and whether it splits in one way."""
    rises = falls = 0.0
    ups = downs = 0
    for strand in range(first, last):
        change = after[strand] - before[strand]
        rises, ups = rises + max(change, 0.0), ups + (change > 0.0)
        falls, downs = falls - min(change, 0.0), downs + (change < 0.0)
    larger = max(rises, falls)
    gain = 0.0 if abs(rises - falls) <= SLACK * larger else rises - falls
    return gain, larger, (ups == 1 and gain >= 0.0) or (downs == 1 and gain <= 0.0)


@compiled
def _signatures(column: Ints, row: Rows, part: Mbps, marks: Hashes) -> Hashes:
    """(strands,) equal for strands that put the same on hot rows, 0 for those that put nothing there."""
    found = np.zeros(len(column) - 1, dtype=np.uint64)
    for strand in range(len(found)):
        for entry in range(column[strand], column[strand + 1]):
            found[strand] += marks[row[entry]] * np.uint64(1 + round(part[entry] * 1e9))
    return found


@compiled
def _entries(column: Ints, row: Rows, part: Mbps, targets: Ints, sources: Ints, total: Mbps) -> tuple[Ints, Rows, Mbps]:
    """Return, in compressed rows, what bundles bring and take that each leave and come to strands like these."""
    start = np.zeros(len(total) + 1, dtype=np.int64)
    for bundle in range(len(total)):
        start[bundle + 1] = start[bundle]
        for strand in (targets[bundle], sources[bundle]):
            start[bundle + 1] += column[strand + 1] - column[strand]
    rows, mbps = np.empty(start[-1], dtype=np.int32), np.empty(start[-1])
    place = 0
    for bundle in range(len(total)):
        for strand, sign in ((targets[bundle], 1.0), (sources[bundle], -1.0)):
            for entry in range(column[strand], column[strand + 1]):
                rows[place], mbps[place] = row[entry], sign * part[entry] * total[bundle]
                place += 1
    return start, rows, mbps


@compiled
def _put(column: Ints, row: Rows, part: Mbps, strands: Ints, amount: Mbps, rows: int) -> Mbps:
    """(rows,) Mbit/s that amounts on strands come to on hot rows."""
    load = np.zeros(rows)
    for place in range(len(strands)):
        for entry in range(column[strands[place]], column[strands[place] + 1]):
            load[row[entry]] += part[entry] * amount[place]
    return load
