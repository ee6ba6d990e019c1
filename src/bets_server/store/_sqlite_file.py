"""The open database file of a book: one connection, one lock, one way to write.

The rules:

- whatever writes does so inside `transaction`, which commits all of it or nothing;
- lack of room is rolled back and raised as `StoreFull`. After any other error nobody knows what is on disk: the file
  refuses everything but `close` from then on;
- each statement that SQLite runs gives up Python's interpreter lock, and beside a busy thread takes it back only after
  a switch interval (5 ms). So rows of a kind go in together, see `write_rows`.

Nothing in here knows a table by its name.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from bets_protocol import StorageError
from bets_server.store import _sqlite_schema as schema
from bets_server.store._base import require_place
from bets_server.store._files import create_file
from bets_server.store._values import StoreFull

Values: TypeAlias = Sequence[object]

ROWS_PER_STATEMENT: Final = 64
"""Bounds the texts that SQLite has to keep compiled, one for each number of rows."""

_REASONS: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_BUSY: "another server has it open",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the file or its folder does not allow it",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder does not allow it",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
}


_EFFECTIVE: Final = os.access in os.supports_effective_ids


class BookFile:
    """The connection to a book, which keeps everybody else out.

    Attributes:
        path: for messages.
        connection: to be used by whoever holds the lock.
        lock: lets one call at a time use the connection and what its owner holds in memory.

    Thread: any; every method but `close` is called with the lock held.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the book, creating or bringing up to date its tables where that is due.

        Raises:
            StorageError: the file is not a book, is open elsewhere, or cannot be used; it is left as it was.
        """
        self.path = path
        self.lock = threading.Lock()
        self._failure = ""
        self.connection = _connect(path, create=create)
        try:
            with self.plain_errors():
                self._prepare(create=create)
        except StorageError:
            self.connection.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        schema.require_library(sqlite3.sqlite_version_info)
        schema.lock(self.connection)
        version = schema.version_of(self.connection, self.path)
        if version == 0 and not create:
            raise StorageError(f"{self.path}: is empty and not a store")
        schema.apply_settings(self.connection)
        with self.transaction():  # needed in any case: it fails now where the file cannot be written
            schema.bring_up_to_date(self.connection, version)
        schema.require_settings(self.connection, self.path)
        if create:
            schema.make_room(self.connection, self.path)

    def require_usable(self) -> None:
        """Make sure that the file may be used.

        Raises:
            StorageError: it was closed, or has failed before.
        """
        if self._failure:
            raise StorageError(f"{self.path}: {self._failure}")

    @contextlib.contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Say in plain words why the file cannot be used."""
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: {_reason(error, self.path)}") from error
        except UnicodeDecodeError as error:  # of a text in the file, or of SQLite's own words about one
            raise StorageError(f"{self.path}: the file is damaged: {error}") from error

    def read(self, statement: str, values: Values = ()) -> list[Any]:
        """All rows of a question.

        Raises:
            StorageError: the file cannot be read.
        """
        with self.plain_errors():
            return self.connection.execute(statement, values).fetchall()

    def write(self, statement: str, values: Values) -> int:
        """Run a statement of a transaction; gives how many rows it changed."""
        return self.connection.execute(statement, values).rowcount

    def write_rows(self, statement: Callable[[int], str], rows: Sequence[Values]) -> int:
        """Run a statement that takes a number of rows, with as many at a time as it may; gives how many it changed."""
        changed = 0
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[start : start + ROWS_PER_STATEMENT]
            changed += self.write(statement(len(some)), [value for row in some for value in row])
        return changed

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, or roll back whatever it raises; decide whether the book may go on."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if schema.is_full(error):
                raise StoreFull(f"{self.path}: there is no room: {error}") from error
            self._failure = f"the store has failed: {error}"
            raise StorageError(f"{self.path}: {_reason(error, self.path)}") from error
        except UnicodeDecodeError as error:
            self._failure = f"the store has failed: {error}"
            raise StorageError(f"{self.path}: the file is damaged: {error}") from error
        except StorageError as error:
            self._failure = f"the store has failed: {error}"
            raise

    def close(self) -> None:
        """Close the file; what is in the write-ahead log goes into the database now. Twice is harmless."""
        with self.lock:
            self._failure = self._failure or "the store is closed"
            self.connection.close()


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    require_place(path, create=create)
    if create:
        descriptor = create_file(path)
        if descriptor is not None:
            os.close(descriptor)
    try:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=3 * ROWS_PER_STATEMENT + 32,
        )
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {_reason(error, path)}") from error


def _reason(error: sqlite3.Error, path: Path) -> str:
    code = schema.primary_code(error)
    if code == sqlite3.SQLITE_IOERR and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE):
        code = sqlite3.SQLITE_READONLY  # a file that opens for reading only cannot be locked, which SQLite calls this
    return _REASONS.get(code, f"cannot be used: {error}")
