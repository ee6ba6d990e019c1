"""Connects, and tries again with pauses until the retry deadline."""

from __future__ import annotations

from bets_protocol.client.driver import Steps, Wait, connected
from bets_protocol.client.events import Connected, ConnectFailed, ConnectionLost, Disconnected
from bets_protocol.client.link import Answer, Link
from bets_protocol.client.options import ClientOptions
from bets_protocol.client.retry import Backoff, RetryDeadline
from bets_protocol.errors import ConnectError, GaveUp, TransportError, TransportTimeout
from bets_protocol.messages import Probe
from bets_protocol.transports import HandshakeError, Stream

PROBE_REVISION = 8
"""The revision of a connection for a probe: from 7 on all revisions have the same probe."""

_IS_ANYBODY_THERE = Probe(line=b"bets-client: is anybody there?\n")


class Dialer:
    """Makes the links of one agency.

    Args:
        agency: for the events; None if it is not known.
        patience: the caller's retry deadline, which only the caller renews.
        revision: of the wire; by default that of the options.

    Attributes:
        last_error: why there was no link, or why the last one broke; None before any error.
    """

    def __init__(
        self, options: ClientOptions, agency: int | None, patience: RetryDeadline, *, revision: int | None = None
    ) -> None:
        self.last_error: TransportError | None = None
        self._options = options
        self._agency = agency
        self._patience = patience
        self._revision = options.revision if revision is None else revision
        self._backoff = Backoff()

    def attempt(self) -> Steps[Link]:
        """Connect once.

        Raises:
            ConnectError: it failed. `rest_s` says when to try again; a `HandshakeError` is final.
        """
        try:
            stream = yield from connected(self._patience.connect_timeout_s)
        except ConnectError as error:
            self.last_error = error
            self._options.on_event(ConnectFailed(self._agency, error))
            raise
        return self._link(stream, self._revision)

    def is_answered(self, wait_s: float) -> Steps[bool]:
        """Whether the server answers a probe on a connection of its own within `wait_s` seconds.

        Raises:
            HandshakeError: one of the two ends does not accept the other's certificate or TLS.
            RemoteProtocolError: the answer is not that of a server of ours.
        """
        link: Link | None = None
        try:
            stream = yield from connected(wait_s)
            link = self._link(stream, PROBE_REVISION)
            answers = yield from self.echo_of(link, _IS_ANYBODY_THERE, wait_s)
            return bool(answers)
        except HandshakeError:
            raise
        except TransportError:
            return False
        finally:
            if link is not None:
                self.close(link)

    def echo_of(self, link: Link, probe: Probe, wait_s: float) -> Steps[list[Answer]]:
        """Send `probe` and wait until it comes back.

        Raises:
            TransportError: it does not come back within `wait_s` seconds, or the connection breaks.
            RemoteProtocolError: something else comes back.
        """
        until = self._options.clock() + wait_s
        link.queue(probe)
        while not (answers := link.advance()):
            left_s = until - self._options.clock()
            if left_s <= 0:
                raise TransportTimeout(f"nothing came back within {wait_s:g} s")
            yield Wait((link,), left_s)
        return answers

    def dial(self) -> Steps[Link]:
        """Connect, trying again until the retry deadline.

        Raises:
            GaveUp: the deadline passed.
            HandshakeError: trying again cannot help.
        """
        while True:
            try:
                return (yield from self.attempt())
            except HandshakeError:
                raise
            except ConnectError:
                yield from self.rest()

    def rest(self) -> Steps[None]:
        """Wait before the next attempt.

        Raises:
            GaveUp: the retry deadline passed.
        """
        yield Wait((), min(self.rest_s(), self._patience.left_s))
        if self._patience.over:
            raise self.gave_up()

    def rest_s(self) -> float:
        """Seconds to wait before the next attempt; longer each time."""
        return self._backoff.next_s()

    def lost(self, link: Link, error: TransportError, *, unanswered: int) -> None:
        """Close a link that broke.

        Raises:
            HandshakeError: connecting again cannot help. With TLS 1.3 that may come with the first answer.
        """
        self.last_error = error
        link.close()
        self._options.on_event(ConnectionLost(self._agency, link, error, unanswered))
        if isinstance(error, HandshakeError):
            raise error

    def close(self, link: Link) -> None:
        """Close a link that has no further use."""
        link.close()
        self._options.on_event(Disconnected(link))

    def progressed(self) -> None:
        """Begin with short pauses again, because the server has answered."""
        self._backoff.reset()

    def gave_up(self, why: str = "") -> GaveUp:
        """The error for a retry deadline that has passed.

        Args:
            why: the reason; by default the last error of a connection.
        """
        return GaveUp(
            f"no answer from {self._options.url} for {self._patience.said_s:g} s ({self._options.words.retry_for}): "
            f"{why or self.last_error or 'it is silent'}"
        )

    def _link(self, stream: Stream, revision: int) -> Link:
        link = Link(stream, revision)
        self._options.on_event(Connected(self._agency, link))
        return link
