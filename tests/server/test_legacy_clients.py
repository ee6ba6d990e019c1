"""How clients of old behave, and what the server makes of it, on revisions 5 to 8."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bets_server.limits import Limits
from tests.server.serving import DEADLINE_S, Server, Servers, wait_until
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, document, untyped_batch, winners

FLOODER = "127.0.0.2"
"""An address of its own, as every agency has one in a network of containers."""


def _message(revision: int, row: int, *, number: int = 1) -> bytes:
    """One bet, as the revision hands it in."""
    one = bet(row, number=number)
    return {5: one, 6: untyped_batch(one)}.get(revision, batch(one))


def _serve(serve: Servers, revision: int, **options: object) -> Server:
    return serve(revision=revision if revision < 7 else 9, **options)


@pytest.mark.parametrize("revision", [5, 6, 7])
def test_a_connection_for_each_batch(serve: Servers, revision: int) -> None:
    """Many connections, one after the other, by a client that waits for the server to end them where it does."""
    server = _serve(serve, revision)
    for row in range(30):
        with socket.create_connection(("127.0.0.1", _port(server)), timeout=DEADLINE_S) as client:
            client.sendall(_message(revision, row))
            assert client.recv(1) == b"\x01"
            if revision < 7:
                assert client.recv(1) == b""
    assert server.stored == [document(row) for row in range(30)]
    wait_until(lambda: not server.reactor.connections(), "all connections are gone")


@pytest.mark.parametrize("revision", [5, 6, 7, 8])
def test_closing_without_reading(serve: Servers, revision: int) -> None:
    """Whoever sends and closes at once has its bets stored; nobody is hurt, also not by those that close hard."""
    server = _serve(serve, revision)
    for row in range(6):
        client = server.client()
        client.send(_message(revision, row))
        wait_until(lambda: _lines_about_bets(server) > row, "it is stored")  # noqa: B023 - called at once
        client.reset() if row % 2 else client.close()
    assert server.client().exchange(_message(revision, 99)) == b"\x01"
    assert server.stored == [document(row) for row in (*range(6), 99)]
    assert [line for line in server.lines if "result: fail" in line] == []


def test_asking_and_closing_without_reading(serve: Servers) -> None:
    """An agency that asks and is gone has asked: the draw waits for nobody else, and the winners are there later."""
    server = serve(agencies=1)
    assert server.client().exchange(batch(bet(1, number=WINNING))) == b"\x01"
    gone = server.client()
    gone.send(ask(1))
    wait_until(lambda: server.logged("sorteo | result: success"), "the draw")
    gone.reset()
    assert server.client().exchange(ask(1), size=10) == winners(document(1))


@pytest.mark.parametrize("revision", [5, 6, 7])
def test_the_first_byte_in_a_segment_of_its_own(serve: Servers, revision: int) -> None:
    """The rest comes when others have been served meanwhile."""
    server = _serve(serve, revision)
    client, other = server.client(), server.client()
    data = _message(revision, 1)
    client.send(data[:1])
    assert other.exchange(_message(revision, 2)) == b"\x01"
    client.send(data[1:])
    assert client.read(1) == b"\x01"
    assert server.stored == [document(2), document(1)]


def _lines_about_bets(server: Server) -> int:
    """A line for each bet that was handed in by itself."""
    return server.logged("apuesta_almacenada | result: success")


def _port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


class Flooder:
    """A client that sends a refused batch again, at once and for ever, each time on a new connection."""

    def __init__(self, port: int, data: bytes) -> None:
        self.answers = 0
        self._port = port
        self._data = data
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            address = ("127.0.0.1", self._port)
            with socket.create_connection(address, timeout=DEADLINE_S, source_address=(FLOODER, 0)) as sock:
                sock.sendall(self._data)
                assert sock.recv(1) == ACK_0
                self.answers += 1

    def end(self) -> None:
        """It gives up at last."""
        self._ended.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("revision", [5, 6, 7])
def test_retrying_for_ever_after_a_refusal(serve: Servers, revision: int) -> None:
    """It is refused once a second, with a line for its connection; and others of its address do not notice."""
    limits = Limits(complaints_per_minute=5, penalty_s=0.2)
    server = _serve(serve, revision, limits=limits)
    began = time.monotonic()
    flooder = Flooder(_port(server), _message(revision, 1, number=65_535))
    try:
        wait_until(lambda: flooder.answers > limits.complaints_per_minute + 1, "it was made to wait")
        for row in range(20):
            address = ("127.0.0.1", _port(server))
            with socket.create_connection(address, timeout=DEADLINE_S, source_address=(FLOODER, 0)) as honest:
                honest.sendall(_message(revision, row))
                assert honest.recv(1) == b"\x01"
    finally:
        flooder.end()
    patience = (time.monotonic() - began) / limits.penalty_s
    at_most = limits.complaints_per_minute + 2 + patience
    assert flooder.answers <= at_most
    assert server.stored == [document(row) for row in range(20)]
    about_it = [line for line in server.lines if FLOODER in line or "result: fail" in line]
    # A line for each connection, and for each refusal up to the limit, and for their ends.
    lines = [line for line in about_it if "close_connection" not in line]
    assert len(lines) - 20 <= at_most + limits.complaints_per_minute
