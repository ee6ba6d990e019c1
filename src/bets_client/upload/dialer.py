"""Connects, and tries again with pauses until the retry deadline."""

from __future__ import annotations

import logging

from bets_client.errors import Refused, Unreachable, WrongPeer
from bets_client.retry import Backoff, RetryDeadline, now
from bets_client.run_context import RunContext
from bets_client.upload.link import Answer, ForeignPeer, Link, wait_ready
from bets_protocol import ConnectError, Probe, RemoteProtocolError, TransportError, TransportTimeout
from bets_protocol.transports import AuthenticationError, HandshakeError

PROBE_REVISION = 8
"""The revision of a connection for a probe: from 7 on all revisions have the same probe."""

_IS_ANYBODY_THERE = Probe(line=b"bets-client: is anybody there?\n")


def breach(server: str, error: RemoteProtocolError, otherwise: str) -> str:
    """The message for a peer that breaks the protocol: its own protocol if that is known, else `otherwise`."""
    return f"{server}: {error if isinstance(error, ForeignPeer) else otherwise}"


def echo_of(link: Link, probe: Probe, wait_s: float) -> list[Answer]:
    """Send `probe` and wait until it comes back.

    Raises:
        TransportError: it does not come back within `wait_s` seconds, or the connection breaks.
        RemoteProtocolError: something else comes back.
    """
    until = now() + wait_s
    link.queue(probe)
    while not (answers := link.advance()):
        left_s = until - now()
        if left_s <= 0:
            raise TransportTimeout(f"nothing came back within {wait_s:g} s")
        wait_ready((link,), left_s)
    return answers


def raise_if_final(server: str, error: TransportError) -> None:
    """Raise if trying again after `error` cannot help.

    Raises:
        Refused: one of the two ends has not proved its identity. With TLS 1.3 that may come with the first answer.
        WrongPeer: the peer does not speak TLS, or no version in common.
    """
    if isinstance(error, HandshakeError):
        kind = Refused if isinstance(error, AuthenticationError) else WrongPeer
        raise kind(str(error) if server in str(error) else f"{server}: {error}") from error


class Dialer:
    """Makes the links of one agency.

    Args:
        agency: for the log lines; None if it is not known.
        patience: the caller's retry deadline, which only the caller renews.
        revision: of the wire; by default that of the settings.

    Attributes:
        last_error: why there was no link, or why the last one broke; None before any error.
    """

    def __init__(
        self, context: RunContext, agency: int | None, patience: RetryDeadline, *, revision: int | None = None
    ) -> None:
        self.last_error: TransportError | None = None
        self._context = context
        self._agency = agency
        self._patience = patience
        self._revision = context.settings.revision if revision is None else revision
        self._backoff = Backoff()

    def attempt(self) -> Link:
        """Connect once.

        Raises:
            ConnectError: it failed; logged. `rest_s` says when to try again.
            Refused, WrongPeer: as `raise_if_final`; logged.
        """
        settings = self._context.settings
        try:
            link = Link.open(
                settings.server,
                self._revision,
                timeout_s=self._patience.connect_timeout_s,
                transports=self._context.transports,
            )
        except ConnectError as error:
            self.last_error = error
            self._context.log.fail("connect", level=logging.WARNING, client_id=self._agency or 0, error=error)
            raise_if_final(settings.server, error)
            raise
        self._context.opened.add("connection", link, client_id=self._agency or 0)
        self._context.log.success("connect", level=logging.DEBUG, client_id=self._agency or 0)
        return link

    def is_answered(self, wait_s: float) -> bool:
        """Whether the server answers a probe on a connection of its own within `wait_s` seconds.

        Raises:
            Refused, WrongPeer: as `raise_if_final`; `WrongPeer` also if the answer is not that of a server of ours.
        """
        settings = self._context.settings
        link: Link | None = None
        try:
            link = Link.open(settings.server, PROBE_REVISION, timeout_s=wait_s, transports=self._context.transports)
            self._context.opened.add("connection", link, client_id=self._agency)
            return bool(echo_of(link, _IS_ANYBODY_THERE, wait_s))
        except RemoteProtocolError as error:
            raise WrongPeer(breach(settings.server, error, f"the server sent back something else: {error}")) from error
        except TransportError as error:
            raise_if_final(settings.server, error)
            return False
        finally:
            if link is not None:
                self._context.opened.close(link)

    def dial(self) -> Link:
        """Connect, trying again until the retry deadline.

        Raises:
            Unreachable: the deadline passed.
            Refused, WrongPeer: as `raise_if_final`.
        """
        while True:
            try:
                return self.attempt()
            except ConnectError:
                self.rest()

    def rest(self) -> None:
        """Wait before the next attempt.

        Raises:
            Unreachable: the retry deadline passed.
        """
        rest_s = min(self.rest_s(), self._patience.left_s)
        wait_ready((), rest_s)
        self._context.progress.tick()
        if self._patience.over:
            raise self.gave_up()

    def rest_s(self) -> float:
        """Seconds to wait before the next attempt; longer each time."""
        return self._backoff.next_s()

    def lost(self, link: Link, error: TransportError, *, unanswered: int) -> None:
        """Close a link that broke, and log it.

        Raises:
            Refused, WrongPeer: as `raise_if_final`.
        """
        self.last_error = error
        self._context.opened.close(link)
        self._context.log.fail(
            "connection", level=logging.WARNING, client_id=self._agency or 0, unanswered=unanswered, error=error
        )
        raise_if_final(self._context.settings.server, error)

    def progressed(self) -> None:
        """Begin with short pauses again, because the server has answered."""
        self._backoff.reset()

    def gave_up(self, why: str = "") -> Unreachable:
        """The error for a retry deadline that has passed.

        Args:
            why: the reason; by default the last error of a connection.
        """
        return Unreachable(
            f"no answer from {self._context.settings.server} for {self._patience.said_s:g} s (--retry-for): "
            f"{why or self.last_error or 'it is silent'}"
        )
