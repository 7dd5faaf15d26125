"""From the state that runs to the state to reach, in steps of moves on devices that overload nothing.

Policies that nothing uses yet are installed first; then policies in use are replaced and prefixes change their routes,
as far apart as their loads ask for; what nothing uses any more is removed at the end. After a failure, what is broken
moves before anything else does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from neto.controller.forwarding import Forwarding
from neto.controller.replay import after_moves
from neto.controller.transition import plan_transition
from neto.controller.units import Traffic, Unit, same, together
from neto.model.demand import PrefixDemand
from neto.model.plan import Move, MoveKind, PolicyMove
from neto.model.sr import ForwardingState, PolicyKey

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


def plan_moves(
    forwarding: Forwarding, demand: Sequence[PrefixDemand], running: ForwardingState, goal: ForwardingState
) -> Course:
    """Return the way from the running state to the goal, or as far toward it as is safe."""
    course = Course(running)
    broken = broken_policies(forwarding, running, demand)
    if broken:
        _advance(forwarding, demand, course, goal, lambda unit: bool(unit.reads & broken))
    for _ in range(_MOST_ROUNDS):
        before = course.state
        done = _advance(forwarding, demand, course, goal, lambda _: True)
        if done or course.state is before:
            break
    else:
        course.trouble = f"after {_MOST_ROUNDS} rounds there is still something left to move: the next cycle goes on"
    referenced = Traffic(forwarding, course.state, ()).referenced
    course.add(
        [
            PolicyMove(MoveKind.REMOVE_POLICY, key, None)
            for key in sorted(course.state.policies)
            if key not in goal.policies and key not in referenced
        ]
    )
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


def _advance(
    forwarding: Forwarding,
    demand: Sequence[PrefixDemand],
    course: Course,
    goal: ForwardingState,
    wanted: Callable[[Unit], bool],
) -> bool:
    """Add the steps of one round. Returns whether the goal is reached; no new steps mean that nothing can move."""
    _install(forwarding, demand, course, goal)
    traffic = Traffic(forwarding, course.state, demand)
    replacements = [
        traffic.replacement(key, goal.policies.get(key))
        for key in sorted(traffic.referenced)
        if not same(course.state.policies.get(key), goal.policies.get(key)) and _stays(traffic, key, goal)
    ]
    flips = [
        traffic.flip(key, goal.routes.get(key))
        for key in sorted({*course.state.routes, *goal.routes}, key=str)
        if course.state.routes.get(key) != goal.routes.get(key)
    ]
    if not replacements and not flips:
        course.blocked = ()
        return True
    for units in (replacements + flips, flips):
        chosen, _ = together(unit for unit in units if wanted(unit))
        if chosen and _move(forwarding, demand, course, goal, chosen):
            break
    return False


def _stays(traffic: Traffic, key: PolicyKey, goal: ForwardingState) -> bool:
    """Whether a policy in use is to be used further on: else its prefixes leave first, and then it is removed."""
    if key in goal.policies:
        return True
    rows = traffic.by_policy.get(key, set())
    routes = {(each.source, each.prefix) for each in (traffic.demand[row] for row in rows)}
    state = traffic.state
    return any(
        (route.key.headend, route.key.prefix) in routes and goal.routes.get(route.key) == route
        for route in state.routes.values()
    )


def _install(forwarding: Forwarding, demand: Sequence[PrefixDemand], course: Course, goal: ForwardingState) -> None:
    """Bring policies that no route leads to into their final shape: nothing moves by it."""
    traffic = Traffic(forwarding, course.state, demand)
    course.add(
        [
            traffic.replacement(key, policy).move
            for key, policy in sorted(goal.policies.items())
            if key not in traffic.referenced and not same(course.state.policies.get(key), policy)
        ]
    )


def _move(
    forwarding: Forwarding,
    demand: Sequence[PrefixDemand],
    course: Course,
    goal: ForwardingState,
    units: Sequence[Unit],
) -> bool:
    """Add the steps that these units take. Returns whether anything moved."""
    loaded = [unit for unit in units if unit.shift is not None]
    moving = frozenset(row for unit in loaded for row in unit.rows)
    background = forwarding.loads(course.state, [each for row, each in enumerate(demand) if row not in moving])
    planned = plan_transition(
        [unit.shift for unit in loaded if unit.shift is not None],
        background,
        forwarding.joint.capacity_mbps,
        ceiling_mbps=np.cumsum(forwarding.loads(goal, demand), axis=0),
        patience=_PATIENCE,
    )
    course.blocked = planned.blocked
    before = course.state
    steps: list[list[Move]] = [
        [loaded[row].move_at(rates) for row, rates in step.rates_mbps.items()] for step in planned.steps
    ]
    free = [unit.move for unit in units if unit.shift is None or not unit.shift.moves]
    if free:
        steps = [free + (steps[0] if steps else []), *steps[1:]]
    for moves in steps:
        course.add(moves)
    return course.state is not before
