"""The upload of one input on revision 9: every bet is stored exactly once, whatever happens on the way.

`bets_protocol.connection.upload` decides what to send and what an answer means; this module carries it over
connections.
"""

from __future__ import annotations

from bets_protocol.client.delivery import Delivery
from bets_protocol.client.driver import Steps
from bets_protocol.client.events import BetsStored, UploadOpened
from bets_protocol.client.link import Answer, Link
from bets_protocol.client.options import ClientOptions, older_server, reconnect_reason
from bets_protocol.connection.upload import FIRST_ANSWER_S, Upload
from bets_protocol.errors import PeerClosed, TransportError
from bets_protocol.messages import UploadStatus, Winners


class ExactlyOnce(Delivery):
    """One upload on its way to the server.

    Args:
        upload: when `run` returns, all of it is stored, and the winners were not asked for yet.
        name: of the input, for messages.
    """

    def __init__(self, options: ClientOptions, upload: Upload, name: str) -> None:
        super().__init__(options, upload.agency)
        self.upload = upload
        self.name = name
        self._most_stored = 0

    def _finished(self) -> bool:
        return self.upload.uploaded

    def _connected(self) -> Steps[Link]:
        link = yield from super()._connected()
        self.upload.connected()
        return link

    def _send_next(self, link: Link) -> bool:
        message = self.upload.next_message()
        if message is not None:
            link.queue(message)
        return message is not None

    def _heard(self, link: Link, answers: list[Answer]) -> None:  # noqa: ARG002 - of the loop
        for answer in [one for one in answers if isinstance(one, UploadStatus | Winners)]:
            self._answered(answer)

    def _answered(self, answer: UploadStatus | Winners) -> None:
        upload = self.upload
        before, opening = upload.stored, upload.opening
        upload.answered(answer)
        if upload.reconnect_for is not None:
            raise PeerClosed(reconnect_reason(upload.reconnect_for))
        self._options.on_event(
            UploadOpened(self.agency, upload.upload_id, upload.stored, before, upload.total)
            if opening
            else BetsStored(self.agency, upload.stored - before)
        )
        if upload.stored > self._most_stored:
            self._most_stored = upload.stored
            self._patience.renew()
            self._dialer.progressed()

    def _awaiting(self) -> bool:
        return self.upload.awaiting

    def _lost(self, link: Link, error: TransportError) -> Steps[None]:
        self._link = None
        self.upload.lost()
        self._dialer.lost(link, error, unanswered=self.upload.unanswered)
        yield from self._dialer.rest()

    @property
    def _silence_limit_s(self) -> float:
        if self.upload.answered_once:
            return super()._silence_limit_s
        return min(FIRST_ANSWER_S, super()._silence_limit_s)

    @property
    def _silence_means(self) -> str:
        # Before the first answer silence has two possible reasons, so it is tried again like a lost connection.
        if self.upload.answered_once:
            return ""
        older = older_server(self._options)
        return f": it is stopped or being replaced, or it does not know revision 9 ({older})"

    def state(self) -> str:
        upload = self.upload
        whose = f"agency {self.agency}: {self.name}"
        if upload.told is None:
            return f"{whose}: the server has not said how many of the {upload.total:,} bets are stored"
        if not upload.opened_once:
            return f"{whose}: the server says that {upload.told:,} of the {upload.total:,} bets are stored"
        parts = [f"{whose}: {upload.stored:,} of {upload.total:,} bets are stored"]
        if upload.unanswered:
            parts.append(f"{upload.unanswered:,} without an answer, so perhaps stored")
        if missing := upload.total - upload.stored - upload.unanswered:
            parts.append(f"{missing:,} are not")
        return "; ".join(parts)
