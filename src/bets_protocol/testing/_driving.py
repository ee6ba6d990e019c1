"""What the conformance suites do with streams: selector loops over both ends, calls in the background, comparisons.

Everything keeps to the contract of `bets_protocol.transports` and to a deadline. Loops look at their condition every
few milliseconds, since what they wait for need not be an event of their own streams.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import ClassVar, TypeVar

from bets_protocol.bytes_like import BytesLike, as_bytes
from bets_protocol.errors import TransportError
from bets_protocol.transports import Listener, Stream, connect, listen
from bets_protocol.transports.sockets import closed_on_error

_POLL_S = 0.01
_SEND_BYTES = 65_536

_Result = TypeVar("_Result")


def check(holds: bool, otherwise: str) -> None:
    """Fails the test unless it `holds`.

    No assert statement: pytest explains those of test files only, and `python -O` drops them.
    """
    if not holds:
        raise AssertionError(otherwise)


def check_same(expected: object, actual: object, what: str) -> None:
    """Fails the test unless both are equal. Megabytes are compared, but not shown."""
    check(expected == actual, f"{what}: expected {expected!r:.200}, actually {actual!r:.200}")


def open_descriptors() -> frozenset[str]:
    """What this process has open, as ``number target``; empty where the system does not tell."""
    found = set()
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            # The descriptor of this very listing is gone by now.
            with contextlib.suppress(OSError):
                found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return frozenset(found)


def in_background(call: Callable[[], _Result]) -> Future[_Result]:
    """Runs `call` on a thread that ends with it."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - `result` raises it again
            future.set_exception(error)

    threading.Thread(target=run, name="conformance", daemon=True).start()
    return future


def promptly(call: Callable[[], _Result], within_s: float, what: str) -> _Result:
    """Calls what must not wait, so that one which waits fails its test instead of stopping it."""
    future = in_background(call)
    # Not `result` with a timeout: what it raises then, `call` may raise, too.
    wait([future], within_s)
    check(future.done(), f"{what} waits, though it must not")
    return future.result()


class End:
    """One end of a connection in a selector loop: what is still to be sent and what came.

    Args:
        stream: non-blocking.
        unsent: what to send.
        echo: whether to send back what comes in.
    """

    def __init__(self, stream: Stream, unsent: BytesLike = b"", *, echo: bool = False) -> None:
        self.stream = stream
        self.unsent = bytearray(as_bytes(unsent))
        self.received = bytearray()
        self.ended = False
        self._echo = echo

    def step(self) -> None:
        """Receives and sends until neither goes on."""
        while not self.ended and (data := self.stream.receive()) is not None:
            self.ended = not data
            self.received += data
            if self._echo:
                self.unsent += data
        while self.unsent and (taken := self.stream.send(bytes(self.unsent[:_SEND_BYTES]))):
            del self.unsent[:taken]

    @property
    def events(self) -> int:
        """What to select for; 0 when there is nothing left to wait for."""
        wants_read = not self.ended or self.stream.needs_read
        wants_write = bool(self.unsent) or self.stream.needs_write
        return wants_read * selectors.EVENT_READ | wants_write * selectors.EVENT_WRITE


def drive(*ends: End, until: Callable[[], bool], within_s: float) -> None:
    """Serves all ends in one loop."""
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        while True:
            for end in ends:
                end.step()
            if until():
                return
            check(time.monotonic() < deadline, f"nothing more came of {[len(end.received) for end in ends]} bytes")
            waiting = [selector.register(end.stream.fileno(), end.events) for end in ends if end.events]
            selector.select(_POLL_S)
            for key in waiting:
                selector.unregister(key.fd)


def accept(listener: Listener, client: Future[Stream] | None, within_s: float) -> Stream:
    """Waits for the next connection, then serves it until `client` has connected."""
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        selector.register(listener.fileno(), selectors.EVENT_READ)
        while (stream := promptly(listener.accept, within_s, "accept of the listener")) is None:
            if client is not None and client.done():
                # Raises what went wrong, if something did.
                client.result()
            check(time.monotonic() < deadline, "nobody to accept")
            selector.select(_POLL_S)
    if client is not None:
        end = End(stream)
        with closed_on_error(stream):
            promptly(end.step, within_s, "receive of an accepted stream")
            drive(end, until=client.done, within_s=within_s)
            check_same(b"", bytes(end.received), "received before anything was sent")
    return stream


