"""A store in the legacy `bets.csv`, for those whose other programs read that file.

Strategy: bets are lines added to the end of `bets.csv`; a journal beside it says up to where the file counts, and keeps
what the file has no place for: uploads, seals, draws, which lines belong to which of them. A group of parcels is
written and flushed, then the event that makes it count is written and flushed. So a group counts whole or not at all,
whenever the program dies, and the draw is one line of the journal.

`bets.csv` itself keeps the lines of a voided upload, so programs that read the file still find them there; `bets` and
the draw pass them over.

Opening changes nothing; the first write does. What the file has beyond its counted length is then either

- lines that another program added: the journal says that the last store was closed in good order, or there is none.
  They are read, must all be bets, and join the anonymous uploads of the draw that is open; or
- the remains of a write that a dead program had told nobody about: they are cut off, and nothing is logged.

An exclusive lock on `bets.csv` keeps other stores out. The legacy program takes no lock: it must not run beside a
server, and after one that was killed it must wait until another has been there.
What the journal tells of the draw is held in memory, bets never: see `_csv_register`. The format of a line is in
`_csv_rows`, that of the journal in `_csv_journal`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import operator
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bets_protocol import Bet, RejectCode, StorageError, decode_bets, encode_bets
from bets_server.draw import checked_agency, checked_number, missing_agencies
from bets_server.store._base import BetStore, path_of, require_place
from bets_server.store._csv_events import Event
from bets_server.store._csv_journal import Journal
from bets_server.store._csv_register import Entry, MisfitError, Register, Stretch
from bets_server.store._csv_rows import MAX_LINE_BYTES, bet_of, lines_of
from bets_server.store._files import GrowingFile, disk_errors
from bets_server.store._rules import (
    NO_UPLOADS,
    GroupPlan,
    opening_code,
    opening_of,
    require_identity,
    require_voidable,
    utc_now,
)
from bets_server.store._values import (
    AuditEntry,
    DrawState,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    StoreFull,
    UploadState,
)

_BYTES_PER_PIECE: Final = 65_536
"""Read at a time when bets or the audit are walked."""

_BETS_PER_DIGEST: Final = 1024
"""Encoded at a time for the digest of a draw."""


def open_csv(url: str, *, draw: int, create: bool, readonly: bool) -> CsvStore:  # noqa: ARG001
    """Open the store behind ``csv:///path``; see `open_store`."""
    return CsvStore(path_of(url), draw=draw, create=create)


