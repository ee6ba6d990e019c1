"""A store in the legacy `bets.csv`, for those whose other programs read that file.

Strategy: bets are lines added to the end of `bets.csv`; a journal beside it says up to where the file counts, and keeps
what the file has no place for: seals, draws, which lines belong to which draw. A group of batches is written and
flushed, then the event that makes it count is written and flushed. So a group counts whole or not at all, whenever the
program dies, and the draw is one line of the journal.

Opening changes nothing; the first write does. What the file has beyond its counted length is then either

- lines that another program added: the journal says that the last store was closed in good order, or there is none.
  They are read, must all be bets, and join the draw that is open; or
- the remains of a write that a dead program had told nobody about: they are cut off, and nothing is logged.

An exclusive lock on `bets.csv` keeps other stores out. The legacy program takes no lock: it must not run beside a
server, and after one that was killed it must wait until another has been there.
Winners of draws and the journal's summary are held in memory, bets never. The format of a line is in `_csv_rows`, that
of the journal in `_csv_journal`.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from bets_protocol import Bet, Lot, StorageError, decode_bets
from bets_server.draw import checked_agency, checked_number, missing_agencies, winners_of_bets
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
from bets_server.store._csv_journal import Event, Journal
from bets_server.store._csv_rows import MAX_LINE_BYTES, bet_of, lines_of
from bets_server.store._files import GrowingFile, disk_errors

_BYTES_PER_PIECE: Final = 65_536
"""Read at a time when bets are walked."""


@attrs.frozen
class _Stretch:
    """Lines of `bets.csv` that belong to one draw: bytes `start` to `end`, of which the first is line `first_line`."""

    start: int
    end: int
    first_line: int


def open_csv(url: str, *, draw: int, create: bool) -> CsvStore:
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
        self._counted = 0
        self._lines = 0
        self._stretches: list[_Stretch] = []
        self._bets_by_agency: Counter[int] = Counter()
        self._sealed: frozenset[int] = frozenset()
        self._number: int | None = None
        self._winners: dict[int, tuple[str, ...]] = {}
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
            for event in self._journal.read():
                self._apply(event)
                in_good_order = event["event"] == "closed"
        size = self._rows.size()
        if size < self._counted:
            raise StorageError(f"{self._path}: has {size} bytes, but {self._counted} were stored: bets are missing")
        if size > self._counted and in_good_order:
            self._adopt(size)

    @property
    def _journal_path(self) -> Path:
        return self._path.with_name(self._path.name + ".journal")

    def _adopt(self, size: int) -> None:
        """Take lines that another program has added."""
        if self._number is not None:
            raise StorageError(f"{self._path}:{self._lines + 1}: was added after draw {self._draw}, which is over")
        added = _Stretch(self._counted, size, self._lines + 1)
        by_agency = Counter(bet.agency for bet in self._walk([added]))
        event = self._bets_event(size, by_agency)
        self._adopted = [event]
        self._apply(event)

    def _bets_event(self, length: int, by_agency: Counter[int]) -> Event:
        bets = {str(agency): count for agency, count in by_agency.items()}
        return {"event": "bets", "draw": self._draw, "length": length, "bets": bets}

    def _apply(self, event: Event) -> None:
        """Follow an event, which is on disk, in what is held in memory."""
        if event["event"] == "bets":
            start, first_line = self._counted, self._lines + 1
            self._counted = self._rows.length = event["length"]
            self._lines += sum(event["bets"].values())
            if event["draw"] == self._draw:
                if self._stretches and self._stretches[-1].end == start:
                    last = self._stretches.pop()
                    start, first_line = last.start, last.first_line
                self._stretches.append(_Stretch(start, self._counted, first_line))
                self._bets_by_agency.update({int(agency): count for agency, count in event["bets"].items()})
        elif event.get("draw") == self._draw:
            self._sealed |= {event["agency"]}
            if event["event"] == "drawn":
                self._number = event["number"]
                self._winners = {int(agency): tuple(documents) for agency, documents in event["winners"].items()}

    def append(self, batches: Sequence[Sequence[Lot]]) -> list[Verdict]:
        """Store a group of batches; see `BetStore.append`."""
        with self._lock:
            self._require_usable()
            drawn = self._number is not None
            verdicts = [verdict_on(batch, self._sealed, drawn=drawn) for batch in batches]
            accepted = zip(batches, verdicts, strict=True)
            lots = [lot for batch, verdict in accepted if verdict is Verdict.STORED for lot in batch]
            if lots:
                self._store(lots)
            return verdicts

    def _store(self, lots: Sequence[Lot]) -> None:
        data = b"".join(lines_of(decode_bets(lot.encoded)) for lot in lots)
        by_agency: Counter[int] = Counter()
        for lot in lots:
            by_agency[lot.agency] += lot.count
        with self._writing() as journal:
            self._rows.append(data)
            event = self._bets_event(self._rows.length, by_agency)
            try:
                journal.append(event)
            except StoreFull:
                self._rows.length = self._counted
                self._rows.cut()
                raise
            self._apply(event)

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
            event: dict[str, object] = {"event": "sealed", "draw": self._draw, "agency": agency}
            if newly_sealed or complete:
                with self._writing() as journal:
                    if complete:
                        number = checked_number(pick())
                        winners = self._find_winners(number)
                        event |= {"event": "drawn", "number": number, "winners": winners}
                    journal.append(event)
                    self._apply(event)
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def _find_winners(self, number: int) -> dict[str, list[str]]:
        winners: dict[str, list[str]] = {}
        for agency, document in winners_of_bets(self._walk(self._stretches), number):
            winners.setdefault(str(agency), []).append(document)
        return winners

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, or None before the draw; see `BetStore.winners`."""
        with self._lock:
            self._require_usable()
            return None if self._number is None else self._winners.get(agency, ())

    def state(self) -> DrawState:
        """What is known of the draw; see `BetStore.state`."""
        with self._lock:
            self._require_usable()
            return DrawState(
                draw=self._draw, number=self._number, sealed=self._sealed, bets_by_agency=dict(self._bets_by_agency)
            )

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets; see `BetStore.bets`."""
        with self._lock:
            self._require_usable()
            stretches = list(self._stretches)
        yield from (bet for bet in self._walk(stretches) if agency in {None, bet.agency})

    def _walk(self, stretches: Sequence[_Stretch]) -> Iterator[Bet]:
        for stretch in stretches:
            for number, line in enumerate(self._split(stretch), start=stretch.first_line):
                yield bet_of(line, f"{self._path}:{number}")

    def _split(self, stretch: _Stretch) -> Iterator[bytes]:
        """The lines of a stretch, which must end where a line ends."""
        offset, number, rest = stretch.start, stretch.first_line, b""
        while offset < stretch.end:
            with self._lock:
                self._require_usable()
                piece = self._rows.read(offset, min(_BYTES_PER_PIECE, stretch.end - offset))
            if not piece:
                raise StorageError(f"{self._path}:{number}: the file has become shorter")
            offset += len(piece)
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
