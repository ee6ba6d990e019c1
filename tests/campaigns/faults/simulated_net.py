"""Time and the network of a simulated world: one seed decides everything that happens in it.

A connection is two pipes. What is sent arrives later, in pieces, in order; it may be lost with the connection, arrive
after its sender has long given up (that is what a late frame is), or be swallowed in silence.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from bets_protocol import ReadError, WriteError
from bets_protocol.transports import Stream

MOST_EVENTS = 200_000
"""Far more than any world needs: more of them is a loop."""


class Clock:
    """Fake time: events in order, each at its second.

    Attributes:
        now: seconds since the world began.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        """Has `event` happen in `delay_s` seconds."""
        self._count += 1
        heapq.heappush(self._events, (self.now + delay_s, self._count, event))

    def run(self, until_s: float, done: Callable[[], bool]) -> bool:
        """Lets time pass until `done`, or `until_s`, or nothing is left to happen; says whether it is done."""
        happened = 0
        while not done():
            happened += 1
            assert happened < MOST_EVENTS, "the world does not come to rest"
            if not self._events or self._events[0][0] > until_s:
                self.now = max(self.now, until_s)
                return done()
            self.now, _, event = heapq.heappop(self._events)
            event()
        return True


class Faults:
    """What may go wrong on the way; `calm` ends it."""

    def __init__(self, chooser: random.Random) -> None:
        self.chooser = chooser
        self.calm = False
        self.latency_s = chooser.choice([0.001, 0.02, 0.3])
        self.break_rate = chooser.choice([0.0, 0.01, 0.05])
        self.swallow_rate = chooser.choice([0.0, 0.0, 0.01])

    def delay_s(self) -> float:
        """How long a piece takes."""
        return self.chooser.uniform(0, 0.001 if self.calm else self.latency_s)

    def happens(self, rate: float) -> bool:
        """Whether something that happens at `rate` does now."""
        return not self.calm and self.chooser.random() < rate


class SimulatedStream(Stream):
    """One end of a connection.

    Attributes:
        on_readable: called when there is something to read, the end or an error included.
    """

    peer = "simulated"

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.on_readable: Callable[[], None] = lambda: None
        self.other: SimulatedStream = self
        self._clock = clock
        self._faults = faults
        self._buffer = bytearray()
        self._ended = self._reset = self._closed = self._swallowing = False
        self._last_arrival = 0.0

    @classmethod
    def pair(cls, clock: Clock, faults: Faults) -> tuple[SimulatedStream, SimulatedStream]:
        """Both ends of a new connection."""
        one, two = cls(clock, faults), cls(clock, faults)
        one.other, two.other = two, one
        return one, two

    def fileno(self) -> int:
        return -1

    def set_timeout(self, timeout_s: float | None) -> None:
        """It never blocks."""

    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        if self._reset:
            raise ReadError("simulated: connection reset")
        if self._buffer:
            data = bytes(self._buffer[:max_bytes])
            del self._buffer[:max_bytes]
            return data
        return b"" if self._ended else None

    def send(self, data: bytes | bytearray | memoryview) -> int:
        if self._reset or self._closed:
            raise WriteError("simulated: connection reset")
        self._deliver(bytes(data))
        return len(data)

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.send(data)

    def close_writing(self) -> None:
        self._arrive(self.other._end)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._arrive(self.other._end)

    def break_off(self, *, both: bool) -> None:
        """The connection is gone for this end; for the other only with `both`: else it believes in it for a while.

        What this end has sent and is on its way arrives all the same.
        """
        self._reset = True
        self._clock.after(0, self.on_readable)
        if both:
            self._arrive(self.other._broken)
        else:
            self._clock.after(self._faults.chooser.uniform(0.1, 20), self.other._broken)

    def _deliver(self, data: bytes) -> None:
        """Sends `data` on its way in pieces."""
        chooser = self._faults.chooser
        while data:
            if self._faults.happens(self._faults.swallow_rate):
                self._swallowing = True
            size = chooser.randint(1, len(data))
            piece, data = data[:size], data[size:]
            if not self._swallowing:
                self._arrive(lambda piece=piece: self.other._take(piece))  # type: ignore[misc]
            if self._faults.happens(self._faults.break_rate):
                self.break_off(both=chooser.random() < 0.5)
                return

    def _arrive(self, event: Callable[[], None]) -> None:
        """Has `event` happen at the other end, behind all that was sent before."""
        self._last_arrival = max(self._last_arrival, self._clock.now + self._faults.delay_s())
        self._clock.after(self._last_arrival - self._clock.now, event)

    def _take(self, data: bytes) -> None:
        if not self._closed:
            self._buffer += data
            self.on_readable()

    def _end(self) -> None:
        self._ended = True
        self.on_readable()

    def _broken(self) -> None:
        self._reset = True
        self.on_readable()
