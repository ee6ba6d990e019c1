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

from bets_protocol.client.link import Link
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
        tick: called before each operation, so at least once a second.
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
                self._tick()
                result = self._perform(step)
            except BaseException as raised:  # noqa: BLE001 - an error, or a stop, where the conversation waits
                error = raised

    def _perform(self, step: Connect | Wait) -> Stream | None:
        with self._guard():
            if isinstance(step, Connect):
                return connect(self._options.url, timeout_s=step.timeout_s, transports=self._options.transports)
            if not step.over:
                self._wait(step)
        return None

    def _wait(self, step: Wait) -> None:
        if not step.links:
            time.sleep(step.seconds)  # some systems cannot select nothing
            return
        with Selector() as selector:
            for link in step.links:
                selector.register(link, link.interest)
            selector.select(step.seconds)
