"""Reads the audit and the bets of a book a page at a time, so that a long reading never holds the lock for long.

A reading ends at the last row that was there when it began. Rows come in order; in a damaged file they may not, and the
same page could come for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bets_protocol import Bet, RemoteProtocolError, StorageError, decode_bets
from bets_server.store.sqlite.book import Book
from bets_server.store.values import AuditEntry

_BATCHES_PER_PAGE: Final = 16
"""At most 128 KB."""

_ENTRIES_PER_PAGE: Final = 64


def audit(book: Book) -> Iterator[AuditEntry]:
    """Every entry of the audit, of all draws.

    Raises:
        StorageError: the book cannot be read, or is damaged.
    """
    query = "SELECT seq, at, draw, event, agency, detail FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
    last, before = _last(book, "audit"), 0
    while page := _read(book, query, before, last, _ENTRIES_PER_PAGE):
        for seq, at, draw, event, agency, detail in page:
            if seq <= before:
                raise StorageError(f"{book.path}: is damaged: audit entry {seq} follows entry {before}")
            before = seq
            yield AuditEntry(seq=seq, at=at, draw=draw, event=event, agency=agency, detail=detail)


def bets(book: Book, draw: int, agency: int | None) -> Iterator[Bet]:
    """The bets of a draw in the order of storing, of one agency or of all.

    Raises:
        StorageError: the book cannot be read, or is damaged.
    """
    query = (
        "SELECT batch.seq, batch.bets FROM batch CROSS JOIN upload ON upload.id = batch.upload"
        " WHERE batch.seq > ? AND batch.seq <= ? AND upload.draw = ? AND NOT upload.voided"
        " AND upload.agency = coalesce(?, agency) ORDER BY batch.seq LIMIT ?"
    )
    last, before = _last(book, "batch"), 0
    while page := _read(book, query, before, last, draw, agency, _BATCHES_PER_PAGE):
        for sequence, encoded in page:
            if sequence <= before:
                raise StorageError(f"{book.path}: is damaged: batch {sequence} follows batch {before}")
            before = sequence
            yield from decoded(book, sequence, encoded)


def _last(book: Book, table: str) -> int:
    ((last,),) = _read(book, f"SELECT coalesce(max(seq), 0) FROM {table}")
    return int(last)


def _read(book: Book, query: str, *values: object) -> list[tuple[Any, ...]]:
    with book.lock:
        book.require_usable()
        return book.read(query, values)


def decoded(book: Book, sequence: int, encoded: object) -> list[Bet]:
    """The bets of a batch, as a row of the book has them.

    Raises:
        StorageError: the row does not hold bets.
    """
    if not isinstance(encoded, bytes):  # the table allows nothing else, but a damaged file may hold it
        raise StorageError(f"{book.path}: batch {sequence} is damaged: it holds no bytes")
    try:
        return decode_bets(encoded)
    except RemoteProtocolError as error:
        raise StorageError(f"{book.path}: batch {sequence} is damaged: {error}") from error
