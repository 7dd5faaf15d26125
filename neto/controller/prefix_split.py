"""Split a prefix group over its exits: whole prefixes, by how much traffic they carry, and few that move.

The allocation says which share of a group leaves where; routes can only say it of whole prefixes. A prefix stays where
it is unless its exit is gone, or an exit has too much by more than the tolerance and the move brings the shares nearer
by more than that as well. The same inputs give the same split, whatever order they come in.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from neto.model.intent import PrefixSplit as SplitLimits
from neto.model.peering import Prefix

__all__ = ["Split", "SplitLimits", "split"]

_EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Split:
    """Which exit each prefix takes."""

    exits: Mapping[Prefix, str]  # prefixes that are not in it stay on plain BGP
    moved: frozenset[Prefix]  # that change exit because the shares ask for it
    forced: frozenset[Prefix]  # that change exit because theirs is gone
    begun: frozenset[Prefix]  # that had none
    held_back: int  # prefixes that would have changed, but for the limits


@dataclass
class _Work:
    """A split while it is made."""

    rates: Mapping[Prefix, float]  # Mbit/s
    target: Mapping[str, float]  # Mbit/s each exit should get, in order of preference
    limits: SplitLimits
    exits: dict[Prefix, str] = field(default_factory=dict)
    load: dict[str, float] = field(default_factory=dict)
    changed: int = 0
    shifted_mbps: float = 0.0
    held_back: int = 0

    def put(self, prefix: Prefix, exit_: str) -> None:
        old = self.exits.get(prefix)
        if old is not None:
            self.load[old] -= self.rates[prefix]
        self.exits[prefix] = exit_
        self.load[exit_] += self.rates[prefix]

    def neediest(self) -> str:
        return max(self.target, key=lambda each: self.target[each] - self.load[each])

    def may_change(self, prefix: Prefix, total_mbps: float) -> bool:
        """Whether the limits let one more prefix change; counted as if it did, or as held back."""
        shifted = self.shifted_mbps + self.rates[prefix]
        if self.changed >= self.limits.max_prefixes or shifted > self.limits.max_shift * total_mbps * (1 + _EDGE):
            self.held_back += 1
            return False
        self.changed, self.shifted_mbps = self.changed + 1, shifted
        return True


def split(
    rates: Mapping[Prefix, float],
    shares: Mapping[str, float],
    running: Mapping[Prefix, str],
    limits: SplitLimits | None = None,
) -> Split:
    """Split a group.

    rates: Mbit/s of each of its prefixes. shares: of the group's traffic by exit, in order of preference, of those
    that are open; they need not sum to 1, their proportion counts. running: exit of prefixes that have one now.
    """
    limits = limits or SplitLimits()
    total, whole = math.fsum(rates.values()), math.fsum(shares.values())
    if whole <= 0:
        return Split({}, frozenset(), frozenset(), frozenset(), 0)
    work = _Work(rates, {exit_: total * share / whole for exit_, share in shares.items()}, limits)
    work.load = dict.fromkeys(shares, 0.0)
    order = sorted(rates, key=lambda prefix: (-rates[prefix], _order(prefix)))
    for prefix in order:
        if running.get(prefix) in work.target:
            work.put(prefix, running[prefix])
    homeless = [prefix for prefix in order if prefix not in work.exits]
    forced = frozenset(prefix for prefix in homeless if prefix in running)
    begun = set()
    for prefix in homeless:
        if prefix in forced or work.may_change(prefix, total):
            work.put(prefix, work.neediest())
            if prefix not in forced:
                begun.add(prefix)
    _balance(work, total)
    moved = (p for p, exit_ in work.exits.items() if p not in forced and p not in begun and running[p] != exit_)
    return Split(work.exits, frozenset(moved), forced, frozenset(begun), work.held_back)


def _balance(work: _Work, total: float) -> None:
    """Move prefixes from exits that have too much to those that have too little, while that earns its churn."""
    slack = work.limits.tolerance * total
    at_exit: dict[str, list[tuple[float, tuple[int, int, int], Prefix]]] = {exit_: [] for exit_ in work.target}
    for prefix, exit_ in work.exits.items():
        if work.rates[prefix] > 0:
            at_exit[exit_].append((work.rates[prefix], _order(prefix), prefix))
    for prefixes in at_exit.values():
        prefixes.sort()
    while True:
        excess = {exit_: work.load[exit_] - target for exit_, target in work.target.items()}
        over = max(excess, key=lambda exit_: excess[exit_])
        under = min(excess, key=lambda exit_: excess[exit_])
        if excess[over] <= slack or not at_exit[over]:
            return
        place = _fitting(at_exit[over], excess[over], -excess[under])
        rate_mbps, _, prefix = at_exit[over][place]
        if _gain(rate_mbps, excess[over], -excess[under]) <= _EDGE * total or not work.may_change(prefix, total):
            return
        del at_exit[over][place]  # it does not move a second time
        work.put(prefix, under)


def _fitting(prefixes: list[tuple[float, tuple[int, int, int], Prefix]], too_much: float, too_little: float) -> int:
    """Return the place of the prefix whose move brings both exits nearest to what they should have."""
    least = bisect_left(prefixes, min(too_much, too_little), key=lambda each: each[0])
    near = [place for place in (least - 1, least) if 0 <= place < len(prefixes)]
    return max(near, key=lambda place: _gain(prefixes[place][0], too_much, too_little))


def _gain(rate_mbps: float, too_much: float, too_little: float) -> float:
    """Mbit/s by which two exits come nearer to what they should have, together, when a prefix moves."""
    return too_much + too_little - abs(too_much - rate_mbps) - abs(too_little - rate_mbps)


def _order(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
