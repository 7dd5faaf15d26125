"""Reading a SQLite store: for `neto show`, and for the daemon itself.

Opened read-only. In WAL mode a reader sees the last commit and makes nobody wait; each method is a single statement,
so no read lasts long enough to keep the log from being checkpointed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiosqlite

from neto.errors import StoreError
from neto.store.body import Sealed, unseal
from neto.store.protocol import Action, Cycle, CycleState, Document, Event, Leader, Process, StoredCycle, TaskEntry
from neto.store.schema import APPLICATION_ID, MIGRATIONS

_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_BEAT = struct.Struct("<d")  # CLOCK_BOOTTIME, seconds
BUSY_MS = 5000


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error


async def connect(path: Path, mode: str) -> aiosqlite.Connection:
    """Open the file. mode: SQLite's "ro" or "rw", or "immutable" for a file that nobody writes now."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; accepted: 3.37 or newer")
    options = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    with translated(path):
        db = await aiosqlite.connect(f"file:{quote(os.fspath(path))}?{options}", uri=True, isolation_level=None)
        try:
            await db.execute_fetchall(f"PRAGMA busy_timeout = {BUSY_MS}")
            await db.execute_fetchall("SELECT count(*) FROM sqlite_schema")  # the first that really touches the file
        except BaseException:
            await db.close()
            raise
    return db


async def pragma(db: aiosqlite.Connection, name: str) -> Any:
    """Return the value of a PRAGMA."""
    return next(iter(await db.execute_fetchall(f"PRAGMA {name}")))[0]


async def check_version(db: aiosqlite.Connection, path: Path) -> int:
    """Return the schema's version. Raises StoreError for another program's file and for one of a newer release."""
    if await pragma(db, "application_id") not in {0, APPLICATION_ID}:
        raise StoreError(f"{path} is a database of another program")
    version = int(await pragma(db, "user_version"))
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was written by a newer release (schema {version}; accepted: up to {len(MIGRATIONS)})")
    return version


class SqliteReader:
    """`neto.store.protocol.Reader` on a SQLite file."""

    def __init__(self, path: Path, db: aiosqlite.Connection) -> None:
        self.path = path
        self._reading = db

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go."""
        await self._reading.close()

    async def leader(self) -> Leader:
        """Return who leads or led last."""
        epoch, process = await self._epoch_and_process()
        return Leader(epoch, process, await asyncio.to_thread(_read_beat, self.path))

    async def document(self, kind: str) -> Document | None:
        """Return the latest of a kind; None when there never was one."""
        for epoch, at, body, digest in await self._rows(
            "SELECT epoch, at, body, digest FROM documents WHERE kind = ?", (kind,)
        ):
            return Document(kind, epoch, at, await self._unsealed(f"document {kind}", body, digest))
        return None

    async def cycles(self, limit: int) -> Sequence[Cycle]:
        """Return the latest cycles, newest first."""
        rows = await self._rows(
            "SELECT id, epoch, began, ended, state, portion, urgency, outcome FROM cycles ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [_cycle(row) for row in rows]

    async def cycle(self, cycle_id: int) -> StoredCycle | None:
        """Return one cycle with its bodies; None when it is not kept (any more)."""
        rows = await self._rows(
            "SELECT id, epoch, began, ended, state, portion, urgency, outcome, part, body, digest "
            "FROM cycles JOIN bodies ON cycle = id WHERE id = ?",
            (cycle_id,),
        )
        if not rows:
            return None
        bodies = {
            part: await self._unsealed(f"{part} of cycle {cycle_id}", body, digest) for *_, part, body, digest in rows
        }
        if "snapshot" not in bodies:
            raise StoreError(f"{self.path}: snapshot of cycle {cycle_id} is gone")
        return StoredCycle(_cycle(rows[0][:-3]), bodies["snapshot"], bodies.get("decision"))

    async def tasks(self, cycle_id: int) -> Sequence[TaskEntry]:
        """Return the journal of one cycle by step, device and kind."""
        rows = await self._rows(
            "SELECT cycle, step, device, kind, state, moves, began, ended, error FROM tasks WHERE cycle = ? "
            "ORDER BY step, device, kind",
            (cycle_id,),
        )
        return [TaskEntry(*row) for row in rows]

    async def actions_after(self, seq: int) -> Sequence[Action]:
        """Return the actions later than `seq`, oldest first."""
        rows = await self._rows("SELECT seq, at, who, what, arguments FROM actions WHERE seq > ? ORDER BY seq", (seq,))
        return [Action(number, at, who, what, json.loads(arguments)) for number, at, who, what, arguments in rows]

    async def events(self, limit: int) -> Sequence[Event]:
        """Return the latest events, newest first."""
        rows = await self._rows(
            "SELECT at, severity, what, subject, text, epoch FROM events ORDER BY seq DESC LIMIT ?", (limit,)
        )
        return [Event(*row) for row in rows]

    async def _epoch_and_process(self) -> tuple[int, Process]:
        ((epoch, pid, start_ticks, host),) = await self._rows("SELECT epoch, pid, start_ticks, host FROM leader")
        return epoch, Process(pid, start_ticks, host)

    async def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return [tuple(row) for row in await self._reading.execute_fetchall(sql, values)]

    async def _unsealed(self, name: str, body: bytes, digest: bytes) -> bytes:
        return await asyncio.to_thread(unseal, Sealed(body, digest), f"{self.path}: {name}")


def _cycle(row: tuple[Any, ...]) -> Cycle:
    number, epoch, began, ended, state, portion, urgency, outcome = row
    return Cycle(number, epoch, began, ended, CycleState(state), portion, urgency, outcome)


def write_beat(path: Path, beat_s: float) -> None:
    """Note a beat beside the database: eight bytes, never synced."""
    try:
        beat = os.open(_beat_file(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(beat, _BEAT.pack(beat_s), 0)
        finally:
            os.close(beat)
    except OSError as error:
        raise StoreError(f"{_beat_file(path)}: {error.strerror}") from error


def _read_beat(path: Path) -> float:
    """Return the last beat; 0 when there is none."""
    try:
        (beat_s,) = _BEAT.unpack(_beat_file(path).read_bytes())
    except (FileNotFoundError, struct.error):
        return 0.0
    return float(beat_s)


def _beat_file(path: Path) -> Path:
    return path.with_name(path.name + "-beat")


def must_exist(path: Path) -> None:
    """Raise StoreError when there is no store."""
    if not path.exists():
        raise StoreError(f"there is no store at {path}; `neto run` makes it")


async def must_be_current(db: aiosqlite.Connection, path: Path) -> None:
    """Raise StoreError when the store is of another release, older or newer, or no store of ours."""
    if await check_version(db, path) < len(MIGRATIONS):
        raise StoreError(f"{path} was written by an older release; `neto run` brings it up to date")


async def open_reader(path: Path) -> SqliteReader:
    """Open the store for reading, whether a daemon runs or not. Close it, or use it as a context.

    Raises StoreError when there is none, or none that this release can read.
    """
    must_exist(path)
    try:
        db = await connect(path, "ro")
    except StoreError:
        # A reader that may not write to the directory cannot set up the log's index where no daemon has it open.
        # Then all there is stands in the file itself, unless a log was left behind, which only a writer can recover.
        if await asyncio.to_thread(path.with_name(path.name + "-wal").exists):
            raise
        db = await connect(path, "immutable")
    try:
        await must_be_current(db, path)
    except BaseException:
        await db.close()
        raise
    return SqliteReader(path, db)
