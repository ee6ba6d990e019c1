"""What a client tells its caller while it works: one class for each thing that happens, for logs and progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs

from bets_protocol.errors import ConnectError, TransportError


class Closable(Protocol):
    """A connection, as far as a listener may touch it."""

    def close(self) -> None:
        """Close it. Calling it again has no effect."""


@attrs.frozen
class ConnectFailed:
    """The server could not be reached; the client tries again until its deadline, unless that cannot help.

    Attributes:
        agency: the agency, or None if it is not known.
    """

    agency: int | None
    error: ConnectError


@attrs.frozen
class Connected:
    """A connection was made."""

    agency: int | None
    connection: Closable


@attrs.frozen
class Disconnected:
    """This side has closed a connection, because it has no further use."""

    connection: Closable


@attrs.frozen
class ConnectionLost:
    """A connection broke, or the server was silent for too long; it is closed, and another one will be made.

    Attributes:
        unanswered: bets or questions without an answer, so that it is not known what became of them.
    """

    agency: int | None
    connection: Closable
    error: TransportError
    unanswered: int


@attrs.frozen
class UploadOpened:
    """The server has said how much of the upload it has (revision 9).

    Attributes:
        stored: bets on its disk.
        before: bets that were known to be there; more than `stored` if the server has lost some.
        total: bets of the upload.
    """

    agency: int
    upload_id: bytes
    stored: int
    before: int
    total: int


@attrs.frozen
class BetsStored:
    """The server has acknowledged a batch."""

    agency: int
    count: int


@attrs.frozen
class BatchRefused:
    """The server has refused a batch (revisions 5 to 8).

    Attributes:
        rows: where its bets come from, as in ``agency-1.csv:1-130``.
    """

    agency: int
    count: int
    rows: str


@attrs.frozen
class Resending:
    """Bets without an answer are sent again, and may be stored twice (revisions 5 to 8)."""

    agency: int
    count: int


@attrs.frozen
class WinnersAsked:
    """The winners were asked for, which says that the agency has sent everything."""

    agency: int


@attrs.frozen
class DrawAwaited:
    """The client waits for the draw; told again and again.

    Attributes:
        agencies: those that wait.
        connected: whether any of them has a connection.
    """

    agencies: tuple[int, ...]
    connected: bool


Event: TypeAlias = (
    ConnectFailed
    | Connected
    | Disconnected
    | ConnectionLost
    | UploadOpened
    | BetsStored
    | BatchRefused
    | Resending
    | WinnersAsked
    | DrawAwaited
)

Listener: TypeAlias = Callable[[Event], None]
