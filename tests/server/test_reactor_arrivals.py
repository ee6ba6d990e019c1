"""A running server and the lines of new connections: each has one, in order, and those of health checks are DEBUG."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bets_protocol.transports import TlsFiles
from bets_server.health import is_healthy
from bets_server.limits import Limits
from bets_server.reactor.answer_log import ARRIVAL_S
from tests.certificates import Authority
from tests.server.serving import Clock, Server, Servers, wait_until
from tests.server.wire import ACK_0, batch, bet

ACCEPTED = "accept_connections | result: success"
HEALTH = b"zzzz health 0123456789abcdef\n"


def _levels(server: Server) -> list[str]:
    """Of each line: its level, its action, its result."""
    found = []
    for line in server.raw_log.splitlines():
        _, _, level, text = line.split(maxsplit=3)
        action, result = (field.partition(": ")[2] for field in text.split(" | ")[:2])
        found.append(f"{level} {action} {result}")
    return found


def _lines_of_others(server: Server) -> list[str]:
    return [line for line in _levels(server) if not line.startswith("DEBUG")]


@pytest.mark.parametrize("scheme", ["tcp", "unix", "tls"])
def test_health_check(serve: Servers, authority: Authority, scheme: str) -> None:
    """Nothing of it stands in a log at the level INFO; at DEBUG all of it does."""
    files: TlsFiles | None = authority.server() if scheme == "tls" else None
    server = serve(scheme=scheme, files=files, clock=Clock())
    transports = {"tls": authority.both_ends()} if scheme == "tls" else None
    for _ in range(3):
        assert is_healthy(server.url, transports=transports) == (True, "")
    wait_until(lambda: server.logged("close_connection") == 3, "all have gone")
    wanted = ["DEBUG accept_connections success", "DEBUG receive_message success", "DEBUG close_connection success"]
    assert [line for line in _levels(server) if "listener" not in line] == wanted * 3


@pytest.mark.parametrize("revision", [5, 6])
def test_health_check_of_an_old_revision(serve: Servers, revision: int) -> None:
    """It is refused there, and no error for all that: neither in the log nor when errors are counted."""
    server = serve(revision=revision, clock=Clock(), limits=Limits(complaints_per_minute=2))
    with ThreadPoolExecutor(4) as pool:  # each takes a second
        assert list(pool.map(is_healthy, [server.url] * 4)) == [(True, "")] * 4
    assert _lines_of_others(server) == []
    wrong = server.client()
    assert wrong.exchange(b"zzzz") == ACK_0
    assert _lines_of_others(server) == ["INFO accept_connections success", "ERROR receive_message fail"]


@pytest.mark.parametrize("line", [b"hello\n", b"zzzz health\n", HEALTH.upper(), b" " + HEALTH])
def test_other_probes(serve: Servers, line: bytes) -> None:
    """Their lines are as they were: both at the level INFO, the connection first."""
    server = serve()
    assert server.client().send_and_end(line) == line
    assert _lines_of_others(server) == ["INFO accept_connections success", "INFO receive_message success"]


def test_lines_come_in_the_order_of_connections(serve: Servers) -> None:
    """Before all others of their connection; one that says nothing has its line when a later one speaks."""
    server = serve(clock=Clock())
    silent = server.client()
    wait_until(lambda: len(server.reactor.connections()) == 1, "it is in")
    assert server.logged(ACCEPTED) == 0
    assert is_healthy(server.url) == (True, "")
    assert _lines_of_others(server) == []
    assert server.client().exchange(batch(bet(1))) == b"\x01"
    stored = ["INFO apuesta_almacenada success", "INFO apuesta_recibida success"]
    wait_until(lambda: server.logged("apuesta_recibida") == 1, "the batch has its line")
    assert _lines_of_others(server) == ["INFO accept_connections success"] * 2 + stored
    assert silent.exchange(batch(bet(2))) == b"\x01"
    assert server.logged(ACCEPTED) == 3


def test_silent_connection(serve: Servers) -> None:
    """It has its line a second later, or when it closes."""
    clock = Clock()
    server = serve(clock=clock)
    server.client()
    gone = server.client()
    wait_until(lambda: len(server.reactor.connections()) == 2, "they are in")
    assert server.logged(ACCEPTED) == 0
    clock.pass_s(ARRIVAL_S, server)
    wait_until(lambda: server.logged(ACCEPTED) == 2, "a second has passed")
    gone.close()
    server.client().close()
    wait_until(lambda: server.logged("close_connection") == 2, "two have gone")
    assert _levels(server)[-2:] == ["INFO accept_connections success", "DEBUG close_connection success"]


def test_silent_connections_at_a_stop(serve: Servers) -> None:
    """They have their lines before those of their closing."""
    server = serve(clock=Clock())
    for _ in range(3):
        server.client()
    wait_until(lambda: len(server.reactor.connections()) == 3, "they are in")
    server.stop()
    lines = [line for line in _levels(server) if "connection" in line]
    assert lines == ["INFO accept_connections success", "INFO close_connection success"] * 3


def test_connection_that_is_cut(serve: Servers) -> None:
    """Its line comes before that of its end."""
    clock = Clock()
    server = serve(clock=clock)
    server.client()
    wait_until(lambda: len(server.reactor.connections()) == 1, "it is in")
    clock.pass_s(20, server)
    wait_until(lambda: server.logged("close_connection | result: fail") == 1, "it is cut")
    assert _lines_of_others(server) == ["INFO accept_connections success", "WARNING close_connection fail"]


def test_socket_whose_file_was_removed(serve: Servers) -> None:
    """The server listens there anew, and serves on those that were connected."""
    server = serve(scheme="unix", limits=Limits(heartbeat_s=0.1))
    early = server.client()
    assert early.exchange(batch(bet(1))) == b"\x01"
    path = Path(server.url.removeprefix("unix://"))
    path.unlink()
    wait_until(lambda: server.logged("open_listener | result: success") == 1, "it is made anew")
    assert path.is_socket()
    assert is_healthy(server.url) == (True, "")
    assert early.exchange(batch(bet(2))) == b"\x01"
