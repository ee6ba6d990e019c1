"""The store in a SQLite file, which the documentation calls the book."""

from __future__ import annotations

from bets_server.store.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
