"""A store whose disk is an object: the simulation's, which crashes servers thousands of times a minute.

It is the folder store of the contract's tests without the folder, and passes the contract's suite like that one. A
crash is simply a store that nobody calls any more; opening the same `Disk` again is the restart.
"""

from __future__ import annotations

import threading
from typing import Any

import attrs

from bets_server.store import UploadState
from tests.server.store.folder_store import FolderStore


@attrs.define
class Disk:
    """What outlives a server: the book of a folder store."""

    book: dict[str, Any] = attrs.Factory(lambda: {"draws": {}, "audit": [], "uploads": 0})

    def encoded(self, upload: UploadState) -> bytes:
        """All bets of an upload, as they are stored."""
        return b"".join(data for number, data in self.runs() if number == upload.number)

    def runs(self) -> list[tuple[int, bytes]]:
        """Each batch of draw 1 in the order of storing: the number of its upload, and its bets."""
        return [(number, bytes.fromhex(data)) for number, data in self.book["draws"]["1"]["runs"]]

    def epoch(self, number: int) -> int:
        """How often an upload of draw 1 was opened."""
        epoch: int = self.book["draws"]["1"]["uploads"][str(number)]["epoch"]
        return epoch


class MemoryStore(FolderStore):
    """One draw on a `Disk`."""

    def __init__(self, disk: Disk, draw: int = 1) -> None:
        self._book = disk.book
        self._draw = draw
        self._lock = threading.RLock()
        self._descriptor = -1  # it is open

    def _save(self) -> None:
        """Whatever is in the book is on the disk."""

    def close(self) -> None:
        """Let go of the disk."""
        self._descriptor = None
