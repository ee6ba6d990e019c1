"""Memory: names, an exact queue, and many threads on both sides."""

from __future__ import annotations

import concurrent.futures
import contextlib
import select
import threading
import time

import pytest

from bets_protocol import ConnectError
from bets_protocol.testing._driving import open_descriptors
from bets_protocol.transports import ConnectTimeout, Stream, connect, listen
from bets_protocol.transports.memory import _MemoryListener

DEADLINE_S = 10.0


def test_nobody_at_a_name() -> None:
    """An error at once, not at the deadline."""
    with pytest.raises(ConnectError, match=r"^cannot connect to memory://nobody: nobody listens there$"):
        connect("memory://nobody", timeout_s=DEADLINE_S)


def test_a_name_is_taken_until_its_listener_closes() -> None:
    """Then it is free again; a listener that closes a second time does nothing to its successor."""
    first = listen("memory://name")
    with pytest.raises(ConnectError, match=r"^cannot listen on memory://name: address already in use$"):
        listen("memory://name")
    first.close()
    with listen("memory://name") as second:
        first.close()
        with connect("memory://name"):
            assert select.select([second], [], [], 0)[0] == [second]


def test_names_are_apart() -> None:
    """Who connects to one does not come out at another."""
    with listen("memory://a") as a, listen("memory://b") as b, connect("memory://b"):
        assert a.accept() is None
        server = b.accept()
        assert server is not None
        server.close()


def test_the_queue_holds_exactly_its_backlog() -> None:
    """One more has to wait, and every `accept` makes room for one."""
    with listen("memory://exact", backlog=3) as listener, contextlib.ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(connect(listener.url))
        for _ in range(2):
            with pytest.raises(ConnectTimeout):
                connect(listener.url, timeout_s=0.01)
            server = listener.accept()
            assert server is not None
            streams.enter_context(server)
            streams.enter_context(connect(listener.url, timeout_s=0.01))


def test_a_connection_that_cannot_be_announced_leaves_nothing_open() -> None:
    """Neither of its ends; the client gets an error."""
    with listen("memory://mute") as listener:
        assert isinstance(listener, _MemoryListener)
        listener._signal.close()
        before = open_descriptors()
        with pytest.raises(ConnectError, match=r"^cannot connect to memory://mute: "):
            connect("memory://mute")
        assert open_descriptors() == before


def test_a_new_listener_takes_those_who_waited_for_the_old() -> None:
    """Who waits for room at a name is served by whoever has it then."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(listen("memory://heir", backlog=1))
        stack.enter_context(connect(old.url))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        waiting = pool.submit(connect, old.url, timeout_s=DEADLINE_S)
        old.close()
        # It either found nobody in that moment or finds the new one.
        new = stack.enter_context(listen("memory://heir"))
        with contextlib.suppress(ConnectError):
            stack.enter_context(waiting.result(DEADLINE_S))
            server = new.accept()
            assert server is not None
            server.close()


def test_many_threads_connect_while_others_accept() -> None:
    """Each connection comes out once, joined to its client, though the queue is short."""
    clients, each = 8, 100
    accepted: list[Stream] = []
    lock = threading.Lock()

    with listen("memory://busy", backlog=5) as listener:
        deadline = time.monotonic() + DEADLINE_S

        def client(number: int) -> None:
            for turn in range(each):
                with connect(listener.url, timeout_s=DEADLINE_S) as stream:
                    stream.send_all(f"{number}:{turn}".encode())

        def server() -> None:
            while len(accepted) < clients * each and time.monotonic() < deadline:
                select.select([listener], [], [], 0.01)
                if (stream := listener.accept()) is not None:
                    with lock:
                        accepted.append(stream)

        with concurrent.futures.ThreadPoolExecutor(clients + 3) as pool:
            for future in [pool.submit(client, number) for number in range(clients)] + [
                pool.submit(server) for _ in range(3)
            ]:
                future.result()
    heard = []
    for stream in accepted:
        with stream:
            heard.append(stream.receive())
            assert stream.receive() == b""
    assert sorted(heard, key=repr) == sorted(
        (f"{number}:{turn}".encode() for number in range(clients) for turn in range(each)), key=repr
    )
