"""Checked bets, kept as bytes, so that a file need not be read and checked a second time to send it.

Reading and checking a row costs far more than cutting it out of encoded ones, and halves the speed of an upload whose
batches are sent ahead. The cache is bounded; a file that does not fit is not kept at all, and is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from bets_protocol import Bet, encode_bets
from bets_protocol.encoded import split_bets

KEPT_BYTES = 16 << 20
"""Bytes that one run of a program keeps of all its files together: about 350,000 bets."""

_CHUNK_BETS = 500


class CacheBudget:
    """The room in bytes that the files of one run share."""

    def __init__(self, room: int = KEPT_BYTES) -> None:
        self.room = room


class CachedBets:
    """The bets of one file.

    Args:
        budget: the shared room.

    Attributes:
        complete: whether every added bet is kept.
    """

    def __init__(self, budget: CacheBudget) -> None:
        self.complete = True
        self._keeper = budget
        self._waiting: list[Bet] = []
        self._chunks: list[bytes] = []

    def add(self, bet: Bet) -> None:
        """Keep a bet after the others, while there is room."""
        if self.complete:
            self._waiting.append(bet)
            if len(self._waiting) == _CHUNK_BETS:
                self.pack()

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the encoded bets in order. They must be packed and `complete`."""
        for chunk in self._chunks:
            yield from split_bets(chunk)

    def drop(self) -> None:
        """Give the room back. Calling it again has no effect."""
        self._keeper.room += sum(map(len, self._chunks))
        self._chunks.clear()
        self._waiting.clear()
        self.complete = False

    def pack(self) -> None:
        """Encode the bets that were added last, and take their room."""
        if not self._waiting:
            return
        chunk = encode_bets(self._waiting)
        self._waiting.clear()
        self._chunks.append(chunk)
        self._keeper.room -= len(chunk)
        if self._keeper.room < 0:
            self.drop()
