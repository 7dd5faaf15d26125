"""One decision: a snapshot in, what to do out. Pure: the same snapshot and options give the same decision."""

from __future__ import annotations

import math

import numpy as np

from neto.controller.audit import audit_allocation, audit_step
from neto.controller.goal import frozen_part
from neto.controller.moves import Course, Pace, broken_policies, plan_moves
from neto.controller.parts import decide_by_prefix
from neto.controller.path_cache import PathCache
from neto.controller.peering import left_out
from neto.controller.replay import after_moves, step_peak
from neto.controller.shortfall import shortfalls
from neto.controller.target import CycleOptions, Target
from neto.controller.units import Traffic
from neto.controller.world import World
from neto.model.plan import Plan, Step, Urgency
from neto.model.snapshot import Decision, Snapshot
from neto.model.sr import ForwardingState
from neto.model.topology import Mbps

__all__ = ["CycleOptions", "decide", "withdraw_plan"]
_ROUNDING = 1e-6
_NAMED = 3  # links that a message names


def decide(snapshot: Snapshot, options: CycleOptions | None = None, cache: PathCache | None = None) -> Decision:
    """Return what to do, why it is safe, and what it leaves undone. cache: paths that earlier decisions have found."""
    options = options or CycleOptions()
    world = World(snapshot)
    target = decide_by_prefix(world, options, cache)
    absent = left_out(snapshot.topology, snapshot.peering)
    warnings = [f"peering link {name} is left out: {why}" for name, why in absent.items()]
    warnings += [
        f"no path of {each} is within the bounds of its class: the nearest one is used" for each in target.too_far
    ]
    warnings += [f"class {each.traffic_class}: {each.status}" for each in target.allocation.classes if each.fell_back]
    warnings += target.notes
    goal = target.state
    wrong = audit_allocation(target.allocation, target.room_mbps, world.classes)
    worse = f"a violation ({wrong[0]})" if wrong else _worse(world, snapshot.running, target)
    if worse:
        goal = snapshot.running
        warnings.append(f"what runs is kept: the new allocation would bring {worse}")
    urgent = _losing(world)
    pace = Pace(options.quanta.grain, 0.0 if urgent else options.margin, urgent=urgent)  # then speed matters more
    course = plan_moves(world.forwarding, world.demand, snapshot.running, goal, pace)
    plan, reached = _audited(world, course, goal, Urgency.REPAIR if urgent else Urgency.OPTIMISE)
    return Decision(
        joint=world.joint,
        allocation=target.allocation,
        legacy_mbps=target.base_mbps.sum(axis=0),
        target=goal,
        plan=plan,
        predicted_mbps=world.forwarding.loads(reached, world.demand).sum(axis=0),
        unplaced=shortfalls(target.allocation, target.room_mbps),
        warnings=tuple(warnings),
    )


def withdraw_plan(snapshot: Snapshot, options: CycleOptions | None = None) -> Plan:
    """Return the way back to legacy forwarding, routes first, then policies, in steps that overload nothing.

    Where plain forwarding itself overloads links, that much is admitted. Frozen routers stay as they are. A plan
    that is stuck says how far it is safe to go.
    """
    world = World(snapshot)
    goal = frozen_part(world)
    options = options or CycleOptions()
    pace = Pace(options.quanta.grain, options.margin)
    course = plan_moves(world.forwarding, world.demand, snapshot.running, goal, pace)
    return _audited(world, course, goal, Urgency.WITHDRAW)[0]


def _losing(world: World) -> bool:
    """Whether a policy in use leads nowhere any more, or steered traffic crosses a link over its capacity."""
    running = world.snapshot.running
    if broken_policies(world.forwarding, running, world.demand) or _astray(world):
        return True
    over = world.forwarding.loads(running, world.demand).sum(axis=0) > world.joint.capacity_mbps * (1 + _ROUNDING)
    ours = world.forwarding.loads(running, world.steered_by(running)).sum(axis=0) > 0
    return bool((over & ours).any())


