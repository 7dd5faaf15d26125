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

import numpy as np
from numpy.typing import NDArray

from neto.jit import compiled
from neto.model.topology import Mbps, Rows

SLACK = 1e-7  # share of a link's capacity that counts as rounding
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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


@dataclass(frozen=True, eq=False, slots=True)
class Shifts:
    """Shifts as arrays in compressed rows, and the links that they share.

    Strands of shift s are rows shift_start[s]:shift_start[s + 1]; links of strand p are
    links[strand_start[p]:strand_start[p + 1]].
    """

    shift_start: Ints  # (shifts + 1,)
    strand_start: Ints  # (strands + 1,)
    links: Rows  # (hops,)
    share: Mbps  # (hops,) part of the strand's rate on the link; empty when all are 1
    before: Mbps  # (strands,) Mbit/s
    after: Mbps  # (strands,) Mbit/s
    traffic_class: Ints  # (shifts' strands,) 0 = highest
    divisible: Bools  # (shifts,)
    quantum: Mbps  # (shifts,) Mbit/s; 0: any rate
    background: Mbps  # (classes, links) Mbit/s that does not move
    capacity: Mbps  # (links,) Mbit/s
    ceiling: Mbps | None = None  # (classes, links) load down to each class that is admitted even above capacity

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.background)

    def loads(self, rates: Mbps) -> Mbps:
        """(classes, links) Mbit/s of the traffic down to each class at these strand rates."""
        return self._through(rates, rates, whole=False)[0]

    def peaks(self, rates: Mbps, then: Mbps, *, whole: bool = False) -> tuple[Mbps, Mbps]:
        """Return the load before a step and the highest load in it, in any order; both (classes, links), as `loads`.

        whole: count every shift as if it were atomic, moving at once whatever it moves.
        """
        load, rise = self._through(rates, then, whole=whole)
        return load, load + rise

    def limits(self, load: Mbps) -> Mbps:
        """(classes, links) Mbit/s that no mixture may exceed when a step starts at this load.

        That is the capacity, or what is there already when that is more, or what is admitted.
        """
        most = self.capacity if self.ceiling is None else np.maximum(self.capacity, self.ceiling)
        limit: Mbps = np.maximum(most, load) + SLACK * most
        return limit

    def _through(self, rates: Mbps, then: Mbps, *, whole: bool) -> tuple[Mbps, Mbps]:
        layout = self.shift_start, self.strand_start, self.links, self.share
        apart = np.zeros_like(self.divisible) if whole else self.divisible
        load, rise = _loads(*layout, rates, then, self.traffic_class, apart, *self.background.shape)
        load, rise = np.cumsum(self.background + load, axis=0), np.cumsum(rise, axis=0)
        if not apart.all():
            rise += _jumps(*layout, rates, then, self.traffic_class, apart, *self.background.shape)
        return load, rise


def laid_out(
    shifts: Sequence[Shift], background_mbps: Mbps, capacity_mbps: Mbps, ceiling_mbps: Mbps | None = None
) -> Shifts:
    """Lay shifts out as arrays."""
    strands = [strand for shift in shifts for strand in shift.strands]
    none = np.zeros(0)
    return Shifts(
        np.cumsum([0, *(len(shift.strands) for shift in shifts)]).astype(np.int64),
        np.cumsum([0, *(len(strand.links) for strand in strands)]).astype(np.int64),
        np.concatenate([none, *(strand.links for strand in strands)]).astype(np.int32),
        np.concatenate([none, *(strand.share for strand in strands)]),
        np.array([strand.before_mbps for strand in strands], dtype=np.float64),
        np.array([strand.after_mbps for strand in strands], dtype=np.float64),
        np.array([strand.traffic_class for strand in strands], dtype=np.int64),
        np.array([shift.divisible for shift in shifts], dtype=bool),
        np.array([shift.quantum_mbps for shift in shifts], dtype=np.float64),
        background_mbps,
        capacity_mbps,
        ceiling_mbps,
    )


@compiled
def _loads(
    shift_start: Ints,
    strand_start: Ints,
    links: Rows,
    share: Mbps,
    rates: Mbps,
    then: Mbps,
    traffic_class: Ints,
    divisible: Bools,
    classes: int,
    count: int,
) -> tuple[Mbps, Mbps]:
    """Return, each (classes, count), the load before by class, and by how much divisible shifts raise it."""
    load = np.zeros((classes, count))
    rise = np.zeros((classes, count))
    for shift in range(len(divisible)):
        for strand in range(shift_start[shift], shift_start[shift + 1]):
            rate, level = rates[strand], traffic_class[strand]
            up = max(then[strand] - rate, 0.0) if divisible[shift] else 0.0
            if rate == 0.0 and up == 0.0:
                continue
            for hop in range(strand_start[strand], strand_start[strand + 1]):
                part = share[hop] if len(share) else 1.0
                load[level, links[hop]] += part * rate
                rise[level, links[hop]] += part * up
    return load, rise


@compiled
def _jumps(
    shift_start: Ints,
    strand_start: Ints,
    links: Rows,
    share: Mbps,
    rates: Mbps,
    then: Mbps,
    traffic_class: Ints,
    divisible: Bools,
    classes: int,
    count: int,
) -> Mbps:
    """(classes, count) by how much atomic shifts raise the load down to each class, each in one jump."""
    jump = np.zeros((classes, count))
    net = np.zeros((classes, count))
    for shift in range(len(divisible)):
        first, last = shift_start[shift], shift_start[shift + 1]
        if divisible[shift] or (rates[first:last] == then[first:last]).all():
            continue
        for strand in range(first, last):
            for hop in range(strand_start[strand], strand_start[strand + 1]):
                part = share[hop] if len(share) else 1.0
                net[traffic_class[strand] :, links[hop]] += part * (then[strand] - rates[strand])
        for hop in range(strand_start[first], strand_start[last]):
            jump[:, links[hop]] += np.maximum(net[:, links[hop]], 0.0)
            net[:, links[hop]] = 0.0
    return jump
