"""Which session has an upload: the one that opened it last.

The store refuses the bets of any other in any case. Knowing it here as well gives back a connection whose peer may be
gone, and ends a client that has nothing more to send and would wait for the draw beside its own successor.

What came in at the same time is not read in the order in which it was sent. So a connection that asks for an upload
which a younger one has asked for does not get it: it is what a client has left behind, and would fence that client.
"""

from __future__ import annotations

from bets_protocol import OpenUpload
from bets_server.handlers import Work
from bets_server.session import Session


class Owners:
    """The sessions that have an upload open, by upload.

    Thread: reactor.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._youngest: dict[tuple[int, bytes], int] = {}  # by identity: the number of the session that asks for it
        self._asked_by: dict[int, tuple[int, bytes]] = {}

    def is_left_behind(self, work: Work) -> bool:
        """Whether `work` asks for an upload that a younger session, which is still there, has asked for; else it is
        noted."""
        request = work.requests[-1]
        if not isinstance(request, OpenUpload):
            return False
        identity = request.agency, request.upload_id
        if self._youngest.get(identity, 0) > work.session:
            return True
        self._forget_asking(work.session)  # for another one: it will be refused
        self._youngest[identity] = work.session
        self._asked_by[work.session] = identity
        return False

    def _forget_asking(self, number: int) -> None:
        identity = self._asked_by.pop(number, None)
        if identity is not None and self._youngest.get(identity) == number:
            del self._youngest[identity]

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
        self._forget_asking(session.number)
        if session.binding is not None and self._sessions.get(session.binding.ticket.upload) is session:
            del self._sessions[session.binding.ticket.upload]