def _astray(world: World) -> bool:
    """Whether what runs sends a prefix group through a peering link that is none of its exits, or is none any more."""
    running = world.snapshot.running
    for key, rows in Traffic(world.forwarding, running, world.demand).by_policy.items():
        target = world.demand[min(rows)].target
        for one in running.policies[key].segment_lists if key in running.policies and target in world.groups else ():
            split = world.forwarding.list_split(key.headend, one.segments, target)
            if split is not None and math.isinf(world.delay_us(split, target)):
                return True
    return False


def _audited(world: World, course: Course, goal: ForwardingState, urgency: Urgency) -> tuple[Plan, ForwardingState]:
    """Return the plan as far as an audit of the router state admits it, and the state it leads to.

    A plan that merely optimises and does not get through ends where no link is fuller than it was or is to be.
    """
    forwarding, capacity = world.forwarding, world.joint.capacity_mbps
    admitted = np.cumsum(forwarding.loads(goal, world.demand), axis=0)
    states = [world.snapshot.running]
    before = np.cumsum(forwarding.loads(states[-1], world.demand), axis=0)
    fullest = [_fullest(before, capacity)]
    steps: list[Step] = []
    stuck = _stuck(world, course)
    for moves in course.steps:
        peak = step_peak(forwarding, states[-1], moves, world.demand)
        wrong = audit_step(world.joint, before, peak, admitted)
        if wrong:
            stuck = f"step {len(steps) + 1} fails its audit: {wrong[0]}"
            break
        used = peak[-1] / capacity
        worst = world.joint.links[int(used.argmax())].id if len(used) else ""
        steps.append(Step(moves, float(used.max(initial=0.0)), worst))
        states.append(after_moves(states[-1], moves))
        before = np.cumsum(forwarding.loads(states[-1], world.demand), axis=0)
        fullest.append(_fullest(before, capacity))
    if stuck and urgency is Urgency.OPTIMISE:
        bound = max(fullest[0], _fullest(admitted, capacity)) * (1 + _ROUNDING)
        while fullest[-1] > bound:
            fullest.pop()
            states.pop()
            steps.pop()
    return Plan(urgency, tuple(steps), stuck), states[-1]


def _fullest(load: Mbps, capacity: Mbps) -> float:
    return float((load[-1] / capacity).max(initial=0.0))


def _stuck(world: World, course: Course) -> str:
    if not course.blocked:
        return course.trouble
    names = ", ".join(world.joint.links[link].id for link in course.blocked[:_NAMED])
    more = f" and {len(course.blocked) - _NAMED} more" if len(course.blocked) > _NAMED else ""
    return f"no safe step is left: whatever moves next would overload {names}{more}"


def _worse(world: World, running: ForwardingState, target: Target) -> str:
    """Say how the target is worse than what runs, where not everything could be placed; "" when it is not.

    Nothing polices demand, so what was not placed flows all the same, and may do so where it does more harm. A
    target that withdraws routes or leaves drained links was asked for, and is not held against what runs; nor is one
    that leaves an exit beyond which traffic is lost.
    """
    if not target.falls_short or not running.routes.keys() <= target.state.routes.keys() or _astray(world):
        return ""
    forwarding, capacity = world.forwarding, world.joint.capacity_mbps
    now, then = (np.cumsum(forwarding.loads(state, world.demand), axis=0) for state in (running, target.state))
    if (forwarding.loads(running, world.steered_by(running)).sum(axis=0)[world.closed] > 0).any():
        return ""
    for each, old, new in zip(world.classes, now, then, strict=True):
        excess, before = (float(np.maximum(load - capacity, 0.0).sum()) for load in (new, old))
        if excess > before * (1 + _ROUNDING) + _ROUNDING * float(capacity.sum()):
            return f"{excess - before:.6g} Mbit/s more above capacity for class {each.name}"
        if excess < before * (1 - _ROUNDING):
            return ""
    return ""
