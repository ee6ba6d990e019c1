"""The book: a store in one SQLite file.

One connection keeps all other processes out. Each group of parcels is one transaction with one flush, and costs four
statements however many parcels it has.

The state that decides verdicts is also in memory, because this process is the only writer. The state of the draw and
its agencies is read when the store is opened, that of an upload when it is first needed. It is replaced only after a
commit, so a call that fails leaves both the file and the memory unchanged. A bounded number of uploads is in memory;
the others are read again.

The draw is in `draw`, long readings are in `pages`, the tables and settings in `schema`. This module does not know the
layout of a bet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from bets_protocol import Bet, RejectCode, StorageError
from bets_server.store.contract import BetStore, path_of
from bets_server.store.draw import checked_agency, checked_number, missing_agencies
from bets_server.store.rules import (
    NO_UPLOADS,
    AgencyUploads,
    GroupPlan,
    noted,
    opening_code,
    opening_of,
    require_identity,
    require_voidable,
    utc_now,
)
from bets_server.store.sqlite import pages
from bets_server.store.sqlite.book import Book
from bets_server.store.sqlite.draw import Digest, RunningDigest, draw_over
from bets_server.store.sqlite.file import BookFile
from bets_server.store.sqlite.reading import ReadOnlyBook
from bets_server.store.sqlite.schema import SCHEMA_VERSION
from bets_server.store.values import (
    AuditEntry,
    DrawState,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    UploadState,
)

_MAX_UPLOADS_IN_MEMORY: Final = 2048
"""Twice the connections of a server at the defaults; each upload takes a few hundred bytes."""

_UPLOADS: Final = "SELECT id, agency, upload_id, total, stored, crc32, epoch, voided FROM upload"

# Moves uploads on: number, epoch, from where, to where, with which CRC-32. Not WITH: Python counts the changed rows of
# what begins with UPDATE only.
_GROW: Final = (
    "UPDATE upload SET stored = growth.stop, crc32 = growth.crc32 FROM (SELECT column1 AS id, column2 AS epoch,"
    " column3 AS start, column4 AS stop, column5 AS crc32 FROM (VALUES {rows})) AS growth"
    " WHERE upload.id = growth.id AND upload.epoch = growth.epoch AND upload.stored = growth.start"
    " AND NOT upload.voided AND growth.stop <= coalesce(upload.total, growth.stop)"
)


def open_sqlite(url: str, *, draw: int, create: bool, readonly: bool) -> SqliteStore:
    """Open the store behind ``sqlite:///path``; see `open_store`."""
    return SqliteStore(path_of(url), draw=draw, create=create, readonly=readonly)


