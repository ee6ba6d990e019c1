"""The draw over a book in SQLite: what it goes through, batch by batch, inside the transaction that ends it.

One walk, since reading is most of the work: it finds the winners and sums up what each upload holds, and only a book
that holds what was acknowledged is drawn over; otherwise all of it is rolled back, and nobody has heard the number.
Some batches at a time are in memory: while SQLite fetches the next ones, another thread searches these, for which the
native codec needs no lock of the interpreter. Voided uploads take no part.

A draw is signed with SHA-256 over its bets. Where this process has stored every one of them, it has hashed them on the
way and the walk only makes sure, by the CRC-32 and the count of each upload, that the book holds those bets; else the
walk hashes what the book holds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeAlias

import attrs

from bets_protocol import StorageError, codec_info, survey_runs
from bets_server.store.sqlite.book import ROWS_PER_STATEMENT, Book

_BATCHES_AT_ONCE: Final = 512
"""4 MB of them at most, twice: too few, and the threads do nothing but wait for each other."""

_BYTES_HASHED_AT_ONCE: Final = 65_536
"""Hashing gives up the interpreter's lock, which is dear beside a busy thread: so not for each batch."""


@attrs.frozen(kw_only=True)
class Digest:
    """Which bets took part in a draw: how many, and SHA-256 over their bytes in the order of storing, in hex."""

    bets: int
    sha256: str


