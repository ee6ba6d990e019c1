"""The exception tree: everything that this library raises is a `BetsError`.

Foreign exceptions stop at the door they enter: `OSError` in `transports`, whatever a parser raises in the codec.
A *protocol* error carries where (`path`, `offset`) and what it means for the peer (`code`, `retryable`); a refusal
that a peer may legally send (`Ack` 0) is a message and no exception.
"""

from __future__ import annotations

import enum
from typing import Any


class RejectCode(enum.IntEnum):
    """What went wrong, by the numbers that `UploadStatus.code` carries on the wire.

    Source: "Exactly-once uploads" in docs/protocol.md.
    """

    OK = 0
    BAD_FRAME = 1
    BAD_BET = 2
    NOT_AUTHORIZED = 3
    FENCED = 4
    MISMATCH = 5
    OVERRUN = 6
    SEALED = 7
    DRAW_CLOSED = 8
    INCOMPLETE = 9
    BUSY = 10
    STORE_FULL = 11
    LIMIT = 12
    SHUTTING_DOWN = 13
    WRONG_DRAW = 14
    MODE_CONFLICT = 15
    DRAWN = 16

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later on a new connection."""
        return self in _RETRYABLE


_RETRYABLE = frozenset({RejectCode.BUSY, RejectCode.STORE_FULL, RejectCode.LIMIT, RejectCode.SHUTTING_DOWN})


class BetsError(Exception):
    """The root: `except BetsError` catches all that this library raises on purpose.

    All of them can be copied, pickled and raised in a worker process, whatever their classes are made from.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Python itself would call the class with `args`, which is the text and not what the class is made from.
        return _made_anew, (type(self), *self.args), vars(self)


def _made_anew(kind: type[BetsError], *args: Any) -> BetsError:
    """An error of `kind` with these `args`; what else it knows is put into it afterwards."""
    return kind.__new__(kind, *args)


class ProtocolError(BetsError):
    """Bytes or messages that the protocol does not allow; the abstract parent, never raised itself.

    Attributes:
        code: what to tell the peer, a `RejectCode`.
        path: the field, as in ``bets[3].birthdate``; empty where no single field is to blame.
        offset: bytes from the start of the frame, or None where the error is not at a byte.
        found: what stands there instead; apart from the reason, since it may be personal data that no log should hold.
    """

    code: RejectCode = RejectCode.BAD_FRAME

    def __init__(
        self,
        reason: str,
        *,
        path: str = "",
        offset: int | None = None,
        found: str = "",
        code: RejectCode | None = None,
    ) -> None:
        self.reason = reason
        self.path = path
        self.offset = offset
        self.found = found
        if code is not None:
            self.code = RejectCode(code)  # a plain number, too
        super().__init__(self.summary + (f", found {found}" if found else ""))

    @property
    def summary(self) -> str:
        """Where it is and what was expected, without what was found: fit for a log."""
        where = (self.path + (f" at byte {self.offset}" if self.offset is not None else "")).strip()
        return f"{where}: {self.reason}" if where else self.reason

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code.retryable


class LocalProtocolError(ProtocolError):
    """We tried to say something illegal: a bug on this side; nothing was sent."""


class InvalidMessage(LocalProtocolError, ValueError):
    """A value that its field's rule forbids, found when a message is made. `path` names the field."""

    code = RejectCode.BAD_BET


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol: reply `code`, then close."""


class DecodeError(RemoteProtocolError):
    """Bytes that do not fit the layout (a *framing* error): where the next frame starts is unknown."""


class FrameTooLarge(DecodeError):
    """A frame that passes its bound (8192 bytes for a batch), noticed before the rest of it was read."""


class TruncatedFrame(DecodeError):
    """The stream ended inside a frame: the peer is gone, and what it meant to say is unknown."""


class InvalidValue(RemoteProtocolError):
    """A sound frame with a value that breaks its rule (a *value* error): the connection stays usable."""

    code = RejectCode.BAD_BET


class SequenceError(RemoteProtocolError):
    """A sound message at the wrong time."""


class TransportError(BetsError):
    """The stream of bytes failed; what the peer has received is unknown."""


class ConnectError(TransportError):
    """No connection came about."""


class ReadError(TransportError):
    """The connection broke while receiving."""


class WriteError(TransportError):
    """The connection broke while sending."""


class PeerClosed(TransportError):
    """The peer ended the connection where more was due."""


class TransportTimeout(TransportError, TimeoutError):
    """A deadline passed."""


class StorageError(BetsError):
    """The store failed or is not what it should be."""


class ConfigError(BetsError, ValueError):
    """A setting that cannot be used; names where it stands, the key and the value."""
