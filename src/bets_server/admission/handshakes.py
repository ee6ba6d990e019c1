"""Which encrypted connections may agree on keys now, and which have to wait.

A handshake costs a core some 2 ms, a thousand times what it costs to ask for one. So only so many may be under way, and
only so many may begin each second.

Rules:

1. A connection that has sent nothing costs nothing and waits outside, under its deadline. One that fails before this
   side has answered it has cost next to nothing, and does not count among those that have begun.
2. The newest of those that wait goes first: who has waited longest has most likely given up, or never meant it. Peers
   that are complained about often come after all others.
3. One begins in a round, and few are saved up for a crowd: each keeps everybody else waiting while it is computed.
4. Where all places are taken, one that has held its place for long gives it up: an honest handshake takes two trips
   through the network, so one that takes much longer is the likeliest to be no handshake at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from bets_server.admission.peers import PeerT
from bets_server.limits import Limits

SAVED_UP_S = 0.1
"""Seconds of the rate that may begin one round after the other when none has begun for a while."""

PATIENCE_S = 1.0
"""Seconds after which a handshake may lose its place to another."""


class Handshakes(Generic[PeerT]):
    """The handshakes that are under way, and those that wait.

    Args:
        limits: how many.
        misbehaves: whether a peer is complained about often; None: nobody is.

    Thread: reactor.
    """

    def __init__(self, limits: Limits, misbehaves: Callable[[str], bool] | None = None) -> None:
        self._limits = limits
        self._misbehaves = misbehaves or (lambda _peer: False)
        self._under_way: dict[int, PeerT] = {}  # the oldest first
        self._waiting: dict[int, PeerT] = {}  # likewise
        self._last: dict[int, PeerT] = {}  # that wait, too, and come behind all of those
        self._most_tokens = max(1.0, limits.handshakes_per_second * SAVED_UP_S)
        self._tokens = self._most_tokens
        self._begun = False  # in this round
        self._counted_at = float("-inf")

    def begin_round(self) -> None:
        """Another handshake may begin."""
        self._begun = False

    def admit(self, session: PeerT, now: float) -> bool:
        """Whether `session`, of which bytes have come, may go on; else it waits until `next_admitted` gives it."""
        if session.number in self._under_way:
            return True
        if not self._any_waits and self._take_place(now):
            self._begin(session, now)
            return True
        self._waiting[session.number] = session
        session.wait_for_handshake()
        return False

    def next_admitted(self, now: float) -> PeerT | None:
        """One that has waited and may go on now."""
        if not self._any_waits or not self._take_place(now):
            return None
        session = self._take_next()
        self._begin(session, now)
        return session

    def overstaying(self, now: float) -> PeerT | None:
        """One that has to give its place to those that wait, if there is one."""
        if not self._any_waits or len(self._under_way) < self._limits.max_handshakes:
            return None
        oldest = next(iter(self._under_way.values()))
        return oldest if now - oldest.shaking_since >= PATIENCE_S else None

    def next_at(self, now: float) -> float:
        """When one of those that wait may go on at the earliest; infinity: none waits."""
        if not self._any_waits:
            return float("inf")
        if len(self._under_way) >= self._limits.max_handshakes:
            return next(iter(self._under_way.values())).shaking_since + PATIENCE_S
        return now + max(0.0, 1.0 - self._tokens) / self._limits.handshakes_per_second

    def leave(self, session: PeerT) -> None:
        """The handshake of `session` has ended, in whatever way; harmless where there was none."""
        begun = self._under_way.pop(session.number, None) is not None
        if begun and not session.stream.handshake_answered:
            self._tokens = min(self._most_tokens, self._tokens + 1)
        self._waiting.pop(session.number, None)
        self._last.pop(session.number, None)

    @property
    def _any_waits(self) -> bool:
        return bool(self._waiting or self._last)

    def _take_next(self) -> PeerT:
        """The one that goes first of those that wait."""
        while self._waiting:
            number, session = self._waiting.popitem()
            if not self._misbehaves(session.stream.peer):
                return session
            self._last[number] = session
        return self._last.popitem()[1]

    def _begin(self, session: PeerT, now: float) -> None:
        session.begin_handshake(now)
        self._under_way[session.number] = session

    def _take_place(self, now: float) -> bool:
        rate = self._limits.handshakes_per_second
        self._tokens = min(self._most_tokens, self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        if self._begun or self._tokens < 1 or len(self._under_way) >= self._limits.max_handshakes:
            return False
        self._tokens -= 1
        self._begun = True
        return True
