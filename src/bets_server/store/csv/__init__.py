"""The store for programs that read the legacy `bets.csv`: a SQLite ledger, and that file beside it."""

from __future__ import annotations

from bets_server.store.csv.store import CsvStore, open_csv

__all__ = ["CsvStore", "open_csv"]
