"""The two ends of the protocol wired together in memory, for tests that need no socket.

What one end sends is handed to the other in pieces, cut as the test likes; the events that come out are the result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from bets_protocol import (
    CLIENT_REVISIONS,
    CLOSED,
    NEED_DATA,
    NEWEST_REVISION,
    SERVER_REVISIONS,
    ClientConnection,
    ServerConnection,
)
from bets_protocol.bytes_like import BytesLike, as_bytes
from bets_protocol.connection.client import ClientEvent, Request
from bets_protocol.connection.server import Reply, ServerEvent

Cut: TypeAlias = Callable[[BytesLike], Iterable[bytes]]
"""Splits what was sent into the pieces that arrive."""


def whole(data: BytesLike) -> Iterator[bytes]:
    """All in one piece."""
    if data := as_bytes(data):
        yield data


def byte_by_byte(data: BytesLike) -> Iterator[bytes]:
    """Every byte alone."""
    data = as_bytes(data)
    for index in range(len(data)):
        yield data[index : index + 1]


def at_places(places: Iterable[int]) -> Cut:
    """Cuts before the bytes with these numbers; what lies outside the data is left out."""
    wanted = sorted(set(places))

    def cut(data: BytesLike) -> Iterator[bytes]:
        data = as_bytes(data)
        edges = [0, *(place for place in wanted if 0 < place < len(data)), len(data)]
        for start, end in pairwise(edges):
            if start < end:
                yield data[start:end]

    return cut


def at_random(chooser: random.Random) -> Cut:
    """Pieces of 1 to 100 bytes, as `chooser` says."""

    def cut(data: BytesLike) -> Iterator[bytes]:
        data = as_bytes(data)
        start = 0
        while start < len(data):
            size = chooser.randint(1, 100)
            yield data[start : start + size]
            start += size

    return cut


def server_events(connection: ServerConnection, pieces: Iterable[BytesLike] = ()) -> list[ServerEvent]:
    """What `connection` has to say while `pieces` arrive, as far as it goes without more data.

    Raises:
        RemoteProtocolError: the bytes break the protocol; the events before that are lost.
        TypeError: a piece is no bytes, bytearray or memoryview; `connection` has received nothing.
    """
    return list(_events(connection, pieces))


def client_events(connection: ClientConnection, pieces: Iterable[BytesLike] = ()) -> list[ClientEvent]:
    """The same for a client."""
    return list(_events(connection, pieces))


def _events(connection: ServerConnection | ClientConnection, pieces: Iterable[BytesLike]) -> Iterator[Any]:
    for piece in (None, *map(as_bytes, pieces)):
        if piece is not None:  # at first, what it has still to say
            connection.receive_data(piece)
        while (event := connection.next_event()) is not NEED_DATA and event is not CLOSED:
            yield event


class ConnectionPair:
    """A client and a server that hear each other.

    Args:
        revision: the client's, 5 to 9; the server is started for it, or for 9 where that speaks it too.
        encoded: as for `ServerConnection`.
        cut: how the bytes are cut on their way, both ways.
    """

    def __init__(self, *, revision: int = NEWEST_REVISION, encoded: bool = False, cut: Cut = whole) -> None:
        if revision not in CLIENT_REVISIONS:
            raise ValueError(f"expected a revision of {CLIENT_REVISIONS}, not {revision}")
        self.client = ClientConnection(revision=revision)
        self.server = ServerConnection(
            revision=revision if revision in SERVER_REVISIONS else max(SERVER_REVISIONS), encoded=encoded
        )
        self._cut = cut

    def client_says(self, *messages: Request) -> Sequence[ServerEvent]:
        """Sends `messages` one behind the other; gives what the server makes of them."""
        return server_events(self.server, self._cut(b"".join([self.client.send(message) for message in messages])))

    def server_says(self, *replies: Reply) -> Sequence[ClientEvent]:
        """Sends `replies` one behind the other; gives what the client makes of them."""
        return client_events(self.client, self._cut(b"".join([self.server.send(reply) for reply in replies])))

    def client_ends(self) -> Sequence[ServerEvent]:
        """Ends the client's stream; gives what that tells the server."""
        return server_events(self.server, [b""])

    def server_ends(self) -> Sequence[ClientEvent]:
        """Ends the server's stream; gives what that tells the client."""
        return client_events(self.client, [b""])
