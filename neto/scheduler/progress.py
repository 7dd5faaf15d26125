"""How far a plan got, and what to do next: a state machine without clock or I/O.

Events go in, orders come out. The rules it keeps, whatever order events come in:

- a step begins only when every task of the one before is verified: acknowledged, or silent, and read back equal;
- no device ever has two tasks in flight, and a task is in flight until it is verified or given up;
- a rejected push is tried once more; a silent one is not: it may still land, so the device is read back instead;
- once a task is given up nothing new is pushed; what is in flight is still read back, and then the plan has failed.

A device whose task was given up is unverified, unless it rejected the push and was then read: nothing of that can land
any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from neto.model.plan import Plan
from neto.scheduler.task import Task, tasks_of

_PUSHES = 2  # the first, and once more after a rejection


class TaskState(Enum):
    """Where a task stands."""

    WAITING = "waiting"
    PUSHING = "pushing"
    READING = "reading"  # pushed, and perhaps acknowledged; being read back
    VERIFIED = "verified"
    DIFFERS = "differs"  # given up: the device rejected it, and has something else
    UNVERIFIED = "unverified"  # given up: what the device has, or will have, is not known


IN_FLIGHT = {TaskState.PUSHING, TaskState.READING}


class End(Enum):
    """How a plan ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # stopped between two steps for something more urgent
    REFUSED = "refused"  # the rules forbid its next step
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Push:
    """Order: push this task, after a while."""

    task: Task
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Order: read this task's device, after a while."""

    task: Task
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Order: stop; nothing is in flight."""

    end: End
    reason: str = ""


Order = Push | ReadBack | Ended


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how late to try again."""

    reads: int = 3  # of one device for one task
    read_wait_s: float = 0.25  # before the second read; four times as long before each further one
    longest_wait_s: float = 5.0
    push_wait_s: float = 0.5  # before a rejected push is tried once more

    def before_read(self, reads: int) -> float:
        """Return how long to wait when so many reads have not settled it."""
        return min(self.read_wait_s * 4 ** (reads - 1), self.longest_wait_s) if reads else 0.0


@dataclass(slots=True)
class _Standing:
    state: TaskState = TaskState.WAITING
    pushes: int = 0
    reads: int = 0
    rejected: bool = False  # its last push, for certain
    push_trouble: str = ""
    read_trouble: str = ""

    @property
    def trouble(self) -> str:
        return "; ".join(filter(None, (self.push_trouble, self.read_trouble)))


