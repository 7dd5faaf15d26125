"""The units of a device-level change: one act on one router each, with what it does to links.

A unit is the replacement of a policy that carries traffic, or a route that changes where one prefix goes. Two units
may share a step only if neither sees what the other changes; then the loads of any mixture are sums over units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neto.controller.forwarding import Forwarding
from neto.controller.igp import Split
from neto.controller.replay import after_moves, by_headend
from neto.controller.shifts import Shift, Strand
from neto.model.demand import PrefixDemand
from neto.model.plan import Move, MoveKind, PolicyMove, RouteMove
from neto.model.sr import ForwardingState, PolicyKey, Route, RouteKey, Segment, SegmentList, SrPolicy

_FINEST = 10_000  # a policy whose two sets of weights need a finer common grain than this changes at once


@dataclass(frozen=True, eq=False, slots=True)
class Unit:
    """One act and its effect."""

    move: Move
    rows: frozenset[int]  # rows of the demand that it moves
    reads: frozenset[PolicyKey]  # policies that these rows may meet, before or after
    shift: Shift | None  # None: it carries nothing, so it may happen at any time
    lists: tuple[tuple[SegmentList, ...], int] | None = None  # of a divisible shift: a list per strand, and the grain

    @property
    def writes(self) -> frozenset[PolicyKey]:
        """Policies that it changes."""
        return frozenset([self.move.key]) if isinstance(self.move, PolicyMove) else frozenset()

    def move_at(self, rates_mbps: Sequence[float]) -> Move:
        """Return the move that brings the shift to these strand rates."""
        arrived = self.shift is None or all(
            rate == one.after_mbps for rate, one in zip(rates_mbps, self.shift.strands, strict=True)
        )
        if arrived or self.lists is None or not isinstance(self.move, PolicyMove):
            return self.move
        lists, grain = self.lists
        total = sum(rates_mbps)
        weights = [round(rate / total * grain) for rate in rates_mbps]
        return PolicyMove(self.move.kind, self.move.key, SrPolicy(self.move.key, weighted(lists, weights)))


def weighted(lists: Sequence[SegmentList], weights: Sequence[int]) -> tuple[SegmentList, ...]:
    """Return the lists with these weights, in lowest terms, without those that carry nothing, in order of labels."""
    common = math.gcd(*weights) or 1
    found = [SegmentList(one.segments, weight // common) for one, weight in zip(lists, weights, strict=True) if weight]
    return tuple(sorted(found, key=lambda one: [segment.label for segment in one.segments]))


def same(one: SrPolicy | None, other: SrPolicy | None) -> bool:
    """Whether two policies forward alike, in whatever order and scale they are written."""
    if one is None or other is None:
        return one is other
    mine, theirs = (
        weighted(policy.segment_lists, [each.weight for each in policy.segment_lists]) if policy.segment_lists else ()
        for policy in (one, other)
    )
    return mine == theirs and sorted(one.per_flow) == sorted(other.per_flow)


class Traffic:
    """Demand by what it meets on its way, in one state."""

    def __init__(
        self, forwarding: Forwarding, state: ForwardingState, demand: Sequence[PrefixDemand], grain: int = 1
    ) -> None:
        """grain: weights of a policy that stops on its way sum to at least this."""
        self.forwarding = forwarding
        self.grain = grain
        self.state = state
        self.demand = demand
        self._by_headend: dict[str, ForwardingState] | None = None
        self.by_prefix: dict[RouteKey, list[int]] = {}
        self.by_policy: dict[PolicyKey, set[int]] = {}
        for row, each in enumerate(demand):
            self.by_prefix.setdefault(RouteKey(each.source, each.prefix), []).append(row)
        self.referenced: set[PolicyKey] = set()
        for key, route in state.routes.items():
            self.referenced |= self.reads(route)
            for row in self.by_prefix.get(key, ()) if forwarding.usable(route) else ():
                for met in self.met(route, demand[row].traffic_class):
                    self.by_policy.setdefault(met, set()).add(row)

    def reads(self, route: Route) -> frozenset[PolicyKey]:
        """Return the policies that traffic on this route can meet, there or not."""
        return frozenset(
            key for name in self.forwarding.class_row for key in _met(self.forwarding, self.state, route, name)
        )

    def met(self, route: Route, traffic_class: str) -> tuple[PolicyKey, PolicyKey]:
        """Return the policies that traffic of a class meets on this route: what steers it, and what carries it."""
        return _met(self.forwarding, self.state, route, traffic_class)

    def _met_by(self, rows: Iterable[int], then: ForwardingState) -> frozenset[PolicyKey]:
        """Return the policies that these rows meet in this state or in another."""
        found: set[PolicyKey] = set()
        for row in rows:
            each = self.demand[row]
            for state in (self.state, then):
                route = state.routes.get(RouteKey(each.source, each.prefix))
                if route is not None:
                    found.update(_met(self.forwarding, state, route, each.traffic_class))
        return frozenset(found)

    def _near(self, headend: str) -> ForwardingState:
        """Return the part of the state that is on one head-end: all that its own traffic can see."""
        if self._by_headend is None:
            heads = {key.headend for key in self.state.policies} | {key.headend for key in self.state.routes}
            self._by_headend = by_headend(self.state, heads)
        return self._by_headend.get(headend, ForwardingState())

    def replacement(self, key: PolicyKey, policy: SrPolicy | None) -> Unit:
        """Return the unit that brings a policy to what it should be; None removes it."""
        kind = MoveKind.INSTALL_POLICY if key not in self.state.policies else MoveKind.REPLACE_POLICY
        move = PolicyMove(kind if policy else MoveKind.REMOVE_POLICY, key, policy)
        rows = frozenset(self.by_policy.get(key, ()))
        then = after_moves(self._near(key.headend), [move])
        reads = self._met_by(rows, then) | {key}
        divided = self._divided(key, policy, rows)
        if divided is None:
            return Unit(move, rows, reads, self._atomic(str(key), rows, then))
        return Unit(move, rows, reads, divided[0], divided[1])

    def flip(self, key: RouteKey, route: Route | None) -> Unit:
        """Return the unit that changes the route of a prefix; None withdraws it."""
        rows = frozenset(self.by_prefix.get(key, ()))
        move = RouteMove(key, route)
        then = after_moves(self._near(key.headend), [move])
        return Unit(move, rows, self._met_by(rows, then), self._atomic(str(key), rows, then))

    def _atomic(self, name: str, rows: frozenset[int], then: ForwardingState) -> Shift | None:
        """Return the shift of rows that go from what the state does with them to what another does, at once."""
        if not rows:
            return None
        mine = [self.demand[row] for row in sorted(rows)]
        strands = []
        for state, before in ((self.state, 1.0), (then, 0.0)):
            by_class: dict[int, list[tuple[int, float]]] = {}
            for (level, link), load in sorted(self.forwarding.loads_by_link(state, mine).items()):
                by_class.setdefault(level, []).append((link, load))
            for level, loads in by_class.items():
                links, share = zip(*loads, strict=True)
                strands.append(Strand(np.array(links, np.int32), np.array(share), before, 1.0 - before, level))
        return Shift(name, tuple(strands), divisible=False)

    def _divided(
        self, key: PolicyKey, policy: SrPolicy | None, rows: frozenset[int]
    ) -> tuple[Shift, tuple[tuple[SegmentList, ...], int]] | None:
        """Return the shift over the segment lists of both policies; None when it cannot stop between them."""
        now = self.state.policies.get(key)
        whose = {(self.demand[row].target, self.forwarding.row_of(self.demand[row].traffic_class)) for row in rows}
        if now is None or policy is None or now.per_flow or policy.per_flow or len(whose) != 1:
            return None
        ((target, traffic_class),) = whose
        splits = {
            one.segments: split
            for one in (*now.segment_lists, *policy.segment_lists)
            if (split := self.forwarding.list_split(key.headend, one.segments, target)) is not None
        }
        old = _shares(now, splits)
        new = _shares(policy, splits)
        common = math.lcm(sum(old.values()), sum(new.values())) if old and new else 0
        if not 0 < common <= _FINEST:
            return None
        grain = common * math.ceil(self.grain / common)
        rate_mbps = sum(self.demand[row].rate_mbps for row in rows)
        lists = tuple(SegmentList(segments) for segments in splits)
        strands = [
            Strand(
                splits[one.segments][0],
                splits[one.segments][1],
                rate_mbps * old.get(one.segments, 0) / sum(old.values()),
                rate_mbps * new.get(one.segments, 0) / sum(new.values()),
                traffic_class,
            )
            for one in lists
        ]
        return Shift(str(key), tuple(strands), quantum_mbps=rate_mbps / grain), (lists, grain)


def _met(
    forwarding: Forwarding, state: ForwardingState, route: Route, traffic_class: str
) -> tuple[PolicyKey, PolicyKey]:
    steering = PolicyKey(route.key.headend, route.colour, route.next_hop)
    return steering, forwarding.policy_key(state, route, forwarding.row_of(traffic_class))


def _shares(policy: SrPolicy, valid: Mapping[tuple[Segment, ...], Split]) -> dict[tuple[Segment, ...], int]:
    """Return the weights of a policy's valid lists, in lowest terms."""
    found = {one.segments: one.weight for one in policy.segment_lists if one.segments in valid and one.weight > 0}
    common = math.gcd(*found.values()) if found else 1
    return {segments: weight // common for segments, weight in found.items()}


def together(units: Iterable[Unit]) -> tuple[list[Unit], list[Unit]]:
    """Split units into those that may share steps, and those that have to wait for them. Earlier ones come first."""
    chosen: list[Unit] = []
    waiting: list[Unit] = []
    rows: set[int] = set()
    reads: set[PolicyKey] = set()
    writes: set[PolicyKey] = set()
    for unit in units:
        if rows & unit.rows or reads & unit.writes or writes & (unit.reads | unit.writes):
            waiting.append(unit)
            continue
        chosen.append(unit)
        rows |= unit.rows
        reads |= unit.reads - unit.writes
        writes |= unit.writes
    return chosen, waiting
