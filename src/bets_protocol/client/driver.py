"""What a conversation waits for, and the blocking driver that does it.

The conversations of this package are generators. They decide what to send, what an answer means and when to give up,
and yield the two things that only a driver can do: connect, and wait. So each rule is written once: the blocking driver
is here, that of asyncio in `bets_protocol.aio`.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

import attrs

from bets_protocol.client.link import TICK_S, Link
from bets_protocol.client.options import ClientOptions
from bets_protocol.transports import Stream, connect

T = TypeVar("T")

Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""It needs no descriptor of its own; Windows has only the other one."""


@attrs.frozen
class Connect:
    """Connect to the server, or raise `ConnectError` after `timeout_s` seconds."""

    timeout_s: float


@attrs.frozen
class Wait:
    """Wait until one of `links` can advance, or `seconds` have passed; without links, only wait."""

    links: Sequence[Link]
    seconds: float

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for. A link with `unread` bytes can advance, which no selector sees."""
        return self.seconds <= 0 or any(link.unread for link in self.links)


Steps: TypeAlias = Generator[Connect | Wait, Stream | None, T]
"""A conversation: yields what it waits for, is sent the stream of a `Connect`, and returns its result."""


def connected(timeout_s: float) -> Steps[Stream]:
    """The stream of a new connection.

    Raises:
        ConnectError: the server cannot be reached, or not in time.
        ConfigError: the URL is not valid.
    """
    stream = yield Connect(timeout_s)
    if stream is None:
        raise TypeError("the driver must send the stream of a Connect")
    return stream


class BlockingDriver:
    """Runs conversations in the calling thread.

    Args:
        guard: makes a context for each operation that may wait; what it raises comes up in the conversation.
        tick: called before each operation and once a second in each wait.
    """

    def __init__(
        self,
        options: ClientOptions,
        *,
        guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._guard = guard
        self._tick = tick

    def run(self, steps: Steps[T]) -> T:
        """Run a conversation to its end; raises what it raises."""
        result: Stream | None = None
        error: BaseException | None = None
        while True:
            try:
                step = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as end:
                value: T = end.value
                return value
            result = error = None
            try:
                result = self._perform(step)
            except BaseException as raised:  # noqa: BLE001 - an error, or a stop, where the conversation waits
                error = raised

    def _perform(self, step: Connect | Wait) -> Stream | None:
        if isinstance(step, Connect):
            self._tick()
            with self._guard():
                return connect(self._options.url, timeout_s=step.timeout_s, transports=self._options.transports)
        # In pieces: Python runs the handler of a signal only between two calls, so one that comes in the instant before
        # a call of the system would wait until the end of that call.
        until = self._options.clock() + step.seconds
        left_s, ready = step.seconds, step.over
        while not ready and left_s > 0:
            self._tick()
            with self._guard():
                ready = self._wait(step.links, min(left_s, TICK_S))
            left_s = until - self._options.clock()
        self._tick()
        with self._guard():
            return None

    def _wait(self, links: Sequence[Link], seconds: float) -> bool:
        """Wait until one of `links` can advance; return whether one can."""
        if not links:
            time.sleep(seconds)  # some systems cannot select nothing
            return False
        with Selector() as selector:
            for link in links:
                selector.register(link, link.interest)
            return bool(selector.select(seconds))
