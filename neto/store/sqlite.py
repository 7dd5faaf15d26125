"""The store on SQLite: WAL, every commit synced, one writer at a time, readers never waited for.

Two connections, each with a thread of its own: one writes, one reads. Beats go to a small file beside the database,
after a look at the epoch, which waits for no writer: a disk that takes seconds to sync must not make a leader look
dead, and a beat is worth nothing after a crash anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from neto.errors import LeaseLostError, StoreError
from neto.store.body import seal
from neto.store.protocol import Body, CycleState, Event, Process, TaskEntry
from neto.store.schema import APPLICATION_ID, MIGRATIONS
from neto.store.sqlite_read import (
    SqliteReader,
    check_version,
    connect,
    must_be_current,
    must_exist,
    pragma,
    translated,
    write_beat,
)

KEEP_CYCLES = 2000
KEEP_EVENTS = 10_000
_LOG_BYTES = 64 << 20  # what the write-ahead log is cut back to once a burst is over


class SqliteStore(SqliteReader):
    """`neto.store.protocol.Store` on a SQLite file."""

    def __init__(
        self,
        path: Path,
        reading: aiosqlite.Connection,
        writing: aiosqlite.Connection,
        *,
        keep_cycles: int,
        keep_events: int,
    ) -> None:
        super().__init__(path, reading)
        self._writing = writing
        self._turn = asyncio.Lock()
        self._keep_cycles = keep_cycles
        self._keep_events = keep_events

    async def close(self) -> None:
        """Let go; the last one out folds the log into the file."""
        await super().close()
        await self._writing.close()

    async def take_lead(self, process: Process, beat_s: float, at: float) -> int:
        """Begin a new epoch; cycles left open are abandoned."""
        async with self._transaction(None) as db:
            ((epoch,),) = await db.execute_fetchall(
                "UPDATE leader SET epoch = epoch + 1, pid = ?, start_ticks = ?, host = ? RETURNING epoch",
                (process.pid, process.start_ticks, process.host),
            )
            await db.execute_fetchall(
                "UPDATE cycles SET state = 'abandoned', ended = ?, outcome = 'its leader went' WHERE ended IS NULL",
                (at,),
            )
        await asyncio.to_thread(write_beat, self.path, beat_s)
        return int(epoch)

    async def resign(self, epoch: int) -> None:
        """Say that nobody leads any more."""
        async with self._transaction(epoch) as db:
            await db.execute_fetchall("UPDATE leader SET pid = 0, start_ticks = 0, host = ''")

    async def beat(self, epoch: int, beat_s: float) -> None:
        """Say that the leader is alive."""
        if (await self._epoch_and_process())[0] != epoch:
            raise LeaseLostError(f"epoch {epoch} is over")
        await asyncio.to_thread(write_beat, self.path, beat_s)

    async def begin_cycle(self, epoch: int, at: float, snapshot: Body, *, portion: float) -> int:
        """Store a cycle's input; return its id."""
        sealed = await asyncio.to_thread(seal, snapshot)
        async with self._transaction(epoch) as db:
            ((cycle_id,),) = await db.execute_fetchall(
                "INSERT INTO cycles (epoch, began, state, portion) VALUES (?, ?, 'deciding', ?) RETURNING id",
                (epoch, at, portion),
            )
            await db.execute_fetchall("INSERT INTO bodies VALUES (?, 'snapshot', ?, ?)", (cycle_id, *sealed))
            await db.execute_fetchall("DELETE FROM cycles WHERE id <= ?", (cycle_id - self._keep_cycles,))
        return int(cycle_id)

    async def decide_cycle(self, epoch: int, cycle_id: int, decision: Body, *, urgency: str) -> None:
        """Store what was decided, before anything is pushed."""
        sealed = await asyncio.to_thread(seal, decision)
        async with self._transaction(epoch) as db:
            await db.execute_fetchall("INSERT INTO bodies VALUES (?, 'decision', ?, ?)", (cycle_id, *sealed))
            changed = await db.execute_fetchall(
                "UPDATE cycles SET state = 'pushing', urgency = ? WHERE id = ? AND state = 'deciding' RETURNING id",
                (urgency, cycle_id),
            )
            self._found(changed, cycle_id, "waits for a decision")

    async def finish_cycle(self, epoch: int, cycle_id: int, at: float, state: CycleState, outcome: str) -> None:
        """Store how a cycle ended."""
        async with self._transaction(epoch) as db:
            changed = await db.execute_fetchall(
                "UPDATE cycles SET state = ?, ended = ?, outcome = ? WHERE id = ? AND ended IS NULL RETURNING id",
                (state.value, at, outcome, cycle_id),
            )
            self._found(changed, cycle_id, "is open")

    async def put_document(self, epoch: int, kind: str, body: Body, *, at: float) -> None:
        """Replace the document of this kind."""
        await self.put_documents(epoch, {kind: body}, at=at)

    async def put_documents(self, epoch: int, bodies: Mapping[str, Body], *, at: float) -> None:
        """Replace several documents in one transaction."""
        sealed = [(kind, epoch, at, *await asyncio.to_thread(seal, body)) for kind, body in bodies.items()]
        async with self._transaction(epoch) as db:
            await _each(db, "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", sealed)

    async def record_tasks(self, epoch: int, entries: Sequence[TaskEntry]) -> None:
        """Write journal entries in one transaction."""
        rows = [(e.cycle, e.step, e.device, e.kind, e.state, e.moves, e.began, e.ended, e.error) for e in entries]
        async with self._transaction(epoch) as db:
            await _each(db, "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    async def add_event(self, epoch: int, event: Event) -> None:
        """Append to the history."""
        async with self._transaction(epoch) as db:
            ((seq,),) = await db.execute_fetchall(
                "INSERT INTO events (epoch, at, severity, what, subject, text) VALUES (?, ?, ?, ?, ?, ?) RETURNING seq",
                (epoch, event.at, event.severity, event.what, event.subject, event.text),
            )
            await db.execute_fetchall("DELETE FROM events WHERE seq <= ?", (seq - self._keep_events,))

    async def add_action(self, who: str, what: str, arguments: Mapping[str, Any], *, at: float) -> int:
        """Store what an operator asked for; return its seq."""
        async with self._transaction(None) as db:
            return await _add_action(db, who, what, arguments, at)

    def _found(self, changed: Any, cycle_id: int, wanted: str) -> None:
        if not list(changed):
            raise StoreError(f"{self.path}: there is no cycle {cycle_id} that {wanted}")

    @contextlib.asynccontextmanager
    async def _transaction(self, epoch: int | None) -> AsyncIterator[aiosqlite.Connection]:
        async with self._turn, _transaction(self._writing, self.path) as db:
            if epoch is not None:
                ((latest,),) = await db.execute_fetchall("SELECT epoch FROM leader")
                if latest != epoch:
                    raise LeaseLostError(f"epoch {epoch} is over: {latest} leads")
            yield db


@contextlib.asynccontextmanager
async def _transaction(db: aiosqlite.Connection, path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """Commit what the body writes, or nothing.

    The connection's thread does what it is given in order. So a task that is cancelled here may leave a statement
    behind, even the commit, but never an open transaction: the rollback, a no-op where there is none, follows it, and
    whoever has the next turn follows that.
    """
    with translated(path):
        try:
            await db.execute_fetchall("BEGIN IMMEDIATE")
            yield db
            await db.commit()
        except BaseException:
            await db.rollback()
            raise


async def _each(db: aiosqlite.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    cursor = await db.executemany(sql, rows)
    await cursor.close()


async def _add_action(db: aiosqlite.Connection, who: str, what: str, arguments: Mapping[str, Any], at: float) -> int:
    ((seq,),) = await db.execute_fetchall(
        "INSERT INTO actions (at, who, what, arguments) VALUES (?, ?, ?, ?) RETURNING seq",
        (at, who, what, json.dumps(dict(arguments), sort_keys=True)),
    )
    return int(seq)


async def open_store(path: Path, *, keep_cycles: int = KEEP_CYCLES, keep_events: int = KEEP_EVENTS) -> SqliteStore:
    """Open the store for a daemon, leader or standby; make it or bring its schema up to date where needed.

    Close it, or use it as a context. Raises StoreError when the file is damaged, another program's or of a newer
    release.
    """
    async with contextlib.AsyncExitStack() as opened:

        async def opened_as(mode: str) -> aiosqlite.Connection:
            db = await connect(path, mode)
            opened.push_async_callback(db.close)
            return db

        _make_private(path)
        writing = await opened_as("rw")
        await _prepare(writing, path)
        reading = await opened_as("ro")
        store = SqliteStore(path, reading, writing, keep_cycles=keep_cycles, keep_events=keep_events)
        opened.pop_all()
    return store


async def add_action(path: Path, who: str, what: str, arguments: Mapping[str, Any], *, at: float) -> int:
    """Store what an operator asked for, from a command; return its seq.

    Neither makes a store nor changes its schema: a daemon may be running on it.
    """
    must_exist(path)
    db = await connect(path, "rw")
    try:
        await must_be_current(db, path)
        with translated(path):
            await db.execute_fetchall("PRAGMA synchronous = FULL")
        async with _transaction(db, path):
            return await _add_action(db, who, what, arguments, at)
    finally:
        await db.close()


def _make_private(path: Path) -> None:
    """Make the file, if there is none, readable by its owner and group alone: it tells the whole network."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


async def _prepare(db: aiosqlite.Connection, path: Path) -> None:
    await check_version(db, path)
    with translated(path):
        if await pragma(db, "journal_mode = WAL") != "wal":
            raise StoreError(f"{path}: the file system has no shared memory, which SQLite's log needs")
        await db.execute_fetchall("PRAGMA synchronous = FULL")
        await db.execute_fetchall("PRAGMA foreign_keys = ON")
        await db.execute_fetchall(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    async with _transaction(db, path):
        # Read again, now that nobody else can migrate.
        for version in range(await check_version(db, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                await db.execute_fetchall(statement)
            await db.execute_fetchall(f"PRAGMA user_version = {version + 1}")
            await db.execute_fetchall(f"PRAGMA application_id = {APPLICATION_ID}")