class CsvStore(BetStore):
    """One draw of a legacy `bets.csv`.

    Thread: any; a lock lets one call at a time use the files and what is held in memory.
    """

    def __init__(self, path: Path, *, draw: int = 1, create: bool = True) -> None:
        """Open the file and its journal; see `open_store`.

        Raises:
            StorageError: the file is open elsewhere, holds something else than bets (says in which line), or cannot be
                used; it is left as it was.
        """
        self._path = path
        self._draw = draw
        self._lock = threading.RLock()  # the draw walks the bets, which takes the lock for each piece
        self._failure = ""
        self._begun = False
        self._closed = False
        self._journal: Journal | None = None
        self._adopted: list[Event] = []
        self._register = Register(draw)
        require_place(path, create=create)
        if not path.exists() and self._journal_path.exists():
            raise StorageError(f"{path}: is missing, though its journal {self._journal_path} is there")
        self._rows = GrowingFile(path, create=create)
        try:
            self._keep_others_out()
            self._load()
        except StorageError:
            self._close_files()
            raise

    def _keep_others_out(self) -> None:
        with disk_errors(self._path, "lock the file"):
            try:
                fcntl.flock(self._rows.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(f"{self._path}: another server has it open") from error

    def _load(self) -> None:
        """Bring back what the journal tells, then look at what `bets.csv` has beyond that."""
        in_good_order = True
        if self._journal_path.exists():
            self._journal = Journal(self._journal_path, create=False)
            for place, event in self._journal.read():
                _applied(self._register, event, place)
                in_good_order = event["event"] == "closed"
        size, counted = self._rows.size(), self._register.counted
        self._rows.length = counted
        if size < counted:
            raise StorageError(f"{self._path}: has {size} bytes, but {counted} were stored: bets are missing")
        if size > counted and in_good_order:
            self._adopt(size)

    @property
    def _journal_path(self) -> Path:
        return self._path.with_name(self._path.name + ".journal")

    def _adopt(self, size: int) -> None:
        """Take lines that another program has added."""
        first_line = self._register.lines + 1
        if self._register.number is not None:
            raise StorageError(f"{self._path}:{first_line}: was added after draw {self._draw}, which is over")
        by_agency: Counter[int] = Counter()
        for number, bet in self._walk_lines(self._register.counted, size, first_line):
            if self._register.by_agency.get(bet.agency, NO_UPLOADS).identified:
                raise StorageError(f"{self._path}:{number}: was added, though agency {bet.agency} sends uploads")
            by_agency[bet.agency] += 1
        bets = {str(agency): count for agency, count in by_agency.items()}
        event = {"event": "bets", "draw": self._draw, "length": size, "bets": bets, "at": utc_now()}
        self._adopted = [event]
        self._follow(event)

    def _follow(self, event: Event) -> None:
        """Follow an event, which counts from now on, in what is held in memory."""
        self._register.apply(event)
        self._rows.length = self._register.counted

    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        """Store a group of parcels; see `BetStore.commit`."""
        with self._lock:
            self._require_usable()
            register = self._register
            plan = GroupPlan(
                drawn=register.number is not None,
                sealed=register.sealed,
                by_agency=register.by_agency,
                find=register.uploads.get,
                next_number=register.last_upload + 1,
            )
            plan.add(group)
            if plan.rows:
                self._store(plan)
            return plan.receipts

    def _store(self, plan: GroupPlan) -> None:
        pieces: list[bytes] = []
        runs: list[list[int]] = []
        crc32s = {number: upload.crc32 for number, upload in plan.before.items()}
        for number, _, lot in plan.rows:
            lines = lines_of(decode_bets(lot.encoded))
            if plan.before[number].upload_id is not None:
                crc32s[number] = zlib.crc32(lot.encoded, crc32s[number])
            if not runs or runs[-1][0] != number:
                runs.append([number, lot.agency, 0, 0, 0])
            run = runs[-1]
            run[2:] = run[2] + lot.count, run[3] + len(lines), crc32s[number]
            pieces.append(lines)
        with self._writing() as journal:
            self._rows.append(b"".join(pieces))
            event = {"event": "bets", "draw": self._draw, "length": self._rows.length, "runs": runs, "at": utc_now()}
            try:
                journal.append(event)
            except StoreFull:
                self._rows.length = self._register.counted
                self._rows.cut()
                raise
            self._follow(event)

    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload, new or begun; see `BetStore.open_upload`."""
        checked_agency(agency)
        require_identity(upload_id, total)
        with self._lock:
            self._require_usable()
            register = self._register
            upload = register.find(agency, upload_id)
            code = opening_code(
                upload,
                register.by_agency.get(agency, NO_UPLOADS),
                total=total,
                sealed=agency in register.sealed,
                drawn=register.number is not None,
                max_unfinished=self.max_unfinished_uploads,
                max_uploads=self.max_uploads,
            )
            if code is RejectCode.OK:
                new = UploadState(number=register.last_upload + 1, agency=agency, upload_id=upload_id, total=total)
                number = (upload or new).number
                self._record(
                    "upload",
                    upload=number,
                    agency=agency,
                    id=upload_id.hex(),
                    total=total,
                    epoch=(upload or new).epoch + 1,
                    **_said(note),
                )
                upload = register.uploads[number]
            return opening_of(code, upload)

    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and draw where it was the last; see `BetStore.seal_and_draw`."""
        sealed_by_this = frozenset({checked_agency(agency)})
        with self._lock:
            self._require_usable()
            register = self._register
            sealed = register.sealed | sealed_by_this
            complete = not missing_agencies(sealed, expected)
            if register.number is not None:
                return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
            newly_sealed = sealed != register.sealed
            if newly_sealed and not forced and register.by_agency.get(agency, NO_UPLOADS).unfinished:
                return SealOutcome(newly_sealed=False, drawn=False, drawn_now=False, incomplete=True)
            if complete:
                self._record_draw(agency, pick, sealed=newly_sealed, forced=forced, note=note)
            elif newly_sealed:
                self._record("sealed", agency=agency, forced=forced, **_said(note))
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def _record_draw(self, agency: int, pick: Callable[[], int], *, sealed: bool, forced: bool, note: str) -> None:
        with self._writing():
            number = checked_number(pick())
            winners: dict[str, list[str]] = {}
            sha256 = hashlib.sha256()
            found: dict[int, tuple[int, int]] = {}
            for upload, bets in self._walk_in_groups():
                encoded = encode_bets(bets)
                sha256.update(encoded)
                count, crc32 = found.get(upload, (0, 0))
                found[upload] = count + len(bets), zlib.crc32(encoded, crc32)
                for bet in bets:
                    if bet.number == number:
                        winners.setdefault(str(bet.agency), []).append(bet.document)
            self._require_all_bets(found)
            self._record(
                "drawn",
                agency=agency,
                sealed=sealed,
                forced=forced,
                **_said(note),
                number=number,
                winners=winners,
                bets=sum(count for count, _ in found.values()),
                digest=sha256.hexdigest(),
            )

    def _walk_in_groups(self) -> Iterator[tuple[int, list[Bet]]]:
        """Some bets at a time, in the order of the file, with the number of the upload that they all belong to."""
        for upload, bets in itertools.groupby(self._walk(self._register.stretches), key=operator.itemgetter(0)):
            while some := [bet for _, bet in itertools.islice(bets, _BETS_PER_DIGEST)]:
                yield upload, some

    def _require_all_bets(self, found: Mapping[int, tuple[int, int]]) -> None:
        """Check count and CRC-32 of what was found of each upload; no CRC-32 of an anonymous one is kept.

        Raises:
            StorageError: they are not what was acknowledged.
        """
        for upload in self._register.counted_uploads():
            count, crc32 = found.get(upload.number, (0, 0))
            if count != upload.stored or (upload.upload_id is not None and crc32 != upload.crc32):
                raise StorageError(f"{self._path}: the bets of agency {upload.agency} are not those that were stored")

    def void(self, number: int, *, reason: str) -> UploadState:
        """Take an upload out of the draw; see `BetStore.void`."""
        with self._lock:
            self._require_usable()
            register = self._register
            upload = require_voidable(register.uploads.get(number), number, drawn=register.number is not None)
            self._record("void", upload=number, agency=upload.agency, stored=upload.stored, reason=reason)
            return register.uploads[number]

    def _record(self, name: str, **what: object) -> None:
        """Write an event down and follow it."""
        event: Event = {"event": name, "draw": self._draw, **what, "at": utc_now()}
        with self._writing() as journal:
            journal.append(event)
        self._follow(event)

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, or None before the draw; see `BetStore.winners`."""
        with self._lock:
            self._require_usable()
            return None if self._register.number is None else self._register.winners.get(agency, ())

    def state(self) -> DrawState:
        """What is known of the draw; see `BetStore.state`."""
        with self._lock:
            self._require_usable()
            bets_by_agency: Counter[int] = Counter()
            for upload in self._register.counted_uploads():
                if upload.stored:
                    bets_by_agency[upload.agency] += upload.stored
            return DrawState(
                draw=self._draw,
                number=self._register.number,
                sealed=self._register.sealed,
                bets_by_agency=dict(bets_by_agency),
                bets=self._register.bets,
                digest=self._register.digest,
            )

    def uploads(self) -> list[UploadState]:
        """Every upload of the draw; see `BetStore.uploads`."""
        with self._lock:
            self._require_usable()
            return sorted(self._register.uploads.values(), key=lambda upload: upload.number)

    def find_upload(self, agency: int, upload_id: bytes) -> UploadState | None:
        """An upload by its identity; see `BetStore.find_upload`."""
        with self._lock:
            self._require_usable()
            return self._register.find(agency, upload_id)

    def audit(self) -> Iterator[AuditEntry]:
        """What was done; see `BetStore.audit`. Read from the journal, whose version 1 knew no times."""
        with self._lock:
            self._require_usable()
            journal = self._journal
            end = 0 if journal is None else journal.file.length
            adopted = [] if self._begun else [(str(self._path), event) for event in self._adopted]
        written = iter(()) if journal is None else journal.events_in(self._lines_of(journal, end))
        register, seq = Register(self._draw), 0
        for place, event in itertools.chain(written, adopted):
            for name, agency, detail in _applied(register, event, place):
                seq += 1
                at, draw = event.get("at", ""), event["draw"]
                yield AuditEntry(seq=seq, at=at, draw=draw, event=name, agency=agency, detail=detail)

    def _lines_of(self, journal: Journal, end: int) -> Iterator[bytes]:
        """The lines of the journal up to a byte, read a piece at a time."""
        start, rest = 0, b""
        while start < end:
            with self._lock:
                self._require_usable()
                piece = journal.file.read(start, min(_BYTES_PER_PIECE, end - start))
            if not piece:
                raise StorageError(f"{journal.file.path}: the file has become shorter")
            start += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        if rest:
            yield rest

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets; see `BetStore.bets`."""
        with self._lock:
            self._require_usable()
            stretches = list(self._register.stretches)
        yield from (bet for _, bet in self._walk(stretches) if agency in {None, bet.agency})

    def _walk(self, stretches: Sequence[Stretch]) -> Iterator[tuple[int, Bet]]:
        """The bets in some stretches, each with the number of its upload, those of voided uploads aside."""
        for stretch in stretches:
            for number, bet in self._walk_lines(stretch.start, stretch.end, stretch.first_line):
                upload = self._register.uploads.get(stretch.uploads.get(bet.agency, 0))
                if upload is None:
                    raise StorageError(f"{self._path}:{number}: is of agency {bet.agency}, which has stored none here")
                if not upload.voided:
                    yield upload.number, bet

    def _walk_lines(self, start: int, end: int, first_line: int) -> Iterator[tuple[int, Bet]]:
        for number, line in enumerate(self._split(start, end, first_line), start=first_line):
            yield number, bet_of(line, f"{self._path}:{number}")

    def _split(self, start: int, end: int, number: int) -> Iterator[bytes]:
        """The lines between two bytes of the file, which must end where a line ends."""
        rest = b""
        while start < end:
            with self._lock:
                self._require_usable()
                piece = self._rows.read(start, min(_BYTES_PER_PIECE, end - start))
            if not piece:
                raise StorageError(f"{self._path}:{number}: the file has become shorter")
            start += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            number += len(lines)
            yield from lines
            if len(rest) > MAX_LINE_BYTES:
                raise StorageError(f"{self._path}:{number}: longer than {MAX_LINE_BYTES} bytes: not a bet")
        if rest:
            raise StorageError(f"{self._path}:{number}: the last line has no end")

    def close(self) -> None:
        """Close the files; see `BetStore.close`."""
        with self._lock:
            if self._closed:
                return
            if self._begun and not self._failure and self._journal is not None:
                # A disk that is full now keeps us from saying so; all that is stored counts nevertheless.
                with contextlib.suppress(StorageError):
                    self._journal.append({"event": "closed"})
            self._failure = self._failure or "the store is closed"
            self._closed = True
            self._close_files()

    def _close_files(self) -> None:
        self._rows.close()
        if self._journal is not None:
            self._journal.file.close()

    def _require_usable(self) -> None:
        if self._failure:
            raise StorageError(f"{self._path}: {self._failure}")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Journal]:
        """The journal, ready for an event; decide on an error whether the store may go on."""
        try:
            yield self._begin()
        except StoreFull:
            raise
        except StorageError as error:
            self._failure = f"the store has failed: {error}"
            raise

    def _begin(self) -> Journal:
        """Before the first write: say so, and remove what does not count.

        The lines of another program are counted before the journal says that a write may be under way: a program
        killed in between must not take them for the remains of its own.
        """
        if self._journal is None:
            self._journal = Journal(self._journal_path, create=True)
        if not self._begun:
            self._journal.append(*self._adopted, {"event": "opened"})
            self._rows.cut()
            self._begun = True
        return self._journal


def _applied(register: Register, event: Event, place: str) -> list[Entry]:
    """What an event that was read adds to the audit, once the register has followed it.

    Raises:
        StorageError: it contradicts the events before it; says where.
    """
    try:
        return register.apply(event)
    except MisfitError as error:
        raise StorageError(f"{place}: {error}") from None


def _said(note: str) -> dict[str, str]:
    """The `note` of an event; nothing where there is none."""
    return {"note": note} if note else {}
