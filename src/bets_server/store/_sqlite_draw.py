"""The draw over a book in SQLite: what it goes through, batch by batch, inside the transaction that ends it.

One walk, since reading is most of the work: it finds the winners and sums up what each upload holds, and only a book
that holds what was acknowledged is drawn over; otherwise all of it is rolled back, and nobody has heard the number.
One batch at a time is in memory. Voided uploads take no part.

A draw is signed with SHA-256 over its bets. Where this process has stored every one of them, it has hashed them on the
way and the walk only makes sure, by the CRC-32 and the count of each upload, that the book holds those bets; else the
walk hashes what the book holds.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs

from bets_protocol import StorageError
from bets_server.draw import winners_of_lots
from bets_server.store._sqlite_file import ROWS_PER_STATEMENT, BookFile

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


def draw_over(book: BookFile, draw: int, number: int, running: RunningDigest | None) -> Digest:
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
    walk = _Walk(book, draw, digest if running is None else None)
    positions: Counter[int] = Counter()
    winners = winners_of_lots(walk.lots(), number)
    try:
        while some := list(itertools.islice(winners, ROWS_PER_STATEMENT)):
            rows = []
            for agency, document in some:
                rows.append((draw, agency, positions[agency], document))
                positions[agency] += 1
            book.write_rows(_winner_statement, rows)
    except UnicodeDecodeError as error:
        raise walk.damage(walk.agency) from error
    return Digest(bets=walk.verified_bets(), sha256=digest.hexdigest())


class _Walk:
    """One walk over the batches of a draw in the order of storing; `agency` is whose batch was given last."""

    def __init__(self, book: BookFile, draw: int, digest: RunningDigest | None) -> None:
        """Nothing is read yet; `digest` takes in every batch, where there is one."""
        self.agency = 0
        self._digest = digest
        self._book = book
        self._draw = draw
        self._found: dict[int, tuple[int, int]] = {}

    def lots(self) -> Iterator[tuple[int, bytes]]:
        """Agency and bets of each batch."""
        found, crc32, digest = self._found, zlib.crc32, self._digest
        for upload, agency, count, encoded in self._batches():
            self.agency = agency
            # The table allows nothing else, but a damaged file is no table.
            if not (isinstance(encoded, bytes) and isinstance(count, int)):
                raise self.damage(agency)
            stored, crc = found.get(upload, (0, 0))
            found[upload] = stored + count, crc32(encoded, crc)
            if digest is not None:
                digest.add(encoded)
            yield agency, encoded

    def _batches(self) -> sqlite3.Cursor:
        return self._book.connection.execute(
            # CROSS JOIN: walk the batches in their own order and look the uploads up; nothing is sorted.
            "SELECT upload.id, upload.agency, batch.count, batch.bets FROM batch CROSS JOIN upload"
            " ON upload.id = batch.upload WHERE upload.draw = ? AND NOT upload.voided ORDER BY batch.seq",
            (self._draw,),
        )

    def verified_bets(self) -> int:
        """How many bets there were, once it is known that they are, byte for byte, what was acknowledged.

        Raises:
            StorageError: they are not.
        """
        for upload, agency, *wanted in self._book.connection.execute(
            "SELECT id, agency, stored, crc32 FROM upload WHERE draw = ? AND NOT voided", (self._draw,)
        ):
            if self._found.get(upload, (0, 0)) != tuple(wanted):
                raise self.damage(agency)
        return sum(stored for stored, _ in self._found.values())

    def damage(self, agency: int) -> StorageError:
        """What is wrong, for raising."""
        return StorageError(f"{self._book.path}: the bets of agency {agency} are not those that were stored")


@functools.cache
def _winner_statement(rows: int) -> str:
    return "INSERT INTO winner (draw, agency, position, document) VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows)
