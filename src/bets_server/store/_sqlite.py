"""The book: a store in one SQLite file.

Strategy: one connection, which keeps everybody else out; one transaction, and with it one flush, for each group of
batches. What decides a verdict (seals, the draw, where each upload ends) is also held in memory: this process is the
only writer, so it is read once when the store is opened, and replaced only after a commit went through. A call that
fails in between leaves both the file and the memory as they were.

A commit that fails for another reason than lack of room is *not* "not stored": after an I/O error the rows were found
again by the next process. So such an error ends the store, see `BetStore`.

Each statement that SQLite runs gives up Python's interpreter lock, and beside a busy thread takes it back only after a
switch interval (5 ms). So a group costs four statements however many batches it has: rows of a kind go in together.

The tables and settings are in `_sqlite_schema`; nothing in here knows the layout of a bet.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs

from bets_protocol import Bet, Lot, RemoteProtocolError, StorageError, decode_bets
from bets_server.draw import checked_agency, checked_number, missing_agencies, winners_of_lots
from bets_server.store import _sqlite_schema as schema
from bets_server.store._base import (
    BetStore,
    DrawState,
    SealOutcome,
    StoreFull,
    Verdict,
    path_of,
    require_place,
    verdict_on,
)
from bets_server.store._files import create_file

_ROWS_PER_STATEMENT: Final = 64
"""Bounds the texts that SQLite has to keep compiled, one for each number of rows."""

_BATCHES_PER_PAGE: Final = 16
"""Read at a time when bets are walked: at most 128 KB of them."""

_REASONS: Final = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_BUSY: "another server has it open",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the file or its folder does not allow it",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder does not allow it",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
}


@attrs.frozen
class _Upload:
    """Where an upload ends: its row's id, bets stored, and the CRC-32 over their bytes."""

    id: int
    stored: int
    crc32: int

    def extended(self, lot: Lot) -> _Upload:
        """The upload with a lot added to its end."""
        return _Upload(self.id, self.stored + lot.count, zlib.crc32(lot.encoded, self.crc32))


def open_sqlite(url: str, *, draw: int, create: bool) -> SqliteStore:
    """Open the store behind ``sqlite:///path``; see `open_store`."""
    return SqliteStore(path_of(url), draw=draw, create=create)


