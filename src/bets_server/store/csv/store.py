"""A store whose bets other programs read in the legacy `bets.csv`: the ledger, and that file beside it.

The *ledger* is a book in SQLite, `bets.csv.ledger`. It decides, answers and draws; what is acknowledged is on disk
there. `bets.csv` gets the same bets as lines: after each group, and when the store is opened. It only grows: the lines
of a voided upload stay in it, too. The ledger's table `legacy_file` says which bytes of the file are accounted for, see
`Account`. They are flushed before the table is written. It is written in the transaction of the next group, which saves
a flush, and when the store is closed.

Opening compares the two. The bytes that are accounted for must be there; else the error names the first line that
differs, and nothing is changed. They must be followed, in this order, by:

1. the batches that are not accounted for, or a beginning of them, in which a power cut may have left zeros. They are
   completed;
2. lines that another program has added while no server ran. They are *adopted*: all must be bets, and they join the
   anonymous uploads of the draw that is open. The table `adopted_lines` says which batches came from the file, because
   those must not be written to it again.

The exclusive lock on `bets.csv` keeps out stores that open it through another folder (a mount); the ledger's lock keeps
out all others. The legacy program takes no lock, and must not run beside a server: lines that it adds end the server.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from bets_protocol import Bet, BetRun, StorageError, decode_bets, encode_bets
from bets_server.store.contract import path_of
from bets_server.store.csv.file import MAX_LINE_BYTES, Account, LegacyFile, advice, ledger_of, require_parts
from bets_server.store.csv.rows import bet_of, difference, equal_fields, lines_of
from bets_server.store.rules import GroupPlan
from bets_server.store.sqlite import pages
from bets_server.store.sqlite.store import SqliteStore
from bets_server.store.values import Opening, Parcel, SealOutcome, StoreFull, UploadState

_Done = TypeVar("_Done")

_TABLES: Final = (
    """
    CREATE TABLE legacy_file (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        batch INTEGER NOT NULL CHECK (batch >= 0),
        size INTEGER NOT NULL CHECK (size >= 0),
        lines INTEGER NOT NULL CHECK (lines >= 0),
        crc32 INTEGER NOT NULL CHECK (crc32 BETWEEN 0 AND 4294967295)
    ) STRICT
    """,
    """
    CREATE TABLE adopted_lines (
        first_batch INTEGER PRIMARY KEY,
        last_batch INTEGER NOT NULL CHECK (last_batch >= first_batch),
        after_batch INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO legacy_file VALUES (1, 0, 0, 0, 0)",
)

# A batch and its place in the file: the lines are in the order of (place, adopted, seq).
_BATCHES: Final = (
    "SELECT batch.seq, batch.bets, coalesce(after_batch, seq) AS place, first_batch IS NOT NULL AS adopted"
    " FROM batch LEFT JOIN adopted_lines ON batch.seq BETWEEN first_batch AND last_batch"
)

_BETS_PER_BATCH: Final = 100
"""Of adopted lines; about as many as a batch from the wire has."""

_BATCHES_PER_STEP: Final = 256

_LINES_COMPARED: Final = 1000
"""So many of the lines that are missing in the file are searched among the lines of another program."""

_ALIKE: Final = 4
"""A line that has so many of the six fields of the missing line is that line, changed, and not another bet."""


def open_csv(url: str, *, draw: int, create: bool, readonly: bool) -> SqliteStore:
    """Open the store behind ``csv:///path``; see `open_store`. For reading only the ledger is opened."""
    path = path_of(url)
    if readonly:
        require_parts(path, create=False)
        return SqliteStore(ledger_of(path), draw=draw, readonly=True)
    return CsvStore(path, draw=draw, create=create)


