"""What may be done to devices, and how much at once. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

from neto.model.intent import Intents, MaintenanceWindow
from neto.model.inventory import Inventory
from neto.model.plan import Move, MoveKind, Plan
from neto.scheduler.task import Task

Vet = Callable[[Move], str]  # why a move must never be made, by its shape alone; "" when it may


@dataclass(frozen=True)
class Constraints:
    """The operator's rules for changing devices."""

    inventory: Inventory
    intents: Intents
    concurrency: int  # devices worked on at once
    per_site: int  # devices of one site in flight at once
    vet: Vet
    max_moves: int | None = None  # in one plan; None: no cap

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.per_site < 1:
            raise ValueError("accepted: at least one device at once")

    def plan_refusal(self, plan: Plan) -> str:
        """Say why no step of a plan may be done; "" when that cannot be said beforehand."""
        moves = [move for step in plan.steps for move in step.moves]
        if self.max_moves is not None and len(moves) > self.max_moves:
            return f"{len(moves)} moves (accepted: {self.max_moves})"
        if any(len({move.kind is MoveKind.ANNOUNCEMENT for move in step.moves}) > 1 for step in plan.steps):
            return "a step that adjusts announcements does something else as well"
        return next((f"{move.key.headend}: {why}" for move in moves if (why := self.vet(move))), "")

    def step_refusal(self, tasks: Sequence[Task], now: float) -> str:
        """Say why a step must not begin now; "" when it may. now: unix seconds.

        All or nothing: a step that is half allowed would leave the plan between two states.
        """
        hour = datetime.fromtimestamp(now, UTC).time()
        return next((f"{task.device} {why}" for task in tasks if (why := self._untouchable(task.device, hour))), "")

    def admits(self, device: str, busy: Collection[str]) -> bool:
        """Whether a device may have a task now, given the devices that have one."""
        if device in busy or len(busy) >= self.concurrency:
            return False
        site = self._site(device)
        return sum(self._site(other) == site for other in busy) < self.per_site

    def _site(self, device: str) -> str:
        return self.inventory.router[device].site

    def _untouchable(self, device: str, hour: time) -> str:
        router = self.inventory.router.get(device)
        if router is None:
            return "is not in the inventory"
        if router.frozen or device in self.intents.frozen:
            return "is frozen"
        return "" if in_window(device, self.intents.windows, hour) else "is outside its maintenance window"


def in_window(device: str, windows: Iterable[MaintenanceWindow], hour: time) -> bool:
    """Whether a device may be changed at this time of the day, UTC: always, if it is in no window.

    A window that ends when it begins is the whole day; one that ends before it begins runs over midnight.
    """
    mine = [window for window in windows if device in window.routers]
    return not mine or any(_covers(window, hour) for window in mine)


def _covers(window: MaintenanceWindow, hour: time) -> bool:
    if window.begins < window.ends:
        return window.begins <= hour < window.ends
    return hour >= window.begins or hour < window.ends
