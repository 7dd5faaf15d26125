"""Carries plans out: drives the agents with a plan's progress, and writes the journal.

What is about to be pushed is journalled first. The journal says what was intended; what is, the devices say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from neto.errors import DeviceError, DeviceTimeoutError, LeaseLostError, StoreError, WireError
from neto.model.plan import Plan, RouteMove
from neto.model.sr import ForwardingState
from neto.scheduler.constraints import Constraints
from neto.scheduler.ports import Fence, Journal, PolicyAgent, RouteAgent
from neto.scheduler.progress import IN_FLIGHT, End, Ended, Order, Patience, Progress, Push, ReadBack, TaskState
from neto.scheduler.task import Task, differences
from neto.store.protocol import TaskEntry

log = structlog.get_logger("scheduler")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended."""

    end: End
    reason: str = ""  # "" when it was done
    steps_done: int = 0
    unverified: frozenset[str] = frozenset()  # devices of which nothing is certain until they are read again
    read: Mapping[str, ForwardingState] = field(default_factory=dict)  # what devices said last, by name

    @property
    def done(self) -> bool:
        """Every step was carried out and read back."""
        return self.end is End.DONE


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that came of an order."""

    task: Task
    tell: Callable[[], list[Order]]  # tells it to the progress


class Runner:
    """Runs one plan at a time."""

    def __init__(
        self,
        policies: PolicyAgent,
        routes: RouteAgent,
        journal: Journal,
        fence: Fence,
        rules: Callable[[], Constraints],
        *,
        deadline_s: float,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build it.

        rules: asked anew for each plan. deadline_s: for one push, or one read, of one device. clock: unix seconds.
        """
        self._policies = policies
        self._routes = routes
        self._journal = journal
        self._fence = fence
        self._rules = rules
        self._deadline_s = deadline_s
        self._patience = patience or Patience()
        self._clock = clock
        self._progress: Progress | None = None

    def interrupt(self, reason: str) -> None:
        """Stop the plan that runs, if any, before its next step: something more urgent came up."""
        if self._progress is not None:
            self._progress.interrupt(reason)

    @property
    def begun(self) -> int:
        """Steps of the plan that runs that are done or under way; none when none runs."""
        return self._progress.steps_done + 1 if self._progress is not None else 0

    async def run(self, plan: Plan, cycle: int) -> Outcome:
        """Carry a plan out, step by step; return how it ended once nothing of it is in flight any more.

        Raises LeaseLostError as soon as another process leads, and StoreError when the journal cannot be written.
        """
        if self._progress is not None:
            raise RuntimeError("a plan is running already")
        rules = self._rules()
        if refusal := rules.plan_refusal(plan):
            return Outcome(End.REFUSED, refusal)
        progress = Progress(plan, rules.admits, lambda tasks: rules.step_refusal(tasks, self._clock()), self._patience)
        self._progress = progress
        try:
            return await self._to_its_end(progress, cycle)
        except BaseExceptionGroup as group:
            _raise_alone(group)
            raise
        finally:
            self._progress = None

    async def _to_its_end(self, progress: Progress, cycle: int) -> Outcome:
        pages = _Pages(progress, cycle, self._clock)
        events: asyncio.Queue[_Event] = asyncio.Queue()  # bounded by the tasks in flight: each tells once an order
        seen: dict[str, ForwardingState] = {}
        orders = progress.begin()
        touched: set[Task] = set()
        async with asyncio.TaskGroup() as work:
            watch = work.create_task(self._watch(), name="lease")
            while True:
                touched |= {order.task for order in orders if not isinstance(order, Ended)}
                await self._write(pages, touched)
                for order in orders:
                    if isinstance(order, Ended):
                        watch.cancel()
                        return Outcome(order.end, order.reason, progress.steps_done, progress.unverified, seen)
                    name = f"{type(order).__name__.lower()} {order.task.device}"
                    work.create_task(self._obey(order, progress, seen, events), name=name)
                batch = [await events.get()]
                while not events.empty():
                    batch.append(events.get_nowait())
                orders = [order for event in batch for order in event.tell()]
                touched = {event.task for event in batch}

    async def _watch(self) -> None:
        await self._fence.lost.wait()
        raise LeaseLostError(f"epoch {self._fence.epoch} ended in the middle of a plan")

    async def _write(self, pages: _Pages, touched: Iterable[Task]) -> None:
        if entries := pages.entries(touched):
            await self._journal.record_tasks(self._fence.epoch, entries)

    async def _obey(
        self,
        order: Push | ReadBack,
        progress: Progress,
        seen: dict[str, ForwardingState],
        events: asyncio.Queue[_Event],
    ) -> None:
        await asyncio.sleep(order.wait_s)
        tell = await (self._push if isinstance(order, Push) else self._read)(order.task, progress, seen)
        events.put_nowait(_Event(order.task, tell))

    async def _push(
        self, task: Task, progress: Progress, _seen: dict[str, ForwardingState]
    ) -> Callable[[], list[Order]]:
        try:
            self._fence.check()
            async with asyncio.timeout(self._deadline_s):
                await self._apply(task)
        except (TimeoutError, DeviceTimeoutError) as error:
            why = str(error) or f"no answer within {self._deadline_s:g} s"
            return lambda: progress.timed_out(task, why)
        except DeviceError as error:
            why = str(error)
            return lambda: progress.rejected(task, why)
        except LeaseLostError as error:  # a beat is late; were the lease lost for good, the watch would end it all
            why = str(error)
            return lambda: progress.rejected(task, why)
        return lambda: progress.acknowledged(task)

    async def _apply(self, task: Task) -> None:
        """Push a task through the agent that can; a task holds moves of one type."""
        routes = [move for move in task.moves if isinstance(move, RouteMove)]
        typed = [move for move in task.moves if not isinstance(move, RouteMove)]
        if routes:
            await self._routes.apply(routes, self._fence.check)
        if typed:
            await self._policies.apply(task.device, typed, self._fence.check)

    async def _read(
        self, task: Task, progress: Progress, seen: dict[str, ForwardingState]
    ) -> Callable[[], list[Order]]:
        try:
            async with asyncio.timeout(self._deadline_s):
                state = await self._policies.read(task.device)
        except (TimeoutError, DeviceError, WireError) as error:
            why = str(error) or f"not read within {self._deadline_s:g} s"
            return lambda: progress.unreadable(task, why)
        seen[task.device] = state
        found = differences(task, state)
        return lambda: progress.read(task, found)


