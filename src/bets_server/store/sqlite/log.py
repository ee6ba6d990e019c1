"""The main file of a book and its write-ahead log: whether both exist, and whether they belong together.

SQLite keeps the latest commits in a second file, the log (`bets.db-wal`), and copies it into the main file from time
to time (a *checkpoint*). It does not check that the two belong together: it deletes a log whose main file is missing,
reads a main file whose log is missing as if it were whole, and applies a log to any main file.
The table `checkpoint` makes the check possible. Its only row has

- `main_file`: a random name of the state that the main file is in; each checkpoint makes a new one;
- `log_follows`: the name of the state on which the log builds;
- `opening`: random, so that writing the row always changes it.

A checkpoint has three steps: (1) commit a new name in `main_file`; (2) have SQLite copy the log into the main file;
(3) commit that name in `log_follows`, which is the first entry of the log that SQLite then begins. The first write
after opening the book is also that row. Hence:

1. In a main file that needs its log the two names differ. They become equal when all of the log was copied, by any
   program. So a main file that lacks its log can be told from one that was closed. (If a program dies between steps 1
   and 3, and another program copies its log, the names stay different. Such a book is refused although nothing is
   missing, because it looks like a copy of the main file that was made at that moment.)
2. A log begins with the row, or has it further on (between steps 1 and 3), with the name that the main file has. A log
   without that name belongs to another file, or to another state of this one.

SQLite must make no checkpoint by itself (`wal_autocheckpoint = 0`), except the one when it closes the book, which
copies everything. The last write before that is a new name in both columns, so that an earlier copy of the log does not
fit the closed main file.

`require_whole` runs before SQLite opens the book, and changes nothing. It reads the main file through a connection that
ignores the log (`immutable`), and reads the log's bytes, whose format SQLite documents. Books of older versions have no
such table and cannot be checked.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import struct
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bets_protocol import StorageError
from bets_server.store.files import disk_errors

TABLE: Final = """
    CREATE TABLE checkpoint (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        main_file BLOB NOT NULL CHECK (length(main_file) = 16),
        log_follows BLOB NOT NULL CHECK (length(log_follows) = 16),
        opening BLOB NOT NULL CHECK (length(opening) = 8)
    ) STRICT
    """

FIRST_ROW: Final = "INSERT INTO checkpoint SELECT 1, name, name, randomblob(8) FROM (SELECT zeroblob(16) AS name)"

_NAME_BYTES: Final = 16

# The log is a header of 32 bytes, then frames, each a header of 24 bytes and a page. Numbers are big-endian. The
# checksums run over words in the byte order that the last bit of the magic number says.
_MAGICS: Final = {0x377F0682: "<", 0x377F0683: ">"}
_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")

# A rollback journal, before its first flush and after it.
_JOURNAL_MAGICS: Final = (bytes(8), bytes.fromhex("d9d505f920a163d7"))

# A leaf page of a table is a header of 8 bytes, then the offset of the first cell.
_FIRST_CELL_AT: Final = slice(8, 10)
_CELL_BYTES: Final = 64


def parts_of(path: Path) -> tuple[Path, Path]:
    """The log and the rollback journal of the book at `path`, whose links are resolved."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")


def require_whole(path: Path) -> None:
    """Check that a book, if there is one, has all its files and no others.

    Args:
        path: of the main file, links resolved; a file that is missing or empty is a book that is still to be made.

    Raises:
        StorageError: says which file is missing or does not belong, and what to do.
    """
    log, journal = parts_of(path)
    with disk_errors(path, "look at the file"):
        size = _size(path)
        with_content = [part for part in (log, journal) if _size(part)]
        if size == 0 and journal in with_content and _is_of_nothing(journal):
            with_content.remove(journal)  # left by a program that was killed while it made the book
    # 1. There is no main file, so nothing of it may be there either.
    if not size:
        for part in with_content:
            what = "is missing" if size is None else "is empty"
            raise StorageError(f"{path}: {what}, but {_holds_a_part(path, part)}")
        return
    # 2. The main file has no row: an older book, which cannot be checked, or a book without tables.
    found = _row_in(path)
    if found is None:
        return
    root, main_file, log_follows = found
    if not root:
        if log in with_content:
            raise StorageError(f"{path}: is empty, but {_holds_a_part(path, log)}")
        return
    # 3. Its name says that the book has had a log, and a book with a log makes no rollback journal.
    if journal in with_content and main_file != bytes(_NAME_BYTES):
        raise StorageError(f"{journal}: does not belong to {path.name}, which has no such journal: move it away")
    counts, pages = _rows_in(log, root) if log in with_content else (False, [])
    belongs = any(main_file in page for page in pages)
    # 4. SQLite would apply a log that does not have the main file's name.
    if counts and not belongs:
        raise StorageError(
            f"{log}: does not belong to this state of {path.name}: put the {path.name} back that it belongs to, or, if"
            f" {path.name} is a copy that was made while no server ran, move {log.name} away"
        )
    # 5. The main file needs a log, and its log is not there.
    if main_file != log_follows and not belongs:
        raise StorageError(
            f"{path}: is not whole without {log.name}, which is missing or empty: put that file back, or use a"
            " copy that was made of both or while no server ran"
        )


