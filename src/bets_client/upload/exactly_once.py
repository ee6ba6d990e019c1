"""The upload of one input on revision 9: every bet is stored exactly once, whatever happens on the way.

`bets_protocol.connection.upload` decides what to send and what an answer means; this module carries it over
connections, and logs.
"""

from __future__ import annotations

import logging

from bets_client.errors import in_words, upload_errors
from bets_client.run_context import RunContext
from bets_client.upload.delivery import Delivery
from bets_client.upload.link import Answer, Link
from bets_protocol import PeerClosed, RemoteProtocolError, TransportError, UploadStatus, Winners
from bets_protocol.connection.upload import FIRST_ANSWER_S, Upload

_OLDER = "an older server is spoken to with --revision 8, which cannot promise to store every bet once only"


class ExactUpload(Delivery):
    """One upload on its way to the server.

    Args:
        machine: the upload. When `run` returns, all of it is stored, and the winners were not asked for yet.
        name: of the input, for messages.
    """

    def __init__(self, context: RunContext, machine: Upload, name: str) -> None:
        super().__init__(context, machine.agency)
        self.machine = machine
        self.name = name
        self._most_stored = 0

    def _finished(self) -> bool:
        return self.machine.uploaded

    def _connected(self) -> Link:
        link = super()._connected()
        self.machine.connected()
        return link

    def _send_next(self, link: Link) -> bool:
        with upload_errors():
            message = self.machine.next_message()
        if message is not None:
            link.queue(message)
        return message is not None

    def _heard(self, link: Link, answers: list[Answer]) -> None:  # noqa: ARG002 - of the loop
        for answer in [one for one in answers if isinstance(one, UploadStatus | Winners)]:
            self._answered(answer)

    def _answered(self, answer: UploadStatus | Winners) -> None:
        machine = self.machine
        before, opening = machine.stored, machine.opening
        with upload_errors():
            machine.answered(answer)
        if machine.reconnect_for is not None:
            raise PeerClosed(in_words(machine.reconnect_for))
        self._context.progress.acknowledged(machine.stored - before)
        if opening:
            self._log_opened(before)
        else:
            self._context.log.success(
                "batch_enviado", level=logging.DEBUG, client_id=self.agency, cantidad=machine.stored - before
            )
        if machine.stored > self._most_stored:
            self._most_stored = machine.stored
            self._patience.renew()
            self._dialer.progressed()

    def _log_opened(self, before: int) -> None:
        log, machine = self._context.log, self.machine
        if machine.stored < before:
            log.fail(
                "open_upload",
                level=logging.WARNING,
                client_id=self.agency,
                stored=machine.stored,
                error=f"the server had {before} bets of this upload before",
            )
        else:
            log.success(
                "open_upload",
                level=logging.DEBUG,
                client_id=self.agency,
                upload=machine.upload_id.hex(),
                stored=machine.stored,
                total=machine.total,
            )

    def _awaiting(self) -> bool:
        return self.machine.awaiting

    def _lost(self, link: Link, error: TransportError) -> None:
        self._link = None
        self.machine.lost()
        self._dialer.lost(link, error, unanswered=self.machine.unanswered)
        self._dialer.rest()

    @property
    def _silence_limit_s(self) -> float:
        if self.machine.answered_once:
            return super()._silence_limit_s
        return min(FIRST_ANSWER_S, super()._silence_limit_s)

    @property
    def _silence_means(self) -> str:
        # Before the first answer silence has two possible reasons, so it is tried again like a lost connection.
        if self.machine.answered_once:
            return ""
        return f": it is stopped or being replaced, or it does not know revision 9 ({_OLDER})"

    def _breach(self, error: RemoteProtocolError) -> str:
        if self.machine.answered_once:
            return super()._breach(error)
        return f"the server does not seem to know revision 9: {error}; {_OLDER}"

    def state(self) -> str:
        machine = self.machine
        whose = f"agency {self.agency}: {self.name}"
        if machine.told is None:
            return f"{whose}: the server has not said how many of the {machine.total:,} bets are stored"
        if not machine.opened_once:
            return f"{whose}: the server says that {machine.told:,} of the {machine.total:,} bets are stored"
        parts = [f"{whose}: {machine.stored:,} of {machine.total:,} bets are stored"]
        if machine.unanswered:
            parts.append(f"{machine.unanswered:,} without an answer, so perhaps stored")
        if missing := machine.total - machine.stored - machine.unanswered:
            parts.append(f"{missing:,} are not")
        return "; ".join(parts)