def _raise_alone(group: BaseExceptionGroup) -> None:
    """Raise what callers know how to meet by itself, a lost lease before a damaged store."""
    for kind in (LeaseLostError, StoreError):
        for error in group.exceptions:
            if isinstance(error, kind) and group.split((LeaseLostError, StoreError))[1] is None:
                raise error from group


class _Pages:
    """What the journal should say of the tasks of one plan."""

    def __init__(self, progress: Progress, cycle: int, clock: Callable[[], float]) -> None:
        self._progress = progress
        self._cycle = cycle
        self._clock = clock
        self._began: dict[Task, float] = {}

    def entries(self, tasks: Iterable[Task]) -> Sequence[TaskEntry]:
        """Return an entry for each of these tasks, as it stands now."""
        now = self._clock()
        return [self._entry(task, now) for task in sorted(tasks, key=lambda task: (task.step, task.order))]

    def _entry(self, task: Task, now: float) -> TaskEntry:
        state, trouble = self._progress.state(task)
        _tell(task, state, trouble)
        return TaskEntry(
            cycle=self._cycle,
            step=task.step,
            device=task.device,
            kind=task.kind.value,
            state=state.value,
            moves=len(task.moves),
            began=self._began.setdefault(task, now),
            ended=None if state in IN_FLIGHT else now,
            error=trouble,
        )


def _tell(task: Task, state: TaskState, trouble: str) -> None:
    say = log.warning if trouble else log.debug
    facts = {"step": task.step + 1, "device": task.device, "kind": task.kind.value, "moves": len(task.moves)}
    say(f"task.{state.value}", **facts, **({"why": trouble} if trouble else {}))
