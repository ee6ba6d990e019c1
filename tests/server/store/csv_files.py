"""What the files of a CSV store hold, seen without the store."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from bets_server.store import BetStore
from bets_server.store.csv.rows import lines_of


def account(ledger: Path) -> tuple[int, int, int]:
    """What the ledger, which nobody has open, says of the file: the batch up to which it goes, bytes, lines."""
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        batch, size, lines = connection.execute("SELECT batch, size, lines FROM legacy_file").fetchone()
    return batch, size, lines


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder and their contents."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def lines_of_store(store: BetStore) -> bytes:
    """What the file must be where all its bets are of one draw and none was voided."""
    return lines_of(store.bets())


def copied(folder: Path, to: Path) -> Path:
    """The files of an open store as they are at this moment, as if it was killed; gives the path of the copy."""
    to.mkdir()
    for path in folder.glob("bets.csv*"):
        shutil.copyfile(path, to / path.name)
    return to / "bets.csv"
