"""What a collector keeps on disk: windows until they are committed above it, and what it has committed below it.

One SQLite file, every transaction synced: what is told of as done is on disk before it is told. A merged window and
the names of those that it was merged from are written in one transaction, so each counts exactly once whatever is
killed in between. Meant for a thread: every call may wait for the disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from neto.errors import LeaseLostError, StoreError
from neto.wire.demand_message import Key

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        epoch INTEGER NOT NULL, window INTEGER NOT NULL, part INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (epoch, window, part)
    ) STRICT
    """,
    """
    CREATE TABLE opened (
        epoch INTEGER NOT NULL, window INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (epoch, window)
    ) STRICT
    """,
    """
    CREATE TABLE committed (
        leaf TEXT NOT NULL, epoch INTEGER NOT NULL, window INTEGER NOT NULL, part INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (leaf, epoch, window, part)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX committed_at ON committed (at)",
    "CREATE TABLE merged (window INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
)
_BUSY_S = 5.0

Told = tuple[str, Key]  # leaf, and which of its messages


class Spool:
    """The file. Close it. Every method raises StoreError when the disk is full or the file is damaged.

    most_octets: bodies that wait take no more than this; the oldest go first.
    """

    def __init__(self, path: Path, *, most_octets: int = 1 << 30) -> None:
        self._path = path
        self._most_octets = most_octets
        self._lock = threading.Lock()
        self._term: int | None = None
        with self._translated():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                (self._octets,) = self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM outbox").fetchone()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Let go."""
        with self._lock:
            self._db.close()

    def next_epoch(self, now: float) -> int:
        """Begin an epoch: larger than any before, even when the file is new and the clock is not.

        What the last one had counted in windows that it did not live to close waits to be sent from here on.
        """
        with self._transaction() as db:
            rows = db.execute("DELETE FROM opened RETURNING epoch, window, body").fetchall()
            self._put(db, [(Key(epoch, window), body) for epoch, window, body in sorted(rows)])
            db.execute("INSERT OR IGNORE INTO numbers VALUES ('epoch', 0)")
            ((epoch,),) = db.execute(
                "UPDATE numbers SET value = max(value + 1, ?) WHERE name = 'epoch' RETURNING value", (int(now),)
            ).fetchall()
        return int(epoch)

    def begin_term(self, term: int) -> None:
        """Write for this leader's term from here on; whoever wrote for an earlier one may no more."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO numbers VALUES ('term', 0)")
            db.execute("UPDATE numbers SET value = max(value, ?) WHERE name = 'term'", (term,))
        self._term = term

    def put(self, entries: Iterable[tuple[Key, bytes]], opened: Iterable[tuple[Key, bytes]] = ()) -> int:
        """Keep windows until `forget`; return how many older ones were given up for want of room.

        opened: what has been counted so far in windows that are not closed yet, in place of what was told of them last.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM opened")
            rows = [(key.epoch, key.window, body) for key, body in opened]
            db.executemany("INSERT INTO opened VALUES (?, ?, ?)", rows)
            return self._put(db, entries)

    def waiting(self, most: int) -> Sequence[Key]:
        """Return what waits, oldest first."""
        with self._reading() as db:
            rows = db.execute("SELECT epoch, window, part FROM outbox ORDER BY seq LIMIT ?", (most,)).fetchall()
        return [Key(*row) for row in rows]

    def body(self, key: Key) -> bytes | None:
        """Return a window that waits; None when it waits no longer."""
        with self._reading() as db:
            row = db.execute("SELECT body FROM outbox WHERE epoch = ? AND window = ? AND part = ?", key).fetchone()
        return bytes(row[0]) if row else None

    def forget(self, keys: Iterable[Key]) -> int:
        """Let go of windows that are committed above; return how many of them had waited."""
        gone = 0
        with self._transaction() as db:
            for key in keys:
                for (size,) in db.execute(
                    "DELETE FROM outbox WHERE epoch = ? AND window = ? AND part = ? RETURNING length(body)", key
                ).fetchall():
                    self._octets -= size
                    gone += 1
        return gone

    def is_committed(self, told: Told) -> bool:
        """Whether a message of a leaf has been counted."""
        leaf, key = told
        with self._reading() as db:
            sql = "SELECT 1 FROM committed WHERE leaf = ? AND epoch = ? AND window = ? AND part = ?"
            return db.execute(sql, (leaf, *key)).fetchone() is not None

    def commit(
        self,
        told: Iterable[Told],
        at: float,
        *,
        outbox: Iterable[tuple[Key, bytes]] = (),
        merged: Iterable[tuple[int, bytes]] = (),
        keep_merged: int = 0,
    ) -> int:
        """Count messages of leaves, and keep what they were merged into, all or nothing.

        outbox: to be sent on. merged: windows as they are now; the newest `keep_merged` are kept. Returns how many
        windows of the outbox were given up for want of room.
        """
        with self._transaction() as db:
            rows = [(leaf, *key, int(at)) for leaf, key in told]
            db.executemany("INSERT INTO committed VALUES (?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO merged VALUES (?, ?)", merged)
            db.execute(
                "DELETE FROM merged WHERE window <= (SELECT window FROM merged ORDER BY window DESC LIMIT 1 OFFSET ?)",
                (keep_merged,),
            )
            return self._put(db, outbox)

    def merged(self) -> Sequence[tuple[int, bytes]]:
        """Return the merged windows that are kept, oldest first."""
        with self._reading() as db:
            return [(int(w), bytes(b)) for w, b in db.execute("SELECT window, body FROM merged ORDER BY window")]

    def forget_committed(self, before: float) -> None:
        """Forget what was committed before a time: nobody repeats it any more."""
        with self._transaction() as db:
            db.execute("DELETE FROM committed WHERE at < ?", (int(before),))

    def _put(self, db: sqlite3.Connection, entries: Iterable[tuple[Key, bytes]]) -> int:
        for key, body in entries:
            db.execute("INSERT INTO outbox (epoch, window, part, body) VALUES (?, ?, ?, ?)", (*key, body))
            self._octets += len(body)
        given_up = 0
        while self._octets > self._most_octets:
            sql = "DELETE FROM outbox WHERE seq = (SELECT min(seq) FROM outbox) RETURNING length(body)"
            gone = db.execute(sql).fetchall()
            if not gone:
                break
            self._octets -= gone[0][0]
            given_up += 1
        return given_up

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(f"{self._path} was written by a newer release ({version}; accepted: up to {_VERSION})")
        if version == 0:
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the body writes, or nothing. Raises LeaseLostError when another term has begun."""
        with self._reading() as db:
            before = self._octets
            db.execute("BEGIN IMMEDIATE")
            try:
                self._check_term(db)
                yield db
                db.execute("COMMIT")
            except BaseException:
                self._octets = before
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _check_term(self, db: sqlite3.Connection) -> None:
        if self._term is not None:
            ((latest,),) = db.execute("SELECT value FROM numbers WHERE name = 'term'").fetchall()
            if latest != self._term:
                raise LeaseLostError(f"term {self._term} is over: {latest} leads")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