def serve_echo(listener: Listener, until: Callable[[], bool], within_s: float) -> None:
    """Gives everybody who connects their bytes back."""
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as streams:
        selector.register(listener.fileno(), selectors.EVENT_READ)
        ready: list[End | None]
        while not until():
            check(time.monotonic() < deadline, "the clients did not finish")
            ready = [key.data for key, _ in selector.select(_POLL_S)]
            if None in ready:
                while (stream := listener.accept()) is not None:
                    end = End(streams.enter_context(stream), echo=True)
                    selector.register(stream.fileno(), selectors.EVENT_READ, end)
                    ready.append(end)
            for served in filter(None, ready):
                served.step()
                if served.events:
                    selector.modify(served.stream.fileno(), served.events, served)
                else:
                    selector.unregister(served.stream.fileno())
                    served.stream.close()


def wait_readable(waiting: Stream | Listener, within_s: float) -> None:
    """Waits for the descriptor; takes nothing."""
    with selectors.DefaultSelector() as selector:
        selector.register(waiting.fileno(), selectors.EVENT_READ)
        check(bool(selector.select(within_s)), "the descriptor never became readable")


class Wiring:
    """The base of the suites: connects streams, and fails the test that leaves something open or running."""

    deadline_s: ClassVar[float] = 10.0

    def setup_method(self) -> None:
        """Notes what is open and running before the test."""
        self._descriptors_before = open_descriptors()
        self._threads_before = set(threading.enumerate())

    def teardown_method(self) -> None:
        """Fails the test that left something open or running."""
        deadline = time.monotonic() + self.deadline_s
        while left := self._left():
            check(time.monotonic() < deadline, f"the test left behind: {left}")
            gc.collect()
            time.sleep(0.01)

    def _left(self) -> list[str]:
        threads = set(threading.enumerate()) - self._threads_before
        return sorted(open_descriptors() - self._descriptors_before) + sorted(thread.name for thread in threads)

    @contextlib.contextmanager
    def pair(self, listen_url: str, timeout_s: float | None = None) -> Iterator[tuple[Stream, Stream]]:
        """Both ends of one connection: the client's, which waits, and the server's, which does not."""
        with listen(listen_url) as listener, self.joined(listener, timeout_s) as ends:
            yield ends

    @contextlib.contextmanager
    def joined(self, listener: Listener, timeout_s: float | None = None) -> Iterator[tuple[Stream, Stream]]:
        """The same of one more connection to `listener`."""
        with (
            self.connecting(listener, timeout_s) as future,
            self.accept(listener, future) as server,
            future.result() as client,
        ):
            yield client, server

    @contextlib.contextmanager
    def connecting(self, listener: Listener, timeout_s: float | None = None) -> Iterator[Future[Stream]]:
        """Connects to `listener` on another thread; closes afterwards what came of it."""
        url = listener.url
        future = in_background(lambda: connect(url, timeout_s=timeout_s or self.deadline_s))
        try:
            yield future
        finally:
            # Whether a connection came about at all is for the test to say.
            with contextlib.suppress(TransportError):
                future.result(2 * self.deadline_s).close()

    def accept(self, listener: Listener, client: Future[Stream] | None = None) -> Stream:
        return accept(listener, client, self.deadline_s)

    def drive(self, *ends: End, until: Callable[[], bool]) -> None:
        drive(*ends, until=until, within_s=self.deadline_s)

    def expect(self, stream: Stream, data: bytes) -> None:
        """Receives until as much as `data` came, and compares; leaves the stream non-blocking."""
        stream.set_timeout(0)
        end = End(stream)
        self.drive(end, until=lambda: end.ended or len(end.received) >= len(data))
        check_same(data, bytes(end.received), "received")

    def break_off(self, client: Stream, server: Stream) -> None:
        """Resets the connection: the server closes with bytes unread. Returns when the client's system knows."""
        client.send_all(b"never read")
        wait_readable(server, self.deadline_s)
        server.close()
        wait_readable(client, self.deadline_s)
