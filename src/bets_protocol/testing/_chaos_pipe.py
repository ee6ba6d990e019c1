"""A connection inside a chaos proxy: two directions, each with its delays, its cut and its hole.

Nothing in here waits: the proxy says what the time is and when an end can be read or written.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from typing import Final

from bets_protocol.testing._chaos_plan import Plan, Way

READ_BYTES: Final = 65_536

_MOST_QUEUED_BYTES: Final = 262_144
"""Beyond it a direction is not read, so that back-pressure passes through the proxy."""

_SLICED_BYTES: Final = 20_000
"""So many bytes of a direction are sliced and no more: each slice costs a turn of the loop."""


def close_socket(sock: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Pipe:
    """One direction of a connection; an end of the stream travels as empty bytes.

    Args:
        name: for the log.
        source: is read.
        sink: is written.

    Attributes:
        arrived: bytes that have come from `source`.
        passed_end: whether `sink` has been told that no more follows, or need not be told.
    """

    def __init__(self, name: str, source: socket.socket, sink: socket.socket, way: Way, close_delay_s: float) -> None:
        self.name, self.source, self.sink, self.way = name, source, sink, way
        self.arrived = 0
        self.passed_end = False
        self._close_delay_s = close_delay_s
        self._sent = 0
        self._ended = self._abandoned = self._lost = False
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._held: list[bytes] = []

    @property
    def in_hole(self) -> bool:
        """Whether what comes now vanishes."""
        return self.way.hole_at is not None and self.arrived >= self.way.hole_at

    @property
    def vanished(self) -> bool:
        """Whether something has vanished in the hole, for good or for now."""
        return self._lost or bool(self._held)

    @property
    def beyond_repair(self) -> bool:
        """Whether an end misses bytes that nobody has any more."""
        return self._lost and not self._abandoned

    @property
    def _cut(self) -> bool:
        return self.way.cut_at is not None and self.arrived >= self.way.cut_at

    @property
    def cut_due(self) -> bool:
        """Whether the cut has come and everything before it has left."""
        return self._cut and not self._queue

    @property
    def due_at(self) -> float | None:
        """When the next bytes are to leave."""
        return self._queue[0][0] if self._queue else None

    @property
    def wants(self) -> bool:
        """Whether `source` is to be read."""
        return not self._ended and not self._cut and self._queued_bytes < _MOST_QUEUED_BYTES

    def room(self) -> int:
        """How many bytes may be read at once: up to the next fault."""
        marks = [mark - self.arrived for mark in (self.way.cut_at, self.way.hole_at) if mark is not None]
        return min([READ_BYTES, *(mark for mark in marks if mark > 0)])

    def take(self, data: bytes, now: float) -> None:
        """Accepts what came from `source`; nothing means its end."""
        self._ended = self._ended or not data
        if self._abandoned:
            self.passed_end = self._ended
        elif not self.in_hole:
            self._push(data, now + self.way.delay_s + (0.0 if data else self._close_delay_s))
        elif self.way.late:
            self._held.append(data)
        else:
            self._lost = True
        self.arrived += len(data)

    def _push(self, data: bytes, due: float) -> None:
        self._queue.append((max(due, self._queue[-1][0]) if self._queue else due, data))
        self._queued_bytes += len(data)

    def give(self, now: float) -> None:
        """Sends on what is due; one slice a call.

        Raises:
            OSError: `sink` takes no more.
        """
        while self._queue and self._queue[0][0] <= now:
            due, data = self._queue.popleft()
            if not data:
                self.sink.shutdown(socket.SHUT_WR)
                self.passed_end = True
                return
            sliced = self.way.slice_bytes if self._sent < _SLICED_BYTES else 0
            try:
                count = self.sink.send(data[: sliced or len(data)])
            except BlockingIOError:
                count = 0
            self._sent += count
            self._queued_bytes -= count
            if count < len(data):
                self._queue.appendleft((due, data[count:]))
            if sliced or count < len(data):
                return

    def abandon(self) -> None:
        """`sink` is gone and `source` must not notice: whatever comes is thrown away."""
        self._abandoned = True
        self._queue.clear()
        self._queued_bytes = 0
        self.passed_end = self._ended

    def heal(self) -> None:
        """From now on bytes pass, those that were held first."""
        self.way, self._close_delay_s = Way(), 0.0
        self._queue = deque((0.0, data) for _, data in self._queue)
        for data in self._held:
            self._push(data, 0.0)
        self._held.clear()


class ProxiedConnection:
    """A client's connection to the proxy, and the one that it stands for.

    Args:
        number: from 0 on, in the order of accepting.
    """

    def __init__(self, number: int, client: socket.socket, server: socket.socket, plan: Plan) -> None:
        self.number, self.plan = number, plan
        self.pipes = (
            Pipe("to the server", client, server, plan.to_server, plan.close_delay_s),
            Pipe("to the client", server, client, plan.to_client, plan.close_delay_s),
        )

    def reading_from(self, sock: socket.socket) -> tuple[Pipe, Pipe]:
        """The direction that is fed by `sock`, and the other one."""
        forth, back = self.pipes
        return (forth, back) if forth.source is sock else (back, forth)

    def close(self, *, reset: bool) -> None:
        for pipe in self.pipes:
            close_socket(pipe.source, reset=reset)
