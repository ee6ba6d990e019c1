"""What stands in a book, read with nothing but SQLite, from a copy: so a crash scene stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.campaigns.faults.model import split_bets


@attrs.frozen
class BookUpload:
    """One upload: its row, and its bets in order; `bets` is what the batches say, not what the row says."""

    number: int
    agency: int
    upload_id: bytes | None
    total: int | None
    stored: int
    crc32: int
    epoch: int
    voided: bool
    bets: tuple[bytes, ...]


@attrs.frozen
class Book:
    """One draw of a book.

    Attributes:
        uploads: those that are not voided.
        winners: documents by agency, in order; empty before the draw.
        number: the winning number; None before the draw.
        order: every bet of the draw in the order of storing.
        bets, digest: as the draw's own row gives them.
    """

    uploads: tuple[BookUpload, ...]
    sealed: frozenset[int]
    number: int | None
    winners: dict[int, list[str]]
    order: tuple[bytes, ...]
    bets: int
    digest: str

    def of_agency(self, agency: int) -> list[BookUpload]:
        """The uploads of an agency."""
        return [upload for upload in self.uploads if upload.agency == agency]

    def final(self) -> object:
        """What no longer changes once the draw is over: everything but the epochs."""
        return attrs.evolve(self, uploads=tuple(attrs.evolve(upload, epoch=0) for upload in self.uploads))

    def digest_of_order(self) -> str:
        """SHA-256 over the bets in the order of storing."""
        return hashlib.sha256(b"".join(self.order)).hexdigest()


def read_book(path: Path, *, draw: int = 1, copied: bool = True) -> Book:
    """The book at `path`; the server may have died a moment ago, and may not run.

    Args:
        copied: reads a copy; else the files themselves, which recovers them.

    Raises:
        AssertionError: there is none, SQLite finds the file damaged, or rows of an upload are missing or doubled.
    """
    assert path.exists(), f"there is no book at {path}"
    if not copied:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return _read(connection, draw)
    with tempfile.TemporaryDirectory(prefix="bets-book-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            return _read(connection, draw)


def _read(connection: sqlite3.Connection, draw: int) -> Book:
    execute = connection.execute
    (verdict,) = execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok", f"the file is damaged: {verdict}"
    if not execute("SELECT count(*) FROM sqlite_schema WHERE name = 'upload'").fetchone()[0]:
        return Book((), frozenset(), None, {}, (), 0, "")  # killed before the tables were made
    runs: dict[int, list[bytes]] = {}
    order: list[bytes] = []
    uploads = execute("SELECT * FROM upload WHERE draw = ? ORDER BY id", (draw,))
    columns = [column[0] for column in uploads.description]
    found = [dict(zip(columns, row, strict=True)) for row in uploads]
    counted = {row["id"] for row in found if not row["voided"]}
    for upload, first_row, count, run in execute("SELECT upload, first_row, count, bets FROM batch ORDER BY seq"):
        bets = split_bets(run)
        stored = runs.setdefault(upload, [])
        assert first_row == len(stored), f"upload {upload}: row {first_row} is stored behind row {len(stored) - 1}"
        assert count == len(bets), f"upload {upload}: a batch of {count} holds {len(bets)} bets"
        stored += bets
        order += bets if upload in counted else []
    winners: dict[int, list[str]] = {}
    for agency, document in execute("SELECT agency, document FROM winner WHERE draw = ? ORDER BY position", (draw,)):
        winners.setdefault(agency, []).append(document)
    number, bets_drawn, digest = _draw_row(execute("SELECT * FROM draw WHERE id = ?", (draw,)))
    return Book(
        uploads=tuple(_upload(row, runs.get(row["id"], [])) for row in found if not row["voided"]),
        sealed=frozenset(agency for (agency,) in execute("SELECT agency FROM seal WHERE draw = ?", (draw,))),
        number=number,
        winners=winners,
        order=tuple(order),
        bets=bets_drawn,
        digest=digest,
    )


def _upload(row: dict[str, object], bets: Sequence[bytes]) -> BookUpload:
    values = {name: row[name] for name in ("agency", "upload_id", "total", "stored", "crc32", "epoch")}
    return BookUpload(number=row["id"], voided=bool(row["voided"]), bets=tuple(bets), **values)  # type: ignore[arg-type]


def _draw_row(found: sqlite3.Cursor) -> tuple[int | None, int, str]:
    row = found.fetchone()
    if row is None:
        return None, 0, ""
    values = dict(zip((column[0] for column in found.description), row, strict=True))
    return values["number"], values.get("bets") or 0, values.get("digest") or ""