class SqliteStore(BetStore):
    """One draw of a book in a SQLite file.

    Thread: any; a lock lets one call at a time use the file and what is held in memory.
    """

    def __init__(self, path: Path, *, draw: int = 1, create: bool = True, readonly: bool = False) -> None:
        """Open the book; see `open_store`.

        Raises:
            StorageError: the file is not a book, is open elsewhere, or cannot be used; it is unchanged.
        """
        self._draw = draw
        self._file: Book = ReadOnlyBook(path) if readonly else BookFile(path, create=create)
        self.upgraded_from = self._file.found_version if 0 < self._file.found_version < SCHEMA_VERSION else None
        self._uploads: dict[int, UploadState] = {}
        try:
            self._load()
        except StorageError:
            self._file.close()
            raise

    def _load(self) -> None:
        """Read the state that decides verdicts, except the single uploads."""
        read, mine = self._file.read, (self._draw,)
        rows = read("SELECT number, bets, digest FROM draw WHERE id = ?", mine)
        self._has_row = bool(rows)
        self._number: int | None
        self._number, bets, digest = rows[0] if rows else (None, None, None)
        self._digest = Digest(bets=bets or 0, sha256=digest or "")
        self._sealed = frozenset(agency for (agency,) in read("SELECT agency FROM seal WHERE draw = ?", mine))
        self._by_agency = {
            agency: AgencyUploads(anonymous=anonymous, identified=identified, unfinished=unfinished)
            for agency, anonymous, identified, unfinished in read(
                "SELECT agency, max(id) FILTER (WHERE upload_id IS NULL), count(upload_id),"
                " count(*) FILTER (WHERE stored < total) FROM upload WHERE draw = ? AND NOT voided GROUP BY agency",
                mine,
            )
        }
        ((self._last_upload,),) = read("SELECT coalesce(max(id), 0) FROM upload")
        ((bets,),) = read("SELECT coalesce(sum(stored), 0) FROM upload WHERE draw = ? AND NOT voided", mine)
        # The digest covers every bet of the draw, so only a process that stores the first one can keep it.
        self._running = None if bets else RunningDigest()

    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        """Store a group of parcels; see `BetStore.commit`."""
        with self._file.lock:
            self._file.require_usable()
            plan = self._plan(sealed=self._sealed)
            plan.add(group)
            if plan.rows:
                self._store(plan)
            return plan.receipts

    def _plan(self, *, sealed: Collection[int]) -> GroupPlan:
        """A plan of no parcels, with the state of the book."""
        return GroupPlan(
            drawn=self._number is not None,
            sealed=sealed,
            by_agency=self._by_agency,
            find=self._upload,
            next_number=self._last_upload + 1,
        )

    def _store(self, plan: GroupPlan) -> None:
        """Write a plan, all of it or nothing."""
        with self._file.transaction(added_bytes=sum(len(run.encoded) for _, _, run in plan.rows)):
            self._write(plan)
        self._follow(plan)

    def _write(self, plan: GroupPlan) -> None:
        """Write a plan, inside a transaction."""
        new = [plan.before[number] for number in plan.new]
        ends = [
            (before.number, before.epoch, before.stored, after.stored, after.crc32)
            for before, after in zip(plan.before.values(), plan.after.values(), strict=True)
        ]
        rows = [(upload, first_row, run.count, run.encoded) for upload, first_row, run in plan.rows]
        self._insert_draw()
        if new:
            values = [(upload.number, self._draw, upload.agency) for upload in new]
            self._file.write_rows("INSERT INTO upload (id, draw, agency) VALUES {rows}", values)
            self._audit(*(("open", upload.agency, f"upload {upload.number}, anonymous") for upload in new))
        # The statement changes a row only if the file still has the epoch and the end of the verdict. If not, the book
        # was changed behind our back, and the store must end.
        if self._file.write_rows(_GROW, ends) != len(ends):
            raise StorageError(
                f"{self._file.path}: an upload was changed by another program (its epoch or its number of bets differs)"
            )
        self._file.write_rows("INSERT INTO batch (upload, first_row, count, bets) VALUES {rows}", rows)

    def _follow(self, plan: GroupPlan) -> None:
        """Take a written plan over into memory."""
        self._has_row = True
        self._last_upload += len(plan.new)
        for before, after in zip(plan.before.values(), plan.after.values(), strict=True):
            self._remember(None if before.number in plan.new else before, after)
        if self._running is not None:
            for _, _, run in plan.rows:
                self._running.add(run.encoded)

    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload, new or begun; see `BetStore.open_upload`."""
        checked_agency(agency)
        require_identity(upload_id, total)
        with self._file.lock:
            self._file.require_usable()
            known = self._find_identified(agency, upload_id)
            code = opening_code(
                known,
                self._by_agency.get(agency, NO_UPLOADS),
                total=total,
                sealed=agency in self._sealed,
                drawn=self._number is not None,
                max_unfinished=self.max_unfinished_uploads,
                max_uploads=self.max_uploads,
            )
            if code is not RejectCode.OK:
                return opening_of(code, known)
            upload = self._open_new(agency, upload_id, total, note) if known is None else self._open_known(known, note)
            self._remember(known, upload)
            return opening_of(code, upload)

    def _open_new(self, agency: int, upload_id: bytes, total: int, note: str) -> UploadState:
        upload = UploadState(number=self._last_upload + 1, agency=agency, upload_id=upload_id, total=total, epoch=1)
        with self._file.transaction():
            self._insert_draw()
            self._file.write(
                "INSERT INTO upload (id, draw, agency, upload_id, total, epoch) VALUES (?, ?, ?, ?, ?, ?)",
                (upload.number, self._draw, agency, upload_id, total, upload.epoch),
            )
            said = f"upload {upload.number}, id {upload_id.hex()}, total {total}"
            self._audit(("open", agency, noted(said, note)))
        self._has_row, self._last_upload = True, upload.number
        return upload

    def _open_known(self, known: UploadState, note: str) -> UploadState:
        upload = attrs.evolve(known, epoch=known.epoch + 1)
        with self._file.transaction():
            self._file.write("UPDATE upload SET epoch = ? WHERE id = ?", (upload.epoch, upload.number))
            said = f"upload {upload.number}, stored {upload.stored} of {upload.total}, epoch {upload.epoch}"
            self._audit(("reopen", upload.agency, noted(said, note)))
        return upload

    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and draw if it was the last; see `BetStore.seal_and_draw`."""
        sealed_by_this = frozenset({checked_agency(agency)})
        with self._file.lock:
            self._file.require_usable()
            sealed = self._sealed | sealed_by_this
            complete = not missing_agencies(sealed, expected)
            if self._number is not None:
                return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
            newly_sealed = sealed != self._sealed
            unfinished = self._by_agency.get(agency, NO_UPLOADS).unfinished
            if newly_sealed and unfinished and not forced:
                return SealOutcome(newly_sealed=False, drawn=False, drawn_now=False, incomplete=True)
            number, digest = None, self._digest
            if newly_sealed or complete:
                with self._file.transaction():
                    self._insert_draw()
                    if newly_sealed:
                        self._file.write("INSERT INTO seal VALUES (?, ?)", (self._draw, agency))
                        event = "forced_close" if forced else "seal"
                        self._audit((event, agency, noted(f"unfinished uploads: {unfinished}", note)))
                    if complete:
                        number = checked_number(pick())
                        digest = draw_over(self._file, self._draw, number, self._running)
                        self._write_draw(number, digest)
                self._has_row, self._sealed, self._number, self._digest = True, sealed, number, digest
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def _write_draw(self, number: int, digest: Digest) -> None:
        """End the draw. Its winners must be written before, because the triggers refuse them afterwards."""
        self._file.write(
            "UPDATE draw SET number = ?, bets = ?, digest = ? WHERE id = ?",
            (number, digest.bets, digest.sha256, self._draw),
        )
        self._audit(("draw", None, f"number {number}, bets {digest.bets}, digest {digest.sha256}"))

    def void(self, number: int, *, reason: str) -> UploadState:
        """Take an upload out of the draw; see `BetStore.void`."""
        with self._file.lock:
            self._file.require_usable()
            upload = require_voidable(self._upload(number), number, drawn=self._number is not None)
            voided = attrs.evolve(upload, voided=True)
            with self._file.transaction():
                self._file.write("UPDATE upload SET voided = 1 WHERE id = ?", (number,))
                self._file.write("DELETE FROM seal WHERE draw = ? AND agency = ?", (self._draw, upload.agency))
                self._audit(("void", upload.agency, f"upload {number}, stored {upload.stored}: {reason}"))
            self._remember(upload, voided)
            self._sealed -= {upload.agency}
            if voided.stored:
                self._running = None
            return voided

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, or None before the draw; see `BetStore.winners`."""
        with self._file.lock:
            self._file.require_usable()
            if self._number is None:
                return None
            rows = self._file.read(
                "SELECT document FROM winner WHERE draw = ? AND agency = ? ORDER BY position", (self._draw, agency)
            )
            return tuple(document for (document,) in rows)

    def state(self) -> DrawState:
        """The state of the draw; see `BetStore.state`."""
        with self._file.lock:
            self._file.require_usable()
            rows = self._file.read(
                "SELECT agency, sum(stored) FROM upload WHERE draw = ? AND stored > 0 AND NOT voided GROUP BY agency",
                (self._draw,),
            )
            return DrawState(
                draw=self._draw,
                number=self._number,
                sealed=self._sealed,
                bets_by_agency=dict(rows),
                bets=self._digest.bets,
                digest=self._digest.sha256,
            )

    def uploads(self) -> list[UploadState]:
        """Every upload of the draw; see `BetStore.uploads`."""
        with self._file.lock:
            self._file.require_usable()
            return [_upload_of(row) for row in self._file.read(f"{_UPLOADS} WHERE draw = ? ORDER BY id", (self._draw,))]

    def find_upload(self, agency: int, upload_id: bytes) -> UploadState | None:
        """An upload by its identity; see `BetStore.find_upload`."""
        with self._file.lock:
            self._file.require_usable()
            return self._find_identified(agency, upload_id)

    def audit(self) -> Iterator[AuditEntry]:
        """What was done; see `BetStore.audit`."""
        return pages.audit(self._file)

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets; see `BetStore.bets`."""
        return pages.bets(self._file, self._draw, agency)

    def require_in_place(self) -> None:
        """Check that the book is where it was opened; see `BetStore.require_in_place`."""
        self._file.require_in_place()

    def close(self) -> None:
        """Close the file; see `BetStore.close`."""
        self._file.close()

    def _upload(self, number: int) -> UploadState | None:
        """An upload of this draw, from memory or from the book."""
        if not 1 <= number <= self._last_upload:
            return None  # an operator may give any number, also one too large for SQLite
        known = self._uploads.get(number)
        return known if known is not None else self._find("id = ? AND draw = ?", (number, self._draw))

    def _find_identified(self, agency: int, upload_id: bytes) -> UploadState | None:
        return self._find("draw = ? AND agency = ? AND upload_id = ? AND voided = 0", (self._draw, agency, upload_id))

    def _find(self, where: str, values: Sequence[object]) -> UploadState | None:
        for row in self._file.read(f"{_UPLOADS} WHERE {where}", values):
            found = _upload_of(row)
            self._hold(found)
            return found
        return None

    def _remember(self, before: UploadState | None, after: UploadState) -> None:
        """Take a change that is on disk over into memory."""
        counts = self._by_agency.get(after.agency, NO_UPLOADS)
        self._by_agency[after.agency] = counts.changed(before, after)
        self._hold(after)

    def _hold(self, upload: UploadState) -> None:
        self._uploads.pop(upload.number, None)
        self._uploads[upload.number] = upload
        if len(self._uploads) > _MAX_UPLOADS_IN_MEMORY:
            del self._uploads[next(iter(self._uploads))]

    def _insert_draw(self) -> None:
        if not self._has_row:
            self._file.write("INSERT INTO draw (id) VALUES (?)", (self._draw,))

    def _audit(self, *entries: tuple[str, int | None, str]) -> None:
        """Write entries of (event, agency, detail), inside the transaction that they record."""
        now = utc_now()
        values = [(now, self._draw, *entry) for entry in entries]
        self._file.write_rows("INSERT INTO audit (at, draw, event, agency, detail) VALUES {rows}", values)


def _upload_of(row: Sequence[object]) -> UploadState:
    names = ("number", "agency", "upload_id", "total", "stored", "crc32", "epoch")
    return UploadState(**dict(zip(names, row, strict=False)), voided=bool(row[-1]))  # type: ignore[arg-type]
