"""Room on the disk for a book: taken ahead of need, and told apart from a disk that fails.

SQLite calls only ENOSPC "full". A quota (EDQUOT) and a limit on the size of files (EFBIG) come as I/O errors, and it
does not pass on what the system said. So it is asked again: a page more is written behind the end of the write-ahead
log, where nothing counts, and taken away.
"""

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
"""A little more than the write-ahead log grows to before a checkpoint (1000 pages of 4096 bytes)."""

_ROOM_TO_SPARE: Final = 8
"""How many times the filler must fit on the disk before any of it is taken ahead of need."""

_PAGE_BYTES: Final = 4096

_WORDS: Final = {
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file may not grow any further",
    errno.ENOSPC: "the disk is full",
}


def make_room(connection: sqlite3.Connection, path: Path) -> None:
    """Let the database and its write-ahead log grow now rather than under the first commits; a checkpoint must follow.

    A flush of a file that grows must write the file system's own journal as well: commits cost a third less without.
    The room in the database stays for good, that in the log until the store is closed. On a disk with little room
    nothing is done: there the log must not keep what the database will need.

    Raises:
        sqlite3.Error: also where there is no room, since a quota may leave less of it than the disk has.
    """
    connection.execute("DROP TABLE IF EXISTS filler")  # left by a program that was killed right here
    with disk_errors(path, "see how much room there is"):
        disk = os.statvfs(path)
    if disk.f_bavail * disk.f_frsize >= _ROOM_TO_SPARE * _FILLER_BYTES:
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(?) AS bytes", (_FILLER_BYTES,))
        connection.execute("DROP TABLE filler")


def lack_of_room(error: sqlite3.Error, path: Path) -> str:
    """What there is not enough of; empty: the error comes from something else.

    Args:
        error: what SQLite raised.
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
    """Whether nothing of the transaction can be found later, given that room was what it lacked.

    A frame that was not written whole ends the log, and the one that makes a transaction count is its last. After a
    flush that failed, though, nobody knows.
    """
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension; 0 for what did not come from SQLite itself."""
    return _code(error) & 0xFF


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def _asked_again(path: Path) -> str:
    log, _ = parts_of(path)
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # The main file is never opened here: to close it again would let go of SQLite's lock on it.
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