class Progress:
    """One plan under way. Every event returns the orders that follow from it."""

    def __init__(
        self,
        plan: Plan,
        admits: Callable[[str, Collection[str]], bool],
        forbids: Callable[[Sequence[Task]], str],
        patience: Patience,
    ) -> None:
        """Build it.

        admits: whether a device may have a task now, given the devices that have one.
        forbids: why the tasks of a step must not be done now; "" when they may. Asked when the step begins.
        """
        self._steps = plan.steps
        self._admits = admits
        self._forbids = forbids
        self._patience = patience
        self._tasks: dict[Task, _Standing] = {}  # of every step begun
        self._present: tuple[Task, ...] = ()  # tasks of the step under way
        self._interrupted = ""
        self._failure = ""
        self._unverified: set[str] = set()
        self.steps_done = 0

    @property
    def unverified(self) -> frozenset[str]:
        """Devices of which nothing is certain until they are read back."""
        return frozenset(self._unverified)

    def state(self, task: Task) -> tuple[TaskState, str]:
        """Return where a task of a step that has begun stands, and what is wrong with it; "" when nothing is."""
        standing = self._tasks[task]
        return standing.state, standing.trouble

    def begin(self) -> list[Order]:
        """Start."""
        return self._next_step()

    def interrupt(self, reason: str) -> None:
        """Stop before the next step."""
        self._interrupted = reason

    def acknowledged(self, task: Task) -> list[Order]:
        """The device said yes."""
        return self._pushed(task, rejected=False)

    def timed_out(self, task: Task, why: str) -> list[Order]:
        """The device said nothing in time; the push may still land."""
        self._tasks[task].push_trouble = why
        return self._pushed(task, rejected=False)

    def rejected(self, task: Task, why: str) -> list[Order]:
        """The device, or our side before it, said no."""
        standing = self._expect(task, TaskState.PUSHING)
        standing.push_trouble = why
        if standing.pushes < _PUSHES and not self._failure:
            standing.pushes += 1
            return [Push(task, self._patience.push_wait_s)]
        return self._pushed(task, rejected=True)

    def read(self, task: Task, differences: Sequence[str]) -> list[Order]:
        """The device was read; differences: where it is not as the task wants it."""
        standing = self._expect(task, TaskState.READING)
        standing.reads += 1
        if not differences:
            standing.state = TaskState.VERIFIED
            standing.push_trouble = standing.read_trouble = ""
            return self._go_on()
        standing.read_trouble = differences[0]
        if standing.rejected:
            return self._give_up(task, TaskState.DIFFERS)
        return self._read_again(task)

    def unreadable(self, task: Task, why: str) -> list[Order]:
        """The device could not be read."""
        standing = self._expect(task, TaskState.READING)
        standing.reads += 1
        standing.read_trouble = why
        return self._read_again(task)

    def _expect(self, task: Task, state: TaskState) -> _Standing:
        standing = self._tasks[task]
        if standing.state is not state:
            raise ValueError(f"{task.device} is {standing.state.value}, not {state.value}")
        return standing

    def _pushed(self, task: Task, *, rejected: bool) -> list[Order]:
        standing = self._expect(task, TaskState.PUSHING)
        standing.state, standing.rejected = TaskState.READING, rejected
        return [ReadBack(task)]

    def _read_again(self, task: Task) -> list[Order]:
        reads = self._tasks[task].reads
        if reads < self._patience.reads:
            return [ReadBack(task, self._patience.before_read(reads))]
        return self._give_up(task, TaskState.UNVERIFIED)

    def _give_up(self, task: Task, state: TaskState) -> list[Order]:
        standing = self._tasks[task]
        standing.state = state
        self._failure = self._failure or f"step {task.step + 1}, {task.device}: {standing.trouble}"
        if state is TaskState.UNVERIFIED:
            self._unverified.add(task.device)
        return self._go_on()

    def _go_on(self) -> list[Order]:
        states = {self._tasks[task].state for task in self._present}
        if self._failure:
            return [] if states & IN_FLIGHT else [Ended(End.FAILED, self._failure)]
        if states <= {TaskState.VERIFIED}:
            self.steps_done += 1
            return self._next_step()
        orders = self._admitted()
        if not orders and not states & IN_FLIGHT:
            return [Ended(End.REFUSED, "no device may be worked on")]
        return orders

    def _next_step(self) -> list[Order]:
        if self.steps_done == len(self._steps):
            return [Ended(End.DONE)]
        if self._interrupted:
            return [Ended(End.INTERRUPTED, self._interrupted)]
        tasks = tasks_of(self._steps[self.steps_done], self.steps_done)
        if refusal := self._forbids(tasks):
            return [Ended(End.REFUSED, refusal)]
        self._present = tasks
        self._tasks.update({task: _Standing() for task in tasks})
        return self._go_on()

    def _admitted(self) -> list[Order]:
        """Start what may be started."""
        busy = {task.device for task in self._present if self._tasks[task].state in IN_FLIGHT}
        orders: list[Order] = []
        for task in self._present:
            standing = self._tasks[task]
            if standing.state is TaskState.WAITING and self._admits(task.device, busy) and self._is_next(task):
                standing.state, standing.pushes = TaskState.PUSHING, 1
                busy.add(task.device)
                orders.append(Push(task))
        return orders

    def _is_next(self, task: Task) -> bool:
        """Whether its device has done all that comes before: so no device ever has two tasks in flight."""
        before = (self._tasks[other].state for other in self._present if task.follows(other))
        return all(state is TaskState.VERIFIED for state in before)
