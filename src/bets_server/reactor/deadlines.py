"""Until when each session may go on as it does: one clock for all of them.

Strategy: a heap of times with at most a few entries for a session. A deadline that moves away leaves its entry where it
is, and is looked at when that comes up; only one that comes nearer makes a new entry. So a message costs no work here,
however often it moves the deadline.

Entries of sessions that are gone stay, too, and would be many where deadlines are long and connections short. So once
they are most of the heap, it is built anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from bets_server.reactor.session import Session

SPARE_ENTRIES = 1024
"""Entries that are looked at by nobody any more, beside one for each session, before they are thrown out."""


class Deadlines:
    """The deadlines of `sessions`.

    Args:
        sessions: those that live, by number; one that is gone needs no farewell here.

    Thread: reactor.
    """

    def __init__(self, sessions: Mapping[int, Session]) -> None:
        self._sessions = sessions
        self._heap: list[tuple[float, int]] = []

    @property
    def next_at(self) -> float:
        """When to look again; infinity: never."""
        return self._heap[0][0] if self._heap else float("inf")

    def set(self, session: Session, at: float) -> None:
        """From now on `session` is due at `at`; infinity: not at all."""
        session.due.at = at
        if at < session.due.looked_at_by:
            session.due.looked_at_by = at
            heapq.heappush(self._heap, (at, session.number))
            if len(self._heap) > 2 * len(self._sessions) + SPARE_ENTRIES:
                self._throw_out()

    def passed(self, now: float) -> Iterator[Session]:
        """The sessions that are due. Each is given once for one deadline."""
        while self._heap and self._heap[0][0] <= now:
            at, number = heapq.heappop(self._heap)
            session = self._sessions.get(number)
            if session is None or at != session.due.looked_at_by:
                continue
            session.due.looked_at_by = float("inf")
            if session.due.at <= now:
                session.due.at = float("inf")
                yield session
            else:
                self.set(session, session.due.at)

    def _throw_out(self) -> None:
        """Keeps the one entry of each session that it will be looked at by."""
        alive = self._sessions.values()
        self._heap = [(each.due.looked_at_by, each.number) for each in alive if each.due.looked_at_by < float("inf")]
        heapq.heapify(self._heap)