def has_log(path: Path) -> bool:
    """Whether the log of the main file at `path` has content, and so may hold commits that the main file lacks."""
    with disk_errors(path, "look at the file"):
        return bool(_size(parts_of(path)[0]))


def immutable(path: Path) -> sqlite3.Connection:
    """A connection that reads the main file without its log, takes no lock and makes no file.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )


def begin(connection: sqlite3.Connection) -> None:
    """Write the row. This must be the first write since the book was opened."""
    connection.execute("UPDATE checkpoint SET opening = randomblob(8)")


def name_next_state(connection: sqlite3.Connection) -> None:
    """Step 1 of a checkpoint. Like the others, it runs outside any transaction."""
    connection.execute("UPDATE checkpoint SET main_file = ?", (secrets.token_bytes(_NAME_BYTES),))


def copy_into_main_file(connection: sqlite3.Connection) -> None:
    """Step 2. If it fails for lack of room, the log goes on unchanged."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def follow_state(connection: sqlite3.Connection) -> None:
    """Step 3."""
    connection.execute("UPDATE checkpoint SET log_follows = main_file")


def name_closed_state(connection: sqlite3.Connection) -> None:
    """Give the main file, which closing makes whole, a name that is in no log except at the end of this one."""
    name = secrets.token_bytes(_NAME_BYTES)
    connection.execute("UPDATE checkpoint SET main_file = ?, log_follows = ?", (name, name))


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _is_of_nothing(journal: Path) -> bool:
    """Whether a rollback journal restores a database of no pages."""
    with journal.open("rb") as file:
        header = file.read(20)
    return header[:8] in _JOURNAL_MAGICS and header[16:] == bytes(4)


def _holds_a_part(path: Path, part: Path) -> str:
    return (
        f"{part} holds a part of it: put {path.name} back beside {part.name}, or, if that is of no use any more, move"
        " it away"
    )


def _row_in(path: Path) -> tuple[int, bytes, bytes] | None:
    """The root page of the table `checkpoint` and the two names, from the main file without its log.

    Returns:
        The page is 0 if there are no tables at all. None if there is no such table, or it cannot be read.
    """
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError), contextlib.closing(immutable(path)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            return 0, b"", b""
        row = connection.execute(
            "SELECT rootpage, main_file, log_follows FROM checkpoint, sqlite_schema"
            " WHERE type = 'table' AND name = 'checkpoint'"
        ).fetchone()
        match row:
            case [int(root), bytes(main_file), bytes(log_follows)]:
                return root, main_file, log_follows
    return None


def _rows_in(log: Path, root: int) -> tuple[bool, list[bytes]]:
    """Whether SQLite would apply anything of the log, and the log's pages that have the row.

    The header and the first frame show whether it would. The checksums of later frames are not checked: a later frame
    has the row in one case only, and then the main file shows that the frame counts.
    """
    with disk_errors(log, "read"), log.open("rb") as file:
        header = file.read(_LOG_HEADER.size)
        if len(header) < _LOG_HEADER.size:
            return False, []
        magic, _, page_bytes, _, *salt_and_sum = _LOG_HEADER.unpack(header)
        order = _MAGICS.get(magic)
        if order is None or page_bytes > 65_536:
            return False, []
        salts, total = salt_and_sum[:2], _summed(header[:24], (0, 0), order)
        if total != tuple(salt_and_sum[2:]):
            return False, []
        counts: bool | None = None
        rows: list[bytes] = []
        while len(head := file.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            number, _, *rest = _FRAME_HEADER.unpack(head)
            page = file.read(page_bytes)
            if len(page) < page_bytes:
                break
            same_log = rest[:2] == salts
            if counts is None:
                counts = same_log and _summed(page, _summed(head[:8], total, order), order) == tuple(rest[2:])
            if counts and not same_log:
                break  # a frame of an earlier log, over which this one is written
            # If nothing counts, a crash may have interrupted SQLite when it began the log again, after all of it was
            # copied. The old frames are still there, except the first. Their first salt is that of the header, or one
            # less if the new header was written.
            if number == root and (counts or rest[0] in (salts[0], (salts[0] - 1) & 0xFFFF_FFFF)):
                start = int.from_bytes(page[_FIRST_CELL_AT], "big")
                rows.append(page[start : start + _CELL_BYTES])
        return bool(counts), rows


def _summed(data: bytes, total: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's checksum of a log, continued over `data` from `total`."""
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFF_FFFF
        second = (second + other + first) & 0xFFFF_FFFF
    return first, second