class RunningDigest:
    """SHA-256 over bets as they are stored; it keeps a few batches until hashing them is worth it."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def add(self, encoded: bytes) -> None:
        """Go on with bets that were stored."""
        self._waiting.append(encoded)
        self._waiting_bytes += len(encoded)
        if self._waiting_bytes >= _BYTES_HASHED_AT_ONCE:
            self._hash()

    def hexdigest(self) -> str:
        """The digest over all of them so far."""
        self._hash()
        return self._sha256.hexdigest()

    def _hash(self) -> None:
        self._sha256.update(b"".join(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0


def draw_over(book: Book, draw: int, number: int, running: RunningDigest | None) -> Digest:
    """Write down who has bet on the number, agency by agency in the order of storing; gives what was drawn over.

    Args:
        book: its transaction is open.
        draw: which one.
        number: the winning number.
        running: has taken in every bet of the draw, in the order of storing; None: there is none that has.

    Raises:
        StorageError: the batches of an upload do not add up to it: one is missing, changed or new.
    """
    digest = RunningDigest() if running is None else running
    walk = _Walk(book, draw, number, digest if running is None else None)
    positions: Counter[int] = Counter()
    with contextlib.closing(walk.winners()) as winners:
        while some := list(itertools.islice(winners, ROWS_PER_STATEMENT)):
            rows = []
            for agency, document in some:
                rows.append((draw, agency, positions[agency], document))
                positions[agency] += 1
            book.write_rows(_winner_statement, rows)
    return Digest(bets=walk.verified_bets(), sha256=digest.hexdigest())


@attrs.define
class _Upload:
    """What the book says of an upload, and what has been found of it.

    Attributes:
        agency: whose it is.
        stored: how many bets the book says it has.
        crc32: and their CRC-32.
        found: how many bets there were so far.
        found_crc32: and their CRC-32.
    """

    agency: int
    stored: int
    crc32: int
    found: int = 0
    found_crc32: int = 0


@attrs.frozen
class _Piece:
    """Some batches, in the order of storing, of one upload of each agency at most.

    Attributes:
        runs: the bets of each batch, where somebody hashes them.
        by_upload: the same by their uploads.
    """

    runs: list[bytes] = attrs.Factory(list)
    by_upload: dict[int, list[bytes]] = attrs.Factory(dict)


_Winners: TypeAlias = list[tuple[int, str]]


class _Walk:
    """One walk over the batches of a draw in the order of storing."""

    def __init__(self, book: Book, draw: int, number: int, digest: RunningDigest | None) -> None:
        """No batch is read yet; `digest` takes in every one, where there is one."""
        self._digest = digest
        self._book = book
        self._number = number
        self._uploads = {
            upload: _Upload(*rest)
            for upload, *rest in book.connection.execute(
                "SELECT id, agency, stored, crc32 FROM upload WHERE draw = ? AND NOT voided", (draw,)
            )
        }

    def winners(self) -> Generator[tuple[int, str], None, None]:
        """Agency and document of each winning bet; those of one agency in the order of storing."""
        if codec_info().kind != "native":  # the others would only take the interpreter's lock from each other
            for piece in self._pieces():
                yield from self._search(piece)
            return
        before: Future[_Winners] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="draw") as searching:
            for piece in self._pieces():
                after = searching.submit(self._search, piece)
                if before is not None:
                    yield from before.result()
                before = after
            if before is not None:
                yield from before.result()

    def _pieces(self) -> Iterator[_Piece]:
        uploads = self._uploads
        # Uploads are numbered draw by draw as a rule: those of others are not even read, save between these.
        batches = self._book.connection.execute(
            "SELECT upload, count, bets FROM batch NOT INDEXED WHERE upload BETWEEN ? AND ? ORDER BY seq",
            (min(uploads, default=0), max(uploads, default=0)),
        )
        while rows := batches.fetchmany(_BATCHES_AT_ONCE):
            piece = _Piece()
            of_agency: dict[int, int] = {}
            for number, count, encoded in rows:  # what is done for each batch is what takes the time
                runs = piece.by_upload.get(number)
                if runs is None:
                    upload = uploads.get(number)
                    if upload is None:
                        continue
                    if of_agency.setdefault(upload.agency, number) != number:
                        yield piece
                        piece, of_agency = _Piece(), {upload.agency: number}
                    runs = piece.by_upload[number] = []
                # The table allows nothing else, but a damaged file is no table.
                if type(encoded) is not bytes or type(count) is not int:
                    raise self._damage(uploads[number])
                uploads[number].found += count
                runs.append(encoded)
                if self._digest is not None:
                    piece.runs.append(encoded)
            yield piece

    def _search(self, piece: _Piece) -> _Winners:
        """The winners among some batches, which are summed up meanwhile; for one piece after the other."""
        if self._digest is not None:
            self._digest.add(b"".join(piece.runs))
        uploads = [self._uploads[number] for number in piece.by_upload]
        pieces = [(runs, upload.found_crc32) for runs, upload in zip(piece.by_upload.values(), uploads, strict=True)]
        winners = []
        for upload, (crc32, documents) in zip(uploads, self._survey(pieces, uploads), strict=True):
            upload.found_crc32 = crc32
            winners += [(upload.agency, document) for document in documents]
        return winners

    def _survey(self, pieces: list[tuple[list[bytes], int]], uploads: list[_Upload]) -> list[tuple[int, list[str]]]:
        try:
            return survey_runs(pieces, self._number)
        except UnicodeDecodeError:
            for each, upload in zip(pieces, uploads, strict=True):
                try:
                    survey_runs([each], self._number)
                except UnicodeDecodeError as error:
                    raise self._damage(upload) from error
            raise

    def verified_bets(self) -> int:
        """How many bets there were, once it is known that they are, byte for byte, what was acknowledged.

        Raises:
            StorageError: they are not.
        """
        for upload in self._uploads.values():
            if (upload.found, upload.found_crc32) != (upload.stored, upload.crc32):
                raise self._damage(upload)
        return sum(upload.found for upload in self._uploads.values())

    def _damage(self, upload: _Upload) -> StorageError:
        """What is wrong, for raising."""
        return StorageError(f"{self._book.path}: the bets of agency {upload.agency} are not those that were stored")


@functools.cache
def _winner_statement(rows: int) -> str:
    return "INSERT INTO winner (draw, agency, position, document) VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows)
