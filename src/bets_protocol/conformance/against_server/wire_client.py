"""One connection to the server under test: whole messages, damaged ones, bytes; and what comes back.

The library's own `ClientConnection` judges every answer: it is told what the server was asked and says whether what
comes can be the answer to that. A damaged message is announced to it as the sound one that it was made from, so that a
refusal of it can be read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
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
    RemoteProtocolError,
    TransportError,
    TransportTimeout,
    TruncatedFrame,
    UploadStatus,
    Winners,
    WinnersRequest,
    WriteError,
    encode,
)
from bets_protocol.cli.signals import interruptible
from bets_protocol.transports import Stream, Transport, connect

Request = Bet | BetBatch | WinnersRequest | Probe | OpenUpload
Answer = Ack | Winners | Probe | UploadStatus

PAUSE_S = 0.02
"""Seconds between two pieces that have to arrive one by one: many times what the way takes on one machine."""

_PIECES_PER_PAUSE = 8


class Broken(Exception):
    """The server did not keep the rule that is looked at; the text says what came."""


class Ended(Broken):
    """The server has ended the connection where an answer was due."""


class Talk:
    """A connection to the server.

    Args:
        url: where the server is.
        revision: what is spoken.
        timeout_s: how long each answer may take.
        transports: as `connect` takes them.

    Raises:
        ConnectError: no connection came about.

    Thread: one.
    """

    def __init__(
        self, url: str, revision: int, *, timeout_s: float, transports: Mapping[str, Transport] | None = None
    ) -> None:
        with interruptible():
            self._stream: Stream = connect(url, timeout_s=timeout_s, transports=transports)
        self._connection = ClientConnection(revision=revision)
        self._timeout_s = timeout_s
        self._ended = False
        self._surplus = 0  # bytes that have come and belong to no answer yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def announce(self, message: Request) -> bytes:
        """The bytes of `message`, the answer to which is due from now on; nothing is sent.

        Raises:
            Broken: after what the server has said, there is no place for it.
        """
        try:
            return self._connection.send(message)
        except LocalProtocolError as error:
            raise Broken(f"an answer that leaves no way to go on: {error}") from error

    def say(self, *messages: Request) -> None:
        """Sends messages in one piece."""
        self.say_bytes(b"".join([self.announce(message) for message in messages]))

    def say_damaged(self, message: Request, data: bytes) -> None:
        """Sends `data`, which was made from `message`."""
        self.announce(message)
        self.say_bytes(data)

    def say_bytes(self, data: bytes) -> None:
        """Sends bytes as they are. A server that has heard enough may have closed already: its answer tells."""
        try:
            with interruptible():
                self._stream.send_all(data)
        except WriteError:
            return

    def say_in_pieces(self, data: bytes, *, size: int = 1) -> None:
        """Sends bytes in pieces of `size`, with pauses in which they arrive."""
        for number, start in enumerate(range(0, len(data), size)):
            if number % _PIECES_PER_PAUSE == 1:
                self.stay_silent(PAUSE_S)
            self.say_bytes(data[start : start + size])

    def end_side(self) -> None:
        """Ends this side; the server may still answer."""
        try:
            self._stream.close_writing()
        except WriteError:
            return

    def answer(self) -> Answer:
        """The next answer.

        Raises:
            Broken: there is none, or it cannot be the answer to what was asked.
        """
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                event = self._connection.next_event()
            except RemoteProtocolError as error:
                raise Broken(f"an answer that breaks the protocol: {error}") from error
            if event is CLOSED:
                raise Ended("the end of the stream")
            if event is not NEED_DATA:
                self._surplus -= len(encode(event, revision=self._connection.revision))
                return event
            left_s = until - time.monotonic()
            data = self._receive(left_s) if left_s > 0 else None  # some come all the time, and never a whole one
            if data is None:
                raise Broken(f"no whole answer within {self._timeout_s:g} s{self._part_of_it()}")
            self._take(data)

    def _part_of_it(self) -> str:
        """What of an answer has come, and what is missing; empty: nothing came. No more is read after it."""
        if not self._surplus:
            return ""
        missing = ""
        try:
            self._connection.receive_data(b"")
            self._connection.next_event()
        except TruncatedFrame as error:
            missing = f", {error.reason.removesuffix(', the stream ended')}"
        except (LocalProtocolError, RemoteProtocolError):
            pass  # an end of its own, or no end at all: nothing is known to be missing
        return f": {self._surplus} bytes of one came{missing}"

    def last_answer(self) -> Answer | None:
        """The answer that comes before the server ends the connection; None: it ends it without one.

        Raises:
            Broken: neither comes, or more.
        """
        try:
            answer = self.answer()
        except Ended:
            return None
        self.expect_end()
        return answer

    def expect_end(self) -> None:
        """Checks that the server ends the connection and says nothing more.

        Raises:
            Broken: it does otherwise.
        """
        if self._surplus:
            raise Broken(f"{self._surplus} bytes more, which nothing has asked for")
        try:
            data = self._receive(self._timeout_s)
        except Broken:
            return  # a reset, behind bytes that it did not want to read, ends the connection as well
        if data is None:
            raise Broken(f"the connection is still open after {self._timeout_s:g} s")
        if data:
            raise Broken(f"{len(data)} bytes more, which nothing has asked for: {data[:16].hex(' ')}")

    def stay_silent(self, wait_s: float) -> None:
        """Checks that the server says nothing meanwhile.

        Raises:
            Broken: it does.
        """
        data = self._receive(wait_s)
        if data:
            self._take(data)
            raise Broken(f"{len(data)} bytes too early: {data[:16].hex(' ')}")
        if data is not None:
            raise Broken("the end of the stream")

    def _take(self, data: bytes) -> None:
        self._surplus += len(data)
        self._connection.receive_data(data)

    def _receive(self, wait_s: float) -> bytes | None:
        """What comes within `wait_s` seconds; None: nothing.

        Raises:
            Broken: the connection broke.
        """
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
