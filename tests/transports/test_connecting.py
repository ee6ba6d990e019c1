"""What connecting and waiting do under pressure, over every transport: full queues, signals, no descriptors left."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import pytest

from bets_protocol import ConnectError, TransportTimeout
from bets_protocol.testing._driving import open_descriptors
from bets_protocol.transports import ConnectTimeout, Listener, OutOfDescriptors, Stream, Url, connect, listen
from bets_protocol.transports.tcp import SocketAddress, TcpTransport

DEADLINE_S = 10.0
FULL_S = 0.25


class Interrupted(Exception):
    """What the signal handlers of these tests raise."""


@pytest.fixture(params=["tcp", "unix", "memory"])
def scheme(request: pytest.FixtureRequest) -> str:
    """All transports, unless the test chooses."""
    return str(request.param)


@pytest.fixture
def url(scheme: str) -> Iterator[str]:
    """Where to listen."""
    with tempfile.TemporaryDirectory() as folder:
        yield {"tcp": "tcp://127.0.0.1:0", "unix": f"unix://{folder}/s", "memory": "memory://pressure"}[scheme]


@contextlib.contextmanager
def full(url: str) -> Iterator[tuple[Listener, list[Stream]]]:
    """A listener that nobody serves and whose queue is full."""
    with listen(url, backlog=1) as listener, contextlib.ExitStack() as waiting:
        streams: list[Stream] = []
        with contextlib.suppress(ConnectTimeout):
            while len(streams) < 10:
                streams.append(waiting.enter_context(connect(listener.url, timeout_s=FULL_S)))
        assert 1 <= len(streams) < 10
        yield listener, streams


@contextlib.contextmanager
def on_alarm(handler: Callable[[], object], after_s: float = 0.1) -> Iterator[None]:
    """Calls `handler` from a signal."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        handler()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt() -> None:
    """A handler that raises."""
    raise Interrupted


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Lets this process open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def accept(listener: Listener) -> Stream:
    """The next connection."""
    deadline = time.monotonic() + DEADLINE_S
    while (stream := listener.accept()) is None:
        assert time.monotonic() < deadline
        select.select([listener], [], [], 0.05)
    return stream


def test_a_full_queue_times_out(url: str) -> None:
    """The error is a ConnectError, a TransportTimeout and a TimeoutError, names the url, and leaves nothing open."""
    with full(url) as (listener, _):
        before = open_descriptors()
        with pytest.raises(ConnectTimeout) as caught:
            connect(listener.url, timeout_s=FULL_S)
        assert isinstance(caught.value, ConnectError)
        assert isinstance(caught.value, TransportTimeout)
        assert isinstance(caught.value, TimeoutError)
        assert f"cannot connect to {listener.url}: timed out" in str(caught.value)
        assert open_descriptors() == before


def test_connecting_waits_for_room_in_the_queue(url: str) -> None:
    """Who comes while the queue is full gets through as soon as somebody is accepted."""
    with full(url) as (listener, streams), contextlib.ExitStack() as accepted:
        room = threading.Timer(0.1, lambda: [accepted.enter_context(accept(listener)) for _ in streams])
        room.start()
        with connect(listener.url, timeout_s=DEADLINE_S) as client:
            room.join()
            client.send_all(b"made it")
            server = accepted.enter_context(accept(listener))
            server.set_timeout(DEADLINE_S)
            assert server.receive() == b"made it"


# TCP asks again after a second and longer; what it is told then is the kernel's affair.
@pytest.mark.parametrize("scheme", ["unix", "memory"])
def test_a_listener_that_closes_ends_the_wait_for_it(url: str) -> None:
    """Who waits for room is told that nobody listens any more, long before the deadline."""
    with full(url) as (listener, _):
        closing = threading.Timer(0.1, listener.close)
        closing.start()
        with pytest.raises(ConnectError) as caught:
            connect(listener.url, timeout_s=DEADLINE_S)
        assert not isinstance(caught.value, ConnectTimeout)
        closing.join()


