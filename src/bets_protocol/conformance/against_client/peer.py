"""One connection of the client under test: its messages, and answers that are sent as the scenario wants them.

The library's `ServerConnection` decodes and encodes. A peer only decides when bytes are sent, in which pieces, and how
the connection ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bets_protocol import ServerConnection, TransportError
from bets_protocol.transports import Stream

if TYPE_CHECKING:
    from bets_protocol.conformance.against_client.scenarios import Scenario

PIECE_S = 0.004
"""Seconds between two bytes that are sent one by one."""

JOIN_S = 0.1
"""Seconds that an answer waits for the next one, to be sent together with it."""

MAX_BUFFERED_BYTES = 1 << 20
"""Bytes beside whole messages, an unfinished one or bytes after the last, at which a client is cut off."""


class Peer:
    """A connection of a client in one scenario; `revision` is the one that the client should speak."""

    def __init__(self, stream: Stream, *, revision: int, scenario: Scenario) -> None:
        # A server of 9 accepts 7 and 8 as well, but a check of 7 or 8 must not accept uploads.
        self.connection = ServerConnection(revision=8 if revision == 7 else revision)
        self.stream = stream
        self.messages = 0  # that came whole
        self.input_ended = False  # the client has ended its sending direction
        self.broken = ""  # why the connection broke
        self.handshake_failed = False  # it broke before the handshake was complete
        self.cut = False  # the scenario cut it; the client is not to blame for what follows
        self.closed = False
        self.upload_id: bytes | None = None  # of the upload that was opened on it
        self._scenario = scenario
        self._received = bytearray()
        self._pieces: deque[tuple[bytes, float]] = deque()  # with the seconds after the piece before it
        self._end_due = False
        self._next_at = 0.0
        self._written_all = False

    @property
    def unanswered(self) -> bool:
        """Whether an answer has not been sent completely."""
        return bool(self._pieces)

    @property
    def partial(self) -> bytes:
        """The received bytes that belong to no whole message."""
        return bytes(self._received[len(self._received) - self.connection.buffered :])

    @property
    def next_at(self) -> float:
        """When the next piece is due; infinity if there is none."""
        return self._next_at if self._pieces or self._end_due else float("inf")

    def receive(self) -> None:
        """Reads what has come."""
        self.handshake_failed = self.stream.handshaking
        try:
            while not self.input_ended and self.connection.buffered <= MAX_BUFFERED_BYTES:
                data = self.stream.receive()
                if data is None:
                    break
                self.handshake_failed = False
                self.connection.receive_data(data)
                self._received = self._received[-MAX_BUFFERED_BYTES:] + data
                self.input_ended = not data
        except TransportError as error:
            if self.stream.certificate is not None and not self._pieces:
                # Many programs close without the close_notify of TLS; this one has read all that there was.
                self.connection.receive_data(b"")
                self.input_ended = True
                return
            self.broken = str(error)
            self.close()
        self.handshake_failed = self.handshake_failed and bool(self.broken)

    def answer(self, data: bytes, now: float, *, after_s: float = 0.0) -> None:
        """Queues an answer, to be sent `after_s` seconds after the piece before it."""
        if not self._pieces:
            self._next_at = now + after_s + (JOIN_S if self._scenario.joined else 0.0)
            after_s = 0.0
        elif self._scenario.joined:
            self._next_at = now  # there are two answers to send together
        pieces = [data[at : at + 1] for at in range(len(data))] if self._scenario.bytewise else [data]
        self._pieces += [(piece, 0.0 if at else after_s) for at, piece in enumerate(pieces)]

    def end(self, now: float) -> None:
        """Ends the connection once all answers are sent."""
        self._end_due = True
        self._next_at = max(self._next_at, now)

    def send_due(self, now: float) -> None:
        """Sends the pieces that are due."""
        if self._written_all:
            self._pieces.clear()  # nothing can be sent after the end
        try:
            while self._pieces and now >= self._next_at:
                if self._scenario.joined:
                    together = b"".join(data for data, _ in self._pieces)
                    self._pieces.clear()
                    self._send(together)
                    break
                data, _ = self._pieces.popleft()
                self._send(data)
                after_s = self._pieces[0][1] if self._pieces else 0.0
                self._next_at = now + (PIECE_S if self._scenario.bytewise else 0.0) + after_s
            if self._end_due and not self._pieces and not self._written_all:
                self._written_all = True
                self.stream.close_writing()
        except TransportError as error:
            self.broken = str(error)
            self.close()
            return
        if self.input_ended and not self._pieces:
            self.close()

    def cut_off(self) -> None:
        """Closes the connection at once; unsent answers are dropped."""
        self.cut = True
        self.close()

    def close(self) -> None:
        """Closes the stream. Calling it again has no effect."""
        self.closed = True
        self._pieces.clear()
        self.stream.close()

    def _send(self, data: bytes) -> None:
        self.stream.set_timeout(5.0)
        try:
            self.stream.send_all(data)
        finally:
            if not self.closed:
                self.stream.set_timeout(0)
