"""One connection to the server: a stream, the protocol's state, and the bytes that wait to leave.

Strategy: the stream never blocks. `advance` moves what can be moved now and gives the answers that are complete;
`wait_ready` is the only place that waits. So one thread may hold any number of links, and every wait has its deadline.
One `advance` takes in a bounded amount, however fast the server talks, and looks whether the program is to stop: so
whoever calls it in a loop comes back to look at deadlines, and no peer decides how long that takes or what it costs.
When the connection breaks, what the server said before is still given out first: a server that refuses a batch and
closes has often closed before we notice while writing, and its refusal must not be lost to that.
An Ack is one byte that anything may begin with, so what comes first on a connection is believed as a whole or not at
all: where bytes follow it at once that are no answer, none of it was one.
Nothing in here decides what to send, when to give up, or reads a clock.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Mapping, Sequence

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    DecodeError,
    OpenUpload,
    PeerClosed,
    Probe,
    RemoteProtocolError,
    TransportError,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.cli.signals import interruptible, raise_if_stopped
from bets_protocol.transports import Stream, Transport, connect, foreign_protocol

Request = Bet | BetBatch | WinnersRequest | Probe | OpenUpload
TICK_S = 1.0
"""Seconds that a loop waits at most before it looks at what else there is: deadlines, the progress."""

TURN_BYTES = 131_072
"""Bytes after which one `advance` stops to receive: more than the answers to a whole window of batches, and so few that
understanding them takes a fraction of a second even where they are thousands of the shortest answers."""

HEAD_BYTES = 16
"""Of what the server says first: enough to tell another protocol by."""

_ENOUGH_BYTES = 3
"""Of those: one may be an Ack, two the count of winners."""

_COUNT_BYTES = 2
"""Of winners, before their documents."""

Answer = Ack | Winners | Probe | UploadStatus


class ForeignPeer(RemoteProtocolError):
    """What answers speaks another protocol, as its first bytes show."""


class Link:
    """A stream on which this client talks.

    Args:
        stream: connected; the link owns it from now on.
        revision: of the wire.

    Attributes:
        traffic: bytes that went in or out so far; while it stays the same, the peer is silent.
        unread: whether the last `advance` left something to receive, which a selector need not see.
        answered: whether the server has answered on this connection.

    Thread: one.
    """

    def __init__(self, stream: Stream, revision: int) -> None:
        self.traffic = 0
        self.unread = False
        self.answered = False
        self._head = b""  # what came first
        self._asks_first = False  # the first message is a request for winners, on a revision that answers with these
        self._stream = stream
        self._connection = ClientConnection(revision=revision)
        self._frames: deque[memoryview] = deque()  # what has to leave; of the first one a part may have left
        self._first_begun = False
        self._failure: TransportError | None = None
        stream.set_timeout(0)

    @classmethod
    def open(
        cls, url: str, revision: int, *, timeout_s: float, transports: Mapping[str, Transport] | None = None
    ) -> Link:
        """Connect to `url`.

        Args:
            transports: as `connect` takes them.

        Raises:
            ConnectError: nobody there, or not in time.
            ConfigError: the url makes no sense.
            Stopped: the program was asked to stop.
        """
        with interruptible():
            stream = connect(url, timeout_s=timeout_s, transports=transports)
        try:
            return cls(stream, revision)
        except BaseException:
            stream.close()
            raise

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._stream.fileno()

    @property
    def begun(self) -> bool:
        """Whether the server has said a part of its first answer."""
        return bool(self._head) and not self.answered

    @property
    def interest(self) -> int:
        """What to wait for: a mask of `selectors.EVENT_READ` and `EVENT_WRITE`."""
        write = bool(self._frames) or self._stream.needs_write
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)

    def queue(self, message: Request) -> None:
        """Put `message` behind what waits to leave; `advance` sends it."""
        if not self.traffic and not self._frames:
            self._asks_first = isinstance(message, WinnersRequest)
        self._frames.append(memoryview(self._connection.send(message)))

    def drop_unsent(self) -> int:
        """Forget the messages of which no byte has left.

        Returns:
            How many; they are the last ones that were queued.
        """
        kept = 1 if self._first_begun else 0
        dropped = len(self._frames) - kept
        for _ in range(dropped):
            self._frames.pop()
        return dropped

    def advance(self) -> list[Answer]:
        """Send and receive what is possible now, without waiting.

        Returns:
            The answers that are complete, in the order of the questions.

        Raises:
            TransportError: the connection has broken, and all answers that came before were given.
            RemoteProtocolError: the server broke the protocol, likewise; `ForeignPeer` where it is none of ours.
            Stopped: the program was asked to stop.
        """
        raise_if_stopped()
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
        """Close the stream. Twice is harmless."""
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
        """Read until it would block or it is enough: an encrypted stream may hold bytes that no selector sees."""
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
            # Other answers than an Ack show by themselves that they are some: what follows casts no doubt on them.
            if not self.answered and all(isinstance(event, Ack) for event in events):
                raise self._breach(error) from error
            if not events:
                raise  # else it is raised again by the next call, behind the answers
        if not events and not self.answered:
            self._check_head()
        self.answered = self.answered or bool(events)
        return events

    def _breach(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """What it means that the first thing that the server has said is `error`, or no answer but for its start."""
        name = foreign_protocol(self._head) if len(self._head) >= _ENOUGH_BYTES else ""
        return error if not name else ForeignPeer(_FOREIGN.get(name, f"what answers there speaks {name}"))

    def _check_head(self) -> None:
        """Look at what is there of the first answer, which may never become whole: two bytes promise many winners.

        Raises:
            RemoteProtocolError: it is none.
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


def wait_ready(links: Sequence[Link], wait_s: float) -> None:
    """Wait until one of `links` can advance, or `wait_s` seconds have passed; without links, just wait.

    A link that has left something `unread` can advance at once.

    Raises:
        Stopped: the program was asked to stop.
    """
    raise_if_stopped()
    if wait_s <= 0 or any(link.unread for link in links):
        return
    with selectors.PollSelector() as selector:
        for link in links:
            selector.register(link, link.interest)
        with interruptible():
            selector.select(wait_s)
