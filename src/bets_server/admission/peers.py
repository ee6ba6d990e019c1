"""What admission sees of a connection; the reactor's `Session` is one.

Admission stands below the reactor: it says which connection may go on, and never looks into what that does.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Protocol, TypeVar

from bets_protocol import WinnersRequest
from bets_protocol.transports import Stream

MAX_PEERS = 4096
"""Peers whose refusals are counted one by one; those of more are counted together. As many origins are kept."""


class Peer(Protocol):
    """A connection.

    Attributes:
        number: names it inside this process.
    """

    number: int

    @property
    def shaking_since(self) -> float:
        """When its handshake began; when it was accepted, until then."""
        ...

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


@functools.lru_cache(maxsize=MAX_PEERS)
def origin_of(peer: str) -> str:
    """What a peer is counted by: its IPv4 address, the /64 of its IPv6 one; empty for peers of this machine's own."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
