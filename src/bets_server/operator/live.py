"""The backend of a running server: passes operators' commands to its store, its handlers and its reactor.

Commands come from the threads of the control server. Nothing in here touches a session: the reactor is told of a draw,
and answers the clients that wait in its own round.
"""

from __future__ import annotations

from bets_protocol import StorageError
from bets_server.intake.handlers import Handlers
from bets_server.operator.commands import AgencySeen, LiveStatus, OperatorBackend
from bets_server.reactor.loop import Reactor
from bets_server.store import SealOutcome


class LiveBackend(OperatorBackend):
    """The `OperatorBackend` of a running server."""

    def __init__(self, handlers: Handlers, reactor: Reactor) -> None:
        super().__init__(handlers.store)
        self._handlers = handlers
        self._reactor = reactor

    def status(self) -> LiveStatus:
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
        outcome = self._handlers.close_without(agency, reason)
        if outcome.drawn_now:
            self._reactor.draw_took_place()
        return outcome

    def failed(self, error: StorageError) -> None:
        self._reactor.fail(error)
