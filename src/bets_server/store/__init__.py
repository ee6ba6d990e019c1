"""Stores: where a server keeps bets, seals and the draw. `open_store` finds one by its URL.

``sqlite:///path`` is the book, ``csv:///path`` the legacy `bets.csv`. `BetStore` is the contract of both and of every
other that `register_store` makes known; `bets_server.store.conformance` tests whether one keeps it.
"""

from __future__ import annotations

from bets_server.store._base import (
    BetStore,
    DrawState,
    SealOutcome,
    StoreFull,
    StoreOpener,
    Verdict,
    open_store,
    path_of,
    register_store,
    store_schemes,
)
from bets_server.store._csv import open_csv
from bets_server.store._sqlite import open_sqlite

register_store("sqlite", open_sqlite)
register_store("csv", open_csv)

__all__ = [
    "BetStore",
    "DrawState",
    "SealOutcome",
    "StoreFull",
    "StoreOpener",
    "Verdict",
    "open_store",
    "path_of",
    "register_store",
    "store_schemes",
]