def test_a_signal_handler_can_end_connecting(url: str) -> None:
    """What it raises comes out of `connect`, and nothing stays open."""
    with full(url) as (listener, _):
        before = open_descriptors()
        with pytest.raises(Interrupted), on_alarm(interrupt):
            connect(listener.url, timeout_s=DEADLINE_S)
        assert open_descriptors() == before


def test_a_signal_handler_can_end_looking_up_a_name() -> None:
    """What it raises comes out of `connect` though the resolver is still at it."""
    answer = threading.Event()

    def resolver(_host: str, _port: int) -> Sequence[SocketAddress]:
        answer.wait(DEADLINE_S)
        return []

    try:
        with pytest.raises(Interrupted), on_alarm(interrupt):
            TcpTransport(resolver=resolver).connect(Url(scheme="tcp", host="slow", port=7), DEADLINE_S)
        assert not answer.is_set()
    finally:
        answer.set()


def test_a_signal_handler_can_end_a_wait(url: str) -> None:
    """What it raises comes out of `receive` and `send_all`; the stream can still be received from and closed."""
    with listen(url) as listener, connect(listener.url, timeout_s=DEADLINE_S) as client, accept(listener) as server:
        with pytest.raises(Interrupted), on_alarm(interrupt):
            client.receive()
        with pytest.raises(Interrupted), on_alarm(interrupt):
            client.send_all(bytes(1 << 28))
        server.send(b"later")
        assert client.receive() == b"later"


def test_a_signal_handler_that_returns_changes_nothing(url: str) -> None:
    """The wait goes on behind it."""
    with (
        listen(url) as listener,
        connect(listener.url, timeout_s=DEADLINE_S) as client,
        accept(listener) as server,
        on_alarm(lambda: server.send(b"from the handler")),
    ):
        assert client.receive() == b"from the handler"


# In memory, accepting opens nothing: connecting has opened both ends.
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_running_out_of_descriptors_is_told_apart(url: str) -> None:
    """`accept` raises OutOfDescriptors, each time; the connection waits and is accepted when there is room again."""
    with listen(url) as listener, connect(listener.url, timeout_s=DEADLINE_S) as client:
        with no_descriptor_left():
            for _ in range(2):
                with pytest.raises(OutOfDescriptors, match=f"cannot accept on {listener.url}: too many open files"):
                    listener.accept()
        with accept(listener) as server:
            client.send_all(b"patience")
            server.set_timeout(DEADLINE_S)
            assert server.receive() == b"patience"


def test_without_descriptors_nothing_opens(url: str) -> None:
    """`connect` and `listen` say so and leave what is there as it was."""
    with listen(url) as listener:
        with no_descriptor_left():
            with pytest.raises(ConnectError, match="too many open files"):
                connect(listener.url, timeout_s=DEADLINE_S)
            with pytest.raises(ConnectError, match="too many open files"):
                listen("memory://another")
            with pytest.raises(ConnectError, match="too many open files"):
                listen(url + "2")
        with connect(listener.url, timeout_s=DEADLINE_S) as client, accept(listener) as server:
            client.send_all(b"x")
            server.set_timeout(DEADLINE_S)
            assert server.receive() == b"x"


def test_a_broken_pipe_raises_no_signal(url: str) -> None:
    """A process that gave SIGPIPE its default action back lives on, and gets a WriteError."""
    program = """
import signal, sys
from bets_protocol import WriteError
from bets_protocol.transports import connect, listen
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
with listen(sys.argv[1]) as listener:
    for name in ("send", "send_all"):
        with connect(listener.url) as client:
            while (server := listener.accept()) is None: pass
            server.close()
            try:
                while True:
                    getattr(client, name)(b"x")
            except WriteError as error:
                print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("cannot send to ") == 2
