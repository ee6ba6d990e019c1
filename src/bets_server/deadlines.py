"""Until when each session may go on as it does: one clock for all of them.

Strategy: a heap of times with at most a few entries for a session. A deadline that moves away leaves its entry where it
is, and is looked at when that comes up; only one that comes nearer makes a new entry. So a message costs no work here,
however often it moves the deadline.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from bets_server.session import Session


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
        session.due_at = at
        if at < session.looked_at_by:
            session.looked_at_by = at
            heapq.heappush(self._heap, (at, session.number))

    def passed(self, now: float) -> Iterator[Session]:
        """The sessions that are due. Each is given once for one deadline."""
        while self._heap and self._heap[0][0] <= now:
            at, number = heapq.heappop(self._heap)
            session = self._sessions.get(number)
            if session is None or at != session.looked_at_by:
                continue
            session.looked_at_by = float("inf")
            if session.due_at <= now:
                session.due_at = float("inf")
                yield session
            else:
                self.set(session, session.due_at)
