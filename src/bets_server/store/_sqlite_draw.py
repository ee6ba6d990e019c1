"""The draw over a book in SQLite: what it goes through, batch by batch, inside the transaction that ends it.

Two walks: the first makes sure that the book holds what was acknowledged and computes the digest, and only then is a
number chosen; the second finds the winners. One batch at a time is in memory. Voided uploads take part in neither.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import sqlite3
import zlib
from collections import Counter

import attrs

from bets_protocol import StorageError
from bets_server.draw import winners_of_lots
from bets_server.store._sqlite_file import ROWS_PER_STATEMENT, BookFile


@attrs.frozen(kw_only=True)
class Digest:
    """Which bets took part in a draw: how many, and SHA-256 over their bytes in the order of storing, in hex."""

    bets: int
    sha256: str


def verified_digest(book: BookFile, draw: int) -> Digest:
    """What the draw is about to take place over, once it is known to be, byte for byte, what was acknowledged.

    Raises:
        StorageError: the batches of an upload do not add up to it: one is missing, changed or new.
    """
    sha256 = hashlib.sha256()
    found: dict[int, tuple[int, int]] = {}
    for upload, count, encoded in _walk(book, draw, "upload.id, batch.count, batch.bets"):
        stored, crc32 = found.get(upload, (0, 0))
        found[upload] = stored + count, zlib.crc32(encoded, crc32)
        sha256.update(encoded)
    for upload, agency, *wanted in book.connection.execute(
        "SELECT id, agency, stored, crc32 FROM upload WHERE draw = ? AND NOT voided", (draw,)
    ):
        if found.get(upload, (0, 0)) != tuple(wanted):
            raise StorageError(f"{book.path}: the bets of agency {agency} are not those that were stored")
    return Digest(bets=sum(stored for stored, _ in found.values()), sha256=sha256.hexdigest())


def write_winners(book: BookFile, draw: int, number: int) -> None:
    """Write down who has bet on the number, agency by agency in the order of storing."""
    positions: Counter[int] = Counter()
    winners = winners_of_lots(_walk(book, draw, "upload.agency, batch.bets"), number)
    while some := list(itertools.islice(winners, ROWS_PER_STATEMENT)):
        rows = []
        for agency, document in some:
            rows.append((draw, agency, positions[agency], document))
            positions[agency] += 1
        book.write_rows(_winner_statement, rows)


@functools.cache
def _winner_statement(rows: int) -> str:
    return "INSERT INTO winner (draw, agency, position, document) VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows)


def _walk(book: BookFile, draw: int, columns: str) -> sqlite3.Cursor:
    """Each batch of the draw in the order of storing, one at a time in memory."""
    return book.connection.execute(
        # CROSS JOIN: walk the batches in their own order and look the uploads up; nothing is sorted.
        f"SELECT {columns} FROM batch CROSS JOIN upload ON upload.id = batch.upload"
        " WHERE upload.draw = ? AND NOT upload.voided ORDER BY batch.seq",
        (draw,),
    )