class SqliteStore(BetStore):
    """One draw of a book in a SQLite file.

    Thread: any; a lock lets one call at a time use the connection and what is held in memory.
    """

    def __init__(self, path: Path, *, draw: int = 1, create: bool = True) -> None:
        """Open the book; see `open_store`.

        Raises:
            StorageError: the file is not a book, is open elsewhere, or cannot be used; it is left as it was.
        """
        self._path = path
        self._draw = draw
        self._lock = threading.Lock()
        self._failure = ""
        self._connection = _connect(path, create=create)
        try:
            with _opening(path):
                self._prepare(create=create)
                self._load()
        except StorageError:
            self._connection.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        schema.require_library(sqlite3.sqlite_version_info)
        schema.lock(self._connection)
        new = schema.is_new(self._connection, self._path)
        if new and not create:
            raise StorageError(f"{self._path}: is empty and not a store")
        schema.apply_settings(self._connection)
        with self._transaction():  # needed in any case: it fails now where the file cannot be written
            if new:
                schema.create_tables(self._connection)
        schema.require_settings(self._connection, self._path)
        if create:
            schema.make_room(self._connection, self._path)

    def _load(self) -> None:
        """Read what decides verdicts."""
        execute, mine = self._connection.execute, (self._draw,)
        row = execute("SELECT number FROM draw WHERE id = ?", mine).fetchone()
        self._has_row = row is not None
        self._number: int | None = row[0] if row is not None else None
        self._sealed = frozenset(agency for (agency,) in execute("SELECT agency FROM seal WHERE draw = ?", mine))
        rows = execute("SELECT agency, id, stored, crc32 FROM upload WHERE draw = ? AND upload_id IS NULL", mine)
        self._uploads = {agency: _Upload(*upload) for agency, *upload in rows}
        (self._last_upload,) = execute("SELECT coalesce(max(id), 0) FROM upload").fetchone()

    def append(self, batches: Sequence[Sequence[Lot]]) -> list[Verdict]:
        """Store a group of batches; see `BetStore.append`."""
        with self._lock:
            self._require_usable()
            drawn = self._number is not None
            verdicts = [verdict_on(batch, self._sealed, drawn=drawn) for batch in batches]
            accepted = zip(batches, verdicts, strict=True)
            self._store([lot for batch, verdict in accepted if verdict is Verdict.STORED for lot in batch])
            return verdicts

    def _store(self, lots: Sequence[Lot]) -> None:
        """Write lots at the end of their agencies' anonymous uploads, all of them or none."""
        if not lots:
            return
        uploads: dict[int, _Upload] = {}
        last_upload = self._last_upload
        rows: list[tuple[int, int, int, bytes]] = []
        for lot in lots:
            upload = uploads.get(lot.agency) or self._uploads.get(lot.agency)
            if upload is None:
                last_upload += 1
                upload = _Upload(last_upload, 0, 0)
            rows.append((upload.id, upload.stored, lot.count, lot.encoded))
            uploads[lot.agency] = upload.extended(lot)
        ends = [(each.id, self._draw, agency, each.stored, each.crc32) for agency, each in uploads.items()]
        with self._transaction():
            self._insert_draw()
            self._insert(_upload_statement, ends)
            self._insert(_batch_statement, rows)
        self._has_row, self._last_upload = True, last_upload
        self._uploads.update(uploads)

    def _insert(self, statement: Callable[[int], str], rows: Sequence[tuple[object, ...]]) -> None:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            some = rows[start : start + _ROWS_PER_STATEMENT]
            self._connection.execute(statement(len(some)), [value for row in some for value in row])

    def _insert_draw(self) -> None:
        if not self._has_row:
            self._connection.execute("INSERT INTO draw (id) VALUES (?)", (self._draw,))

    def seal_and_draw(self, agency: int, *, expected: int, pick: Callable[[], int]) -> SealOutcome:
        """Seal an agency and draw where it was the last; see `BetStore.seal_and_draw`."""
        sealed_by_this = frozenset({checked_agency(agency)})
        with self._lock:
            self._require_usable()
            sealed = self._sealed | sealed_by_this
            complete = not missing_agencies(sealed, expected)
            if self._number is not None:
                return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
            newly_sealed = sealed != self._sealed
            number = None
            if newly_sealed or complete:
                with self._transaction():
                    self._insert_draw()
                    if newly_sealed:
                        self._connection.execute("INSERT INTO seal VALUES (?, ?)", (self._draw, agency))
                    if complete:
                        self._verify()
                        number = checked_number(pick())
                        self._write_draw(number)
                self._has_row, self._sealed, self._number = True, sealed, number
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def _verify(self) -> None:
        """Make sure that the book holds, byte for byte, what was acknowledged: the draw is final, so now is the time.

        Raises:
            StorageError: the batches of an upload do not add up to it: one is missing, changed or new.
        """
        found: dict[int, _Upload] = {}
        for upload, agency, count, encoded in self._walk("upload.id, upload.agency, batch.count, batch.bets"):
            end = found.get(upload) or _Upload(upload, 0, 0)
            found[upload] = end.extended(Lot(agency=agency, count=count, encoded=encoded))
        for agency, *upload in self._connection.execute(
            "SELECT agency, id, stored, crc32 FROM upload WHERE draw = ?", (self._draw,)
        ):
            wanted = _Upload(*upload)
            if found.get(wanted.id, _Upload(wanted.id, 0, 0)) != wanted:
                raise StorageError(f"{self._path}: the bets of agency {agency} are not those that were stored")

    def _write_draw(self, number: int) -> None:
        """Find the winners batch by batch, write them down, then end the draw: in that order, for the triggers."""
        positions: Counter[int] = Counter()
        for agency, document in winners_of_lots(self._walk("upload.agency, batch.bets"), number):
            row = (self._draw, agency, positions[agency], document)
            self._connection.execute("INSERT INTO winner VALUES (?, ?, ?, ?)", row)
            positions[agency] += 1
        self._connection.execute("UPDATE draw SET number = ? WHERE id = ?", (number, self._draw))

    def _walk(self, columns: str) -> sqlite3.Cursor:
        """Each batch of the draw in the order of storing, one at a time in memory."""
        return self._connection.execute(
            # CROSS JOIN: walk the batches in their own order and look the uploads up; nothing is sorted.
            f"SELECT {columns} FROM batch CROSS JOIN upload ON upload.id = batch.upload"
            " WHERE upload.draw = ? ORDER BY batch.seq",
            (self._draw,),
        )

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, or None before the draw; see `BetStore.winners`."""
        with self._lock:
            self._require_usable()
            if self._number is None:
                return None
            rows = self._read(
                "SELECT document FROM winner WHERE draw = ? AND agency = ? ORDER BY position", (self._draw, agency)
            )
            return tuple(document for (document,) in rows)

    def state(self) -> DrawState:
        """What is known of the draw; see `BetStore.state`."""
        with self._lock:
            self._require_usable()
            rows = self._read(
                "SELECT agency, sum(stored) FROM upload WHERE draw = ? AND stored > 0 GROUP BY agency", (self._draw,)
            )
            return DrawState(draw=self._draw, number=self._number, sealed=self._sealed, bets_by_agency=dict(rows))

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets; see `BetStore.bets`."""
        with self._lock:
            self._require_usable()
            ((last,),) = self._read("SELECT coalesce(max(seq), 0) FROM batch", ())
        sequence = 0
        while page := self._page(agency, sequence, last):
            for sequence, encoded in page:
                try:
                    bets = decode_bets(encoded)
                except RemoteProtocolError as error:
                    raise StorageError(f"{self._path}: batch {sequence} is damaged: {error}") from error
                yield from bets

    def _page(self, agency: int | None, after: int, last: int) -> list[tuple[int, bytes]]:
        with self._lock:
            self._require_usable()
            return self._read(
                "SELECT batch.seq, batch.bets FROM batch CROSS JOIN upload ON upload.id = batch.upload"
                " WHERE batch.seq > ? AND batch.seq <= ? AND upload.draw = ? AND upload.agency = coalesce(?, agency)"
                " ORDER BY batch.seq LIMIT ?",
                (after, last, self._draw, agency, _BATCHES_PER_PAGE),
            )

    def close(self) -> None:
        """Close the file; see `BetStore.close`. What is in the write-ahead log goes into the database now."""
        with self._lock:
            self._failure = self._failure or "the store is closed"
            self._connection.close()

    def _require_usable(self) -> None:
        if self._failure:
            raise StorageError(f"{self._path}: {self._failure}")

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {_reason(error)}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block writes, or roll back whatever it raises; decide whether the store may go on."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if schema.is_full(error):
                raise StoreFull(f"{self._path}: there is no room: {error}") from error
            self._failure = f"the store has failed: {error}"
            raise StorageError(f"{self._path}: {_reason(error)}") from error
        except StorageError as error:
            self._failure = f"the store has failed: {error}"
            raise


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    require_place(path, create=create)
    if create:
        descriptor = create_file(path)
        if descriptor is not None:
            os.close(descriptor)
    with _opening(path):
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=2 * _ROWS_PER_STATEMENT + 32,
        )


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Say in plain words why a file cannot be opened."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {_reason(error)}") from error


def _reason(error: sqlite3.Error) -> str:
    return _REASONS.get(schema.primary_code(error), f"cannot be used: {error}")


@functools.cache
def _batch_statement(rows: int) -> str:
    return "INSERT INTO batch (upload, first_row, count, bets) VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows)


@functools.cache
def _upload_statement(rows: int) -> str:
    """New uploads are inserted, known ones move their end."""
    return (
        "INSERT INTO upload (id, draw, agency, stored, crc32) VALUES "
        + ", ".join(["(?, ?, ?, ?, ?)"] * rows)
        + " ON CONFLICT (id) DO UPDATE SET stored = excluded.stored, crc32 = excluded.crc32"
    )
