"""The winners of each agency as messages, kept in memory once the draw has taken place.

Winners never change after the draw, and to read half a megabyte of them from the store takes longer than a commit. So
those of the agencies that asked last are kept, once for all connections.
"""

from __future__ import annotations

from bets_protocol import Winners, limits
from bets_server.store import BetStore

MAX_DOCUMENTS_KEPT = 524_288
"""Winners that are kept in memory for the next one that asks: some 30 MB."""


class WinnersCache:
    """Reads winners from a store and keeps them.

    Thread: any, one call at a time.
    """

    def __init__(self, store: BetStore) -> None:
        self._store = store
        self._kept: dict[int, tuple[Winners, ...]] = {}  # by agency; the one that was asked for last comes last

    def of(self, agency: int) -> tuple[Winners, ...] | None:
        """An agency's winners, as many in each message as it holds, or None before the draw.

        Raises:
            StorageError: the store cannot be read.
        """
        pages = self._kept.pop(agency, None)
        if pages is None:
            documents = self._store.winners(agency)
            if documents is None:
                return None
            full = limits.MAX_WINNERS  # a message that is full says that another one follows
            starts = range(0, len(documents) + 1, full)
            pages = tuple(Winners(documents=documents[start : start + full]) for start in starts)
        self._kept[agency] = pages
        while len(self._kept) > 1 and self._documents_kept() > MAX_DOCUMENTS_KEPT:
            del self._kept[next(iter(self._kept))]
        return pages

    def _documents_kept(self) -> int:
        return sum(len(page.documents) for pages in self._kept.values() for page in pages)
