"""Connects, and keeps trying: with rests between the attempts, as long as patience lasts."""

from __future__ import annotations

import logging

from bets_client.errors import Refused, Unreachable, WrongPeer
from bets_client.job import Job
from bets_client.link import Link, wait_ready
from bets_client.patience import Backoff, Patience
from bets_protocol import ConnectError, TransportError
from bets_protocol.transports import AuthenticationError, HandshakeError


def raise_if_final(server: str, error: TransportError) -> None:
    """Raise what `error` means where trying again is of no use.

    Raises:
        Refused: one of the two has not proved who it is. With TLS 1.3 that may come with the first answer only.
        WrongPeer: what is there does not speak TLS, or no version of it in common.
    """
    if isinstance(error, HandshakeError):
        kind = Refused if isinstance(error, AuthenticationError) else WrongPeer
        raise kind(str(error) if server in str(error) else f"{server}: {error}") from error


class Dialer:
    """Makes the links of one agency.

    Args:
        agency: for the log lines; None: none is known.
        patience: of whoever dials; read, and renewed by that one only.
        revision: of the wire; None: that of the settings.

    Attributes:
        last_error: why there was no link, or why the last one broke; None as long as all went well.
    """

    def __init__(self, job: Job, agency: int | None, patience: Patience, *, revision: int | None = None) -> None:
        self.last_error: TransportError | None = None
        self._job = job
        self._agency = agency
        self._patience = patience
        self._revision = job.settings.revision if revision is None else revision
        self._backoff = Backoff()

    def attempt(self) -> Link:
        """Connect once.

        Raises:
            ConnectError: it did not work; logged. `rest_s` says when to try again.
            Refused, WrongPeer: as `raise_if_final`; logged.
        """
        settings = self._job.settings
        try:
            link = Link.open(
                settings.server,
                self._revision,
                timeout_s=self._patience.connect_timeout_s,
                transports=self._job.transports,
            )
        except ConnectError as error:
            self.last_error = error
            self._job.log.fail("connect", level=logging.WARNING, client_id=self._agency, error=error)
            raise_if_final(settings.server, error)
            raise
        self._job.opened.add("connection", link, client_id=self._agency)
        self._job.log.success("connect", level=logging.DEBUG, client_id=self._agency)
        return link

    def dial(self) -> Link:
        """Connect, trying again until patience is over.

        Raises:
            Unreachable: it is over.
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
            Unreachable: there will be none, patience is over.
        """
        rest_s = min(self.rest_s(), self._patience.left_s)
        wait_ready((), rest_s)
        self._job.progress.tick()
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
        self._job.opened.close(link)
        self._job.log.fail(
            "connection", level=logging.WARNING, client_id=self._agency, unanswered=unanswered, error=error
        )
        raise_if_final(self._job.settings.server, error)

    def progressed(self) -> None:
        """The server answered: rests begin short again."""
        self._backoff.reset()

    def gave_up(self) -> Unreachable:
        """The error that an end of patience means."""
        return Unreachable(
            f"no answer from {self._job.settings.server} for {self._patience.said_s:g} s (--retry-for): "
            f"{self.last_error or 'it is silent'}"
        )
