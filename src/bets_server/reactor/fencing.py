"""Which session has an upload: the one that opened it last.

The store refuses the bets of any other in any case. Knowing it here as well gives back a connection whose peer may be
gone, and ends a client that has nothing more to send and would wait for the draw beside its own successor.
"""

from __future__ import annotations

from bets_server.reactor.session import Session


class Fencing:
    """The sessions that have an upload open, by upload.

    Thread: reactor.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    def claim(self, session: Session) -> Session | None:
        """Notes what `session` is bound to; gives the session that was overtaken by that, which may be itself."""
        if session.binding is None:
            return None
        ticket = session.binding.ticket
        owner = self._sessions.setdefault(ticket.upload, session)
        if owner is session or owner.binding is None:
            return None
        if ticket.epoch < owner.binding.ticket.epoch:
            return session
        self._sessions[ticket.upload] = session
        return owner

    def forget(self, session: Session) -> None:
        """The session is gone."""
        if session.binding is not None and self._sessions.get(session.binding.ticket.upload) is session:
            del self._sessions[session.binding.ticket.upload]
