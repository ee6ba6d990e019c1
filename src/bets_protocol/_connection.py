"""The protocol without sockets: bytes in, messages out; messages in, bytes out.

A connection holds what has come in and not yet been understood, and the answers that are due. It reads no clock, owns
no socket and never waits; whoever drives it feeds `receive_data` and asks `next_event` until that says `NEED_DATA`.

Rules:

- "not yet" and "never" share no value: `NEED_DATA` for the one, an exception for the other.
- After an exception of `next_event` every later call raises it again: nobody knows where the next frame starts.
- A sound frame with a bad value is an event (`InvalidFrame`) for a server, since it has to be answered and does no
  harm to what follows.
- Answers leave in the order of the questions; `send` refuses one that does not fit its question.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Generator
from typing import Final, Literal

import attrs

from bets_protocol._codec import CODECS, Codec, codec_for
from bets_protocol._errors import (
    DecodeError,
    InvalidValue,
    LocalProtocolError,
    RemoteProtocolError,
    SequenceError,
    TruncatedFrame,
)
from bets_protocol._lots import bet_count, header_size, split_lots
from bets_protocol._messages import Ack, Bet, BetBatch, EncodedBatch, Probe, Winners, WinnersRequest

CLIENT_REVISIONS: Final = (5, 6, 7, 8)
SERVER_REVISIONS: Final = (5, 6, 8)
"""What a server can be started for; 8 serves 7 too, byte for byte."""


class _Signal(enum.Enum):
    NEED_DATA = enum.auto()
    CLOSED = enum.auto()


NEED_DATA: Final = _Signal.NEED_DATA
"""No whole frame is there yet."""

CLOSED: Final = _Signal.CLOSED
"""The peer has ended its side, between two frames."""


@attrs.frozen(kw_only=True)
class InvalidFrame:
    """A sound frame that holds a value which its rule forbids; the connection stays usable.

    Attributes:
        kind: the class of the message that it would have been.
        count: how many bets the batch holds; 0 where it is no batch.
        error: what is wrong, and where.
    """

    kind: type[object]
    count: int
    error: InvalidValue


ServerEvent = Bet | BetBatch | EncodedBatch | WinnersRequest | Probe | InvalidFrame
ClientEvent = Ack | Winners | Probe
Reply = Ack | Winners | Probe
Request = Bet | BetBatch | WinnersRequest | Probe


class _FrameReader:
    """Cuts a growing buffer into whole frames, looking at no byte twice."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False
        self.error: RemoteProtocolError | None = None
        self._codec: Codec | None = None
        self._scan: Generator[int, None, int] | None = None
        self._needed = 0

    def feed(self, data: bytes) -> None:
        if not data:
            self.ended = True
        elif self.ended:
            raise LocalProtocolError("bytes after the end of the stream")
        else:
            self.buffer += data

    def begin(self, codec: Codec) -> None:
        """The frame at the front of the buffer is one of `codec`."""
        self._codec, self._scan, self._needed = codec, codec.scan(self.buffer), 0

    @property
    def between_frames(self) -> bool:
        return self._scan is None

    def take(self) -> tuple[Codec, bytes] | None:
        """The frame at the front once it is whole, else None.

        Raises:
            DecodeError: it breaks its layout, or the stream ended inside it.
        """
        if self._codec is None or self._scan is None:
            return None
        if len(self.buffer) >= self._needed:
            try:
                self._needed = next(self._scan)
            except StopIteration as found:
                return self._cut(self._codec, found.value)
        if not self.ended:
            return None
        if self._codec is CODECS["probe"] and self.buffer:
            return self._cut(self._codec, len(self.buffer))  # a probe may end with the stream instead of an LF
        raise TruncatedFrame(
            f"expected {self._needed - len(self.buffer)} more bytes of a {self._codec.frame.class_name}, "
            "the stream ended",
            offset=len(self.buffer),
        )

    def _cut(self, codec: Codec, size: int) -> tuple[Codec, bytes]:
        frame = bytes(self.buffer[:size])
        del self.buffer[:size]
        self._codec = self._scan = None
        return codec, frame


