"""One connection to the server: a stream, the state of the protocol, and the bytes that wait to leave.

The stream never blocks. `advance` sends and receives what is possible now and returns the complete answers; a driver
waits. So one thread can have any number of links, and every wait has a deadline.

This module does not decide what to send or when to give up, and reads no clock.
"""

from __future__ import annotations

import selectors
from collections import deque

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    ClientConnection,
    DecodeError,
    PeerClosed,
    Probe,
    RemoteProtocolError,
    TransportError,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.connection.client import Request
from bets_protocol.transports import Stream, foreign_protocol

TICK_S = 1.0
"""The longest wait of a loop before it looks at deadlines and the progress, in seconds."""

TURN_BYTES = 131_072
"""Bytes after which one `advance` stops receiving: more than the answers to a whole window of batches, and so few that
decoding them takes a fraction of a second, even if they are thousands of the shortest answers."""

HEAD_BYTES = 16
"""The first bytes of the server that are kept: enough to recognize another protocol."""

_ENOUGH_BYTES = 3
"""So many of them are needed: one may be an Ack, two the count of winners."""

_COUNT_BYTES = 2
"""The count of winners, before their documents."""

Answer = Ack | Winners | Probe | UploadStatus


class ForeignPeer(RemoteProtocolError):
    """The first bytes of the peer are those of another protocol."""


class Link:
    """A connection of this client.

    Args:
        stream: connected; the link owns it from now on.
        revision: of the wire.

    Attributes:
        traffic: bytes sent and received so far; while it stays the same, the peer is silent.
        unread: whether the last `advance` left bytes to receive, which a selector may not see.
        answered: whether the server has answered on this connection.

    Thread: one.
    """

    def __init__(self, stream: Stream, revision: int) -> None:
        self.traffic = 0
        self.unread = False
        self.answered = False
        self._head = b""  # the first bytes of the server
        self._asks_first = False  # whether the first message is a request for winners
        self._stream = stream
        self._frames: deque[memoryview] = deque()  # to be sent; a part of the first one may have left
        self._first_begun = False
        self._failure: TransportError | None = None
        try:
            self._connection = ClientConnection(revision=revision)
            stream.set_timeout(0)
        except BaseException:
            stream.close()
            raise

    def fileno(self) -> int:
        """The descriptor for a selector."""
        return self._stream.fileno()

    @property
    def begun(self) -> bool:
        """Whether a part of the server's first answer has come, and not all of it."""
        return bool(self._head) and not self.answered

    @property
    def interest(self) -> int:
        """The events to wait for: a mask of `selectors.EVENT_READ` and `EVENT_WRITE`."""
        write = bool(self._frames) or self._stream.needs_write
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)

    def queue(self, message: Request) -> None:
        """Queue `message`; `advance` sends it."""
        if not self.traffic and not self._frames:
            self._asks_first = isinstance(message, WinnersRequest)
        self._frames.append(memoryview(self._connection.send(message)))

    def drop_unsent(self) -> int:
        """Drop the messages of which no byte has left, which are the last ones, and return how many they were."""
        kept = 1 if self._first_begun else 0
        dropped = len(self._frames) - kept
        for _ in range(dropped):
            self._frames.pop()
        return dropped

    def advance(self) -> list[Answer]:
        """Send and receive what is possible now, without waiting.

        Returns:
            The complete answers, in the order of the questions.

        Raises:
            TransportError: the connection has broken, and all answers before that were returned.
            RemoteProtocolError: the server broke the protocol, likewise; `ForeignPeer` if it speaks another one.
        """
        # A failure is raised only when all answers before it were returned: a server that refuses a batch and closes
        # has often closed before we notice it while writing, and its refusal must not be lost.
        if self._failure is None:
            try:
                self._send()
            except TransportError as error:
                self._failure = error
            self._receive()
        elif self.unread:
            self._receive()
        events = self._answers()
        if self._failure is not None and not events and not self.unread:
            raise self._failure
        return events

    def close(self) -> None:
        """Close the stream. Calling it again has no effect."""
        self._stream.close()

    def _send(self) -> None:
        while self._frames:
            frame = self._frames[0]
            taken = self._stream.send(frame)
            if not taken:
                return
            self.traffic += taken
            if taken == len(frame):
                self._frames.popleft()
                self._first_begun = False
            else:
                self._frames[0] = frame[taken:]
                self._first_begun = True

    def _receive(self) -> None:
        """Receive until it would block, or a bound is reached."""
        # Until it would block: an encrypted stream may hold bytes that no selector sees. The bound lets the caller look
        # at its deadlines, however fast the server sends.
        self.unread = False
        received = 0
        try:
            while (data := self._stream.receive()) is not None:
                if not data:
                    raise PeerClosed("the server closed the connection")
                self._connection.receive_data(data)
                if len(self._head) < HEAD_BYTES:
                    self._head += data[: HEAD_BYTES - len(self._head)]
                self.traffic += len(data)
                received += len(data)
                if received >= TURN_BYTES:
                    self.unread = True
                    return
        except TransportError as error:
            self._failure = self._failure or error

    def _answers(self) -> list[Answer]:
        events: list[Answer] = []
        try:
            while (event := self._connection.next_event()) is not NEED_DATA and event is not CLOSED:
                events.append(event)
        except RemoteProtocolError as error:
            # An Ack is one byte, with which anything may begin. If the first bytes of a connection hold Acks and then
            # something that is not an answer, none of them was one. Other answers cannot be mistaken.
            if not self.answered and all(isinstance(event, Ack) for event in events):
                raise self._breach(error) from error
            if not events:
                raise  # with events: the next call raises it again, after the answers
        if not events and not self.answered:
            self._check_head()
        self.answered = self.answered or bool(events)
        return events

    def _breach(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """The error for first bytes that are not an answer: `ForeignPeer` for a known protocol, else `error`."""
        name = foreign_protocol(self._head) if len(self._head) >= _ENOUGH_BYTES else ""
        return error if not name else ForeignPeer(_FOREIGN.get(name, f"what answers there speaks {name}"))

    def _check_head(self) -> None:
        """Check the beginning of the first answer, which may never be complete: two bytes can announce many winners.

        Raises:
            RemoteProtocolError: it cannot be an answer.
        """
        if len(self._head) < _ENOUGH_BYTES:
            return
        expected = f"expected a count of winners and their documents, in digits, not {self._head!r}"
        error = self._breach(DecodeError(expected))
        wrong = self._asks_first and not self._head[_COUNT_BYTES:].isdigit()
        if wrong or isinstance(error, ForeignPeer):
            raise error


_FOREIGN = {
    "TLS": "what answers there speaks TLS: write tls://HOST:PORT, which takes certificates too",
    "a PROXY header (version 1)": "the server sends a PROXY header back, which it does not read: have the balancer "
    "that is in between send none",
}
