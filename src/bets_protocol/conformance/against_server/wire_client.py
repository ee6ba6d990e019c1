"""One connection to the server under test: it sends valid messages, mutated ones or bytes, and receives the answers.

The library's own `ClientConnection` checks every answer: it knows what the server was asked and whether what comes can
be an answer to that. A mutated message is announced to it as the valid one that it was made from, so that the refusal
can be read. Every method raises `Broken` if an answer does not come in time, or cannot be the answer to what was asked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Self

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    LocalProtocolError,
    OpenUpload,
    Probe,
    RejectCode,
    RemoteProtocolError,
    TransportError,
    TransportTimeout,
    UploadStatus,
    Winners,
    WinnersRequest,
    WriteError,
    encode,
)
from bets_protocol.cli.signals import interruptible
from bets_protocol.conformance.partial import missing
from bets_protocol.transports import Stream, Transport, connect

Request = Bet | BetBatch | WinnersRequest | Probe | OpenUpload
Answer = Ack | Winners | Probe | UploadStatus

PAUSE_S = 0.02
"""Seconds between two pieces that have to arrive separately: many times the delay on one machine."""

_BYTES_PER_PAUSE = 8


class Broken(Exception):
    """The server did not keep the rule; the text says what came."""


class Ended(Broken):
    """The server ended the connection when an answer was due."""


class WireClient:
    """A connection to the server, on which each answer may take `timeout_s`."""

    def __init__(
        self, url: str, revision: int, *, timeout_s: float, transports: Mapping[str, Transport] | None = None
    ) -> None:
        with interruptible():
            self._stream: Stream = connect(url, timeout_s=timeout_s, transports=transports)
        self._connection = ClientConnection(revision=revision)
        self._timeout_s = timeout_s
        self._ended = False
        self._pending = 0  # bytes received that belong to no answer yet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def announce(self, message: Request) -> bytes:
        """Encodes `message` and expects its answer from now on; nothing is sent."""
        try:
            return self._connection.send(message)
        except LocalProtocolError as error:
            raise Broken(f"an answer that leaves no way to go on: {error}") from error

    def send(self, *messages: Request) -> None:
        """Sends messages in one piece."""
        self.send_bytes(b"".join([self.announce(message) for message in messages]))

    def send_mutated(self, message: Request, data: bytes) -> None:
        """Sends `data`, a mutation of `message`."""
        self.announce(message)
        self.send_bytes(data)

    def send_cut_short(self, message: Request, data: bytes) -> Answer | None:
        """Sends all but the last byte of `data`, and the end; returns the last answer, if one comes."""
        self.send_mutated(message, data[:-1])
        self.close_writing()
        try:
            answer = self.receive()
        except Ended:
            return None
        self.expect_end()
        return answer

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are. If the server has closed the connection already, its answer says why."""
        with contextlib.suppress(WriteError), interruptible():
            self._stream.send_all(data)

    def send_bytewise(self, data: bytes) -> None:
        """Sends bytes one at a time, with pauses in which they arrive."""
        for at in range(len(data)):
            if at % _BYTES_PER_PAUSE == 1:
                self.expect_silence(PAUSE_S)
            self.send_bytes(data[at : at + 1])

    def close_writing(self) -> None:
        """Ends the sending direction; the server may still answer."""
        with contextlib.suppress(WriteError):
            self._stream.close_writing()

    def receive(self) -> Answer:
        """The next answer."""
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                event = self._connection.next_event()
            except RemoteProtocolError as error:
                raise Broken(f"an answer that breaks the protocol: {error}") from error
            if event is CLOSED:
                raise Ended("the end of the stream")
            if event is not NEED_DATA:
                self._pending -= len(encode(event, revision=self._connection.revision))
                return event
            left_s = until - time.monotonic()
            data = self._read(left_s) if left_s > 0 else None  # bytes may keep coming, and never a whole answer
            if data is None:
                came = f": {self._pending} bytes of one came" if self._pending else ""
                lacks = missing(self._connection) if self._pending else ""
                raise Broken(f"no whole answer within {self._timeout_s:g} s{came}" + (f", {lacks}" if lacks else ""))
            self._feed(data)

    def expect_end(self) -> None:
        """Checks that the server ends the connection and sends nothing more."""
        if self._pending:
            raise Broken(f"{self._pending} bytes more, which nothing has asked for")
        try:
            data = self._read(self._timeout_s)
        except Broken:
            return  # a server that leaves bytes unread resets the connection, which ends it as well
        if data is None:
            raise Broken(f"the connection is still open after {self._timeout_s:g} s")
        if data:
            raise Broken(f"{len(data)} bytes more, which nothing has asked for: {data[:16].hex(' ')}")

    def expect_silence(self, wait_s: float) -> None:
        """Checks that the server sends nothing for `wait_s` seconds."""
        data = self._read(wait_s)
        if data:
            self._feed(data)
            raise Broken(f"{len(data)} bytes too early: {data[:16].hex(' ')}")
        if data is not None:
            raise Broken("the end of the stream")

    def expect_last_code(self, *codes: RejectCode) -> None:
        """Checks that the next answer is an UploadStatus with one of `codes`, and that the connection ends after it."""
        expect_code(self.receive(), *codes)
        self.expect_end()

    def expect_ack_0(self) -> None:
        """Checks that the next answer is Ack 0."""
        if (answer := self.receive()) != Ack(count=0):
            raise Broken(describe(answer))

    def _feed(self, data: bytes) -> None:
        self._pending += len(data)
        self._connection.receive_data(data)

    def _read(self, wait_s: float) -> bytes | None:
        """What comes within `wait_s` seconds, or None if nothing does."""
        if self._ended:
            return b""
        self._stream.set_timeout(max(wait_s, 0.001))
        try:
            with interruptible():
                data = self._stream.receive()
        except TransportTimeout:
            return None
        except TransportError as error:
            raise Broken(f"a broken connection: {error}") from error
        finally:
            self._stream.set_timeout(self._timeout_s)
        self._ended = not data
        return data


def expect_code(answer: Answer, *codes: RejectCode) -> UploadStatus:
    """Checks that `answer` is an UploadStatus with one of `codes`."""
    if not isinstance(answer, UploadStatus) or answer.reason not in codes:
        raise Broken(describe(answer))
    return answer


def describe(answer: Answer) -> str:
    """An answer in words."""
    match answer:
        case Ack(count=count):
            return f"an Ack of {count}"
        case UploadStatus(stored=stored):
            return f"an UploadStatus {int(answer.reason)} ({answer.reason.name}), {stored} stored"
        case _:
            return f"a {type(answer).__name__}"
