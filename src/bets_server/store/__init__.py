"""Stores: where a server keeps uploads, bets, seals and the draw. `open_store` finds one by its URL.

``sqlite:///path`` is the book, ``csv:///path`` the legacy `bets.csv`. `BetStore` is the contract of both, and of each
store that `register_store` adds; `bets_server.store.conformance` tests whether a store keeps it.
"""

from __future__ import annotations

from bets_server.store.contract import (
    BetStore,
    StoreOpener,
    open_store,
    path_of,
    register_store,
    store_schemes,
)
from bets_server.store.csv import open_csv
from bets_server.store.guarded import store_of
from bets_server.store.sqlite import open_sqlite
from bets_server.store.values import (
    MAX_TOTAL,
    MAX_UNFINISHED_UPLOADS,
    MAX_UPLOADS,
    AuditEntry,
    DrawState,
    NotVoidable,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    StoreFull,
    Ticket,
    UploadState,
    Verdict,
)

register_store("sqlite", open_sqlite)
register_store("csv", open_csv)

__all__ = [
    "MAX_TOTAL",
    "MAX_UNFINISHED_UPLOADS",
    "MAX_UPLOADS",
    "AuditEntry",
    "BetStore",
    "DrawState",
    "NotVoidable",
    "Opening",
    "Parcel",
    "Receipt",
    "SealOutcome",
    "StoreFull",
    "StoreOpener",
    "Ticket",
    "UploadState",
    "Verdict",
    "open_store",
    "path_of",
    "register_store",
    "store_of",
    "store_schemes",
]
