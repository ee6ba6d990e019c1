"""When a server that is there for one draw (`--exit-after-draw`) has done its work.

Two lives of it are told apart:

1. *The draw takes place in this one.* Whoever waits is connected and is answered at once, so the server stops then: a
   stop lets what was read be answered first.
2. *The draw took place in an earlier one*, which may have been killed before anybody heard of it. Who waited comes back
   by itself, and who has its winners never does: nobody knows how many are left. So this life ends as soon as every
   agency that the draw waited for has been given its winners in it; or when a time has passed in which no agency was,
   and none is connected that has yet to be. How long such a connection may last, its own deadlines say; those that
   speak for no agency, as health checks do, keep nobody waiting.

Nothing in here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bets_protocol import Winners
from bets_server.intake.handlers import Handlers
from bets_server.intake.requests import Answer, Reply
from bets_server.reactor.session import Session

_NEVER = float("inf")


class ExitPolicy:
    """Says when to end.

    Args:
        handlers: their store says whether the draw took place already, their number which agencies it waited for.
        quiet_s: seconds without an agency that is given its winners, for a server that was started after the draw.

    Attributes:
        next_at: when to ask `is_over` at the latest, in the loop's seconds; infinity: with the next event.

    Raises:
        StorageError: the store cannot be read.

    Thread: reactor.
    """

    def __init__(self, handlers: Handlers, quiet_s: float) -> None:
        self.next_at = _NEVER
        self._quiet_s = quiet_s
        self._drawn_before = handlers.store.state().drawn
        self._missing = set(range(1, handlers.agencies + 1))
        self._given: set[int] = set()
        self._drawn_here = False

    def begin(self, now: float) -> bool:
        """The server begins; whether the draw took place before."""
        if self._drawn_before:
            self.next_at = now + self._quiet_s
        return self._drawn_before

    def draw_took_place(self) -> None:
        """Everyone that waits asks again by now."""
        self._drawn_here = True

    def answered(self, session: Session, answers: Sequence[Answer], now: float) -> None:
        """A session was given answers."""
        agency = session.agency
        if not self._drawn_before or agency is None or agency in self._given:
            return
        replies = [answer for answer in answers if isinstance(answer, Reply)]
        if any(reply.more or isinstance(reply.reply, Winners) for reply in replies):
            self._given.add(agency)
            self._missing.discard(agency)
            self.next_at = now + self._quiet_s

    def is_over(self, sessions: Iterable[Session], now: float) -> bool:
        """Whether the server is to stop now."""
        if self._drawn_here or (self._drawn_before and not self._missing):
            return True
        if now < self.next_at:
            return False
        if any(session.agency is not None and session.agency not in self._given for session in sessions):
            self.next_at = now + self._quiet_s
            return False
        return True
