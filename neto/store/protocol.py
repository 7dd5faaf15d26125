"""What the persistent store holds and promises, whatever database is behind it.

Every stage's input and output, per cycle; the latest documents for people; the journal of what was pushed; what
operators asked for; and who leads. The journal says what was intended: only the routers say what is.

Whoever writes names the epoch it leads with, and each writing transaction checks it inside: a deposed leader's write
raises LeaseLostError and leaves nothing behind. Operators' actions alone need no lease.
Bodies are JSON (`neto.store.codec`). Times are unix seconds given by the caller, but for `beat_s`: CLOCK_BOOTTIME.
Everything raises StoreError when the store refuses or is damaged; a damaged body is named, and spares the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec

Body = object  # bytes of JSON, a noun of neto.model, or what JSON has: text, numbers, lists, dicts


@dataclass(frozen=True, slots=True)
class Process:
    """One process on one boot of one host; no two are ever equal."""

    pid: int  # 0: nobody
    start_ticks: int = 0  # when it started, in the kernel's ticks since boot
    host: str = ""  # name of the host and id of its boot


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, or led last."""

    epoch: int  # 0: nobody ever led
    process: Process  # pid 0 once it resigned
    beat_s: float  # CLOCK_BOOTTIME of its host when it last said so


class CycleState(StrEnum):
    """How far a cycle got."""

    DECIDING = "deciding"
    PUSHING = "pushing"  # decided; its plan is being carried out, or waits to be
    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"  # its leader went before it ended


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle, without its bodies."""

    id: int
    epoch: int
    began: float
    ended: float | None
    state: CycleState
    portion: float
    urgency: str  # of its plan; "" until it is decided
    outcome: str  # in words; "" until it has ended


@dataclass(frozen=True, slots=True)
class StoredCycle:
    """One cycle with everything that was decided on, and everything that was decided, as JSON."""

    cycle: Cycle
    snapshot: bytes
    decision: bytes | None  # None: it was never decided


@dataclass(frozen=True, slots=True)
class Document:
    """The latest of its kind."""

    kind: str  # "topology", "demand", "running", …
    epoch: int
    at: float
    body: bytes

    def json(self) -> Any:
        """Return the body as lists, dicts, text and numbers."""
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """Journal: one task on one device in one step of a cycle's plan; a later entry replaces an earlier one."""

    cycle: int
    step: int
    device: str
    kind: str
    state: str
    moves: int
    began: float | None = None
    ended: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator asked for."""

    seq: int  # grows by the order in which they were stored
    at: float
    who: str
    what: str  # "legacy", "resume", …
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people will want to look up later."""

    at: float
    severity: str  # "info", "warning" or "alarm"
    what: str  # as in the log: "lease.taken", "plan.failed"
    subject: str = ""  # device, link, input
    text: str = ""
    epoch: int = 0  # filled in by the store


class Reader(Protocol):
    """What anybody may do, whether a daemon runs or not; never makes the daemon wait."""

    async def leader(self) -> Leader:
        """Return who leads or led last."""

    async def document(self, kind: str) -> Document | None:
        """Return the latest of a kind; None when there never was one."""

    async def cycles(self, limit: int) -> Sequence[Cycle]:
        """Return the latest cycles, newest first."""

    async def cycle(self, cycle_id: int) -> StoredCycle | None:
        """Return one cycle with its bodies; None when it is not kept (any more)."""

    async def tasks(self, cycle_id: int) -> Sequence[TaskEntry]:
        """Return the journal of one cycle by step, device and kind."""

    async def actions_after(self, seq: int) -> Sequence[Action]:
        """Return the actions later than `seq`, oldest first."""

    async def events(self, limit: int) -> Sequence[Event]:
        """Return the latest events, newest first."""

    async def close(self) -> None:
        """Let go. Threads of an open store keep the process alive."""


class Store(Reader, Protocol):
    """What the daemon may do besides. Every method with an epoch raises LeaseLostError when that is not the latest."""

    async def take_lead(self, process: Process, beat_s: float, at: float) -> int:
        """Begin a new epoch, led by `process`; return it. Cycles left open are from now on abandoned."""

    async def resign(self, epoch: int) -> None:
        """Say that nobody leads any more; the epoch stays."""

    async def beat(self, epoch: int, beat_s: float) -> None:
        """Say that the leader is alive. Waits for no other write."""

    async def begin_cycle(self, epoch: int, at: float, snapshot: Body, *, portion: float) -> int:
        """Store a cycle's input; return its id. The oldest cycles beyond those to be kept go."""

    async def decide_cycle(self, epoch: int, cycle_id: int, decision: Body, *, urgency: str) -> None:
        """Store what was decided, before anything is pushed."""

    async def finish_cycle(self, epoch: int, cycle_id: int, at: float, state: CycleState, outcome: str) -> None:
        """Store how a cycle ended."""

    async def put_document(self, epoch: int, kind: str, body: Body, *, at: float) -> None:
        """Replace the document of this kind."""

    async def put_documents(self, epoch: int, bodies: Mapping[str, Body], *, at: float) -> None:
        """Replace several documents, by kind, in one transaction."""

    async def record_tasks(self, epoch: int, entries: Sequence[TaskEntry]) -> None:
        """Write journal entries in one transaction."""

    async def add_event(self, epoch: int, event: Event) -> None:
        """Append to the history. The oldest events beyond those to be kept go."""

    async def add_action(self, who: str, what: str, arguments: Mapping[str, Any], *, at: float) -> int:
        """Store what an operator asked for; return its seq. Needs no lease."""
