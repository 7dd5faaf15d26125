"""Tasks: what one device has to do in one step.

Policies that are installed or replaced, then routes, then policies that are removed: on one device each task waits
until the one before it is verified, so that nothing is ever steered into a policy that is not known to be there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum

from neto.model.announcement import Adjustment
from neto.model.plan import AnnouncementMove, Move, MoveKind, PolicyMove, Step
from neto.model.sr import ForwardingState, Route, SrPolicy


class TaskKind(Enum):
    """In the order in which one device does them."""

    POLICIES = "policies"  # install and replace
    ROUTES = "routes"
    REMOVALS = "removals"  # of policies
    ANNOUNCEMENTS = "announcements"  # that are adjusted


_KIND = {
    MoveKind.INSTALL_POLICY: TaskKind.POLICIES,
    MoveKind.REPLACE_POLICY: TaskKind.POLICIES,
    MoveKind.ROUTE: TaskKind.ROUTES,
    MoveKind.REMOVE_POLICY: TaskKind.REMOVALS,
    MoveKind.ANNOUNCEMENT: TaskKind.ANNOUNCEMENTS,
}
_MOVE_ORDER = {kind: place for place, kind in enumerate(MoveKind)}
_TASK_ORDER = {kind: place for place, kind in enumerate(TaskKind)}


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Moves of one kind on one device in one step, pushed as one. Each is equal to itself alone."""

    step: int
    device: str
    kind: TaskKind
    moves: tuple[Move, ...]

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key: by type; within a type the longest first, since it is waited for the longest."""
        return _TASK_ORDER[self.kind], -len(self.moves), self.device

    def follows(self, other: Task) -> bool:
        """Whether this one waits for the other because the same device does that first."""
        return other.device == self.device and _TASK_ORDER[other.kind] < _TASK_ORDER[self.kind]


def tasks_of(step: Step, number: int) -> tuple[Task, ...]:
    """Return the tasks of a step in their order."""
    moves: dict[tuple[str, TaskKind], list[Move]] = defaultdict(list)
    for move in step.moves:
        moves[move.key.headend, _KIND[move.kind]].append(move)
    tasks = [
        Task(number, device, kind, tuple(sorted(each, key=lambda move: (_MOVE_ORDER[move.kind], str(move.key)))))
        for (device, kind), each in moves.items()
    ]
    return tuple(sorted(tasks, key=lambda task: task.order))


def differences(task: Task, state: ForwardingState) -> tuple[str, ...]:
    """Say where a device, as read back, is not as the task's moves want it; nothing when it is.

    Only what the moves speak of is compared: policies by labels and weights, routes by next hop and colour,
    adjustments of announcements by all that they say.
    """
    return tuple(found for move in task.moves if (found := _difference(move, state)))


def _difference(move: Move, state: ForwardingState) -> str:
    there: object  # what it forwards by; None: nothing there
    wanted: object
    if isinstance(move, PolicyMove):
        subject = f"policy {move.key.colour} to {move.key.endpoint}"
        there, wanted = _policy(state.policies.get(move.key)), _policy(move.policy)
    elif isinstance(move, AnnouncementMove):
        subject = f"announcement of {move.key.prefix} to {move.key.peer}"
        there, wanted = _adjustment(state.announcements.get(move.key)), _adjustment(move.adjustment)
    else:
        subject = f"route {move.key.prefix}"
        there, wanted = _route(state.routes.get(move.key)), _route(move.route)
    if there == wanted:
        return ""
    if there is None:
        return f"{subject} is missing"
    return f"{subject} is still there" if wanted is None else f"{subject} differs"


def _policy(policy: SrPolicy | None) -> object:
    """In which order a router shows segment lists means nothing."""
    if policy is None:
        return None
    lists = sorted((tuple(segment.label for segment in each.segments), each.weight) for each in policy.segment_lists)
    return lists, sorted(policy.per_flow)


def _route(route: Route | None) -> object:
    return None if route is None else (route.next_hop, route.colour)


def _adjustment(adjustment: Adjustment | None) -> object:
    return None if adjustment is None else (adjustment.community, adjustment.med, adjustment.prepend)
