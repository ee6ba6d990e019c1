"""What a peer sends, before it is messages: how much of it is read at a time, and what its first bytes were."""

from __future__ import annotations

from bets_protocol import ServerConnection
from bets_protocol.transports import Stream
from bets_server.health import is_health_check

READ_AHEAD_BYTES = 65_536
"""Bytes of a peer that are held before they are answered: eight of the largest frames."""

HEAD_BYTES = 16
"""Of a connection, which show what speaks another protocol."""

_RECEIVES_A_READ = 64
"""An encrypted peer may send its bytes one by one: each costs a call, and the others are waiting."""

LINGER_BYTES = 65_536
"""Bytes that are still read of a peer after its last answer, as docs/protocol.md says. What comes behind them is left
to the system until the time is over."""


class Inbox:
    """The reading side of a session.

    Attributes:
        ended: the peer has ended its side.
        head: the first bytes that came, as far as they came in one piece; for the log.
        is_new: nothing was read yet.
        unheard: nothing that it has said was read yet: it may still be shaking hands.
        is_health_check: the first that it has said is the question of `bets-server health`.
        cut_short: the last `read` ended too early, so there may be bytes that no selector knows of.
        drained_bytes: how many were thrown away.
    """

    __slots__ = ("cut_short", "drained_bytes", "ended", "head", "is_health_check", "is_new", "unheard")

    def __init__(self) -> None:
        self.ended = self.cut_short = self.is_health_check = False
        self.is_new = self.unheard = True
        self.head = b""
        self.drained_bytes = 0

    def read(self, stream: Stream, connection: ServerConnection) -> None:
        """Takes what has come in, as far as there is room in `connection`.

        Raises:
            ReadError: the connection broke.
        """
        self.cut_short = self.is_new = False
        begins = not self.head
        for _ in range(_RECEIVES_A_READ):
            if self.ended:
                return
            room = READ_AHEAD_BYTES - connection.buffered
            if room <= 0:
                self.cut_short = True
                return
            data = stream.receive(room)
            if data is None:
                return
            if begins:
                self.head, begins = data[:HEAD_BYTES], False
            connection.receive_data(data)
            self.ended = not data
            if self.unheard:
                self.unheard, self.is_health_check = False, is_health_check(data)
            if 0 < len(data) < room and not stream.hides_bytes:
                return  # another call would say that nothing is left
        self.cut_short = True

    @property
    def has_room_behind_the_end(self) -> bool:
        """Whether bytes are still read that nobody will look at."""
        return not self.ended and self.drained_bytes <= LINGER_BYTES

    def throw_away(self, stream: Stream) -> None:
        """Takes what the peer still sends, up to a bound, and forgets it.

        Raises:
            ReadError: the connection broke.
        """
        while self.has_room_behind_the_end and (data := stream.receive()) is not None:
            self.drained_bytes += len(data)
            self.ended = not data
