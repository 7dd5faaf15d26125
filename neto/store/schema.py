"""The SQLite schema, as migrations. One transaction each; `user_version` counts those that were applied.

Migrations only add: a leader of the last release goes on working while a standby of this one has migrated.
"""

from __future__ import annotations

APPLICATION_ID = 0x4E65744F  # "NetO"

_FIRST = (
    """
    CREATE TABLE leader (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        epoch INTEGER NOT NULL CHECK (epoch >= 0),
        pid INTEGER NOT NULL CHECK (pid >= 0),
        start_ticks INTEGER NOT NULL,
        host TEXT NOT NULL
    ) STRICT
    """,
    "INSERT INTO leader VALUES (1, 0, 0, 0, '')",
    """
    CREATE TABLE cycles (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        epoch INTEGER NOT NULL CHECK (epoch > 0),
        began REAL NOT NULL,
        ended REAL,
        state TEXT NOT NULL CHECK (state IN ('deciding', 'pushing', 'done', 'failed', 'abandoned')),
        portion REAL NOT NULL CHECK (portion BETWEEN 0 AND 1),
        urgency TEXT NOT NULL DEFAULT '',
        outcome TEXT NOT NULL DEFAULT '',
        CHECK ((ended IS NULL) = (state IN ('deciding', 'pushing')))
    ) STRICT
    """,
    "CREATE INDEX open_cycles ON cycles (id) WHERE ended IS NULL",
    """
    CREATE TABLE bodies (
        cycle INTEGER NOT NULL REFERENCES cycles ON DELETE CASCADE,
        part TEXT NOT NULL CHECK (part IN ('snapshot', 'decision')),
        body BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 16),
        PRIMARY KEY (cycle, part)
    ) STRICT
    """,
    """
    CREATE TABLE tasks (
        cycle INTEGER NOT NULL REFERENCES cycles ON DELETE CASCADE,
        step INTEGER NOT NULL CHECK (step >= 0),
        device TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        moves INTEGER NOT NULL CHECK (moves >= 0),
        began REAL,
        ended REAL,
        error TEXT NOT NULL,
        PRIMARY KEY (cycle, step, device, kind)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE documents (
        kind TEXT PRIMARY KEY CHECK (kind <> ''),
        epoch INTEGER NOT NULL CHECK (epoch > 0),
        at REAL NOT NULL,
        body BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 16)
    ) STRICT
    """,
    """
    CREATE TABLE actions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        who TEXT NOT NULL CHECK (who <> ''),
        what TEXT NOT NULL CHECK (what <> ''),
        arguments TEXT NOT NULL CHECK (json_valid(arguments))
    ) STRICT
    """,
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        epoch INTEGER NOT NULL CHECK (epoch > 0),
        at REAL NOT NULL,
        severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'alarm')),
        what TEXT NOT NULL CHECK (what <> ''),
        subject TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
