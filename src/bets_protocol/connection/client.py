"""An agency's side of the protocol without sockets: messages in, bytes out; bytes in, answers out.

It works like `ServerConnection`. On revision 9 it also computes how many bets are stored after each answer and their
CRC-32, so that a server that has stored something else is detected at once, and not at the draw.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Literal

import attrs

from bets_protocol.bytes_like import BytesLike
from bets_protocol.codec import NEWEST_REVISION, Codec, codec_for
from bets_protocol.connection.framing import FrameReader
from bets_protocol.connection.server import CLOSED, NEED_DATA, Signal, listed
from bets_protocol.connection.turns import CLIENT_REVISIONS, DRAWN, ENDING_CODES, Phase, phase_after, reply_for
from bets_protocol.encoded import batch_frame, header_size
from bets_protocol.errors import LocalProtocolError, RemoteProtocolError, SequenceError
from bets_protocol.limits import MAX_WINNERS
from bets_protocol.messages import (
    Ack,
    Bet,
    BetBatch,
    BetRun,
    OpenUpload,
    Probe,
    UploadStatus,
    Winners,
    WinnersRequest,
)

ClientEvent = Ack | Winners | Probe | UploadStatus
Request = Bet | BetBatch | BetRun | WinnersRequest | Probe | OpenUpload


@attrs.define
class _Due:
    """A message that waits for its answer.

    Attributes:
        message: the message that was sent.
        count: how many bets it has.
        data: what is needed to check the answer: the bets of a batch as they were sent, a probe; else b"".
        stage: as in `turns.Reply`.
    """

    message: Request
    count: int
    data: bytes
    stage: str


class ClientConnection:
    """An agency's side of one connection.

    Args:
        revision: 5 to 9. On 5, 6 and 7 a connection carries one message. On 8 it carries any number, and batches may
            be sent ahead of their answers; on 9 likewise, after one OpenUpload.

    Source: "Revisions" in docs/protocol.md.
    """

    def __init__(self, *, revision: int = NEWEST_REVISION) -> None:
        if revision not in CLIENT_REVISIONS:
            raise LocalProtocolError(f"a client speaks revision {listed(CLIENT_REVISIONS)}, not {revision}")
        self.revision = revision
        self._reader = FrameReader()
        self._phase = Phase.START
        self._due: deque[_Due] = deque()
        self._last: type[Request] | None = None  # the class of the last message
        self._upload: OpenUpload | None = None
        self._stored = 0
        self._crc32 = 0

    @property
    def unanswered(self) -> int:
        """How many messages still wait for their answer."""
        return len(self._due)

    def send(self, message: Request) -> bytes:
        """Return the bytes of `message`; its answer is due from now on.

        Args:
            message: a `BetRun` is sent as one batch, without encoding its bets again.

        Raises:
            LocalProtocolError: the revision has no such message, or it is not allowed now.
        """
        kind = BetBatch if isinstance(message, BetRun) else type(message)
        codec = codec_for(kind, self.revision)
        if codec.frame.sender == "server":
            raise LocalProtocolError(f"a client says no {kind.__name__}")
        then = self._turn(kind)
        data = batch_frame(message, self.revision) if isinstance(message, BetRun) else codec.encode(message)
        count, checked = 0, b""
        match message:
            case BetRun():
                count, checked = message.count, message.encoded
            case BetBatch():
                count, checked = len(message.bets), data[header_size(codec.frame.layout) :]
            case Bet():
                count = 1
            case Probe():
                checked = data
        self._due.append(_Due(message, count, checked, kind.__name__))
        self._last, self._phase = kind, then
        if isinstance(message, OpenUpload):
            self._upload = message
        return data

    def _turn(self, kind: type[Request]) -> Phase:
        """The phase after a message of class `kind`.

        Raises:
            LocalProtocolError: it is not allowed now.
        """
        if self._last is WinnersRequest and self._due and self.revision >= 8:
            raise LocalProtocolError("the winners were asked for, nothing can follow before they are there")
        then = phase_after(self._phase, kind.__name__, (self.revision,))
        if then is not None:
            return then
        if self._phase is not Phase.ENDED:
            raise LocalProtocolError(f'no {kind.__name__} in phase "{self._phase.value}"')
        if self._last is Probe:
            raise LocalProtocolError("the connection ends after a probe")
        if self.revision < 8:
            raise LocalProtocolError(f"the connection ends after one message, on revision {self.revision}")
        raise LocalProtocolError("the server has ended the upload on this connection")

    def receive_data(self, data: BytesLike) -> None:
        """Add bytes from the server; empty bytes are the end of its stream.

        Raises:
            LocalProtocolError: the stream had ended before.
            TypeError: `data` is not bytes, bytearray or memoryview, for example the None of a non-blocking
                `Stream.receive`. Nothing was taken, and the connection goes on.
        """
        self._reader.feed(data)

    def next_event(self) -> ClientEvent | Literal[Signal.NEED_DATA, Signal.CLOSED]:
        """The next answer, `NEED_DATA`, or `CLOSED`.

        After `CLOSED` no more answers come: what became of the `unanswered` messages is unknown. After an UploadStatus
        that ends the upload (every code except 0, 9 and 16) only `CLOSED` follows.

        Raises:
            DecodeError: the bytes break the layout, or (`TruncatedFrame`) the stream ended inside an answer.
            SequenceError: the answer is not due, or does not fit the question.
        """
        reader = self._reader
        if reader.error is not None:
            raise reader.error.with_traceback(None)
        if self._phase is Phase.ENDED and self._upload is not None:
            return CLOSED
        try:
            if reader.between_frames:
                if not reader.buffer:
                    return CLOSED if reader.ended else NEED_DATA
                reader.begin(self._codec_of_answer())
            taken = reader.take()
            return NEED_DATA if taken is None else self._event(*taken)
        except RemoteProtocolError as error:
            reader.error = error
            raise

    def _codec_of_answer(self) -> Codec:
        """The codec of the next frame. The question decides, because before revision 9 answers have no type."""
        answer: type[ClientEvent] = Ack
        if self._due and self._due[0].stage == DRAWN:
            answer = Winners
        elif self._upload is not None:
            answer = UploadStatus
        elif not self._due:
            raise SequenceError("expected nothing: no answer is due")
        elif isinstance(self._due[0].message, WinnersRequest):
            answer = Winners
        elif isinstance(self._due[0].message, Probe):
            answer = Probe
        return codec_for(answer, self.revision)

    def _event(self, codec: Codec, frame: bytes) -> ClientEvent:
        event: ClientEvent = codec.decode(frame)
        if isinstance(event, UploadStatus) and event.reason in ENDING_CODES:
            self._due.clear()
            self._phase = Phase.ENDED
            return event
        if not self._due:
            raise SequenceError(f"expected nothing but the end of the upload: no answer is due, {event!r} came")
        due = self._due[0]
        code = event.reason if isinstance(event, UploadStatus) else None
        full = isinstance(event, Winners) and self._upload is not None and len(event.documents) == MAX_WINNERS
        row = reply_for(due.stage, type(event).__name__, code, full=full)
        if row is None:
            raise SequenceError(
                f"expected no {code.name if code is not None else event!r} to a {due.stage}", path="code"
            )
        self._check(event, due)
        if row.then is not None:
            due.stage = row.then
        else:
            self._due.popleft()
        if row.phase is not None:
            self._phase = row.phase
        return event

    def _check(self, event: ClientEvent, due: _Due) -> None:
        """Compare the answer with its question.

        Raises:
            SequenceError: it is not a possible answer.
        """
        match event, due.message:
            case Ack(), Bet() | BetBatch() | BetRun():
                if event.count not in (0, due.count):
                    expected = f"expected an Ack of {due.count} or 0, not {event.count}"
                    raise SequenceError(expected, path="count", offset=0)
            case Probe(), Probe():
                if event.line != due.data:
                    raise SequenceError("expected the line that was sent, not another", path="line", offset=0)
            case UploadStatus(), _:
                self._check_status(event, due)

    def _check_status(self, status: UploadStatus, due: _Due) -> None:
        if self._upload is None:  # pragma: no cover - only an open upload is answered like this
            return
        if status.draw != self._upload.draw:
            raise SequenceError(f"expected draw {self._upload.draw}, not {status.draw}", path="draw")
        match due.message:
            case OpenUpload(total=total):
                if status.stored > total:
                    raise SequenceError(f"expected at most {total} bets stored, not {status.stored}", path="stored")
                self._stored, self._crc32 = status.stored, status.crc32
            case BetBatch() | BetRun():
                self._stored += due.count
                self._crc32 = zlib.crc32(due.data, self._crc32)
        if status.stored != self._stored:
            raise SequenceError(f"expected {self._stored} bets stored, not {status.stored}", path="stored")
        if status.crc32 != self._crc32:
            raise SequenceError(
                f"expected the CRC-32 {self._crc32:#010x} over what was sent, not {status.crc32:#010x}", path="crc32"
            )
