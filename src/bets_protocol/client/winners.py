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
from collections.abc import Sequence

import attrs

from bets_protocol.client.dialer import Dialer
from bets_protocol.client.driver import Steps, Wait
from bets_protocol.client.events import DrawAwaited, WinnersAsked
from bets_protocol.client.link import TICK_S, Link
from bets_protocol.client.options import REASONS, ClientOptions, reconnect_reason
from bets_protocol.client.retry import RetryDeadline
from bets_protocol.connection.upload import ASK_AGAIN_S, FIRST_ANSWER_S, HEARTBEAT_LIMIT_S, Upload
from bets_protocol.errors import (
    BetsError,
    ConnectError,
    GaveUp,
    NotDrawn,
    PeerClosed,
    RejectCode,
    TransportError,
    TransportTimeout,
)
from bets_protocol.messages import UploadStatus, Winners, WinnersRequest
from bets_protocol.transports import HandshakeError

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

    Attributes:
        failed: the agency whose question has failed, if it is the fault of one.

    Thread: one.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.failed: int | None = None
        self._options = options
        self._now = options.clock
        self._patience = RetryDeadline(options.retry_for_s, options.clock)
        self._asking: list[_Asking] = []

    @property
    def found(self) -> dict[int, tuple[str, ...]]:
        """The documents of each agency that has its answer."""
        return {asking.agency: asking.talk.winners for asking in self._asking if asking.talk.winners is not None}

    def ask(self, agency: int, link: Link | None, upload: Upload | None = None) -> Steps[None]:
        """Say that `agency` has sent everything, and ask for its winners.

        If the server cannot be reached now, `collect` asks again.

        Args:
            link: the connection on which its bets were sent; None makes a new one.
            upload: on revision 9, the agency's last upload, all of it stored.

        Raises:
            BetsError: as `collect`, if the server refuses at once.
        """
        talk = Question(agency) if upload is None else upload
        asking = _Asking(agency=agency, dialer=Dialer(self._options, agency, self._patience), talk=talk)
        self._asking.append(asking)
        if link is None:
            yield from self._connect(asking)
        else:
            asking.link = link
            self._advance(asking)

    def collect(self, limit_s: float | None = None, *, seal: bool = False) -> Steps[None]:
        """Wait until every agency that asked has its winners, in `found`. After a deadline it may be called again.

        Args:
            limit_s: seconds until the deadline, in place of the options' `retry_for_s`.
            seal: wait only until the server has said that it waits for the draw (revision 9).

        Raises:
            NotDrawn: the server waits for the draw, and has not answered before the deadline.
            GaveUp: the server cannot be reached.
            HandshakeError: one of the two ends does not accept the other's certificate or TLS.
            UploadRefused: the server refuses for good, or another client has the upload now.
            RemoteProtocolError: the peer breaks the protocol.
            BetsError: also an error of the source: the server needs bets again that can no longer be read.
        """
        self._patience.renew(limit_s)
        waiting = self._waiting(seal=seal)
        while waiting:
            self._options.on_event(DrawAwaited(_agencies(waiting), any(asking.link is not None for asking in waiting)))
            for asking in waiting:
                if asking.link is None and asking.retry_at <= self._now() and not self._patience.over:
                    yield from self._connect(asking)
            yield self._wait(waiting)
            for asking in waiting:
                self._advance(asking)
            waiting = self._waiting(seal=seal)
            if waiting and self._patience.over:
                raise (yield from self._gave_up(waiting))

    def close(self) -> None:
        """Close all connections. Calling it again has no effect."""
        for asking in self._asking:
            if asking.link is not None:
                asking.dialer.close(asking.link)
                asking.link = None

    def _waiting(self, *, seal: bool) -> list[_Asking]:
        return [one for one in self._asking if one.talk.winners is None and not (seal and one.talk.sealed)]

    def _connect(self, asking: _Asking) -> Steps[None]:
        try:
            asking.link = yield from asking.dialer.attempt()
        except HandshakeError:
            raise
        except ConnectError:
            asking.retry_at = self._now() + asking.dialer.rest_s()
            return
        asking.moved_at = asking.ask_at = None
        asking.talk.connected()
        self._advance(asking)

    def _wait(self, waiting: list[_Asking]) -> Wait:
        links = [asking.link for asking in waiting if asking.link is not None]
        due = [asking.retry_at if asking.link is None else asking.ask_at for asking in waiting]
        now = self._now()
        return Wait(links, min([TICK_S, self._patience.left_s, *(at - now for at in due if at is not None)]))

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
            self._lost(asking, link, error)
        except BetsError:
            self.failed = asking.agency
            raise
        else:
            if asking.talk.winners is not None:
                asking.link = None
                asking.dialer.close(link)

    def _say(self, asking: _Asking, link: Link) -> None:
        if asking.ask_at is not None and asking.ask_at <= self._now():
            asking.ask_at = None
            asking.talk.ask_again()
        while (message := asking.talk.next_message()) is not None:
            link.queue(message)
            if isinstance(message, WinnersRequest):
                self._options.on_event(WinnersAsked(asking.agency))

    def _hear(self, asking: _Asking, answer: UploadStatus | Winners) -> None:
        talk = asking.talk
        talk.answered(answer)
        if talk.reconnect_for is not None:
            raise PeerClosed(reconnect_reason(talk.reconnect_for))
        asking.incomplete = talk.ask_again_due
        if talk.ask_again_due:
            asking.ask_at = self._now() + ASK_AGAIN_S

    def _check_silence(self, asking: _Asking, link: Link) -> None:
        if asking.moved_at is None or link.traffic != asking.traffic or not asking.talk.awaiting:
            asking.traffic, asking.moved_at = link.traffic, self._now()
            return
        limit_s = min(FIRST_ANSWER_S, self._options.idle_timeout_s) if asking.talk.opening else HEARTBEAT_LIMIT_S
        if self._now() - asking.moved_at >= limit_s:
            raise TransportTimeout(f"the server has given no sign of life for {limit_s:g} s")

    def _lost(self, asking: _Asking, link: Link, error: TransportError) -> None:
        asking.link = asking.ask_at = None
        asking.incomplete = False
        asking.dialer.lost(link, error, unanswered=1)
        asking.retry_at = self._now() + asking.dialer.rest_s()

    def _gave_up(self, waiting: list[_Asking]) -> Steps[NotDrawn | GaveUp]:
        """The error for a retry deadline that has passed.

        Raises:
            HandshakeError, RemoteProtocolError: a probe has found that it is no server of ours.
        """
        # "Not drawn" is said only if the server is known to wait for the draw. On revision 9 it has said so. On 7 and 8
        # it has sent anything on the connection that asks, or it answers a probe now.
        away = [asking for asking in waiting if asking.link is None]
        if away:
            return away[0].dialer.gave_up()
        incomplete = [asking for asking in waiting if asking.incomplete]
        if incomplete:
            reason = REASONS[RejectCode.INCOMPLETE]
            return NotDrawn(f"the draw has not taken place, and cannot: {named(_agencies(incomplete))}: {reason}")
        silent = yield from self._silent(waiting)
        words = self._options.words
        if silent:
            return silent[0].dialer.gave_up(_why_silent(silent, words.ask_again))
        return NotDrawn(
            f"the draw has not taken place: {named(_agencies(waiting))} {'have' if len(waiting) > 1 else 'has'} waited "
            f"for {self._patience.said_s:g} s ({words.retry_for}); {words.ask_again}"
        )

    def _silent(self, waiting: list[_Asking]) -> Steps[list[_Asking]]:
        """The agencies of which it is not known whether a server waits for the draw with them.

        Raises:
            HandshakeError, RemoteProtocolError: as `Dialer.is_answered`.
        """
        silent = [asking for asking in waiting if not asking.is_waited_for]
        plain = [asking for asking in silent if isinstance(asking.talk, Question) and not asking.begun]
        if not plain:
            return silent
        wait_s = min(PROBE_S, max(self._patience.limit_s, TICK_S))
        there = yield from plain[0].dialer.is_answered(wait_s)
        return [asking for asking in silent if asking not in plain] if there else silent


def _why_silent(silent: list[_Asking], ask_again: str) -> str:
    if any(asking.begun for asking in silent):
        return "the server has completed no answer"
    return (
        f"it has taken the connection of {named(_agencies(silent))} and says nothing: it is stopped or being replaced, "
        f"or nobody is there behind a balancer; {ask_again}"
    )


def _agencies(asking: list[_Asking]) -> tuple[int, ...]:
    return tuple(sorted(one.agency for one in asking))


def named(agencies: Sequence[int]) -> str:
    """Agencies in their order, for a message; more than two consecutive ones as `1 to 5`."""
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(agencies), lambda each: each[1] - each[0]):
        found = [number for _, number in run]
        parts += [f"{found[0]} to {found[-1]}"] if len(found) > 2 else map(str, found)
    return f"{'agencies' if len(agencies) > 1 else 'agency'} {', '.join(parts)}"
