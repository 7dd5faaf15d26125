"""What a transition moves: shifts, each from the rates it has to the rates it should have.

A shift is one thing that one router changes at once (the weights of a policy, the route of a prefix). It is made of
strands: a path, or a bundle of equal-cost paths, with the rate that goes that way before and after. A divisible
shift can stop on the way; an atomic one is either before or after.

In a step routers act in any order. The worst a link can see is the sum over moved shifts of

    divisible:  sum over strands of max(old, new)    packets on the old path may still be under way
    atomic:     max(old load, new load)              one entry in one table

plus what does not move (Hong et al., SWAN, SIGCOMM 2013, §4; Liu et al., zUpdate, SIGCOMM 2013, §4). Traffic of a
class is served before that of lower ones, so this is asked of the traffic down to each class, not of the total only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from neto.model.topology import Mbps, Rows

SLACK = 1e-7  # share of a link's capacity that counts as rounding


@dataclass(frozen=True, eq=False, slots=True)
class Strand:
    """One way that part of a shift takes."""

    links: Rows  # (hops,) link rows
    share: NDArray[np.float64]  # (hops,) part of the strand's rate on each link; all 1 for a single path
    before_mbps: float
    after_mbps: float
    traffic_class: int = 0  # 0 = highest


@dataclass(frozen=True, eq=False, slots=True)
class Shift:
    """Something that moves."""

    name: str
    strands: tuple[Strand, ...]
    divisible: bool = True
    quantum_mbps: float = 0.0  # rates on the way are multiples of this; 0: any rate

    @property
    def moves(self) -> bool:
        """Whether before and after differ at all."""
        return any(strand.before_mbps != strand.after_mbps for strand in self.strands)


class Shifts:
    """Shifts as arrays. A row is what one link sees of the traffic down to one class.

    matrix: (rows, strands), Mbit/s on the row per Mbit/s of the strand.
    before, after: (strands,) Mbit/s.
    row_link: (rows,) the link that the row is about. link_capacity: (links,) Mbit/s.
    capacity: (rows,) Mbit/s that the row may carry: its link's capacity, or the ceiling.
    background: (rows,) Mbit/s that does not move.

    Rows of the lowest class come first, one for every link in link order: they hold the total. Rows of higher classes
    exist only for links that are, or may go, over capacity; elsewhere the total says it all.
    """

    def __init__(
        self, shifts: Sequence[Shift], background_mbps: Mbps, capacity_mbps: Mbps, ceiling_mbps: Mbps | None = None
    ) -> None:
        """Lay the shifts out.

        background_mbps: (classes, links), highest class first. capacity_mbps: (links,).
        ceiling_mbps: (classes, links) load of the traffic down to each class that is admitted even above capacity,
        since the target cannot do with less; None: none is.
        """
        strands = [strand for shift in shifts for strand in shift.strands]
        counts = [len(shift.strands) for shift in shifts]
        classes, links = background_mbps.shape
        self.names = [shift.name for shift in shifts]
        self.links = links
        self.link_capacity = capacity_mbps
        self.shift_of = np.repeat(np.arange(len(shifts)), counts)
        self.divisible = np.array([shift.divisible for shift in shifts], dtype=bool)
        self.quantum = np.array([shift.quantum_mbps for shift in shifts], dtype=np.float64)
        self.before = np.array([strand.before_mbps for strand in strands], dtype=np.float64)
        self.after = np.array([strand.after_mbps for strand in strands], dtype=np.float64)
        self.traffic_class = np.array([strand.traffic_class for strand in strands], dtype=np.int64)
        hops = np.array([len(strand.links) for strand in strands], dtype=np.int64)
        column = np.repeat(np.arange(len(strands)), hops)
        row = np.concatenate([strand.links for strand in strands]) if strands else np.zeros(0, dtype=np.int64)
        share = np.concatenate([strand.share for strand in strands]) if strands else np.zeros(0)
        total = csr_array((share, (row, column)), shape=(links, len(strands)))
        cumulative = np.cumsum(background_mbps, axis=0)
        admitted = np.zeros_like(cumulative) if ceiling_mbps is None else ceiling_mbps
        most = np.maximum(cumulative[-1] + total @ self.before, admitted[-1])
        over = np.flatnonzero(most > capacity_mbps * (1 + SLACK))
        blocks, background, row_link = [total], [cumulative[-1]], [np.arange(links)]
        capacity = [np.maximum(capacity_mbps, admitted[-1])]
        for level in range(classes - 1 if len(over) else 0):
            seen = np.isin(row, over) & (self.traffic_class[column] <= level)
            part = csr_array((share[seen], (row[seen], column[seen])), shape=total.shape)
            blocks.append(part[over])
            background.append(cumulative[level, over])
            row_link.append(over)
            capacity.append(np.maximum(capacity_mbps, admitted[level])[over])
        self.matrix = csr_array(vstack(blocks, format="csr"))
        self.background = np.concatenate(background)
        self.capacity = np.concatenate(capacity)
        self.row_link = np.concatenate(row_link)

    @cached_property
    def member(self) -> csr_array:
        """(shifts, strands) 1 where the strand belongs to the shift."""
        shape = (len(self.names), len(self.before))
        return csr_array((np.ones(shape[1]), (self.shift_of, np.arange(shape[1]))), shape=shape)

    def safe(self, rates: Mbps, then: Mbps, *, whole: bool = False) -> bool:
        """Whether a step from rates to then overloads nothing in any mixture, and slows no shift below both ends."""
        floor = np.minimum(self.totals(self.before), self.totals(self.after))
        kept = bool((self.totals(then) >= floor - SLACK * np.maximum(floor, 1.0)).all())
        return kept and bool((self.worst(rates, then, whole=whole) <= self.limits(self.loads(rates))).all())

    def totals(self, rates: Mbps) -> Mbps:
        """(shifts,) Mbit/s of each shift at these strand rates."""
        return np.bincount(self.shift_of, rates, minlength=len(self.names)).astype(np.float64)

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