class CsvStore(SqliteStore):
    """One draw of a ledger whose bets are also lines of a legacy `bets.csv`.

    Thread: any; the ledger's lock lets one call at a time use both files.
    """

    def __init__(self, path: Path, *, draw: int = 1, create: bool = True) -> None:
        """Open the file and its ledger; see `open_store`.

        Raises:
            StorageError: a file is open elsewhere, is missing, differs from the other (says in which line), or cannot
                be used; both are unchanged.
        """
        self._path = path
        has_ledger = require_parts(path, create=create)
        self._legacy = LegacyFile(path, create=create)
        try:
            if not has_ledger:  # before one is made: the file may be of another program
                for number, line in self._legacy.lines(0, self._legacy.size(), 1):
                    bet_of(line, f"{path}:{number}")
            super().__init__(ledger_of(path), draw=draw, create=create)
        except StorageError:
            self._legacy.forget()
            raise
        try:
            self._bring_up_to_date()
        except StorageError:
            self._file.close()
            self._legacy.close()
            raise

    def _bring_up_to_date(self) -> None:
        """Compare the two files, and add to each what is new in the other."""
        self._lags = False
        if not self._file.read("SELECT 1 FROM sqlite_schema WHERE name = 'adopted_lines'"):
            with self._file.transaction():
                for statement in _TABLES:
                    self._file.write(statement, ())
        ((self._last_batch,),) = self._file.read("SELECT coalesce(max(seq), 0) FROM batch")
        self._account = self._accounted = self._load_account()
        if not self._legacy.begins_with(self._account):
            raise self._difference(Account(), self._in_file())
        size = self._legacy.size()
        self._account, has_others = self._compare(size)
        if self._account != self._accounted or has_others:
            self._legacy.flush()  # what a killed program, or another one, has written may not be on disk
        if has_others:
            with self._file.transaction():
                self._adopt(size)
        with contextlib.suppress(StoreFull):  # the ledger can be served without
            self._catch_up()

    def _load_account(self) -> Account:
        rows = self._file.read("SELECT batch, size, lines, crc32 FROM legacy_file")
        sound = len(rows) == 1 and all(isinstance(value, int) and value >= 0 for value in rows[0])
        if not sound or rows[0][0] > self._last_batch:
            raise StorageError(f"{self._file.path}: is damaged: its table legacy_file says what cannot be: {rows}")
        return Account(*rows[0])

    def _write_account(self) -> None:
        """Write the account into the ledger, inside a transaction."""
        account = self._account
        self._file.write(
            "UPDATE legacy_file SET batch = ?, size = ?, lines = ?, crc32 = ?",
            (account.batch, account.size, account.lines, account.crc32),
        )

    def _to_come(self, after: int) -> Iterator[tuple[int, list[Bet]]]:
        """The batches after the batch `after`, except those that came from the file."""
        while rows := self._file.read(
            f"{_BATCHES} WHERE seq > ? AND first_batch IS NULL ORDER BY seq LIMIT ?", (after, _BATCHES_PER_STEP)
        ):
            for seq, encoded, *_ in rows:
                if seq <= after:  # a damaged index may return the same row for ever
                    raise StorageError(f"{self._file.path}: is damaged: batch {seq} follows batch {after}")
                after = seq
                yield seq, pages.decoded(self._file, seq, encoded)

    def _compare(self, size: int) -> tuple[Account, bool]:
        """The account up to which the file agrees with the ledger, and whether lines of another program follow.

        Raises:
            StorageError: a line that was written is missing or changed; says which.
        """
        at, incomplete = self._account, None
        for seq, bets in self._to_come(at.batch):
            text = lines_of(bets)
            found = self._legacy.read(at.size, len(text))
            if found != text and not _is_remains(found, text):
                # A program that was killed between commit and write leaves nothing of the batches to come, so lines
                # of another program may begin right here.
                if at == self._account and not self._was_written(size):
                    return at, True
                raise self._difference(at, [(bets, False)])
            if found != text and incomplete is None:
                incomplete = at, bets
            at = at.grown(text, batch=seq)
        if incomplete is None:
            return at, size > at.size
        if size > at.size:  # a power cut left zeros, and another program added lines before they were completed
            raise self._difference(incomplete[0], [(incomplete[1], False)])
        return incomplete[0], False

    def _was_written(self, size: int) -> bool:
        """Whether the bytes after the account are the missing lines, changed, and not lines of another program."""
        to_come = (lines_of([bet]) for _, bets in self._to_come(self._account.batch) for bet in bets)
        expected = list(itertools.islice(to_come, _LINES_COMPARED))
        known = set(expected)
        lines = self._legacy.lines(self._account.size, size, self._account.lines + 1)
        return any(
            line in known or (position == 0 and equal_fields(line, expected[0]) >= _ALIKE)
            for position, (_, line) in enumerate(lines)
        )

    def _in_file(self) -> Iterator[tuple[list[Bet], bool]]:
        """The ledger's bets of the accounted bytes, and whether another program wrote them."""
        query = f"{_BATCHES} WHERE place <= ? ORDER BY place, adopted, seq"
        with self._file.plain_errors():
            for seq, encoded, _, adopted in self._file.connection.execute(query, (self._account.batch,)):
                yield pages.decoded(self._file, seq, encoded), bool(adopted)

    def _difference(self, start: Account, batches: Iterable[tuple[list[Bet], bool]]) -> StorageError:
        """The error for the first line, from an account on, that differs from the batches that should be there."""
        number = start.lines
        with self._legacy.reader(start.size) as lines:
            for bet, adopted in ((bet, adopted) for bets, adopted in batches for bet in bets):
                line, number = lines.readline(MAX_LINE_BYTES), number + 1
                if line != lines_of([bet]) and (
                    said := difference(line, bet, where=f"{self._path}:{number}", same=adopted)
                ):
                    return StorageError(f"{said}: {advice(self._file.path)}")
        return StorageError(
            f"{self._path}: its first {number} lines are not, byte for byte, those that were there:"
            f" {advice(self._file.path)}"
        )

    # Lines of other programs

    def _adopt(self, end: int) -> None:
        """Add the lines after the account, up to the byte `end`, to the ledger; inside a transaction.

        Raises:
            StorageError: a line may not be adopted; says which, and why.
        """
        after, first = self._account.batch, self._last_batch + 1
        lines = self._lines_of_others(end)
        while some := list(itertools.islice(lines, _BETS_PER_BATCH * _BATCHES_PER_STEP)):
            plan = self._plan(sealed=())  # lines from before the draw may come after the seal
            plan.add([Parcel(runs=tuple(_runs_of(bet for _, bet in some)))])
            super()._write(plan)
            self._follow(plan)
            self._last_batch += len(plan.rows)
            self._account = self._account.grown(b"".join(line for line, _ in some))
        self._file.write("INSERT INTO adopted_lines VALUES (?, ?, ?)", (first, self._last_batch, after))
        self._write_account()
        self._accounted = self._account

    def _lines_of_others(self, end: int) -> Iterator[tuple[bytes, Bet]]:
        first = self._account.lines + 1
        if self._number is not None:
            raise StorageError(f"{self._path}:{first}: was added after draw {self._draw}, which is over")
        has_uploads = {agency for agency, uploads in self._by_agency.items() if uploads.identified}
        for number, line in self._legacy.lines(self._account.size, end, first):
            bet = bet_of(line, f"{self._path}:{number}")
            if bet.agency in has_uploads:
                raise StorageError(f"{self._path}:{number}: was added, though agency {bet.agency} sends uploads")
            yield line, bet

    # Writing

    def _store(self, plan: GroupPlan) -> None:
        """Write a plan into the ledger, and then the lines into the file; see `SqliteStore`."""
        with self._ending():
            if self._lags:
                self._catch_up()
            if (size := self._legacy.size()) != self._account.size:
                raise StorageError(
                    f"{self._path}: has {size} bytes instead of {self._account.size}: another program has written to it"
                    " while this server had it open: stop that program, and start again"
                )
        super()._store(plan)
        self._last_batch += len(plan.rows)
        text = b"".join(lines_of(decode_bets(run.encoded)) for _, _, run in plan.rows)
        with self._ending():
            with contextlib.suppress(StoreFull):  # the bets are stored; the next group waits until the file has them
                self._put([(self._last_batch, text)])
            self._legacy.require_in_place()

    def _write(self, plan: GroupPlan) -> None:
        """Write a plan, and the account of the file; see `SqliteStore`."""
        super()._write(plan)
        if self._account != self._accounted:
            self._write_account()

    def _follow(self, plan: GroupPlan) -> None:
        """Take a written plan over into memory; see `SqliteStore`."""
        super()._follow(plan)
        self._accounted = self._account

    def _catch_up(self) -> None:
        """Write the bets that the ledger has and the file lacks.

        Raises:
            StoreFull: no room for them; the file is unchanged.
        """
        self._put((seq, lines_of(bets)) for seq, bets in self._to_come(self._account.batch))

    def _put(self, texts: Iterable[tuple[int, bytes]]) -> None:
        account = self._account
        try:
            for seq, text in texts:
                self._legacy.write(text, account.size)
                account = account.grown(text, batch=seq)
            if account != self._account:
                self._legacy.flush()
        except StoreFull:
            self._lags = True
            self._legacy.cut(self._account.size)
            raise
        self._account, self._lags = account, False

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """End the store if the file fails for another reason than lack of room."""
        try:
            yield
        except StoreFull:
            raise
        except StorageError:
            with self._file.transaction():  # an error in its block ends the ledger
                raise

    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload, new or begun; see `BetStore.open_upload`."""
        return self._in_place(super().open_upload(agency, upload_id, total=total, note=note))

    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and draw if it was the last; see `BetStore.seal_and_draw`."""
        return self._in_place(super().seal_and_draw(agency, expected=expected, pick=pick, forced=forced, note=note))

    def void(self, number: int, *, reason: str) -> UploadState:
        """Take an upload out of the draw; see `BetStore.void`."""
        return self._in_place(super().void(number, reason=reason))

    def _in_place(self, done: _Done) -> _Done:
        """Return `done` if the file is still where it was."""
        with self._file.lock, self._ending():
            self._legacy.require_in_place()
        return done

    def require_in_place(self) -> None:
        """Check that both files are where they were opened; see `BetStore.require_in_place`."""
        super().require_in_place()
        self._legacy.require_in_place()

    def close(self) -> None:
        """Close both files; see `BetStore.close`."""
        with self._file.lock, contextlib.suppress(StorageError):  # the next opening compares what is not written now
            self._file.require_usable()
            if self._account != self._accounted:
                with self._file.transaction():
                    self._write_account()
                self._accounted = self._account
        super().close()
        self._legacy.close()


def _is_remains(found: bytes, text: bytes) -> bool:
    """Whether an interrupted write of `text` can leave `found`: its beginning, zeros in places, or nothing."""
    return len(found) <= len(text) and all(one in (0, other) for one, other in zip(found, text, strict=False))


def _runs_of(bets: Iterable[Bet]) -> Iterator[BetRun]:
    for agency, run in itertools.groupby(bets, key=operator.attrgetter("agency")):
        while some := list(itertools.islice(run, _BETS_PER_BATCH)):
            yield BetRun(agency=agency, count=len(some), encoded=encode_bets(some))
