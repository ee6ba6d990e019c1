"""The main file of a book and its write-ahead log: whether both are there, and whether they belong together.

SQLite keeps what was committed lately in a second file, the log (`bets.db-wal`), and moves it into the main file from
time to time (a *checkpoint*). It does not check that the two belong together: it deletes a log whose main file is
missing, reads a main file whose log is missing as if it were whole, and applies a log to whatever main file it finds.
The table `checkpoint` closes that gap. Its only row has

- `main_file`: a random name of the state that the main file is in; each checkpoint brings a new one;
- `log_follows`: the state on which the log builds;
- `opening`: random, so that writing the row always changes it.

A checkpoint of ours is: (1) commit a new name in `main_file`; (2) have SQLite copy the log into the main file;
(3) commit that name in `log_follows`, which is the first thing in the log that SQLite begins with it. The first thing
that is written after opening the book is the row as well. Hence:

1. The two names differ in the main file by itself: it is only whole with its log. They become equal there when all of
   the log was copied, by whichever program. So a main file without its log is told from one that was closed. (Where a
   program dies between steps 1 and 3, and another one copies its log, they stay different: such a book is refused
   although nothing is missing. Nothing in it tells it from a copy of the main file that was made at that moment.)
2. A log begins with the row, or has it further on (between steps 1 and 3), with the name that the main file has. A log
   without that name belongs to another file, or to another state of this one.

SQLite must make no checkpoint by itself (`wal_autocheckpoint = 0`), save when it closes the book: that copies all. The
last thing that is written before is a new name in both columns, so that a copy of the log from earlier does not go with
what the main file is then.

`require_whole` looks before SQLite opens the book, and changes nothing. It reads the main file through a connection
that ignores the log (`immutable`) and looks into the log's own bytes, whose format SQLite documents. Books of older
versions have no such table, and nothing is known of them.
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

# The log: a header of 32 bytes, then frames: a header of 24 bytes and a page. Numbers are big-endian; the checksums run
# over words in the byte order that the last bit of the magic number says.
_MAGICS: Final = {0x377F0682: "<", 0x377F0683: ">"}
_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")

# A rollback journal, before its first flush and after it.
_JOURNAL_MAGICS: Final = (bytes(8), bytes.fromhex("d9d505f920a163d7"))

# A page that is a leaf of a table: a header of 8 bytes, then where the first cell is.
_FIRST_CELL_AT: Final = slice(8, 10)
_CELL_BYTES: Final = 64


def parts_of(path: Path) -> tuple[Path, Path]:
    """The log and the rollback journal of the book at `path`, whose links are resolved."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")


def require_whole(path: Path) -> None:
    """Make sure that a book, where there is one, lies there with all that belongs to it and nothing else.

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
            with_content.remove(journal)  # left by a program that was killed when it made the book
    if not size:
        for part in with_content:
            what = "is missing" if size is None else "is empty"
            raise StorageError(f"{path}: {what}, but {_holds_a_part(path, part)}")
        return
    found = _row_in(path)
    if found is None:
        return
    root, main_file, log_follows = found
    if not root:
        if log in with_content:
            raise StorageError(f"{path}: is empty, but {_holds_a_part(path, log)}")
        return
    if journal in with_content and main_file != bytes(_NAME_BYTES):
        raise StorageError(f"{journal}: does not belong to {path.name}, which has no such journal: move it away")
    counts, pages = _rows_in(log, root) if log in with_content else (False, [])
    belongs = any(main_file in page for page in pages)
    if counts and not belongs:
        raise StorageError(
            f"{log}: does not belong to this state of {path.name}: put the {path.name} back that it belongs to, or, if"
            f" {path.name} is a copy that was made while no server ran, move {log.name} away"
        )
    if main_file != log_follows and not belongs:
        raise StorageError(
            f"{path}: is not whole without {log.name}, which is missing or empty: put that file back, or use a"
            " copy that was made of both or while no server ran"
        )


def has_log(path: Path) -> bool:
    """Whether something in the log is still to be copied into the main file at `path`, as far as its size tells."""
    with disk_errors(path, "look at the file"):
        return bool(_size(parts_of(path)[0]))


def immutable(path: Path) -> sqlite3.Connection:
    """A connection that reads the main file by itself, takes no lock and makes no file.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )


def begin(connection: sqlite3.Connection) -> None:
    """Write the row, which must be the first thing that is written since the book was opened."""
    connection.execute("UPDATE checkpoint SET opening = randomblob(8)")


def name_next_state(connection: sqlite3.Connection) -> None:
    """Step 1 of a checkpoint; outside any transaction, as the others are."""
    connection.execute("UPDATE checkpoint SET main_file = ?", (secrets.token_bytes(_NAME_BYTES),))


def copy_into_main_file(connection: sqlite3.Connection) -> None:
    """Step 2. Where it fails for lack of room, the log goes on as it is."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def follow_state(connection: sqlite3.Connection) -> None:
    """Step 3."""
    connection.execute("UPDATE checkpoint SET log_follows = main_file")


def name_closed_state(connection: sqlite3.Connection) -> None:
    """Give the main file, which closing makes whole, a name that stands in no log but at the end of this one."""
    name = secrets.token_bytes(_NAME_BYTES)
    connection.execute("UPDATE checkpoint SET main_file = ?, log_follows = ?", (name, name))


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _is_of_nothing(journal: Path) -> bool:
    """Whether a rollback journal takes its database back to no page at all."""
    with journal.open("rb") as file:
        header = file.read(20)
    return header[:8] in _JOURNAL_MAGICS and header[16:] == bytes(4)


def _holds_a_part(path: Path, part: Path) -> str:
    return (
        f"{part} holds a part of it: put {path.name} back beside {part.name}, or, if that is of no use any more, move"
        " it away"
    )


def _row_in(path: Path) -> tuple[int, bytes, bytes] | None:
    """The page of the table in the main file by itself, and the two names.

    Returns:
        0 for the page where there is no table at all; None where there is no such table, or none can be read.
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
    """Whether SQLite finds anything in the log that counts, and what the log holds of the row.

    Whether it does, the header and the first frame show. The checksums of later frames are not looked at: they hold
    the row in one case only, and that they count the main file shows.

    Where nothing counts, the log may have been cut off as it was begun anew, which SQLite does once all of it was
    copied. The frames of before are still there then, but for the first one; their first salt is that of the header or
    one less, as the new header was written or not.
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
                break  # of an earlier log, over which this one is written
            if number == root and (counts or rest[0] in (salts[0], (salts[0] - 1) & 0xFFFF_FFFF)):
                start = int.from_bytes(page[_FIRST_CELL_AT], "big")
                rows.append(page[start : start + _CELL_BYTES])
        return bool(counts), rows


def _summed(data: bytes, total: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's checksum of a log, gone on with over `data`."""
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFF_FFFF
        second = (second + other + first) & 0xFFFF_FFFF
    return first, second
