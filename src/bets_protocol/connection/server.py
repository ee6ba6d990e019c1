"""The server's side of the protocol without sockets: bytes in, messages out; replies in, bytes out.

A connection holds the bytes that are not decoded yet, and the answers that are due. It reads no clock, owns no socket
and never waits. Its driver calls `receive_data`, and then `next_event` until that returns `NEED_DATA`. `turns` has the
order of the messages, for both sides.

- "Not yet" is the value `NEED_DATA`; "never" is an exception.
- After an exception of `next_event` every later call raises it again, because it is unknown where the next frame
  begins.
- A sound frame with a bad value is an event (`InvalidFrame`), because it must be answered.
- Answers leave in the order of the questions; `send` refuses one that does not fit its question.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, Literal

import attrs

from bets_protocol.bytes_like import BytesLike
from bets_protocol.codec import CODECS, NEWEST_REVISION, Codec, codec_for
from bets_protocol.connection.framing import FrameReader
from bets_protocol.connection.turns import (
    ENDING_CODES,
    SERVER_REVISIONS,
    SPOKEN_BY_SERVER,
    Phase,
    phase_after,
    phases_of,
    reply_for,
)
from bets_protocol.encoded import bet_count, header_size, split_runs
from bets_protocol.errors import (
    DecodeError,
    InvalidValue,
    LocalProtocolError,
    RejectCode,
    RemoteProtocolError,
    SequenceError,
)
from bets_protocol.limits import MAX_WINNERS
from bets_protocol.messages import (
    Ack,
    Bet,
    BetBatch,
    EncodedBatch,
    OpenUpload,
    Probe,
    UploadStatus,
    Winners,
    WinnersRequest,
)


class Signal(enum.Enum):
    """The values of `next_event` without an event."""

    NEED_DATA = enum.auto()
    CLOSED = enum.auto()


NEED_DATA: Final = Signal.NEED_DATA
"""No whole frame has come yet."""

CLOSED: Final = Signal.CLOSED
"""The peer has ended its side between two frames, or the conversation is over: nothing more will come."""


@attrs.frozen(kw_only=True)
class InvalidFrame:
    """A sound frame with a value that breaks its rule.

    Attributes:
        kind: the class of the message.
        count: how many bets the batch holds; 0 if it is not a batch.
        error: what is wrong, and where.
    """

    kind: type[object]
    count: int
    error: InvalidValue


ServerEvent = Bet | BetBatch | EncodedBatch | WinnersRequest | Probe | OpenUpload | InvalidFrame
Reply = Ack | Winners | Probe | UploadStatus


@attrs.define
class _Due:
    """A question that waits for its answer.

    Attributes:
        kind: its class.
        count: how many bets it has.
        line: the bytes of a probe, else b"".
        stage: as in `turns.Reply`.
    """

    kind: type[object]
    count: int
    line: bytes
    stage: str


class ServerConnection:
    """The server's side of one connection.

    Args:
        revision: 9 (which serves 7 and 8 too, by the first byte), 8 (the same without uploads), or 6 or 5, which cannot
            be recognized by the first byte.
        encoded: return batches as `EncodedBatch`, checked and left as bytes, instead of `BetBatch`.

    Source: "Revisions" in docs/protocol.md.
    """

    def __init__(self, *, revision: int = NEWEST_REVISION, encoded: bool = False) -> None:
        if revision not in SERVER_REVISIONS:
            raise LocalProtocolError(f"a server speaks revision {listed(SERVER_REVISIONS)}, not {revision}")
        self.revision = revision
        self._spoken = SPOKEN_BY_SERVER[revision]
        self._encoded = encoded
        self._reader = FrameReader()
        self._phase = Phase.START
        self._due: deque[_Due] = deque()
        self._status = UploadStatus(code=RejectCode.OK, draw=0, stored=0, crc32=0)  # the last one that was sent

    def receive_data(self, data: BytesLike) -> None:
        """Add bytes from the peer; empty bytes are the end of its stream.

        Raises:
            LocalProtocolError: the stream had ended before.
            TypeError: `data` is not bytes, bytearray or memoryview, for example the None of a non-blocking
                `Stream.receive`. Nothing was taken, and the connection goes on.
        """
        self._reader.feed(data)

    @property
    def buffered(self) -> int:
        """How many received bytes were not returned in an event yet."""
        return len(self._reader.buffer)

    @property
    def unanswered(self) -> int:
        """How many events still wait for their answer."""
        return len(self._due)

    @property
    def finished(self) -> bool:
        """Whether nothing more will be read, so that the connection is closed after the last answer."""
        return self._phase is Phase.ENDED

    @property
    def uploads(self) -> bool:
        """Whether the client has opened an upload, so that every reply begins with an UploadStatus."""
        opening = self._reader.codec is CODECS["open_upload"]  # also if that frame is refused
        return self._phase in (Phase.UPLOAD, Phase.ASKED) or opening

    def next_event(self) -> ServerEvent | Literal[Signal.NEED_DATA, Signal.CLOSED]:
        """The next whole message, `NEED_DATA`, or `CLOSED`.

        Raises:
            DecodeError: the bytes break the layout. Send `refuse()`, then close.
            SequenceError: the message is sound and not allowed now; likewise.
        """
        reader = self._reader
        if reader.error is not None:
            raise reader.error.with_traceback(None)
        if self.finished:
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
        codec = _DISPATCH[self.revision].get(first)
        if codec is None:
            raise DecodeError(f"expected the type of a message, not {first}", path="type", offset=0)
        if phase_after(self._phase, codec.frame.class_name, self._spoken) is None:
            name = codec.frame.class_name
            phases = " or ".join(f'"{phase.value}"' for phase in phases_of(name, self._spoken))
            raise SequenceError(f'expected a {name} in phase {phases} only, not in "{self._phase.value}"', offset=0)
        return codec

    def _event(self, codec: Codec, frame: bytes) -> ServerEvent:
        event: ServerEvent
        count = 0
        kind = codec.message_class
        try:
            if kind is BetBatch:
                count = bet_count(frame, codec.frame.layout)
                if self._encoded:
                    codec.check(frame)
                    event = split_runs(frame, header_size(codec.frame.layout))
                else:
                    event = codec.decode(frame)
            elif kind is Bet:
                count = 1
                if self._encoded:
                    codec.check(frame)
                    event = split_runs(frame, 0)
                else:
                    event = codec.decode(frame)
            else:
                event = codec.decode(frame)
        except InvalidValue as error:
            event = InvalidFrame(kind=kind, count=count, error=error)
        self._due.append(_Due(kind, count, frame if kind is Probe else b"", kind.__name__))
        self._phase = phase_after(self._phase, kind.__name__, self._spoken) or self._phase
        return event

    def send(self, reply: Reply) -> bytes:
        """Return the bytes of the answer to the oldest unanswered event.

        An UploadStatus that ends the upload (every code except 0, 9 and 16) needs no question. It is the last answer;
        other events stay unanswered.

        Raises:
            LocalProtocolError: no answer is due, or the reply does not fit the question.
        """
        if isinstance(reply, UploadStatus) and reply.reason in ENDING_CODES and self.uploads:
            return self._say_last(reply)
        if not self._due:
            raise LocalProtocolError(f"no answer is due, so no {type(reply).__name__}")
        due = self._due[0]
        code = reply.reason if isinstance(reply, UploadStatus) else None
        full = isinstance(reply, Winners) and self.uploads and len(reply.documents) == MAX_WINNERS
        row = reply_for(due.stage, type(reply).__name__, code, full=full)
        if row is not None and not self._fits(reply, due):
            row = None
        if row is None:
            raise LocalProtocolError(f"{reply!r} does not answer a {due.kind.__name__} of {due.count}")
        if row.then is not None:
            due.stage = row.then
        else:
            self._due.popleft()
        if row.phase is not None and not self.finished:
            self._phase = row.phase
        if isinstance(reply, UploadStatus):
            self._status = reply
        return self._encoded_reply(reply)

    def _fits(self, reply: Reply, due: _Due) -> bool:
        """Whether the reply fits the client's revision and its question."""
        match reply:
            case Ack():
                return reply.count in (0, due.count) and not self.uploads
            case UploadStatus():
                return self.uploads
            case Winners():
                return self.uploads == (due.stage != due.kind.__name__)
            case Probe():
                return reply.line == due.line

    def _say_last(self, status: UploadStatus) -> bytes:
        self._due.clear()
        self._phase = Phase.ENDED
        self._status = status
        return self._encoded_reply(status)

    def _encoded_reply(self, reply: Reply) -> bytes:
        # Without an upload the oldest of the spoken revisions: a reply has the same bytes in all that have it.
        revision = self.revision if isinstance(reply, UploadStatus) else self._spoken[0]
        return codec_for(type(reply), revision).encode(reply)

    def refuse(self) -> bytes:
        """Return the answer to the frame for which `next_event` has raised: Ack 0, or an UploadStatus on an upload.

        Raises:
            LocalProtocolError: `next_event` has not raised, or earlier events still wait for their answers.
        """
        if self._reader.error is None:
            raise LocalProtocolError("no frame was refused")
        if self._due:
            raise LocalProtocolError(f"{len(self._due)} answers are due before this one")
        if self.uploads:
            return self._say_last(attrs.evolve(self._status, code=self._reader.error.code))
        return self._encoded_reply(Ack(count=0))


def listed(revisions: tuple[int, ...]) -> str:
    """The revisions as a text."""
    return ", ".join(str(revision) for revision in revisions)


def _dispatch(revision: int) -> dict[int, Codec]:
    """The codec of each first byte, on a server of `revision`. Two for one byte are a bug of the schema."""
    table: dict[int, Codec] = {}
    for codec in CODECS.values():
        if revision in codec.frame.revisions and codec.frame.sender in ("client", "both"):
            for first in codec.frame.first_bytes or range(256):
                if first in table:
                    raise TypeError(f"{codec.frame.name} and {table[first].frame.name} both begin with byte {first}")
                table[first] = codec
    return table


_DISPATCH: Final = {revision: _dispatch(revision) for revision in SERVER_REVISIONS}
