"""The tables of the book, and the settings that make SQLite durable.

A row of `batch` is one run of bets of one agency, exactly as the agency sent them. No bet has a row of its own: the
draw scans the batches, and an export decodes them.

- `draw`: one row for each draw that was ever used. A number in it means that the draw is over; `bets` and `digest` say
  over how many bets and which bytes. The digest is NULL if a program that wrote version 1 made the draw.
- `upload`: what an agency sends. Bets of revisions 5 to 8 belong to the one *anonymous* upload of their draw and agency
  (`upload_id` and `total` are NULL). `stored` and `crc32` are updated with each batch; `epoch` counts openings. A
  voided upload counts nowhere, and its identity is free again.
- `batch`: `seq` is the order of storing, across all uploads; (`upload`, `first_row`) is unique.
- `seal` and `winner`: the agencies that are sealed, and the winning documents in the order of storing.
- `audit`: see `AuditEntry`; each row was written in the transaction that it records.
- `checkpoint`: which state of the write-ahead log the main file belongs to, see `log`.

Triggers enforce what is final, whatever the program does: a batch and an audit entry are never changed or deleted, nor
is a voided upload changed. After a draw nothing of it is changed, added or deleted, except `upload.epoch`.

A change of the tables raises `SCHEMA_VERSION` and adds a step to `_MIGRATIONS`. When a file of an older version is
opened, the missing steps run in one transaction; an older program then refuses the file.
"""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Final

from bets_protocol import StorageError
from bets_server.store.sqlite import log

APPLICATION_ID: Final = 0x62657473
"""The application id in the file's header: "bets" in ASCII."""

SCHEMA_VERSION: Final = 3
"""`user_version` of a file with these tables."""

_OLDEST_SQLITE: Final = (3, 37, 0)
"""The first version with STRICT tables."""

# Pragma, value to set, value to read back. The order matters: the lock comes before anything is read.
_SETTINGS: Final = (
    # 1. A second process gets "locked". 2. There is no file for shared memory. 3. The bug in the write-ahead log of
    # SQLite up to 3.51.2 needs two connections.
    ("locking_mode", "EXCLUSIVE", "exclusive"),
    ("journal_mode", "WAL", "wal"),
    # NORMAL flushes at checkpoints only, so a power cut would lose acknowledged batches.
    ("synchronous", "FULL", 2),
    ("foreign_keys", "ON", 1),
    # We make the checkpoints, see `log`.
    ("wal_autocheckpoint", "0", 0),
    # On macOS a plain fsync returns before the disk has written. Ignored elsewhere.
    ("fullfsync", "ON", 1),
    ("checkpoint_fullfsync", "ON", 1),
    ("trusted_schema", "OFF", 0),
)

_AUDIT: Final = """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        draw INTEGER NOT NULL REFERENCES draw (id),
        event TEXT NOT NULL,
        agency INTEGER CHECK (agency BETWEEN 1 AND 255),
        detail TEXT NOT NULL
    ) STRICT
    """

_TABLES: Final = (
    """
    CREATE TABLE draw (
        id INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 4294967295),
        number INTEGER CHECK (number BETWEEN 0 AND 9999),
        bets INTEGER CHECK (bets >= 0),
        digest TEXT CHECK (length(digest) = 64)
    ) STRICT
    """,
    """
    CREATE TABLE upload (
        id INTEGER PRIMARY KEY,
        draw INTEGER NOT NULL REFERENCES draw (id),
        agency INTEGER NOT NULL CHECK (agency BETWEEN 1 AND 255),
        upload_id BLOB CHECK (length(upload_id) = 16),
        total INTEGER,
        stored INTEGER NOT NULL DEFAULT 0 CHECK (stored BETWEEN 0 AND coalesce(total, stored)),
        crc32 INTEGER NOT NULL DEFAULT 0 CHECK (crc32 BETWEEN 0 AND 4294967295),
        epoch INTEGER NOT NULL DEFAULT 0,
        voided INTEGER NOT NULL DEFAULT 0 CHECK (voided IN (0, 1)),
        CHECK ((upload_id IS NULL) = (total IS NULL))
    ) STRICT
    """,
    """
    CREATE TABLE batch (
        seq INTEGER PRIMARY KEY,
        upload INTEGER NOT NULL REFERENCES upload (id),
        first_row INTEGER NOT NULL CHECK (first_row >= 0),
        count INTEGER NOT NULL CHECK (count >= 1),
        bets BLOB NOT NULL,
        UNIQUE (upload, first_row)
    ) STRICT
    """,
    """
    CREATE TABLE seal (
        draw INTEGER NOT NULL REFERENCES draw (id),
        agency INTEGER NOT NULL CHECK (agency BETWEEN 1 AND 255),
        PRIMARY KEY (draw, agency)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE winner (
        draw INTEGER NOT NULL REFERENCES draw (id),
        agency INTEGER NOT NULL CHECK (agency BETWEEN 1 AND 255),
        position INTEGER NOT NULL CHECK (position >= 0),
        document TEXT NOT NULL,
        PRIMARY KEY (draw, agency, position)
    ) STRICT, WITHOUT ROWID
    """,
    _AUDIT,
    log.TABLE,
    log.FIRST_ROW,
)

