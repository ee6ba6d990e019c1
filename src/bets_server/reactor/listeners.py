"""Where peers come from: all listeners together, which accept, pause or are closed.

Rules:

1. A listener that cannot accept stays readable, so it is left out of the selector for a while; else the loop would
   spin.
2. One whose file somebody has removed (a Unix socket) is made anew.
3. Accepting ends before the descriptors do: the store may have to open a file, and one that cannot ends the server.
"""

from __future__ import annotations

import os
import resource
import selectors
from collections.abc import Iterator, Sequence

from bets_protocol import TransportError
from bets_protocol.transports import Listener, OutOfDescriptors, Stream
from bets_server.limits import MAX_OPERATORS
from bets_server.logs import ServerLog

ACCEPTS_A_ROUND = 4
"""Connections taken from one listener before the others have their turn."""

PAUSE_S = 1.0
"""Seconds without accepting once that has failed; sooner when a connection closes. And seconds between complaints."""

SPARE_DESCRIPTORS = 8 + MAX_OPERATORS
"""Descriptors that connections never get: a store opens two at once, SQLite may want a temporary file, and operators
must be heard just then."""

FEW_DESCRIPTORS = 64
"""From so many on the system is asked before each connection how many are left; until then the last one tells."""


class Listeners:
    """Several listeners that accept or rest together.

    Args:
        listeners: their closing is in here.
        selector: where they stand as long as they accept, each with itself as its data.
        log: where events go.

    Attributes:
        again_at: when to `resume`, in the loop's seconds; None unless accepting is paused.

    Thread: the reactor.
    """

    def __init__(self, listeners: Sequence[Listener], selector: selectors.BaseSelector, log: ServerLog) -> None:
        self.again_at: float | None = None
        self._listeners = list(listeners)
        self._selector = selector
        self._log = log
        self._accepting = False
        self._closed = False
        self._complain_after = float("-inf")
        self._complained_of: set[str] = set()  # URLs of those that cannot be made anew
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # never without limit: Linux knows no such setting
        self._highest = limit - SPARE_DESCRIPTORS
        self._lowest_free = self._highest  # as far as it is known: that of the last connection was the lowest then

    def resume(self) -> None:
        """Accepts from now on. Harmless where that is so already, or after `close`."""
        self.again_at = None
        if not self._accepting and not self._closed:
            self._accepting = True
            for listener in self._listeners:
                self._selector.register(listener.fileno(), selectors.EVENT_READ, listener)

    def accept(self, listener: Listener, now: float, *, at_most: int = ACCEPTS_A_ROUND) -> Iterator[Stream]:
        """The connections that wait at `listener`, so many at most; pauses where there is no way to take them."""
        for _ in range(at_most):
            if not self._accepting:
                return
            try:
                if self._lowest_free >= self._highest - FEW_DESCRIPTORS:
                    self._require_descriptor(listener)
                stream = listener.accept()
            except TransportError as error:
                self._pause()
                self.again_at = now + PAUSE_S
                if now >= self._complain_after:
                    self._complain_after = now + PAUSE_S
                    self._log.accept_failed(error)
                return
            if stream is None:
                return
            self._lowest_free = stream.fileno()
            yield stream

    def look_after(self) -> None:
        """Makes those anew that nobody can reach any more, as far as nobody else listens there now."""
        for listener in self._listeners if not self._closed else ():
            if not listener.lost:
                continue
            if self._accepting:
                self._selector.unregister(listener.fileno())
            try:
                listener.restore()
            except TransportError as error:
                if listener.url not in self._complained_of:
                    self._complained_of.add(listener.url)
                    self._log.not_restored("listener", listener.url, error)
            else:
                self._complained_of.discard(listener.url)
                self._log.restored("listener", url=listener.url)
            if self._accepting:
                self._selector.register(listener.fileno(), selectors.EVENT_READ, listener)

    def close(self) -> None:
        """Closes every listener, for good. Twice is harmless."""
        if self._closed:
            return
        self._pause()
        self._closed = True
        self.again_at = None
        for listener in self._listeners:
            listener.close()
            self._log.closed_listener(listener.url)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                self._selector.unregister(listener.fileno())

    def _require_descriptor(self, listener: Listener) -> None:
        """The system gives the lowest free number, so what it gives now tells how many are left."""
        try:
            lowest_free = os.dup(listener.fileno())
        except OSError as error:
            raise OutOfDescriptors(f"no descriptor is left: {error.strerror}") from error
        os.close(lowest_free)
        self._lowest_free = lowest_free
        if lowest_free >= self._highest:
            raise OutOfDescriptors(f"the last {SPARE_DESCRIPTORS} descriptors are for the store and for operators")
