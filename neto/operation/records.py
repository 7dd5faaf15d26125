"""What a leader writes down: each cycle with its input and output, and the latest documents for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import structlog

from neto.errors import StoreError
from neto.ha.leader import Term
from neto.model.snapshot import Decision, Snapshot
from neto.operation import report
from neto.operation.mode import Mode, Operation
from neto.store.codec import decode
from neto.store.protocol import Action, CycleState, Event, Store

STATUS = "status"
ACTIONS_SEEN = "actions"
ADJUSTING = "adjusting"

_log = structlog.get_logger("records")


class Records:
    """The store, as the loop sees it: every write carries this term's epoch."""

    def __init__(self, store: Store, term: Term) -> None:
        self._store = store
        self._term = term
        self._action_seen = 0
        self._doubts: tuple[str, ...] = ()

    async def stood(self) -> Operation | None:
        """Return where the last leader stood; None on the very first start."""
        status = await self._store.document(STATUS)
        seen = await self._store.document(ACTIONS_SEEN)
        self._action_seen = int(seen.json()) if seen else 0
        if status is None:
            return None
        told = status.json()["operation"]
        return msgspec.convert({**told, "mode": Mode(told["mode"])}, Operation)

    async def last_snapshot(self) -> Snapshot | None:
        """Return what the last leader decided on last; None when it did not, or when that cannot be read."""
        cycles = await self._store.cycles(1)
        stored = await self._store.cycle(cycles[0].id) if cycles else None
        if stored is None:
            return None
        try:
            return await asyncio.to_thread(decode, stored.snapshot, Snapshot)
        except StoreError as error:  # an earlier version's
            _log.warning("snapshot.unreadable", cycle=stored.cycle.id, why=str(error))
            return None

    async def adjusting(self) -> Any:
        """Return what the last leader remembered of announcements that it adjusted; None when it did not."""
        found = await self._store.document(ADJUSTING)
        return None if found is None else found.json()

    async def remember(self, adjusting: dict[str, Any]) -> None:
        """Store what a successor should know of them."""
        await self._put({ADJUSTING: adjusting})

    async def waiting(self, operation: Operation, doubts: Sequence[str]) -> None:
        """There is nothing to decide on yet."""
        await self._put({STATUS: self._status(operation, doubts, cycle=None)})

    async def begin(self, snapshot: Snapshot, operation: Operation, at: float) -> int:
        """Store a cycle's input; return its id."""
        return await self._store.begin_cycle(self._term.epoch, at, snapshot, portion=operation.portion)

    async def decided(
        self,
        cycle: int,
        decision: Decision,
        snapshot: Snapshot,
        operation: Operation,
        doubts: Sequence[str],
    ) -> None:
        """Store the decision, and what people see of it, before anything is pushed."""
        await self._store.decide_cycle(self._term.epoch, cycle, decision, urgency=str(decision.plan.urgency))
        documents: dict[str, Any] = {
            "allocation": report.allocation(decision, operation.portion),
            "peering": report.peering(decision, snapshot.peering),
            STATUS: self._status(operation, doubts, cycle=cycle),
        }
        if decision.plan.steps or decision.plan.stuck:
            documents["plan"] = report.plan(decision.plan, cycle)
        await self._put(documents)
        await self._note_doubts(doubts)

    async def inputs(self, documents: dict[str, Any]) -> None:
        """Store what the agents say."""
        await self._put(documents)

    async def ended(self, cycle: int, operation: Operation, *, result: str, reason: str) -> None:
        """Store how a cycle ended, and where that leaves the daemon."""
        now = time.time()
        state = CycleState.FAILED if result == "failed" else CycleState.DONE
        outcome = f"{result}: {reason}" if reason else result
        await self._store.finish_cycle(self._term.epoch, cycle, now, state, outcome)
        await self._put({STATUS: self._status(operation, self._doubts, cycle=cycle)})

    async def new_actions(self) -> Sequence[Action]:
        """Return what operators asked for and was not obeyed yet, oldest first."""
        return await self._store.actions_after(self._action_seen)

    async def obeyed(self, action: Action, operation: Operation) -> None:
        """Store an action as obeyed together with where that leaves the daemon: no crash comes between the two."""
        self._action_seen = action.seq
        status = self._status(operation, self._doubts, cycle=None)
        await self._put({STATUS: status, ACTIONS_SEEN: action.seq})

    async def note(self, severity: str, what: str, *, subject: str = "", text: str = "") -> None:
        """Append to the history."""
        event = Event(time.time(), severity, what, subject, text)
        await self._store.add_event(self._term.epoch, event)

    async def _note_doubts(self, doubts: Sequence[str]) -> None:
        """Write each doubt into the history when it comes and when it goes."""
        before, self._doubts = self._doubts, tuple(doubts)
        for text in set(doubts) - set(before):
            await self.note("alarm", "alarm.raised", text=text)
        for text in set(before) - set(doubts):
            await self.note("info", "alarm.cleared", text=text)

    def _status(self, operation: Operation, doubts: Sequence[str], *, cycle: int | None) -> dict[str, Any]:
        return {"operation": asdict(operation), "cycle": cycle, "alarms": list(doubts)}

    async def _put(self, documents: dict[str, Any]) -> None:
        await self._store.put_documents(self._term.epoch, documents, at=time.time())
