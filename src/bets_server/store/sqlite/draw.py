"""The draw over a book in SQLite: one walk over its batches, inside the transaction that ends the draw.

The walk finds the winners and sums up each upload. If the book does not hold what was acknowledged, everything is
rolled back, and nobody has seen the number. Voided uploads take no part.

The digest of a draw is SHA-256 over its bets. If this process has stored all of them, it has hashed them already, and
the walk only checks the CRC-32 and the count of each upload; else the walk hashes the bets of the book.
"""

from __future__ import annotations

import contextlib
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
"""At most 4 MB, twice in memory. With fewer batches the two threads mostly wait for each other."""

_BYTES_HASHED_AT_ONCE: Final = 65_536
"""Hashing gives up the interpreter lock, which is slow beside a busy thread: so it is not done for each batch."""


@attrs.frozen(kw_only=True)
class Digest:
    """The bets of a draw: how many, and SHA-256 over their bytes in the order of storing, in hexadecimal digits."""

    bets: int
    sha256: str


class RunningDigest:
    """SHA-256 over bets as they are stored; it collects batches until there are enough to hash."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def add(self, encoded: bytes) -> None:
        """Add bets that were stored."""
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
    """Write the winners of each agency in the order of storing, and return the digest of the draw.

    Args:
        book: its transaction is open.
        draw: the draw's id.
        number: the winning number.
        running: the digest over every bet of the draw in the order of storing, or None to hash while reading.

    Raises:
        StorageError: the batches of an upload do not add up: one is missing, changed or new.
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
            book.write_rows("INSERT INTO winner (draw, agency, position, document) VALUES {rows}", rows)
    return Digest(bets=walk.verified_bets(), sha256=digest.hexdigest())


@attrs.define
class _Upload:
    """An upload according to its row, and the sum of the batches found so far.

    Attributes:
        agency: the agency that sent it.
        stored: the number of bets in its row.
        crc32: the CRC-32 in its row.
        found: the number of bets found so far.
        found_crc32: the CRC-32 over them.
    """

    agency: int
    stored: int
    crc32: int
    found: int = 0
    found_crc32: int = 0


@attrs.frozen
class _Piece:
    """Some batches in the order of storing, of at most one upload of each agency.

    Attributes:
        runs: the bets of each batch, if they have to be hashed.
        by_upload: the same, by upload.
    """

    runs: list[bytes] = attrs.Factory(list)
    by_upload: dict[int, list[bytes]] = attrs.Factory(dict)


_Winners: TypeAlias = list[tuple[int, str]]


class _Walk:
    """One walk over the batches of a draw in the order of storing."""

    def __init__(self, book: Book, draw: int, number: int, digest: RunningDigest | None) -> None:
        """Read the uploads, and no batch yet. `digest`, if not None, gets every batch."""
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
        # While SQLite fetches the next piece, a thread searches this one: the native codec needs no interpreter lock
        # for that. With the pure codec two threads would only wait for each other's lock.
        if codec_info().kind != "native":
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
        # Usually the uploads of a draw have consecutive numbers, so few batches of other draws are read.
        batches = self._book.connection.execute(
            "SELECT upload, count, bets FROM batch NOT INDEXED WHERE upload BETWEEN ? AND ? ORDER BY seq",
            (min(uploads, default=0), max(uploads, default=0)),
        )
        while rows := batches.fetchmany(_BATCHES_AT_ONCE):
            piece = _Piece()
            of_agency: dict[int, int] = {}
            for number, count, encoded in rows:  # the inner loop of the draw: it costs most of the time
                runs = piece.by_upload.get(number)
                if runs is None:
                    upload = uploads.get(number)
                    if upload is None:
                        continue
                    if of_agency.setdefault(upload.agency, number) != number:
                        yield piece
                        piece, of_agency = _Piece(), {upload.agency: number}
                    runs = piece.by_upload[number] = []
                # The table's constraints allow nothing else, but a damaged file may.
                if type(encoded) is not bytes or type(count) is not int:
                    raise self._damage(uploads[number])
                uploads[number].found += count
                runs.append(encoded)
                if self._digest is not None:
                    piece.runs.append(encoded)
            yield piece

    def _search(self, piece: _Piece) -> _Winners:
        """Add the batches of a piece to their sums, and return the winners among them. One piece at a time."""
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
        """Return how many bets there were.

        Raises:
            StorageError: they are not, byte for byte, what was acknowledged.
        """
        for upload in self._uploads.values():
            if (upload.found, upload.found_crc32) != (upload.stored, upload.crc32):
                raise self._damage(upload)
        return sum(upload.found for upload in self._uploads.values())

    def _damage(self, upload: _Upload) -> StorageError:
        """The error for an upload whose batches do not add up."""
        return StorageError(f"{self._book.path}: the bets of agency {upload.agency} are not those that were stored")
