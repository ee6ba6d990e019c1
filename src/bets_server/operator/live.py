"""The backend of a running server: passes operators' commands to its store, its handlers and its reactor.

Commands come from the threads of the control server. Nothing in here touches a session: the reactor is told of a draw,
and answers the clients that wait in its own round.
"""

from __future__ import annotations

from bets_protocol import StorageError
from bets_server.intake.handlers import Handlers
from bets_server.operator.commands import AgencySeen, LiveStatus
from bets_server.reactor.loop import Reactor
from bets_server.store import BetStore, SealOutcome, UploadState


class LiveBackend:
    """An `OperatorBackend` over a running server.

    Thread: any, one command at a time.
    """

    def __init__(self, handlers: Handlers, reactor: Reactor) -> None:
        self._handlers = handlers
        self._reactor = reactor

    @property
    def store(self) -> BetStore:
        """The server's store, only for calls that read."""
        return self._handlers.store

    def status(self) -> LiveStatus:
        """What the server has seen."""
        agencies = self._reactor.connections()
        silences = self._reactor.silences()
        seen = {
            agency: AgencySeen(connections=agencies.count(agency), silent_s=silences.get(agency))
            for agency in {*agencies, *silences}
            if agency is not None
        }
        return LiveStatus(
            agencies=self._handlers.agencies,
            connections=len(agencies),
            unknown_connections=agencies.count(None),
            seen=seen,
        )

    def close_without(self, agency: int, reason: str) -> SealOutcome:
        """Seal an agency by force; if it was the last one missing, the clients that wait are answered.

        Raises:
            StoreFull: nothing was changed.
            StorageError: what is on disk is unknown.
        """
        outcome = self._handlers.close_without(agency, reason)
        if outcome.drawn_now:
            self._reactor.draw_took_place()
        return outcome

    def void(self, number: int, reason: str) -> UploadState:
        """Void an upload; a client that still sends to it is refused with its next batch."""
        return self._handlers.store.void(number, reason=reason)

    def failed(self, error: StorageError) -> None:
        """End the server."""
        self._reactor.fail(error)
