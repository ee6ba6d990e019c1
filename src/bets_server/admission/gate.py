"""May this go on? One question about a connection or its request, one answer: a `Refusal`, or None.

Behind the gate are four counters, none of which knows the others: quotas of connections, handshakes, complaints about
peers, and uploads that are opened again. A refusal is final. A peer that only has to wait for its handshake, or for a
refusal that it was given too often, is told nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from bets_server.admission.complaints import Complaints
from bets_server.admission.handshakes import Handshakes
from bets_server.admission.peers import PeerT
from bets_server.admission.quotas import Quotas
from bets_server.admission.reopenings import Reopenings
from bets_server.intake.requests import Answer, Refusal, Work
from bets_server.limits import Limits
from bets_server.logs import ServerLog


class Gate(Generic[PeerT]):
    """Says what is one too many.

    Args:
        limits: how many of what.
        log: where refusals are written.
        expects: whether the draw waits for an agency.
        evict: closes a connection that waits for the draw, for which a new one needs the place.
        drop: closes a connection whose peer has left.

    Attributes:
        complaints: what peers were refused for.
        handshakes: those under way, and those that wait.

    Thread: reactor.
    """

    def __init__(
        self,
        limits: Limits,
        log: ServerLog,
        expects: Callable[[int], bool],
        *,
        evict: Callable[[PeerT, float], None],
        drop: Callable[[PeerT], None],
    ) -> None:
        self.complaints = Complaints(limits, log)
        self.handshakes = Handshakes[PeerT](limits, self.complaints.misbehaves)
        self._quotas = Quotas[PeerT](limits, expects)
        self._reopenings = Reopenings(limits)
        self._evict = evict
        self._drop = drop

    def may_enter(self, peer: str, now: float) -> Refusal | None:
        """Why a new connection of `peer` is not let in, or None, once those that only wait have made room."""
        while (refusal := self._quotas.refusal(peer)) is not None:
            session = self._quotas.yields_to(peer)
            if session is None:
                return refusal
            self._evict(session, now)
        return None

    def may_ask(self, session: PeerT, work: Work, now: float) -> Refusal | None:
        """Why what a session asks for is not even looked at, or None."""
        refusal = self._quotas.claim_agency(session)
        if refusal is not None and (gone := self._quotas.gone_waiter(session.agency)) is not None:
            self._drop(gone)
            refusal = self._quotas.claim_agency(session)
        return refusal or self._reopenings.refusal(work, now)

    def enter(self, session: PeerT) -> None:
        """`session` is in."""
        self._quotas.enter(session)

    def answered(self, work: Work, answers: Sequence[Answer], now: float) -> None:
        """The store has answered `work`, whether or not its session is still there."""
        self._reopenings.note(work, answers, now)

    def waits(self, session: PeerT) -> None:
        """`session` waits for the draw: what it has asked for is on disk."""
        self._quotas.wait(session)

    def leave(self, session: PeerT) -> None:
        """`session` is gone."""
        self._quotas.leave(session)
        self.handshakes.leave(session)

    def next_at(self, now: float) -> float:
        """When to look again; infinity: never."""
        return min(self.complaints.next_at, self.handshakes.next_at(now))
