"""The open database file of a book: one connection, one lock, one way to write.

Everything is written inside `transaction`, which commits all of it or nothing. This module makes the checkpoints, see
`log`, and does not know the tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bets_protocol import StorageError
from bets_server.store.contract import require_place
from bets_server.store.files import create_file, disk_errors
from bets_server.store.place import Place, require_not_mounted_alone
from bets_server.store.sqlite import log, room, schema
from bets_server.store.sqlite.book import REASONS, ROWS_PER_STATEMENT, Book, reason_of
from bets_server.store.values import StoreFull

# The bytes of a main file that SQLite locks: shared to read, exclusive if no other process may open it.
_LOCK_START: Final = 0x4000_0002
_LOCK_BYTES: Final = 510

_PAGES_BEFORE_CHECKPOINT: Final = 1000
"""Pages in the log; SQLite's own default. With a larger log the start after a crash takes longer."""

_PAGES_A_TRANSACTION: Final = 4
_BYTES_A_PAGE: Final = 2900
_ROWS_A_PAGE: Final = 16
"""An estimate of the pages in the log, which SQLite does not tell: within a fifth for groups of all sizes."""


class BookFile(Book):
    """A book that is open for writing, with a lock that keeps all others out.

    Thread: any; every method but `close` and `require_in_place` is called with the lock held.
    """

    def __init__(self, path: Path, *, create: bool, upgrade: bool | None = None) -> None:
        """Open the book for writing.

        Args:
            path: of the main file.
            create: make the book if there is none, and reserve room for it.
            upgrade: bring the tables of an older version up to date instead of refusing them; by default as `create`.

        Raises:
            StorageError: the file is not a book, is open elsewhere, or cannot be used; it is unchanged.
        """
        super().__init__(path)
        self._log_place: Place | None = None  # until there is one
        self._is_tied = False  # whether the log says which main file it belongs to
        self._pages = 0
        self._is_misplaced = False
        with contextlib.ExitStack() as undo:
            created = self._require_place(path, create=create)
            if created:
                undo.callback(os.unlink, self._real_path)
            self.connection = undo.enter_context(contextlib.closing(_connected(path)))
            with self.plain_errors():
                self._prepare(create=create, upgrade=create if upgrade is None else upgrade)
            undo.pop_all()
        _open_here.add(self._place.file)

    def _require_place(self, path: Path, *, create: bool) -> bool:
        """Check that the book may be opened, and return whether its main file was created now, empty."""
        require_place(path, create=create)
        self._real_path = Path(os.path.realpath(path))
        require_not_mounted_alone(self._real_path)
        try:
            log.require_whole(self._real_path)
        except StorageError:
            if is_open_elsewhere(self._real_path):  # the two files were changing while they were compared
                raise StorageError(f"{path}: {REASONS[sqlite3.SQLITE_BUSY]}") from None
            raise
        descriptor = create_file(self._real_path) if create else None
        if descriptor is not None:
            os.close(descriptor)
        self._place = Place(path)
        return descriptor is not None

    def _prepare(self, *, create: bool, upgrade: bool) -> None:
        connection = self.connection
        schema.require_library(sqlite3.sqlite_version_info)
        schema.lock(connection)
        self.found_version = version = schema.version_of(connection, self.path)
        if version == 0 and not create:
            raise StorageError(f"{self.path}: is empty and not a store")
        if version < schema.SCHEMA_VERSION and not upgrade:
            raise StorageError(f"{self.path}: {schema.older(version)}")
        # The tables of a new book are made before the settings start the log, so a main file without tables is never
        # one that lacks its log.
        if version == 0:
            self._bring_up_to_date(version)
        schema.apply_settings(connection)
        # Also if the tables are up to date: a file that cannot be written fails now, and not at the first batch.
        self._bring_up_to_date(version or schema.SCHEMA_VERSION)
        schema.require_settings(connection, self.path)
        with contextlib.suppress(StoreFull):  # without room the winners can still be read
            self._tie_log(make_room=create)

    def _bring_up_to_date(self, version: int) -> None:
        with self._plain_transaction():
            schema.bring_up_to_date(self.connection, version)

    @contextlib.contextmanager
    def transaction(self, *, added_bytes: int = 0) -> Iterator[None]:
        """Commit what the block writes, or nothing; see `Book.transaction`."""
        if not self._is_tied:
            self._tie_log(make_room=False)
        before = self.connection.total_changes
        with self._plain_transaction():
            yield
        # A commit counts only while the names of the book lead to it: the next process could not find it, see `place`.
        self._require_in_place()
        rows = self.connection.total_changes - before
        self._pages += _PAGES_A_TRANSACTION + added_bytes // _BYTES_A_PAGE + rows // _ROWS_A_PAGE
        if self._pages >= _PAGES_BEFORE_CHECKPOINT:
            self._pages = 0
            with contextlib.suppress(StoreFull):  # the commit is in the log, and the log can still grow
                self._checkpoint()

    @contextlib.contextmanager
    def _plain_transaction(self) -> Iterator[None]:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
        except (sqlite3.Error, UnicodeDecodeError, StorageError) as error:
            raise self._decided(error) from error

    def _decided(self, error: Exception) -> StorageError:
        """The error to raise for an error of a transaction. Unless it is lack of room, the book has failed."""
        # 1. Lack of room is rolled back: `StoreFull`, and the book goes on.
        # 2. After any other error nobody knows what is on disk. After an I/O error of a commit, the next process found
        #    the rows. So the book refuses everything but `close`.
        match error:
            case StoreFull():
                return error
            case StorageError():
                decided = error
            case sqlite3.Error():
                lack = room.lack_of_room(error, self._real_path)
                if lack and room.is_rolled_back(error):
                    return StoreFull(f"{self.path}: there is no room: {lack}")
                decided = StorageError(f"{self.path}: {lack or reason_of(error, self.path)}")
            case _:
                decided = StorageError(f"{self.path}: the file is damaged: {error}")
        self._failure = f"the store has failed: {error}"
        return decided

    def _tie_log(self, *, make_room: bool) -> None:
        """Record in the log and in the main file that they belong together. Nothing may be acknowledged before.

        Raises:
            StoreFull: there is no room for it; nothing is changed.
            StorageError: it failed.
        """
        try:
            log.begin(self.connection)
            if make_room:
                room.make_room(self.connection, self._real_path)
        except (sqlite3.Error, StorageError) as error:
            raise self._decided(error) from error
        if self._log_place is None:
            self._log_place = Place(log.parts_of(self._real_path)[0])
        self._checkpoint()

    def _checkpoint(self) -> None:
        self._step(log.name_next_state)
        try:
            self._step(log.copy_into_main_file)
        except StoreFull:
            # The log goes on. With step 3 in it, a program that copies all of it later makes the main file whole.
            with contextlib.suppress(StoreFull):
                self._step(log.follow_state)
            raise
        self._is_tied = False  # until step 3 is done as well
        self._step(log.follow_state)
        self._is_tied = True

    def _step(self, step: Callable[[sqlite3.Connection], None]) -> None:
        try:
            step(self.connection)
        except sqlite3.Error as error:
            raise self._decided(error) from error

    def require_in_place(self) -> None:
        """Check that the names lead to the open files; see `Book.require_in_place`."""
        self._place.require()
        if self._log_place is not None:
            self._log_place.require_file()

    def _require_in_place(self) -> None:
        try:
            self.require_in_place()
        except StorageError as error:
            self._failure, self._is_misplaced = f"the store has failed: {error}", True
            raise

    def close(self) -> None:
        """Close the file after copying the write-ahead log into the main file. See `Book.close`."""
        with self.lock:
            if not self._failure or self._is_misplaced:
                with contextlib.suppress(sqlite3.Error):
                    self._name_last_state()
                try:
                    self.require_in_place()
                except StorageError:
                    # SQLite leaves the log of a moved file where it is, so the moved file must become whole now.
                    with contextlib.suppress(sqlite3.Error):
                        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._failure = self._failure or "the store is closed"
            _open_here.discard(self._place.file)
            self.connection.close()

    def _name_last_state(self) -> None:
        """Give the closed book a new name, so that no log fits it, not even an earlier copy of its own."""
        if not self._is_tied:
            log.follow_state(self.connection)
        log.name_closed_state(self.connection)


_open_here: set[tuple[int, int]] = set()
"""Device and inode of the books that this process has open."""


def is_open_elsewhere(path: Path) -> bool:
    """Whether a process has the book at `path` open for writing."""
    with contextlib.ExitStack() as lock:
        return path.exists() and not _locked_for_reading(path, lock)


def lock_for_reading(path: Path) -> contextlib.ExitStack:
    """Keep all processes from opening the book for writing until the returned stack is closed.

    Raises:
        StorageError: a process has it open for writing, or it cannot be read.
    """
    with contextlib.ExitStack() as lock:
        if not _locked_for_reading(path, lock):
            raise StorageError(f"{path}: {REASONS[sqlite3.SQLITE_BUSY]}")
        return lock.pop_all()


def _locked_for_reading(path: Path, lock: contextlib.ExitStack) -> bool:
    with disk_errors(path, "open the file"):
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in _open_here:
            return False  # do not open it: closing the descriptor would release SQLite's lock, as POSIX has it
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        lock.callback(os.close, descriptor)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        except (BlockingIOError, PermissionError):
            return False
    return True


def _connected(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=3 * ROWS_PER_STATEMENT + 32,
        )
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {reason_of(error, path)}") from error