class ServerConnection:
    """The central's side of one connection.

    Args:
        revision: 8 (which speaks 7 too), or 6 or 5, which cannot be told apart from the first byte.
        encoded: give batches as `EncodedBatch`, checked and left as bytes, instead of `BetBatch` with its bets.

    Source: "Revisions" in docs/protocol.md.
    """

    def __init__(self, *, revision: int = 8, encoded: bool = False) -> None:
        if revision not in SERVER_REVISIONS:
            raise LocalProtocolError(f"a server speaks revision {_listed(SERVER_REVISIONS)}, not {revision}")
        self.revision = revision
        self._encoded = encoded
        self._reader = _FrameReader()
        self._due: deque[tuple[type[object], int, bytes]] = deque()  # what was asked and not yet answered
        self._finished = False

    def receive_data(self, data: bytes) -> None:
        """Takes bytes of the peer; empty bytes are the end of its stream."""
        self._reader.feed(data)

    @property
    def buffered(self) -> int:
        """Bytes that were received and not yet given out as an event."""
        return len(self._reader.buffer)

    @property
    def unanswered(self) -> int:
        """How many events still wait for their answer."""
        return len(self._due)

    @property
    def finished(self) -> bool:
        """Whether nothing more will be read: close once the last answer is out."""
        return self._finished

    def next_event(self) -> ServerEvent | Literal[_Signal.NEED_DATA, _Signal.CLOSED]:
        """The next whole message, or why there is none.

        Raises:
            DecodeError: the bytes break the layout; answer `Ack` 0 by `refuse`, then close.
        """
        reader = self._reader
        if reader.error is not None:
            raise reader.error.with_traceback(None)
        if self._finished:
            return CLOSED
        try:
            if reader.between_frames:
                if not reader.buffer:
                    return CLOSED if reader.ended else NEED_DATA
                reader.begin(self._codec_for_first_byte(reader.buffer[0]))
            taken = reader.take()
            return NEED_DATA if taken is None else self._event(*taken)
        except RemoteProtocolError as error:
            reader.error = error
            raise

    def _codec_for_first_byte(self, first: int) -> Codec:
        codec = _SERVER_DISPATCH[self.revision].get(first)
        if codec is None:
            raise DecodeError(f"expected the type of a message, not {first}", path="type", offset=0)
        return codec

    def _event(self, codec: Codec, frame: bytes) -> ServerEvent:
        event: ServerEvent
        count = 0
        try:
            if codec.message_class is BetBatch:
                count = bet_count(frame, codec.frame.layout)
                if self._encoded:
                    codec.check(frame)
                    event = split_lots(frame, header_size(codec.frame.layout))
                else:
                    event = codec.decode(frame)
            elif codec.message_class is Bet:
                count = 1
                if self._encoded:
                    codec.check(frame)
                    event = split_lots(frame, 0)
                else:
                    event = codec.decode(frame)
            else:
                event = codec.decode(frame)
        except InvalidValue as error:
            event = InvalidFrame(kind=codec.message_class, count=count, error=error)
        self._due.append((codec.message_class, count, frame if codec.message_class is Probe else b""))
        if codec.message_class is Probe or self.revision in (5, 6):
            self._finished = True
        return event

    def send(self, reply: Reply) -> bytes:
        """The bytes of the answer to the oldest unanswered event.

        Raises:
            LocalProtocolError: nothing was asked, or this does not answer it.
        """
        if not self._due:
            raise LocalProtocolError(f"no answer is due, so no {type(reply).__name__}")
        kind, count, line = self._due[0]
        match reply:
            case Ack():
                fits = reply.count in (0, count) and kind is not Probe
            case Winners():
                fits = kind is WinnersRequest
            case Probe():
                fits = kind is Probe and reply.line == line
            case _:
                fits = False
        if not fits:
            raise LocalProtocolError(f"{reply!r} does not answer a {kind.__name__} of {count}")
        self._due.popleft()
        return codec_for(type(reply), self.revision).encode(reply)

    def refuse(self) -> bytes:
        """The bytes that answer a frame which `next_event` has raised for: `Ack` 0.

        Raises:
            LocalProtocolError: no frame was refused, or events before it still wait for their answers.
        """
        if self._reader.error is None:
            raise LocalProtocolError("no frame was refused")
        if self._due:
            raise LocalProtocolError(f"{len(self._due)} answers are due before this one")
        return codec_for(Ack, self.revision).encode(Ack(count=0))


