"""Listeners together: accepting, resting when that fails, and closing."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol import TransportError
from bets_protocol.transports import Listener, Stream, connect, listen
from bets_server.limits import MAX_OPERATORS
from bets_server.logs import ServerLog
from bets_server.reactor.listeners import ACCEPTS_A_ROUND, PAUSE_S, SPARE_DESCRIPTORS, Listeners
from tests.server.serving import captured_log


class _Broken(Listener):
    """A listener that others keep from accepting, such as a firewall does."""

    def __init__(self, real: Listener) -> None:
        self.url = real.url
        self.broken = True
        self._real = real

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self) -> Stream | None:
        if self.broken:
            raise TransportError("cannot accept: operation not permitted")
        return self._real.accept()

    def close(self) -> None:
        self._real.close()


class Door:
    """Listeners, their selector and their log."""

    def __init__(self, *listeners: Listener) -> None:
        log, self._output = captured_log()
        self.listeners = list(listeners)
        self.selector = selectors.DefaultSelector()
        self.together = Listeners(listeners, self.selector, ServerLog(log))

    @property
    def log(self) -> str:
        return self._output.getvalue()

    @property
    def accepting(self) -> int:
        """How many of them the selector looks at."""
        return len(self.selector.get_map())

    def accept(self, now: float = 0.0) -> list[Stream]:
        """What comes in at the first one."""
        return list(self.together.accept(self.listeners[0], now))


@contextlib.contextmanager
def _door(*, broken: bool = False) -> Iterator[Door]:
    with listen("memory://one", backlog=512) as one, listen("memory://two") as two:
        door = Door(_Broken(one) if broken else one, two)
        try:
            yield door
        finally:
            door.together.close()
            door.selector.close()


def test_accepting_in_rounds() -> None:
    """Up to a round's share at a time, so that others have their turn; then none; before `resume` none either."""
    with _door() as door, contextlib.ExitStack() as streams:
        for _ in range(2 * ACCEPTS_A_ROUND + 1):
            streams.enter_context(connect("memory://one"))
        assert door.accept() == []
        door.together.resume()
        door.together.resume()
        assert door.accepting == 2
        for expected in (ACCEPTS_A_ROUND, ACCEPTS_A_ROUND, 1, 0):
            accepted = door.accept()
            assert len(accepted) == expected
            for stream in accepted:
                streams.enter_context(stream)
        assert door.log == ""


def test_failure_is_a_pause_for_all() -> None:
    """One that cannot accept: all rest, one line says so, however often it is tried within that time."""
    with _door(broken=True) as door:
        door.together.resume()
        assert door.accept(now=10.0) == []
        assert door.accepting == 0
        assert door.together.again_at == 10.0 + PAUSE_S
        door.together.resume()
        assert door.together.again_at is None
        assert door.accept(now=10.5) == []
        assert door.log.count("accept_connections | result: fail | error: cannot accept") == 1
        door.together.resume()
        assert door.accept(now=12.0) == []
        assert door.log.count("accept_connections | result: fail | error: cannot accept") == 2
        first = door.listeners[0]
        assert isinstance(first, _Broken)
        first.broken = False
        door.together.resume()
        with connect("memory://one"):
            (stream,) = door.accept()
            stream.close()


def test_socket_whose_file_was_removed(tmp_path: Path) -> None:
    """It is made anew, accepting or not; what is there instead is left alone, with one line."""
    path = tmp_path / "s"
    with listen(f"unix://{path}") as one:
        door = Door(one)
        door.together.look_after()
        for paused in (True, False):
            if not paused:
                door.together.resume()
            path.unlink()
            path.mkdir()
            for _ in range(3):
                door.together.look_after()
            assert path.is_dir()
            path.rmdir()
            door.together.look_after()
            assert door.accepting == (0 if paused else 1)
            connect(one.url).close()
        assert len(door.selector.select(0)) == 1
        (stream,) = door.accept()
        stream.close()
        lines = [line.partition("action: ")[2].partition(" | url")[0] for line in door.log.splitlines()]
        assert lines == ["open_listener | result: fail", "open_listener | result: success"] * 2
        path.unlink()
        door.together.close()
        door.together.look_after()
        assert not path.exists()
        door.selector.close()


def test_closing_is_for_good() -> None:
    """Every listener is closed with a line, once; `resume` afterwards does nothing."""
    with _door() as door:
        door.together.resume()
        door.together.close()
        door.together.close()
        assert door.accepting == 0
        assert [listener.fileno() for listener in door.listeners] == [-1, -1]
        door.together.resume()
        assert door.accepting == 0
        assert door.accept() == []
        assert door.log.count("close_listener | result: success | url: memory://") == 2


def test_closing_while_paused() -> None:
    """There is nothing to resume any more."""
    with _door(broken=True) as door:
        door.together.resume()
        door.accept()
        door.together.close()
        assert door.together.again_at is None
        assert door.accepting == 0


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """This process may have 200 descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield 200
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_last_descriptors_are_for_the_store(few_descriptors: int) -> None:
    """Connections stay in the queue once only the spare ones are left, and come in when some are given back."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(listen("tcp://127.0.0.1:0"))
        door = Door(listener)
        opened.callback(door.selector.close)
        opened.callback(door.together.close)
        door.together.resume()
        for _ in range(3):
            opened.enter_context(connect(listener.url))
        while (last := os.open(os.devnull, os.O_RDONLY)) < few_descriptors - SPARE_DESCRIPTORS - 1:
            opened.callback(os.close, last)
        assert door.accept() == []
        assert f"error: the last {SPARE_DESCRIPTORS} descriptors are for the store and for operators" in door.log
        os.close(last)
        door.together.resume()
        (stream,) = door.accept(now=0.5)
        # Operators at every place that there is for them, and what a store opens.
        spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(MAX_OPERATORS + 8)]
        door.together.resume()
        assert door.accept(now=5.0) == []
        assert "error: no descriptor is left: Too many open files" in door.log
        for descriptor in spare:
            os.close(descriptor)
        stream.close()