# The first step makes version 2 of version 1, and so on. Indexes and triggers are made again after the steps.
_MIGRATIONS: Final = (
    (
        "ALTER TABLE draw ADD COLUMN bets INTEGER CHECK (bets >= 0)",
        "ALTER TABLE draw ADD COLUMN digest TEXT CHECK (length(digest) = 64)",
        "ALTER TABLE upload ADD COLUMN voided INTEGER NOT NULL DEFAULT 0 CHECK (voided IN (0, 1))",
        # The draw has checked these sums, and the triggers have kept them since.
        "UPDATE draw SET bets = (SELECT coalesce(sum(stored), 0) FROM upload WHERE upload.draw = draw.id)"
        " WHERE number IS NOT NULL",
        _AUDIT,
    ),
    (log.TABLE, log.FIRST_ROW),
)

_INDEXES: Final = (
    "CREATE UNIQUE INDEX upload_anonymous ON upload (draw, agency) WHERE upload_id IS NULL AND voided = 0",
    "CREATE UNIQUE INDEX upload_identified ON upload (draw, agency, upload_id)"
    " WHERE upload_id IS NOT NULL AND voided = 0",
)

_DRAW_OF_UPLOAD: Final = "(SELECT draw FROM upload WHERE id = {row}.upload)"


def _final(table: str, event: str, draw: str) -> str:
    """A trigger that stops `event` on `table` after the draw whose id is the expression `draw`."""
    name = f"{table}_is_final_on_{event.split()[0].lower()}"
    return f"""
    CREATE TRIGGER {name} BEFORE {event} ON {table}
    WHEN EXISTS (SELECT 1 FROM draw WHERE id = {draw} AND number IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'the draw is over'); END
    """


def _kept(table: str, event: str, what: str, *, when: str = "TRUE") -> str:
    """A trigger that stops `event` on a row of `table` for which `when` holds, in any draw."""
    return f"""
    CREATE TRIGGER {table}_is_kept_on_{event.lower()} BEFORE {event} ON {table} WHEN {when}
    BEGIN SELECT RAISE(ABORT, '{what} never changes'); END
    """


_TRIGGERS: Final = (
    _final("draw", "INSERT", "NEW.id"),
    _final("draw", "UPDATE", "OLD.id"),
    _final("draw", "DELETE", "OLD.id"),
    _final("upload", "INSERT", "NEW.draw"),
    _final("upload", "UPDATE OF id, draw, agency, upload_id, total, stored, crc32, voided", "OLD.draw"),
    _final("upload", "DELETE", "OLD.draw"),
    _final("batch", "INSERT", _DRAW_OF_UPLOAD.format(row="NEW")),
    _kept("batch", "UPDATE", "a stored batch"),
    _kept("batch", "DELETE", "a stored batch"),
    _kept("upload", "UPDATE", "a voided upload", when="OLD.voided"),
    _final("seal", "INSERT", "NEW.draw"),
    _final("seal", "UPDATE", "OLD.draw"),
    _final("seal", "DELETE", "OLD.draw"),
    _final("winner", "INSERT", "NEW.draw"),
    _final("winner", "UPDATE", "OLD.draw"),
    _final("winner", "DELETE", "OLD.draw"),
    # INSERT OR REPLACE replaces a row without running the trigger on DELETE.
    _kept("audit", "INSERT", "an audit entry", when="EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)"),
    _kept("audit", "UPDATE", "an audit entry"),
    _kept("audit", "DELETE", "an audit entry"),
)


def require_library(version: tuple[int, ...]) -> None:
    """Check that the SQLite library is new enough.

    Raises:
        StorageError: it is too old.
    """
    if version < _OLDEST_SQLITE:
        found, needed = (".".join(map(str, each)) for each in (version, _OLDEST_SQLITE))
        raise StorageError(f"this Python has SQLite {found}; the store needs {needed} or newer")


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, or 0 for an empty database. Changes nothing.

    Raises:
        StorageError: it is another program's database, or has a version that this program does not know.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, objects) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise StorageError(f"{path}: is a database of another program (application id {application:#010x})")
    if not 1 <= version <= SCHEMA_VERSION:
        reason = "was written by a newer version of this program" if version > SCHEMA_VERSION else "is damaged"
        raise StorageError(f"{path}: {reason}: its tables have version {version}, known is {SCHEMA_VERSION}")
    return int(version)


def older(version: int) -> str:
    """What to do about a book of an older version that must not be changed now, for messages."""
    return f"its tables have version {version}, needed is {SCHEMA_VERSION}: `bets-server serve` brings them up to date"


def lock(connection: sqlite3.Connection) -> None:
    """Make the next access take a lock that keeps all others out."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()


def apply_settings(connection: sqlite3.Connection) -> None:
    """Set the settings; `require_settings` checks them."""
    for pragma, value, _ in _SETTINGS:
        connection.execute(f"PRAGMA {pragma} = {value}").fetchall()


def require_settings(connection: sqlite3.Connection, path: Path) -> None:
    """Read the settings back, because SQLite silently ignores a setting that it cannot apply.

    Raises:
        StorageError: a setting is not in force; names it.
    """
    for pragma, _, wanted in _SETTINGS:
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != wanted:
            raise StorageError(f"{path}: SQLite setting {pragma} is {found!r}, and must be {wanted!r}")


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Migrate the tables to `SCHEMA_VERSION` and sign the file, inside the caller's transaction.

    Args:
        version: the result of `version_of`.
    """
    if version == SCHEMA_VERSION:
        return
    guards = "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
    for kind, name in connection.execute(guards).fetchall():
        connection.execute(f"DROP {kind} {name}")
    steps = _MIGRATIONS[version - 1 :] if version else (_TABLES,)
    for statement in (*itertools.chain(*steps), *_INDEXES, *_TRIGGERS):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
