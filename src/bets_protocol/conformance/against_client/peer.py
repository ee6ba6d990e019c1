"""One connection of a client under test: what it says as messages, and answers that leave as a scenario wants it.

The library's `ServerConnection` reads and writes; here is only when bytes leave, in which pieces, and how it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

from bets_protocol import CLOSED, NEED_DATA, ServerConnection, TransportError
from bets_protocol.transports import Stream

PIECE_S = 0.004
"""Seconds between two bytes that leave one by one."""

JOIN_S = 0.1
"""Seconds that an answer waits for the next, to leave in one piece with it."""

MAX_BUFFERED_BYTES = 1 << 20
"""What a client may have said that is no message yet, or comes behind its last one: it is cut off then."""

_NEVER = float("inf")


@attrs.frozen
class _Piece:
    """Bytes that leave in one go.

    Attributes:
        last: of its answer.
        after_s: seconds that it leaves later than the one before it.
    """

    data: bytes
    last: bool
    after_s: float


class Peer:
    """A connection.

    Args:
        stream: accepted.
        revision: what its client should speak.
        bytewise: answers leave one byte at a time.
        joined: an answer waits a moment for the next one.

    Attributes:
        connection: the protocol's side.
        asked: messages that came whole.
        answered: answers that have left as a whole.
        heard_end: the client has ended its side.
        broken: why the connection broke; empty: it has not.
        stranger: it broke before both ends had agreed to talk at all.
        cut: we ended it in the middle, so whatever follows is no fault of the client.
        gone: it is closed.
        upload_id: the upload that was opened on it; None: none.
    """

    def __init__(self, stream: Stream, *, revision: int, bytewise: bool, joined: bool) -> None:
        # A server of 9 speaks 7 and 8 as well; one that was asked to check 7 or 8 wants to hear nothing else.
        self.connection = ServerConnection(revision=8 if revision == 7 else revision)
        self.asked = self.answered = 0
        self.input_ended = self.cut = self.closed = self.handshake_failed = False
        self.broken = ""
        self.upload_id: bytes | None = None
        self._heard = bytearray()
        self._stream = stream
        self._bytewise = bytewise
        self._joined = joined
        self._pieces: deque[_Piece] = deque()
        self._end_due = False
        self._next_at = 0.0
        self._written_all = False

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._stream.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether the stream waits for room."""
        return self._stream.needs_write

    @property
    def unanswered(self) -> bool:
        """Whether an answer to a message has not left."""
        return bool(self._pieces)

    @property
    def partial(self) -> bytes:
        """What has come and belongs to no whole message."""
        return bytes(self._heard[len(self._heard) - self.connection.buffered :])

    @property
    def next_at(self) -> float:
        """When the next piece may leave; infinity: there is none."""
        return self._next_at if self._pieces or self._end_due else _NEVER

    def receive(self) -> None:
        """Takes what has come."""
        self.handshake_failed = self._stream.handshaking
        try:
            while not self.input_ended and self.connection.buffered <= MAX_BUFFERED_BYTES:
                data = self._stream.receive()
                if data is None:
                    break
                self.handshake_failed = False
                self.connection.receive_data(data)
                self._heard = self._heard[-MAX_BUFFERED_BYTES:] + data
                self.input_ended = not data
        except TransportError as error:
            if self._stream.certificate is not None and not self._pieces:
                # Programs that end without the end that TLS announces are many; they have read what there was.
                self.connection.receive_data(b"")
                self.input_ended = True
                return
            self.broken = str(error)
            self.close()
        self.handshake_failed = self.handshake_failed and bool(self.broken)

    def answer(self, data: bytes, now: float, *, after_s: float = 0.0) -> None:
        """Has `data` leave, `after_s` behind what leaves before it; the pieces of one answer are those of one call."""
        if not self._pieces:
            self._next_at = now + after_s + (JOIN_S if self._joined else 0.0)
            after_s = 0.0
        elif self._joined:
            self._next_at = now  # two are together
        pieces = [data[at : at + 1] for at in range(len(data))] if self._bytewise else [data]
        for number, piece in enumerate(pieces, start=1):
            self._pieces.append(_Piece(piece, number == len(pieces), after_s if number == 1 else 0.0))

    def end(self, now: float) -> None:
        """Ends the connection once all answers have left."""
        self._end_due = True
        self._next_at = max(self._next_at, now)

    def send_due(self, now: float) -> None:
        """Sends what may leave now."""
        if self._written_all:
            self._pieces.clear()  # the end is said: nothing can follow it
        try:
            while self._pieces and now >= self._next_at:
                if self._joined:
                    together = b"".join(piece.data for piece in self._pieces)
                    self.answered += sum(piece.last for piece in self._pieces)
                    self._pieces.clear()
                    self._send(together)
                    break
                piece = self._pieces.popleft()
                self._send(piece.data)
                self.answered += piece.last
                self._next_at = now + (PIECE_S if self._bytewise else 0.0)
                if self._pieces:
                    self._next_at += self._pieces[0].after_s
            if self._end_due and not self._pieces and not self._written_all:
                self._written_all = True
                self._stream.close_writing()
        except TransportError as error:
            self.broken = str(error)
            self.close()
            return
        if self.input_ended and not self._pieces:
            self.close()

    def cut_off(self) -> None:
        """Ends the connection at once, whatever is due."""
        self.cut = True
        self.close()

    def close(self) -> None:
        """Closes the stream. Twice is harmless."""
        self.closed = True
        self._pieces.clear()
        self._stream.close()

    def _send(self, data: bytes) -> None:
        self._stream.set_timeout(5.0)
        try:
            self._stream.send_all(data)
        finally:
            if not self.closed:
                self._stream.set_timeout(0)

    def events(self) -> Iterator[object]:
        """The messages that are whole now.

        Raises:
            RemoteProtocolError: the client broke the protocol.
        """
        while (event := self.connection.next_event()) is not NEED_DATA and event is not CLOSED:
            yield event
