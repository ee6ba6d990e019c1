"""Room on the disk for a book: how to reserve it, and how to tell lack of room from a disk that fails."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from pathlib import Path
from typing import Final

from bets_server.store.files import disk_errors
from bets_server.store.sqlite.log import parts_of

_FILLER_BYTES: Final = 5_000_000
"""A little more than the size of the write-ahead log at a checkpoint (1000 pages of 4096 bytes)."""

_ROOM_TO_SPARE: Final = 8
"""Room is reserved only if the filler fits on the disk so many times."""

_PAGE_BYTES: Final = 4096

_WORDS: Final = {
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file may not grow any further",
    errno.ENOSPC: "the disk is full",
}


def make_room(connection: sqlite3.Connection, path: Path) -> None:
    """Let the database and its write-ahead log grow now, and not during the first commits. A checkpoint must follow.

    Flushing a file that grows also writes the file system's journal: without that, a commit costs a third less. The
    room in the database stays for good, that in the log until the store is closed.

    Raises:
        sqlite3.Error: also for lack of room, because a quota may leave less of it than the disk has.
    """
    connection.execute("DROP TABLE IF EXISTS filler")  # left by a program that was killed below
    with disk_errors(path, "see how much room there is"):
        disk = os.statvfs(path)
    # On a disk with little room, the log must not keep what the database will need.
    if disk.f_bavail * disk.f_frsize >= _ROOM_TO_SPARE * _FILLER_BYTES:
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(?) AS bytes", (_FILLER_BYTES,))
        connection.execute("DROP TABLE filler")


def lack_of_room(error: sqlite3.Error, path: Path) -> str:
    """What kind of room was missing, in words; "" if the error has another cause.

    Args:
        error: the error of SQLite.
        path: of the book.
    """
    match primary_code(error):
        case sqlite3.SQLITE_FULL:
            return str(error)
        case sqlite3.SQLITE_IOERR:
            return _asked_again(path)
        case _:
            return ""


def is_rolled_back(error: sqlite3.Error) -> bool:
    """Whether nothing of a transaction that failed for lack of room can be found later.

    If a write failed, the last frame of the transaction, which makes it count, is not in the log. After a failed flush
    nobody knows.
    """
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for an error that did not come from SQLite itself."""
    return _code(error) & 0xFF


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def _asked_again(path: Path) -> str:
    # SQLite calls only ENOSPC "full". A quota (EDQUOT) and a limit on the size of files (EFBIG) come as I/O errors
    # without the system's error. So the system is asked again: write one more page behind the end of the write-ahead
    # log, where nothing counts, and cut it off.
    log, _ = parts_of(path)
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # The main file is never opened here: closing it again would release SQLite's lock on it.
        largest = max(os.stat(part).st_size for part in (path, log) if part.exists())
        if limit != resource.RLIM_INFINITY and largest + 2 * _PAGE_BYTES > limit:
            return f"files may have {limit} bytes at most (ulimit -f)"
        if not log.exists():
            return ""
        descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            try:
                os.pwrite(descriptor, bytes(_PAGE_BYTES), size)
            finally:
                os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _WORDS.get(error.errno or 0, "")
    return ""
