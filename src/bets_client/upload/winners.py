"""Asking for winners: sealing agencies, and waiting for the draw.

`ask` sends an agency's request when its bets are stored; `collect` waits for the answers of all agencies in one
selector loop. Asking and waiting are separate so that one process can be all agencies: if it waited for the first
agency's winners before it sent the second's bets, the draw would never take place.

`Question` decides what to send on the revisions 7 and 8, the agency's `Upload` on revision 9. The answer comes
after the draw, so on 7 and 8 silence means nothing. On 9 the server gives a sign of life every 30 s, and silence is a
lost connection. A lost connection is made again and asked again, which the server counts once. The retry deadline
counts from the beginning of `collect`, and signs of life do not renew it.
"""

from __future__ import annotations

import itertools
import logging

import attrs

from bets_client.errors import (
    ADVICE,
    BadInput,
    NotDrawn,
    Refused,
    Unreachable,
    WrongPeer,
    in_words,
    upload_errors,
)
from bets_client.retry import RetryDeadline, now
from bets_client.run_context import RunContext
from bets_client.upload.dialer import Dialer, breach
from bets_client.upload.link import TICK_S, Link, wait_ready
from bets_protocol import (
    ConnectError,
    PeerClosed,
    RejectCode,
    RemoteProtocolError,
    TransportError,
    TransportTimeout,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.connection.upload import ASK_AGAIN_S, FIRST_ANSWER_S, HEARTBEAT_LIMIT_S, Upload

PROBE_S = 5.0
"""Seconds that a server has to answer a probe after the retry deadline."""


class Question:
    """The conversation of the revisions 7 and 8: the request, once for each connection.

    Attributes:
        winners: as `Upload.winners`.
    """

    reconnect_for: RejectCode | None = None
    ask_again_due = False
    opening = sealed = False
    awaiting = False  # these revisions have no signs of life

    def __init__(self, agency: int) -> None:
        self.agency = agency
        self.winners: tuple[str, ...] | None = None
        self._asked = False

    def connected(self) -> None:
        """Report a new connection."""
        self._asked = False

    def next_message(self) -> WinnersRequest | None:
        """The message to send now, or None."""
        if self._asked:
            return None
        self._asked = True
        return WinnersRequest(agency=self.agency)

    def ask_again(self) -> None:
        """Do nothing: the server answers once, after the draw."""

    def answered(self, answer: UploadStatus | Winners) -> None:
        """Handle an answer."""
        self.winners = answer.documents if isinstance(answer, Winners) else None


@attrs.define(kw_only=True, eq=False)
class _Asking:
    """One agency that waits.

    Attributes:
        talk: the conversation on its connection.
        link: the connection on which it has asked, or None if it has to connect.
        retry_at: when to connect, in monotonic seconds.
        ask_at: when to ask again on the same connection, or None.
        incomplete: whether the last answer was that an upload of the agency is unfinished.
        traffic: `Link.traffic` at the last look.
        moved_at: when it last changed; None before the first look.
    """

    agency: int
    dialer: Dialer
    talk: Question | Upload
    link: Link | None = None
    retry_at: float = 0.0
    ask_at: float | None = None
    incomplete: bool = False
    traffic: int = 0
    moved_at: float | None = None

    @property
    def is_waited_for(self) -> bool:
        """Whether the server has said that it waits for the draw; on 7 and 8, whether it has said anything."""
        return self.talk.sealed or (isinstance(self.talk, Question) and self.link is not None and self.link.answered)

    @property
    def begun(self) -> bool:
        """Whether only a part of the first answer has come."""
        return self.link is not None and self.link.begun


class WinnersCollector:
    """Asks for several agencies and waits for all of them.

    Thread: one.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._patience = RetryDeadline(context.settings.retry_for_s)
        self._asking: list[_Asking] = []

    @property
    def found(self) -> dict[int, tuple[str, ...]]:
        """The documents of each agency that has its answer."""
        return {asking.agency: asking.talk.winners for asking in self._asking if asking.talk.winners is not None}

    def ask(self, agency: int, link: Link | None, upload: Upload | None = None) -> None:
        """Say that `agency` has sent everything, and ask for its winners.

        If the server cannot be reached now, `collect` asks again.

        Args:
            link: the connection on which its bets were sent; None makes a new one.
            upload: on revision 9, the agency's last upload, all of it stored.

        Raises:
            Refused, WrongPeer: the server refuses at once.
        """
        talk = Question(agency) if upload is None else upload
        asking = _Asking(agency=agency, dialer=Dialer(self._context, agency, self._patience), talk=talk)
        self._asking.append(asking)
        if link is None:
            self._connect(asking)
        else:
            asking.link = link
            self._advance(asking)

    def collect(self) -> None:
        """Wait until every agency that asked has its winners, in `found`.

        Raises:
            NotDrawn: the server waits for the draw, and has not answered before the deadline.
            Unreachable: the server cannot be reached.
            Refused: the server refuses for good, or another client has the upload now.
            WrongPeer: the peer breaks the protocol.
            BadInput: the server needs bets again that can no longer be read.
        """
        self._patience.renew()
        waiting = self._waiting()
        if waiting:
            self._context.progress.waiting(self._what_for(waiting))
        while waiting:
            for asking in waiting:
                if asking.link is None and asking.retry_at <= now() and not self._patience.over:
                    self._connect(asking)
            self._wait(waiting)
            for asking in waiting:
                self._advance(asking)
            self._context.progress.retitle(self._what_for(waiting))
            self._context.progress.tick()
            waiting = self._waiting()
            if waiting and self._patience.over:
                raise self._gave_up(waiting)
        self._context.progress.finish()

    def _waiting(self) -> list[_Asking]:
        return [asking for asking in self._asking if asking.talk.winners is None]

    def _what_for(self, waiting: list[_Asking]) -> str:
        """The title of the progress: without a connection no agency waits for the draw."""
        if all(asking.link is None for asking in waiting):
            return f"{_named(waiting)}: no connection to {self._context.settings.server}, trying again"
        return f"{_named(waiting)} {'wait' if len(waiting) > 1 else 'waits'} for the draw"

    def _connect(self, asking: _Asking) -> None:
        try:
            asking.link = asking.dialer.attempt()
        except ConnectError:
            asking.retry_at = now() + asking.dialer.rest_s()
            return
        except (Refused, WrongPeer) as error:
            self._failed(error)
            raise
        asking.moved_at = asking.ask_at = None
        asking.talk.connected()
        self._advance(asking)

    def _wait(self, waiting: list[_Asking]) -> None:
        links = [asking.link for asking in waiting if asking.link is not None]
        due = [asking.retry_at if asking.link is None else asking.ask_at for asking in waiting]
        wait_ready(links, min([TICK_S, self._patience.left_s, *(at - now() for at in due if at is not None)]))

    def _advance(self, asking: _Asking) -> None:
        """Send what may be sent and handle the answers, in a bounded time, so that all agencies have their turn."""
        link = asking.link
        if link is None:
            return
        try:
            self._say(asking, link)
            for answer in [one for one in link.advance() if isinstance(one, UploadStatus | Winners)]:
                self._hear(asking, answer)
            self._say(asking, link)  # an answer may allow a message, which must not wait for the next answer
            self._check_silence(asking, link)
        except TransportError as error:
            try:
                self._lost(asking, link, error)
            except (Refused, WrongPeer) as final:
                self._failed(final)
                raise
        except RemoteProtocolError as error:
            self._failed(error)
            otherwise = (
                "the server breaks the protocol, or speaks another revision than "
                f"{self._context.settings.revision}: agency {asking.agency} asked for its winners: {error}"
            )
            raise WrongPeer(breach(self._context.settings.server, error, otherwise)) from error
        except (Refused, WrongPeer, BadInput) as error:
            self._failed(error)
            kind = next(kind for kind in (Refused, WrongPeer, BadInput) if isinstance(error, kind))
            raise kind(
                f"{self._context.settings.server}: agency {asking.agency} asked for its winners: {error}"
            ) from error
        else:
            if asking.talk.winners is not None:
                asking.link = None
                self._context.opened.close(link)

    def _say(self, asking: _Asking, link: Link) -> None:
        if asking.ask_at is not None and asking.ask_at <= now():
            asking.ask_at = None
            asking.talk.ask_again()
        while True:
            with upload_errors():
                message = asking.talk.next_message()
            if message is None:
                return
            link.queue(message)
            if isinstance(message, WinnersRequest):
                self._context.log.progress("consulta_ganadores", level=logging.DEBUG, client_id=asking.agency)

    def _hear(self, asking: _Asking, answer: UploadStatus | Winners) -> None:
        talk = asking.talk
        with upload_errors():
            talk.answered(answer)
        if talk.reconnect_for is not None:
            raise PeerClosed(in_words(talk.reconnect_for))
        asking.incomplete = talk.ask_again_due
        if talk.ask_again_due:
            asking.ask_at = now() + ASK_AGAIN_S

    def _check_silence(self, asking: _Asking, link: Link) -> None:
        if asking.moved_at is None or link.traffic != asking.traffic or not asking.talk.awaiting:
            asking.traffic, asking.moved_at = link.traffic, now()
            return
        limit_s = (
            min(FIRST_ANSWER_S, self._context.settings.idle_timeout_s) if asking.talk.opening else HEARTBEAT_LIMIT_S
        )
        if now() - asking.moved_at >= limit_s:
            raise TransportTimeout(f"the server has given no sign of life for {limit_s:g} s")

    def _lost(self, asking: _Asking, link: Link, error: TransportError) -> None:
        asking.link = asking.ask_at = None
        asking.incomplete = False
        asking.dialer.lost(link, error, unanswered=1)
        asking.retry_at = now() + asking.dialer.rest_s()

    def _gave_up(self, waiting: list[_Asking]) -> NotDrawn | Unreachable | Refused | WrongPeer:
        """The error for a retry deadline that has passed; logged."""
        # "Not drawn" is said only if the server is known to wait for the draw. On revision 9 it has said so. On 7 and 8
        # it has sent anything on the connection that asks, or it answers a probe now.
        error: NotDrawn | Unreachable | Refused | WrongPeer
        away = [asking for asking in waiting if asking.link is None]
        incomplete = [asking for asking in waiting if asking.incomplete]
        try:
            if away:
                error = away[0].dialer.gave_up()
            elif incomplete:
                advice = ADVICE[RejectCode.INCOMPLETE]
                error = NotDrawn(f"the draw has not taken place, and cannot: {_named(incomplete)}: {advice}")
            elif silent := self._silent(waiting):
                error = silent[0].dialer.gave_up(_why_silent(silent))
            else:
                error = NotDrawn(
                    f"the draw has not taken place: {_named(waiting)} {'have' if len(waiting) > 1 else 'has'} waited "
                    f"for {self._patience.said_s:g} s (--retry-for); bets-client winners asks again"
                )
        except (Refused, WrongPeer) as found:  # the result of the probe
            error = found
        self._failed(error)
        return error

    def _silent(self, waiting: list[_Asking]) -> list[_Asking]:
        """The agencies of which it is not known whether a server waits for the draw with them.

        Raises:
            Refused, WrongPeer: as `Dialer.is_answered`.
        """
        silent = [asking for asking in waiting if not asking.is_waited_for]
        plain = [asking for asking in silent if isinstance(asking.talk, Question) and not asking.begun]
        if not plain:
            return silent
        wait_s = min(PROBE_S, max(self._patience.limit_s, TICK_S))
        there = plain[0].dialer.is_answered(wait_s)
        return [asking for asking in silent if asking not in plain] if there else silent

    def _failed(self, error: Exception) -> None:
        self._context.log.fail("consulta_ganadores", error=error)


def _why_silent(silent: list[_Asking]) -> str:
    if any(asking.begun for asking in silent):
        return "the server has completed no answer"
    return (
        f"it has taken the connection of {_named(silent)} and says nothing: it is stopped or being replaced, or nobody "
        "is there behind a balancer; bets-client winners asks again"
    )


def _named(asking: list[_Asking]) -> str:
    """The agencies in their order; more than two consecutive ones as `1 to 5`."""
    numbers = sorted(one.agency for one in asking)
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(numbers), lambda each: each[1] - each[0]):
        found = [number for _, number in run]
        parts += [f"{found[0]} to {found[-1]}"] if len(found) > 2 else map(str, found)
    return f"{'agencies' if len(numbers) > 1 else 'agency'} {', '.join(parts)}"
