"""A book that is only read: nothing of it is changed, and no file is made beside it.

So it works on a read-only file system too. A lock keeps servers out while the book is read or copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from bets_protocol import StorageError
from bets_server.store.contract import require_place
from bets_server.store.sqlite import log, schema
from bets_server.store.sqlite.book import Book
from bets_server.store.sqlite.file import BookFile, lock_for_reading


class ReadOnlyBook(Book):
    """A book that is open for reading."""

    def __init__(self, path: Path) -> None:
        """Open the book.

        Raises:
            StorageError: the file is not a book, is open for writing elsewhere, is not whole, or cannot be read.
        """
        super().__init__(path)
        require_place(path, create=False)
        real = Path(os.path.realpath(path))
        with contextlib.ExitStack() as parts:
            parts.enter_context(lock_for_reading(real))
            log.require_whole(real)  # opens and closes the main file, which releases the lock
            parts.enter_context(lock_for_reading(real))
            # 1. The log holds commits: SQLite would have to write to use it, so it works on a copy.
            # 2. Else the main file is read alone.
            # 3. Tables of an older version are brought up to date, which again needs a copy.
            if log.has_log(real):
                self.connection = self._copied(real, parts)
            else:
                with self.plain_errors():
                    self.connection = parts.enter_context(contextlib.closing(log.immutable(real)))
                    self.found_version = schema.version_of(self.connection, path)
                if self.found_version == 0:
                    raise StorageError(f"{path}: is empty and not a store")
                if self.found_version < schema.SCHEMA_VERSION:
                    self.connection = self._copied(real, parts)
            self._parts = parts.pop_all()

    def _copied(self, real: Path, parts: contextlib.ExitStack) -> sqlite3.Connection:
        """A connection to a copy of the book in a temporary folder; `parts` closes and deletes it.

        Raises:
            StorageError: there is no room for the copy, or the file is not a book.
        """
        try:
            folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="bets-server-")))
            copy = folder / real.name
            if log.has_log(real):
                shutil.copyfile(log.parts_of(real)[0], log.parts_of(copy)[0])
            shutil.copyfile(real, copy)  # last: closing the main file releases the lock
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be copied to a folder for temporary files, which reading it takes:"
                f" {error.strerror}: see TMPDIR"
            ) from error
        try:
            book = parts.enter_context(contextlib.closing(BookFile(copy, create=False, upgrade=True)))
        except StorageError as error:
            raise StorageError(str(error).replace(str(copy), str(self.path))) from error
        self.found_version = book.found_version
        return book.connection

    def transaction(self, *, added_bytes: int = 0) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Raise `StorageError`: the book is open for reading only."""
        raise StorageError(f"{self.path}: was opened for reading only")

    def require_in_place(self) -> None:
        """Do nothing: a reader writes nothing that could be lost."""

    def close(self) -> None:
        """Close the book; see `Book.close`."""
        with self.lock:
            self._failure = self._failure or "the store is closed"
            self._parts.close()
