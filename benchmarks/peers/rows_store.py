"""A table of bets in SQLite, as durable as the book: WAL, `synchronous=FULL`, an answer only after the commit.

One thread writes. It takes every batch that waits and commits them together, so that agencies share a flush: what a
competent author does about five clients that each wait for their answer.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.messages import Row

Done = Callable[[], object]


class RowStore:
    """One row a bet. Thread: any, one call at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {setting}").fetchall()
        self._connection.execute(
            "CREATE TABLE bets (agency INTEGER, first_name TEXT, last_name TEXT, document TEXT, birthdate TEXT,"
            " number INTEGER)"
        )

    def commit(self, batches: Sequence[Sequence[Row]]) -> None:
        """Stores batches in one transaction; they are on disk when this returns."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for rows in batches:
            self._connection.executemany("INSERT INTO bets VALUES (?, ?, ?, ?, ?, ?)", rows)
        execute("COMMIT")

    def winners(self, agency: int, number: int) -> list[str]:
        """The documents of an agency's bets on a number."""
        rows = self._connection.execute("SELECT document FROM bets WHERE agency = ? AND number = ?", (agency, number))
        return [document for (document,) in rows]


class GroupCommitter:
    """A thread that commits what waits, as one group; then calls back for each batch of it."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[tuple[Sequence[Row], Done]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, rows: Sequence[Row], done: Done) -> None:
        """Has a batch stored; `done` is called, by the thread, when it is on disk."""
        self._waiting.put((rows, done))

    def _run(self) -> None:
        while True:
            group = [self._waiting.get()]
            while not self._waiting.empty():
                group.append(self._waiting.get())
            self._store.commit([rows for rows, _ in group])
            for _, done in group:
                done()
