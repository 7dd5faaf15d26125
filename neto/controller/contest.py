"""What is in somebody's way during a transition: links that changing all at once could overload, and who crosses them.

Everything else can move at any time. A row of a contest is what one such link sees of the traffic down to one class:
its total, and where it carries more than its capacity, or may, the traffic down to each class as well. Links that stay
within their limit while every strand has the higher of its two rates never exceed it in any step, as long as every
strand stays between its two rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array, csr_array

from neto.controller.shifts import SLACK, Bools, Ints, Shifts
from neto.jit import compiled
from neto.model.topology import Mbps, Rows


@dataclass(frozen=True, eq=False)
class Contest:
    """Hot rows, and the shifts that touch them. Strands and shifts are counted anew; `shift`, `strand` say whose."""

    shift: Ints  # (shifts,) rows of the whole problem
    strand: Ints  # (strands,) rows of the whole problem
    shift_of: Ints  # (strands,)
    before: Mbps  # (strands,) Mbit/s
    after: Mbps  # (strands,) Mbit/s
    traffic_class: Ints  # (strands,)
    divisible: Bools  # (shifts,)
    quantum: Mbps  # (shifts,) Mbit/s
    column: Ints  # (strands + 1,) where each strand's entries start
    row: Rows  # (entries,)
    part: Mbps  # (entries,) Mbit/s on the row per Mbit/s of the strand
    load: Mbps  # (rows,) Mbit/s before anything moves
    capacity: Mbps  # (rows,) Mbit/s: the link's capacity, or what is admitted
    link: Ints  # (rows,)

    @cached_property
    def background(self) -> Mbps:
        """(rows,) Mbit/s that does not take part."""
        theirs: Mbps = self.matrix @ self.before
        return self.load - theirs

    @cached_property
    def matrix(self) -> csr_array:
        """(rows, strands) `part`."""
        shape = (len(self.link), len(self.strand))
        return csr_array(csc_array((self.part, self.row, self.column), shape=shape))

    @cached_property
    def member(self) -> csr_array:
        """(shifts, strands) 1 where the strand belongs to the shift."""
        shape = (len(self.shift), len(self.strand))
        return csr_array((np.ones(shape[1]), (self.shift_of, np.arange(shape[1]))), shape=shape)

    @property
    def any_rate(self) -> bool:
        """Whether every shift can stop at any rate on its way."""
        return bool(self.divisible.all()) and not self.quantum.any()

    def safe(self, rates: Mbps, then: Mbps, *, whole: bool = False) -> bool:
        """Whether a step from rates to then overloads nothing in any mixture, and slows no shift below both ends."""
        floor = np.minimum(self.totals(self.before), self.totals(self.after))
        kept = bool((self.totals(then) >= floor - SLACK * np.maximum(floor, 1.0)).all())
        return kept and bool((self.worst(rates, then, whole=whole) <= self.limits(self.loads(rates))).all())

    def totals(self, rates: Mbps) -> Mbps:
        """(shifts,) Mbit/s of each shift at these strand rates."""
        return np.bincount(self.shift_of, rates, minlength=len(self.shift)).astype(np.float64)

    def loads(self, rates: Mbps) -> Mbps:
        """(rows,) Mbit/s at these strand rates."""
        load: Mbps = self.background + self.matrix @ rates
        return load

    def limits(self, load: Mbps) -> Mbps:
        """(rows,) Mbit/s that no mixture may exceed when the step starts at this load: capacity, or what is there."""
        limit: Mbps = np.maximum(self.capacity, load) + SLACK * self.capacity
        return limit

    def worst(self, rates: Mbps, then: Mbps, *, whole: bool = False) -> Mbps:
        """(rows,) highest Mbit/s while the shifts go from rates to then, in any order.

        whole: count every shift as if it were atomic, moving at once whatever it moves.
        """
        apart = ~self.divisible[self.shift_of] if not whole else np.ones(len(self.shift_of), dtype=bool)
        peak = self.loads(np.where(apart, rates, np.maximum(rates, then)))
        if apart.any():
            peak = peak + np.asarray(self.rise(np.where(apart, then - rates, 0.0)).sum(axis=1), dtype=np.float64)
        return peak

    def rise(self, change: Mbps) -> csr_array:
        """(rows, shifts) Mbit/s by which each shift raises each row when its strands change by this much."""
        net = (self.matrix.multiply(change[None, :]) @ self.member.T).tocsr()
        net.data = np.maximum(net.data, 0.0)
        return csr_array(net)


def contested(shifts: Shifts, *, may_lower: bool = False) -> Contest | None:
    """Return what is in the way of changing everything at once; None when nothing is.

    may_lower: shifts of the lowest class take part even if they do not move.
    """
    load, peak = shifts.peaks(shifts.before, shifts.after)
    hot = peak > shifts.limits(load)
    if not hot.any():
        return None
    most = shifts.capacity if shifts.ceiling is None else np.maximum(shifts.capacity, shifts.ceiling)
    most = np.broadcast_to(most, load.shape)
    admitted = np.maximum(load, most)
    hot |= load > most * (1 + SLACK)  # lowered and raised again, it may not come back to what it was
    hot[:-1] &= admitted[-1] > shifts.capacity * (1 + SLACK)  # elsewhere the total says it all
    level, link = np.nonzero(hot)
    row_of = np.full(hot.shape, -1, dtype=np.int32)
    row_of[level, link] = np.arange(len(link))
    taking_part = _touching(
        shifts.shift_start, shifts.strand_start, shifts.links, shifts.before, shifts.after, shifts.traffic_class,
        row_of, may_lower,
    )  # fmt: skip
    strand, column, row, part = _entries(
        shifts.shift_start, shifts.strand_start, shifts.links, shifts.share, shifts.before, shifts.after,
        shifts.traffic_class, row_of, taking_part,
    )  # fmt: skip
    shift = np.flatnonzero(taking_part)
    shift_of = np.searchsorted(shifts.shift_start[shift], strand, side="right") - 1
    return Contest(
        shift, strand, shift_of, shifts.before[strand], shifts.after[strand], shifts.traffic_class[strand],
        shifts.divisible[shift], shifts.quantum[shift], column, row, part, load[level, link], most[level, link], link,
    )  # fmt: skip


@compiled
def _touching(
    shift_start: Ints,
    strand_start: Ints,
    links: Rows,
    before: Mbps,
    after: Mbps,
    traffic_class: Ints,
    row_of: Rows,
    may_lower: bool,  # noqa: FBT001 - numba takes arguments by position
) -> Bools:
    """(shifts,) which shifts have a strand on a hot row that changes, or that may."""
    classes = len(row_of)
    touches = np.zeros(len(shift_start) - 1, dtype=np.bool_)
    for shift in range(len(touches)):
        for strand in range(shift_start[shift], shift_start[shift + 1]):
            lowest = may_lower and traffic_class[strand] == classes - 1 and before[strand] > 0.0
            if touches[shift] or (before[strand] == after[strand] and not lowest):
                continue
            for hop in range(strand_start[strand], strand_start[strand + 1]):
                for level in range(traffic_class[strand], classes):
                    touches[shift] |= row_of[level, links[hop]] >= 0
    return touches


@compiled
def _entries(
    shift_start: Ints,
    strand_start: Ints,
    links: Rows,
    share: Mbps,
    before: Mbps,
    after: Mbps,
    traffic_class: Ints,
    row_of: Rows,
    taking_part: Bools,
) -> tuple[Ints, Ints, Rows, Mbps]:
    """Return the strands that carry something in shifts that take part, and what they put on hot rows, by column."""
    strands = np.empty(len(before), dtype=np.int64)
    column = np.zeros(len(before) + 1, dtype=np.int64)
    most = 0
    for shift in range(len(taking_part)):
        if taking_part[shift]:
            most += strand_start[shift_start[shift + 1]] - strand_start[shift_start[shift]]
    row, part = np.empty(most * len(row_of), dtype=np.int32), np.empty(most * len(row_of))
    count = entries = 0
    for shift in range(len(taking_part)):
        for strand in range(shift_start[shift], shift_start[shift + 1] if taking_part[shift] else 0):
            if before[strand] == 0.0 and after[strand] == 0.0:
                continue
            for hop in range(strand_start[strand], strand_start[strand + 1]):
                for level in range(traffic_class[strand], len(row_of)):
                    if row_of[level, links[hop]] >= 0:
                        row[entries] = row_of[level, links[hop]]
                        part[entries] = share[hop] if len(share) else 1.0
                        entries += 1
            strands[count] = strand
            count += 1
            column[count] = entries
    return strands[:count].copy(), column[: count + 1].copy(), row[:entries].copy(), part[:entries].copy()
