"""From the state that runs to the state to reach, in steps of moves on devices that overload nothing.

Policies that nothing uses yet are installed first; then policies in use are replaced and prefixes change their routes,
as far apart as their loads ask for; what nothing uses any more is removed at the end. After a failure, what is broken
moves before anything else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from neto.controller.forwarding import Forwarding
from neto.controller.replay import after_moves
from neto.controller.transition import plan_transition
from neto.controller.units import Traffic, Unit, same, together
from neto.model.demand import PrefixDemand
from neto.model.plan import Move, MoveKind, PolicyMove
from neto.model.sr import ForwardingState, PolicyKey, SegmentList, SrPolicy

_MOST_ROUNDS = 12
_PATIENCE = 6  # steps after which head-ends are trusted to change all paths of a policy at once


@dataclass(slots=True)
class Course:
    """Moves in steps, the state they lead to, and what keeps them from going on."""

    state: ForwardingState
    steps: list[tuple[Move, ...]] = field(default_factory=list)
    blocked: tuple[int, ...] = ()  # links
    trouble: str = ""  # anything else

    def add(self, moves: Sequence[Move]) -> None:
        """Append a step, unless there is nothing in it."""
        if moves:
            self.steps.append(tuple(moves))
            self.state = after_moves(self.state, moves)


@dataclass(frozen=True, slots=True)
class Pace:
    """How to go about it."""

    grain: int  # weights of a policy that stops on its way sum to at least this
    margin: float = 0.0  # share of every link that steps leave free, if that is possible
    urgent: bool = False  # traffic is being lost: what can relieve it does not wait for policies to be installed


def plan_moves(
    forwarding: Forwarding, demand: Sequence[PrefixDemand], running: ForwardingState, goal: ForwardingState, pace: Pace
) -> Course:
    """Return the way from the running state to the goal, or as far toward it as is safe."""
    course = Course(running)
    for margin in dict.fromkeys((pace.margin, 0.0)):
        for mirror in (False, True):
            way = _Way(forwarding, demand, goal, replace(pace, margin=margin), mirror=mirror)
            found = way.go(Course(running))
            if not found.blocked:
                return found
            if margin == 0.0 and not mirror:
                course = found
    return course


def broken_policies(
    forwarding: Forwarding, state: ForwardingState, demand: Sequence[PrefixDemand]
) -> frozenset[PolicyKey]:
    """Return the policies on the way of traffic that cannot be followed any more, in part or at all.

    A route whose next hop is gone breaks all policies that it leads to.
    """
    traffic = Traffic(forwarding, state, demand)
    broken = set()
    for key, rows in traffic.by_policy.items():
        policy = state.policies.get(key)
        target = demand[min(rows)].target
        for one in policy.segment_lists if policy else ():
            if forwarding.list_split(key.headend, one.segments, target) is None:
                broken.add(key)
    for prefix, route in state.routes.items():
        if prefix in traffic.by_prefix and not forwarding.usable(route):
            broken |= traffic.reads(route)
    return frozenset(broken)


def _full(waiting: Sequence[PolicyMove]) -> str:
    """Say which head-ends have no room for policies; "" when all have."""
    heads = sorted({move.key.headend for move in waiting})
    return f"no room for another policy on {', '.join(heads)}" if heads else ""


@dataclass(frozen=True)
class _Way:
    """How to get to a goal: the same in every round."""

    forwarding: Forwarding
    demand: Sequence[PrefixDemand]
    goal: ForwardingState
    pace: Pace
    mirror: bool = False  # let policies that take over from others begin as their copies

    @cached_property
    def goal_traffic(self) -> Traffic:
        """What meets what once the goal is reached."""
        return Traffic(self.forwarding, self.goal, ())

    def go(self, course: Course) -> Course:
        broken = broken_policies(self.forwarding, course.state, self.demand)
        if broken:
            self._relieve(course, broken)
        if self.pace.urgent:
            self._relieve(course, None)
        for _ in range(_MOST_ROUNDS):
            before = course.state
            done = self._round(course)
            if done or course.state is before:
                break
        else:
            course.trouble = f"after {_MOST_ROUNDS} rounds there still is something left to move"
        self._remove(course)
        return course

    def _traffic(self, state: ForwardingState) -> Traffic:
        return Traffic(self.forwarding, state, self.demand, self.pace.grain)

    def _relieve(self, course: Course, only: frozenset[PolicyKey] | None) -> None:
        """Replace policies in use, or those of `only`, while what nothing uses yet is installed beside them."""
        traffic = self._traffic(course.state)
        units = [unit for unit in self._fitting(traffic)[0] if only is None or unit.reads & only]
        besides = after_moves(traffic.state, [unit.move for unit in units if unit.move.kind is MoveKind.INSTALL_POLICY])
        installs, _ = self._roomy(besides, self._installs(traffic))
        fresh = {move.key for move in installs}
        chosen, _ = together(unit for unit in units if not unit.reads & fresh)
        if chosen:
            self._move(course, chosen, installs)

    def _round(self, course: Course) -> bool:
        """Add the steps of one round. Returns whether the goal is reached; no new steps mean that nothing can move."""
        traffic = self._traffic(course.state)
        if self.forwarding.most_policies:
            fresh = [unit.move for unit in self._replacements(traffic) if isinstance(unit.move, PolicyMove)]
            if self._roomy(course.state, self._installs(traffic) + fresh)[1]:
                self._remove(course)  # what nothing uses makes room for what is to be used
        now, later = self._roomy(course.state, self._installs(self._traffic(course.state)))
        course.add(now)
        traffic = self._traffic(course.state)
        replacements, more = self._fitting(traffic)
        later += more
        course.trouble = _full(later)
        flips = self._flips(traffic, frozenset(move.key for move in later))
        if not replacements and not flips:
            course.blocked = ()
            return not later
        for units in (replacements + flips, flips):
            chosen, _ = together(units)
            if chosen and self._move(course, chosen):
                break
        return False

    def _replacements(self, traffic: Traffic) -> list[Unit]:
        now = traffic.state.policies
        return [
            traffic.replacement(key, self.goal.policies.get(key))
            for key in sorted(traffic.referenced)
            if not same(now.get(key), self.goal.policies.get(key)) and self._stays(traffic, key)
        ]

    def _fitting(self, traffic: Traffic) -> tuple[list[Unit], list[PolicyMove]]:
        """Split replacements into those that head-ends have room for, and the moves of those that have to wait."""
        units = self._replacements(traffic)
        later = self._roomy(traffic.state, [unit.move for unit in units if isinstance(unit.move, PolicyMove)])[1]
        missing = {move.key for move in later}
        return [unit for unit in units if unit.move.key not in missing], later

    def _flips(self, traffic: Traffic, missing: frozenset[PolicyKey]) -> list[Unit]:
        """Return the routes to change, but those that lead to policies that are still missing."""
        now, then = traffic.state.routes, self.goal.routes
        changed = [key for key in sorted({*now, *then}, key=str) if now.get(key) != then.get(key)]
        return [
            traffic.flip(key, route)
            for key in changed
            if (route := then.get(key)) is None or not (missing and self.goal_traffic.reads(route) & missing)
        ]

    def _stays(self, traffic: Traffic, key: PolicyKey) -> bool:
        """Whether a policy in use is to be used further on: else its prefixes leave first, and then it is removed."""
        if key in self.goal.policies:
            return True
        rows = traffic.by_policy.get(key, set())
        prefixes = {(each.source, each.prefix) for each in (traffic.demand[row] for row in rows)}
        return any(
            (route.key.headend, route.key.prefix) in prefixes and self.goal.routes.get(route.key) == route
            for route in traffic.state.routes.values()
        )

    def _installs(self, traffic: Traffic) -> list[PolicyMove]:
        """Return the moves of policies that no route leads to, into their final shape: nothing moves by them."""
        now = traffic.state.policies
        moves = []
        for key, policy in sorted(self.goal.policies.items()):
            if key in traffic.referenced or same(now.get(key), policy):
                continue
            first = (self._copied(traffic, key) if self.mirror else None) or policy
            if not same(now.get(key), first):
                kind = MoveKind.REPLACE_POLICY if key in now else MoveKind.INSTALL_POLICY
                moves.append(PolicyMove(kind, key, first))
        return moves

    def _roomy(
        self, state: ForwardingState, installs: Sequence[PolicyMove]
    ) -> tuple[list[PolicyMove], list[PolicyMove]]:
        """Split moves into those that head-ends have room for, and those that have to wait for removals."""
        held = Counter(key.headend for key in state.policies)
        now: list[PolicyMove] = []
        later: list[PolicyMove] = []
        for move in installs:
            most = self.forwarding.most_policies.get(move.key.headend)
            fits = move.kind is not MoveKind.INSTALL_POLICY or most is None or held[move.key.headend] < most
            held[move.key.headend] += fits and move.kind is MoveKind.INSTALL_POLICY
            (now if fits else later).append(move)
        return now, later

    def _copied(self, traffic: Traffic, key: PolicyKey) -> SrPolicy | None:
        """Return a policy that sends what is bound for it where that traffic goes now; None when none can.

        It then takes over without moving anything, and becomes what it should be little by little.
        """
        for other in sorted(traffic.by_policy):
            policy = traffic.state.policies.get(other)
            if (other.headend, other.colour) == (key.headend, key.colour) and policy and policy.segment_lists:
                return SrPolicy(key, policy.segment_lists)
        bound_for_it = {
            self.demand[row].target
            for prefix, route in self.goal.routes.items()
            if prefix.headend == key.headend and route.next_hop == key.endpoint and prefix not in traffic.state.routes
            for row in traffic.by_prefix.get(prefix, ())
            if key in self.goal_traffic.met(route, self.demand[row].traffic_class)
        }
        if len(bound_for_it) != 1:
            return None
        segments = self.forwarding.plain_segments(key.headend, *bound_for_it)
        return SrPolicy(key, (SegmentList(segments),)) if segments else None

    def _move(self, course: Course, units: Sequence[Unit], beside: Sequence[Move] = ()) -> bool:
        """Add the steps that these units take, with other moves in the first. Returns whether anything moved."""
        loaded = [(unit, unit.shift) for unit in units if unit.shift is not None]
        moving = frozenset(row for unit, _ in loaded for row in unit.rows)
        still = [each for row, each in enumerate(self.demand) if row not in moving]
        planned = plan_transition(
            [shift for _, shift in loaded],
            self.forwarding.loads(course.state, still),
            self.forwarding.joint.capacity_mbps * (1 - self.pace.margin),
            ceiling_mbps=np.cumsum(self.forwarding.loads(self.goal, self.demand), axis=0),
            patience=_PATIENCE,
        )
        course.blocked = planned.blocked
        before = course.state
        steps: list[list[Move]] = [
            [loaded[row][0].move_at(rates) for row, rates in step.rates_mbps.items()] for step in planned.steps
        ]
        free = [*beside, *(unit.move for unit in units if unit.shift is None or not unit.shift.moves)]
        if free:
            steps = [free + (steps[0] if steps else []), *steps[1:]]
        for moves in steps:
            course.add(moves)
        return course.state is not before

    def _remove(self, course: Course) -> None:
        referenced = self._traffic(course.state).referenced
        course.add(
            [
                PolicyMove(MoveKind.REMOVE_POLICY, key, None)
                for key in sorted(course.state.policies)
                if key not in self.goal.policies and key not in referenced
            ]
        )
