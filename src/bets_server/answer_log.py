"""Which lines the answers to a peer's requests are worth.

What is stored has a line each, as scripts expect it. What is refused has one too, until a peer is refused so often that
its lines would fill the log; then they are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bets_protocol import OpenUpload, Probe, RemoteProtocolError, UploadStatus, WinnersRequest
from bets_server.admission import Complaints
from bets_server.handlers import Answer, Handlers, Request, Work
from bets_server.identity import Holder
from bets_server.logs import ServerLog


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
            no_fault = answer.is_early or not answer.error
            if no_fault or self._complaints.allows_error(work.peer, answer.error, now, holder=work.holder):
                self._write_one(work, request, answer, level=logging.DEBUG if answer.is_early else logging.ERROR)

    def write_bad_frame(
        self, peer: str, error: RemoteProtocolError, now: float, *, head: bytes = b"", holder: Holder | None = None
    ) -> None:
        """The line for bytes that are no message; `head` are the first ones of the connection."""
        if self._complaints.allows_error(peer, error.summary, now, holder=holder):
            self._log.bad_frame(peer, error, head)

    def _write_one(self, work: Work, request: Request, answer: Answer, *, level: int) -> None:
        if isinstance(request, Probe):
            self._log.probed(work.peer, request.line)
            return
        if isinstance(request, OpenUpload):
            stored = answer.reply.stored if isinstance(answer.reply, UploadStatus) else 0
            self._log.opened(work.peer, request, stored, answer.error)
            return
        self._log.answered(work.peer, request, answer.error, revision=self._revision, level=level)
        if answer.waits and isinstance(request, WinnersRequest) and not self._handlers.expects(request.agency):
            self._log.sealed_in_vain(request.agency, expected=self._handlers.agencies)
