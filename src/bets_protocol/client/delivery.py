"""The loop of every upload: over one connection after the other, until all is done or the retry deadline passes.

One turn sends a message or else waits a little, handles the answers, and checks the time. The subclass decides what to
send and what an answer means: `AtLeastOnce` for revisions 5 to 8, `ExactlyOnce` for revision 9.

A silent connection counts as lost, and a lost connection is made again. Only stored bets renew the retry deadline.
Every error says in a note how many bets are stored, refused, unknown and not sent.
"""

from __future__ import annotations

import abc

from bets_protocol.client.dialer import Dialer
from bets_protocol.client.driver import Steps, Wait
from bets_protocol.client.link import TICK_S, Answer, Link
from bets_protocol.client.options import ClientOptions
from bets_protocol.client.retry import RetryDeadline
from bets_protocol.errors import BetsError, TransportError, TransportTimeout


class Delivery(abc.ABC):
    """Bets of one agency on their way to the server.

    Thread: one.
    """

    def __init__(self, options: ClientOptions, agency: int) -> None:
        self.agency = agency
        self._options = options
        self._link: Link | None = None
        self._now = options.clock
        self._patience = RetryDeadline(options.retry_for_s, options.clock)
        self._dialer = Dialer(options, agency, self._patience)
        self._traffic = 0
        self._moved_at = 0.0
        self._answered_at = 0.0

    def run(self) -> Steps[None]:
        """Send all bets until they are acknowledged.

        Raises:
            GaveUp: the deadline passed.
            HandshakeError: one of the two ends does not accept the other's certificate or TLS.
            RemoteProtocolError: the server breaks the protocol, or speaks another one (`ForeignPeer`).
            BetsError: also an error of the source of the bets. All have `state` as a note.
        """
        try:
            while not self._finished():
                link = self._link
                if link is None:
                    link = yield from self._connected()
                yield from self._step(link)
        except BetsError as error:
            error.add_note(self.state())
            raise

    def take_link(self) -> Link | None:
        """The connection, or None if it cannot carry another message. The caller closes it from now on."""
        link, self._link = self._link, None
        return link

    @abc.abstractmethod
    def _finished(self) -> bool:
        """Whether nothing is left to send or to wait for."""

    @abc.abstractmethod
    def _send_next(self, link: Link) -> bool:
        """Queue the next message if it may be sent now, and return whether there was one."""

    @abc.abstractmethod
    def _heard(self, link: Link, answers: list[Answer]) -> None:
        """Handle answers of the server.

        Raises:
            TransportError: an answer ends the connection.
        """

    @abc.abstractmethod
    def _awaiting(self) -> bool:
        """Whether an answer is due."""

    @abc.abstractmethod
    def _lost(self, link: Link, error: TransportError) -> Steps[None]:
        """Keep what the lost link left unanswered, and pause before the next attempt.

        Raises:
            GaveUp: the retry deadline passed.
        """

    @abc.abstractmethod
    def state(self) -> str:
        """What is stored and what is not, for an error or after a stop."""

    @property
    def _silence_limit_s(self) -> float:
        return min(self._options.idle_timeout_s, self._patience.limit_s)

    def _connected(self) -> Steps[Link]:
        link = yield from self._dialer.dial()
        self._link = link
        self._traffic = 0
        self._moved_at = self._answered_at = self._now()
        return link

    def _step(self, link: Link) -> Steps[None]:
        try:
            # Also without anything to wait for: a server that answers at once must not keep a stop, a cancellation or
            # the other tasks of an event loop out.
            idle = not self._send_next(link) and self._awaiting()
            yield Wait((link,), min(TICK_S, self._silence_limit_s) if idle else 0)
            answers = link.advance()
            self._heard(link, answers)
            if answers or not self._awaiting():
                self._answered_at = self._now()
            self._check_silence(link)
        except TransportError as error:
            yield from self._lost(link, error)

    def _check_silence(self, link: Link) -> None:
        """Raise `TransportTimeout` if the server has been silent for too long while an answer is due."""
        # 1. Any byte in or out ends a silence.
        # 2. After the retry deadline only complete answers do, so a peer that drips bytes does not extend it.
        if link.traffic != self._traffic or not self._awaiting():
            self._traffic, self._moved_at = link.traffic, self._now()
        elif self._now() - self._moved_at >= self._silence_limit_s:
            raise TransportTimeout(f"the server has been silent for {self._silence_limit_s:g} s{self._silence_means}")
        grace_s = min(TICK_S, self._silence_limit_s)  # a connection made in the last moment may still be answered
        if self._patience.over and self._now() - self._answered_at >= grace_s:
            raise TransportTimeout(f"the server has completed no answer{self._silence_means}")

    @property
    def _silence_means(self) -> str:
        """A possible reason for a silence, for the end of its message."""
        return ""
