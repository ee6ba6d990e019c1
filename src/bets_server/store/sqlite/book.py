"""An open book, for writing or only for reading: one connection, one lock, and errors in plain words.

This module does not know the tables.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from bets_protocol import StorageError
from bets_server.store.sqlite import room

Values: TypeAlias = Sequence[object]

ROWS_PER_STATEMENT: Final = 64
"""Bounds the statements that SQLite keeps compiled: one for each number of rows."""

REASONS: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_BUSY: "another server has it open",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the file or its folder does not allow it",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder does not allow it",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
}


_EFFECTIVE: Final = os.access in os.supports_effective_ids


class Book(abc.ABC):
    """The connection to a book.

    Attributes:
        path: for messages.
        connection: used only with the lock held.
        lock: lets one call at a time use the connection and what its owner holds in memory.
        found_version: the version of its tables when it was opened; 0 if it was made.

    Thread: any; every method but `close` and `require_in_place` is called with the lock held.
    """

    connection: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.found_version = 0
        self._failure = ""

    def require_usable(self) -> None:
        """Check that the file may be used.

        Raises:
            StorageError: it was closed, or has failed before.
        """
        if self._failure:
            raise StorageError(f"{self.path}: {self._failure}")

    @contextlib.contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn an error of SQLite into a `StorageError` that says why the file cannot be used."""
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: {reason_of(error, self.path)}") from error
        except UnicodeDecodeError as error:  # a text in the file, or in SQLite's message about it
            raise StorageError(f"{self.path}: the file is damaged: {error}") from error

    def read(self, statement: str, values: Values = ()) -> list[Any]:
        """Return all rows of a query.

        Raises:
            StorageError: the file cannot be read.
        """
        with self.plain_errors():
            return self.connection.execute(statement, values).fetchall()

    def write(self, statement: str, values: Values) -> int:
        """Run a statement inside a transaction and return how many rows it changed."""
        return self.connection.execute(statement, values).rowcount

    def write_rows(self, statement: str, rows: Sequence[Values]) -> int:
        """Run a statement for many rows at a time and return how many rows it changed.

        Args:
            statement: with ``{rows}`` in the place of the placeholders of all rows, as after VALUES.
            rows: the values.
        """
        # Each statement gives up Python's interpreter lock, and beside a busy thread takes it back only after a switch
        # interval (5 ms). So many rows go in together.
        changed = 0
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[start : start + ROWS_PER_STATEMENT]
            changed += self.write(
                _for_rows(statement, len(some[0]), len(some)), [value for row in some for value in row]
            )
        return changed

    @abc.abstractmethod
    def transaction(self, *, added_bytes: int = 0) -> contextlib.AbstractContextManager[None]:
        """Commit what the block writes, or roll it back if the block raises.

        Args:
            added_bytes: how many bytes the block writes, if they are many.

        Raises:
            StoreFull: there was no room; nothing was written, and the book goes on.
            StorageError: any other failure; the book refuses everything but `close` from now on.
        """

    @abc.abstractmethod
    def require_in_place(self) -> None:
        """Check that the names of the book still lead to the open files. Thread: any; waits for no lock.

        Raises:
            StorageError: one of them does not.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the book. Calling it again has no effect."""


@functools.cache
def _for_rows(statement: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=", ".join([row] * rows))


def reason_of(error: sqlite3.Error, path: Path) -> str:
    """Why SQLite cannot use the file, in plain words."""
    code = room.primary_code(error)
    if code == sqlite3.SQLITE_IOERR and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE):
        code = sqlite3.SQLITE_READONLY  # SQLite says "I/O error" if it cannot lock a file that it may only read
    return REASONS.get(code, f"cannot be used: {error}")
