"""The exception tree: everything that this library raises on purpose is a `BetsError`.

Other exceptions are converted where they occur: `OSError` in `transports`, those of a parser in the codec. A *protocol*
error has its place (`path`, `offset`) and its meaning for the peer (`code`, `retryable`). A refusal that a peer may
legally send (Ack 0) is a message and not an exception.
"""

from __future__ import annotations

import enum
from typing import Any


class RejectCode(enum.IntEnum):
    """The numbers of `UploadStatus.code` on the wire.

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
        return self in {RejectCode.BUSY, RejectCode.STORE_FULL, RejectCode.LIMIT, RejectCode.SHUTTING_DOWN}


class BetsError(Exception):
    """The root of the tree. All of its errors can be copied, pickled and raised in a worker process."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default Python calls the class with `args`, which is the text and not the arguments of `__init__`.
        return type(self).__new__, (type(self), *self.args), vars(self)


class ProtocolError(BetsError):
    """Bytes or messages that the protocol does not allow; the abstract parent, never raised itself.

    Attributes:
        code: the code for the peer.
        path: the field, as in ``bets[3].birthdate``; "" if no single field is the cause.
        offset: bytes from the start of the frame, or None if the error is not at a byte.
        found: the value that was found. It is not part of the reason, because it may be personal data.
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
            self.code = RejectCode(code)  # it may be a plain number
        super().__init__(self.summary + (f", found {found}" if found else ""))

    @property
    def summary(self) -> str:
        """The place and what was expected, without what was found, for a log."""
        where = (self.path + (f" at byte {self.offset}" if self.offset is not None else "")).strip()
        return f"{where}: {self.reason}" if where else self.reason

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code.retryable


class LocalProtocolError(ProtocolError):
    """This side tried to send something illegal, which is a bug; nothing was sent."""


class InvalidMessage(LocalProtocolError, ValueError):
    """A value breaks the rule of its field, found when a message is made. `path` names the field."""

    code = RejectCode.BAD_BET


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol: answer with `code`, then close."""


class DecodeError(RemoteProtocolError):
    """The bytes do not fit the layout (a *framing* error), so it is unknown where the next frame begins."""


class FrameTooLarge(DecodeError):
    """A frame is larger than its bound (8192 bytes for a batch), noticed before the rest of it was read."""


class TruncatedFrame(DecodeError):
    """The stream ended inside a frame: the peer is gone, and the rest of its message is unknown."""


class InvalidValue(RemoteProtocolError):
    """A value of a sound frame breaks its rule (a *value* error): the connection stays usable."""

    code = RejectCode.BAD_BET


class SequenceError(RemoteProtocolError):
    """A sound message came at the wrong time."""


class TransportError(BetsError):
    """The stream of bytes failed; what the peer has received is unknown."""


class ConnectError(TransportError):
    """The connection could not be made."""


class ReadError(TransportError):
    """The connection broke while receiving."""


class WriteError(TransportError):
    """The connection broke while sending."""


class PeerClosed(TransportError):
    """The peer ended the connection when more was due."""


class TransportTimeout(TransportError, TimeoutError):
    """A deadline passed."""


class StorageError(BetsError):
    """The store failed, or its files are not those of a store."""


class UploadRefused(BetsError):
    """The server refused an upload for good, so trying again does not help.

    Attributes:
        code: the reason.
        stored: how many bets of the upload the server has.
    """

    def __init__(self, code: RejectCode, *, stored: int) -> None:
        self.code = RejectCode(code)
        self.stored = stored
        super().__init__(f"the server refuses: code {code.value}, {code.name}; {stored:,} bets are stored")


class BetsRefused(BetsError):
    """The server refused bets on a revision from 5 to 8, which have no codes."""


class GaveUp(TransportTimeout):
    """The server could not be reached, or did not answer, until the retry deadline of a client."""


class ClientClosed(BetsError):
    """The client was closed, perhaps by another thread while it worked."""


class NotDrawn(BetsError):
    """The server waits for the draw, which had not taken place before the deadline of a client."""


class InputError(BetsError):
    """The bets to send cannot be used: the file is missing, empty, a directory, or cannot be read."""


class BadRow(InputError):
    """One row cannot be used; the text is `file:line: field: reason`.

    Attributes:
        file: as the user named it.
        line: from 1.
        field: its name, or `row` if no single field is the cause.
        reason: what was expected, and what was found.
    """

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        self.file = file
        self.line = line
        self.field = field
        self.reason = reason
        super().__init__(f"{file}:{line}: {field}: {reason}")


class SourceChanged(InputError):
    """The bets of an upload are not those that it began with.

    Attributes:
        stored: how many bets the server has, if they are not the first ones of the source; else None.
    """

    def __init__(self, reason: str, *, stored: int | None = None) -> None:
        self.stored = stored
        super().__init__(reason)


class ConfigError(BetsError, ValueError):
    """A setting cannot be used; the text names its place, the key and the value."""


def why_unreadable(error: OSError) -> str:
    """Why a file that a user names cannot be read."""
    reason = error.strerror or str(error)
    if isinstance(error, IsADirectoryError):
        reason += "; Docker makes one where a file that it is to mount is missing"
    return reason
