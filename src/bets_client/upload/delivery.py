"""The loop of every upload: over one connection after the other, until all is done or the retry deadline passes.

One turn sends a message or else waits a little, handles the answers, and checks the time. The subclass decides what to
send and what an answer means: `Upload` for revisions 5 to 8, `ExactUpload` for revision 9.

A silent connection counts as lost, and a lost connection is made again. Only stored bets renew the retry deadline.
Every error and every stop says how many bets are stored, refused, unknown and not sent.
"""

from __future__ import annotations

import abc
from typing import TypeVar

from bets_client.errors import BadInput, FileChanged, Refused, Unreachable, WrongPeer
from bets_client.retry import RetryDeadline, now
from bets_client.run_context import RunContext
from bets_client.upload.dialer import Dialer, breach
from bets_client.upload.link import TICK_S, Answer, Link, wait_ready
from bets_protocol import RemoteProtocolError, TransportError, TransportTimeout
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ProgramError
from bets_protocol.cli.signals import Stopped

E = TypeVar("E", bound=ProgramError)

_ENDS: tuple[type[ProgramError], ...] = (Unreachable, Refused, WrongPeer, FileChanged, BadInput)


class Delivery(abc.ABC):
    """Bets of one agency on their way to the server.

    Thread: one.
    """

    def __init__(self, context: RunContext, agency: int) -> None:
        self.agency = agency
        self._context = context
        self._link: Link | None = None
        self._patience = RetryDeadline(context.settings.retry_for_s)
        self._dialer = Dialer(context, agency, self._patience)
        self._traffic = 0
        self._moved_at = 0.0
        self._answered_at = 0.0

    def run(self) -> None:
        """Send all bets until they are acknowledged.

        Raises:
            Refused: the server refused some bets.
            WrongPeer: the peer breaks the protocol.
            Unreachable: the deadline passed.
            BadInput: a row is bad that was good before, or the input can no longer be read.
            Stopped: the program was asked to stop; the user has been told the state.
        """
        try:
            while not self._finished():
                self._step(self._link or self._connected())
        except RemoteProtocolError as error:
            text = breach(self._context.settings.server, error, self._breach(error))
            raise self._failed(WrongPeer, text) from error
        except _ENDS as error:
            kind = next(kind for kind in _ENDS if isinstance(error, kind))
            raise self._failed(kind, str(error)) from error
        except Stopped:
            self._say_stopped()
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
    def _lost(self, link: Link, error: TransportError) -> None:
        """Keep what the lost link left unanswered, and pause before the next attempt.

        Raises:
            Unreachable: the retry deadline passed.
        """

    @abc.abstractmethod
    def state(self) -> str:
        """What is stored and what is not, for an error or after a stop."""

    @property
    def _silence_limit_s(self) -> float:
        return min(self._context.settings.idle_timeout_s, self._patience.limit_s)

    def _connected(self) -> Link:
        self._link = self._dialer.dial()
        self._traffic = 0
        self._moved_at = self._answered_at = now()
        return self._link

    def _step(self, link: Link) -> None:
        try:
            if not self._send_next(link) and self._awaiting():
                wait_ready((link,), min(TICK_S, self._silence_limit_s))
            answers = link.advance()
            self._heard(link, answers)
            if answers or not self._awaiting():
                self._answered_at = now()
            self._check_silence(link)
        except TransportError as error:
            self._lost(link, error)
        self._context.progress.tick()

    def _check_silence(self, link: Link) -> None:
        """Raise `TransportTimeout` if the server has been silent for too long while an answer is due."""
        # 1. Any byte in or out ends a silence.
        # 2. After the retry deadline only complete answers do, so a peer that drips bytes does not extend it.
        if link.traffic != self._traffic or not self._awaiting():
            self._traffic, self._moved_at = link.traffic, now()
        elif now() - self._moved_at >= self._silence_limit_s:
            raise TransportTimeout(f"the server has been silent for {self._silence_limit_s:g} s{self._silence_means}")
        grace_s = min(TICK_S, self._silence_limit_s)  # a connection made in the last moment may still be answered
        if self._patience.over and now() - self._answered_at >= grace_s:
            raise TransportTimeout(f"the server has completed no answer{self._silence_means}")

    @property
    def _silence_means(self) -> str:
        """A possible reason for a silence, for the end of its message."""
        return ""

    def _breach(self, error: RemoteProtocolError) -> str:
        revision = self._context.settings.revision
        return f"the server breaks the protocol, or speaks another revision than {revision}: {error}"

    def _say_stopped(self) -> None:
        settings = self._context.settings
        self._context.progress.finish()
        if not settings.quiet:
            advice = "; the same command goes on from there" if settings.exactly_once else ""
            say_error("bets-client", f"stopped: {self.state()}{advice}")

    def _failed(self, kind: type[E], text: str) -> E:
        """The error with the state of the upload."""
        return kind(f"{text}\n{self.state()}")
