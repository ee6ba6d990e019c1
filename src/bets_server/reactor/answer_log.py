"""Which lines a connection and the answers to its requests are worth.

What is stored has a line each, as scripts expect it. What is refused has one too, until a peer is refused so often that
its lines would fill the log; then they are counted. A health check every three seconds would fill it as well: its lines
have the level DEBUG.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence

from bets_protocol import OpenUpload, Probe, RemoteProtocolError, WinnersRequest
from bets_server.admission.complaints import Complaints
from bets_server.health import is_health_check
from bets_server.intake.handlers import Handlers
from bets_server.intake.requests import Answer, Park, Request, Work
from bets_server.logs import ServerLog
from bets_server.reactor.session import Session

ARRIVAL_S = 1.0
"""Seconds after which a connection that says nothing has its line all the same."""


class ArrivalLog:
    """Writes the line of each new connection once its first bytes tell whether it is a health check.

    The line comes before all others of its connection, and the lines of several connections come in the order in which
    they were accepted; those of health checks, which have another level, need not.

    Thread: reactor.
    """

    def __init__(self, log: ServerLog) -> None:
        self._log = log
        self._unwritten: OrderedDict[int, tuple[Session, float]] = OrderedDict()  # and when; by number, oldest first

    @property
    def next_at(self) -> float:
        """When a line is due; infinity: never."""
        return next(iter(self._unwritten.values()))[1] + ARRIVAL_S if self._unwritten else float("inf")

    def came(self, session: Session, now: float) -> None:
        """`session` was accepted."""
        self._unwritten[session.number] = (session, now)

    def write(self, session: Session) -> None:
        """The line of `session`, and of those that came before; harmless where it is written already."""
        if session.number not in self._unwritten:
            return
        if session.inbox.is_health_check:
            del self._unwritten[session.number]
            self._log.accepted(session.stream.peer, level=logging.DEBUG)
            return
        while session.number in self._unwritten:
            self._write_oldest()

    def tick(self, now: float) -> None:
        """The lines that are due."""
        while self.next_at <= now:
            self._write_oldest()

    def _write_oldest(self) -> None:
        _, (session, _) = self._unwritten.popitem(last=False)
        self._log.accepted(session.stream.peer)


class AnswerLog:
    """Writes the lines.

    Args:
        revision: of the server, as for `ServerConnection`.

    Thread: reactor.
    """

    def __init__(self, log: ServerLog, complaints: Complaints, handlers: Handlers, *, revision: int) -> None:
        self._log = log
        self._complaints = complaints
        self._handlers = handlers
        self._revision = revision

    def write(self, work: Work, answers: Sequence[Answer], now: float) -> None:
        """The lines for the requests of `work`."""
        for request, answer in zip(work.requests, answers, strict=False):  # fewer where one of them ends the upload
            is_fault = answer.is_fault
            if not is_fault or self._complaints.allows_error(work.peer, answer.error, now, holder=work.holder):
                self._write_one(work, request, answer, level=logging.ERROR if is_fault else logging.DEBUG)

    def write_bad_frame(self, session: Session, error: RemoteProtocolError, now: float) -> None:
        """The line for bytes of a peer that are no message."""
        peer = session.stream.peer
        if self._complaints.allows_error(peer, error.summary, now, holder=session.holder):
            self._log.bad_frame(peer, error, session.inbox.head)

    def _write_one(self, work: Work, request: Request, answer: Answer, *, level: int) -> None:
        if isinstance(request, Probe):
            level = logging.DEBUG if is_health_check(request.line) else logging.INFO
            self._log.probed(work.peer, request.line, level=level)
            return
        if isinstance(request, OpenUpload):
            stored = answer.binding.stored if answer.binding is not None else 0
            self._log.opened(work.peer, request, stored, answer.error)
            return
        self._log.answered(work.peer, request, answer.error, revision=self._revision, level=level)
        if (
            isinstance(answer, Park)
            and isinstance(request, WinnersRequest)
            and not self._handlers.expects(request.agency)
        ):
            self._log.sealed_in_vain(request.agency, expected=self._handlers.agencies)