class ClientConnection:
    """An agency's side of one connection.

    Args:
        revision: 5 to 8. On 5, 6 and 7 a connection carries one message; on 8 any number, and batches may be sent
            ahead of their answers.

    Source: "Revisions" in docs/protocol.md.
    """

    def __init__(self, *, revision: int = 8) -> None:
        if revision not in CLIENT_REVISIONS:
            raise LocalProtocolError(f"a client speaks revision {_listed(CLIENT_REVISIONS)}, not {revision}")
        self.revision = revision
        self._reader = _FrameReader()
        self._due: deque[tuple[Codec, int, bytes]] = deque()  # the answers that are due
        self._last: type[Request] | None = None  # what was sent last

    @property
    def unanswered(self) -> int:
        """How many messages still wait for their answer."""
        return len(self._due)

    def send(self, message: Request) -> bytes:
        """The bytes of `message`; its answer is due from now on.

        Raises:
            LocalProtocolError: the revision has no such message, or this connection has carried its only one.
        """
        codec = codec_for(type(message), self.revision)
        if codec.frame.sender == "server":
            raise LocalProtocolError(f"a client says no {type(message).__name__}")
        if self._last is not None and (self.revision < 8 or self._last is Probe):
            after = "a probe" if self._last is Probe else f"one message, on revision {self.revision}"
            raise LocalProtocolError(f"the connection ends after {after}")
        if self._last is WinnersRequest and self._due:
            raise LocalProtocolError("the winners were asked for, nothing can follow before they are there")
        data = codec.encode(message)
        answer: type[ClientEvent] = Ack
        count = 1
        match message:
            case BetBatch():
                count = len(message.bets)
            case WinnersRequest():
                answer = Winners
            case Probe():
                answer = Probe
        self._due.append((codec_for(answer, self.revision), count, data if answer is Probe else b""))
        self._last = type(message)
        return data

    def receive_data(self, data: bytes) -> None:
        """Takes bytes of the server; empty bytes are the end of its stream."""
        self._reader.feed(data)

    def next_event(self) -> ClientEvent | Literal[_Signal.NEED_DATA, _Signal.CLOSED]:
        """The next answer, or why there is none.

        On `CLOSED` the answers that are still `unanswered` will never come: what became of those messages is unknown.

        Raises:
            DecodeError: the bytes break the layout, or (`TruncatedFrame`) the stream ended inside an answer.
            SequenceError: an answer that nobody asked for, or with a count that fits neither stored nor refused.
        """
        reader = self._reader
        if reader.error is not None:
            raise reader.error.with_traceback(None)
        try:
            if reader.between_frames:
                if not reader.buffer:
                    return CLOSED if reader.ended else NEED_DATA
                if not self._due:
                    raise SequenceError("expected nothing: no answer is due")
                reader.begin(self._due[0][0])
            taken = reader.take()
            return NEED_DATA if taken is None else self._event(*taken)
        except RemoteProtocolError as error:
            reader.error = error
            raise

    def _event(self, codec: Codec, frame: bytes) -> ClientEvent:
        _, count, line = self._due[0]
        event: ClientEvent = codec.decode(frame)
        if isinstance(event, Ack) and event.count not in (0, count):
            raise SequenceError(f"expected an Ack of {count} or 0, not {event.count}", path="count", offset=0)
        if isinstance(event, Probe) and event.line != line:
            raise SequenceError("expected the line that was sent, not another", path="line", offset=0)
        self._due.popleft()
        return event


def _listed(revisions: tuple[int, ...]) -> str:
    return ", ".join(str(revision) for revision in revisions)


def _dispatch(revision: int) -> dict[int, Codec]:
    """Which frame a first byte begins, on a server of `revision`; two for one byte are a bug of the schema."""
    table: dict[int, Codec] = {}
    for codec in CODECS.values():
        if revision in codec.frame.revisions and codec.frame.sender in ("client", "both"):
            for first in codec.frame.first_bytes or range(256):
                if first in table:
                    raise TypeError(f"{codec.frame.name} and {table[first].frame.name} both begin with byte {first}")
                table[first] = codec
    return table


_SERVER_DISPATCH: Final = {revision: _dispatch(revision) for revision in SERVER_REVISIONS}
