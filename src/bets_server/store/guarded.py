"""Which paths belong to a store, of any draw and server: an export must not write there.

A path belongs to a store by its content, a signed book, or by its name. SQLite takes `x-wal`, `x-shm` and `x-journal`
for parts of the database `x`. The CSV store has its ledger in the database `x.ledger`, and does not start beside an
`x.journal` of its older versions. A name counts also while there is no file: a file of that name would be read as a
part of the store, or damage it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bets_server.store.csv.file import LEDGER_SUFFIX, OLD_JOURNAL_SUFFIX
from bets_server.store.sqlite.schema import APPLICATION_ID

_SQLITE_PARTS: Final = ("-wal", "-shm", "-journal")
_PARTS: Final = (
    *_SQLITE_PARTS,
    LEDGER_SUFFIX,
    *(LEDGER_SUFFIX + part for part in _SQLITE_PARTS),
    OLD_JOURNAL_SUFFIX,
)

# Of the 100 bytes of SQLite's header: how it begins, and where the application id is.
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID_AT: Final = slice(68, 72)


def store_of(path: Path) -> Path | None:
    """The store that `path` is a part of, or would be; None if it is free.

    A legacy `bets.csv` that no store has written to yet is a file like any other.

    Args:
        path: of a regular file, or of a file that does not exist.

    Raises:
        OSError: the file cannot be read.
    """
    for part in _PARTS:
        if os.path.exists(f"{path}{part}"):
            return path
        whole = str(path).removesuffix(part)
        if whole != str(path) and os.path.isfile(whole):
            return Path(whole)
    return path if os.path.exists(path) and _is_book(path) else None


def _is_book(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return header.startswith(_MAGIC) and header[_APPLICATION_ID_AT] == APPLICATION_ID.to_bytes(4, "big")
