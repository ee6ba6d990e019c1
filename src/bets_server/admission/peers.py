"""What admission sees of a connection; the reactor's `Session` is one.

Admission stands below the reactor: it says which connection may go on, and never looks into what that does.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from bets_protocol import WinnersRequest
from bets_protocol.transports import Stream


class Peer(Protocol):
    """A connection.

    Attributes:
        number: names it inside this process.
        shaking_since: when its handshake began; when it was accepted, until then.
    """

    number: int
    shaking_since: float

    @property
    def stream(self) -> Stream:
        """The bytes to and from it."""
        ...

    @property
    def agency(self) -> int | None:
        """The agency that it speaks for, or says so; None: not known yet."""

    @property
    def waiting(self) -> WinnersRequest | None:
        """The request for winners that waits for the draw, if one does."""

    @property
    def ended(self) -> bool:
        """Whether it has ended its side."""
        ...

    def wait_for_handshake(self) -> None:
        """Is left unread until there is a place for its handshake."""

    def begin_handshake(self, now: float) -> None:
        """Has a place for its handshake."""


PeerT = TypeVar("PeerT", bound=Peer)
