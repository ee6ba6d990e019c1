"""Bets that were checked, kept as bytes, so that sending them need not read and check their file a second time.

Reading a row and checking it costs ten times what decoding it costs, and halves the pace of an upload whose batches
are sent ahead. What is kept is bounded; of a file that is too large for that, nothing is, and it is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from bets_protocol import Bet, decode_bets, encode_bets

KEPT_BYTES = 16 << 20
"""Bytes that one run of a program keeps, of all its files together: some 350,000 bets."""

_CHUNK_BETS = 500


class CacheBudget:
    """The room that the files of one run share."""

    def __init__(self, room: int = KEPT_BYTES) -> None:
        self.room = room


class CachedBets:
    """The bets of one file.

    Args:
        budget: whose room it takes.

    Attributes:
        complete: every bet that was added is there.
    """

    def __init__(self, budget: CacheBudget) -> None:
        self.complete = True
        self._keeper = budget
        self._waiting: list[Bet] = []
        self._chunks: list[bytes] = []

    def add(self, bet: Bet) -> None:
        """Keeps a bet behind the others, while there is room."""
        if self.complete:
            self._waiting.append(bet)
            if len(self._waiting) == _CHUNK_BETS:
                self.pack()

    def __iter__(self) -> Iterator[Bet]:
        """The bets in order, once they are packed; of one that is `complete`."""
        for chunk in self._chunks:
            yield from decode_bets(chunk)

    def drop(self) -> None:
        """Gives the room back. Twice is harmless."""
        self._keeper.room += sum(map(len, self._chunks))
        self._chunks.clear()
        self._waiting.clear()
        self.complete = False

    def pack(self) -> None:
        """Makes bytes of the bets that were added last; they take their room now."""
        if not self._waiting:
            return
        chunk = encode_bets(self._waiting)
        self._waiting.clear()
        self._chunks.append(chunk)
        self._keeper.room -= len(chunk)
        if self._keeper.room < 0:
            self.drop()
