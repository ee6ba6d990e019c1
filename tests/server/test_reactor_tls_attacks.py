"""A running server and peers that misuse TLS: handshakes that are none, records that hold nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bets_protocol.transports import TlsFiles, parse_url
from bets_server.limits import Limits
from tests.certificates import Authority
from tests.server.serving import DEADLINE_S, Clock, RawClient, Server, Servers, wait_until
from tests.server.wire import ask, batch, bet
from tests.tls_records import Forger, client_hello, forging_context

GARBAGE = b"\x16\x03\x01\x00\x05hello"
FEW = Limits(handshakes_per_second=1, max_per_agency=1000, max_per_address=1000, complaints_per_minute=3)
"""Of handshakes: where the clock stands still, a single one."""


@contextlib.contextmanager
def _stranger(server: Server, data: bytes, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A peer that connects, and says this."""
    url = parse_url(server.url)
    source = (address, 0)
    with socket.create_connection((url.host, url.port or 0), timeout=DEADLINE_S, source_address=source) as sock:
        sock.sendall(data)
        yield sock


def _heard(sock: socket.socket) -> bytes:
    """All that the server says until it ends or breaks the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65_536):
            found += data
    return found


def _held(server: Server) -> int:
    """Connections that wait for their turn."""
    return sum(session.held for session in server.sessions)


def _in_background(do: Callable[[], RawClient]) -> tuple[threading.Thread, list[RawClient]]:
    found: list[RawClient] = []
    thread = threading.Thread(target=lambda: found.append(do()))
    thread.start()
    return thread, found


def test_who_changes_keys_without_end_is_cut(
    serve: Servers, authority: Authority, agency: TlsFiles, tmp_path: Path
) -> None:
    """Also while it waits for the draw, which has no deadline; what it asked for counts, and others are served."""
    server = serve(scheme="tls", files=authority.server(), agencies=2)
    context = forging_context(server=False, version=ssl.TLSVersion.TLSv1_3, files=(str(agency.cert), str(agency.key)))
    with _stranger(server, b"") as sock:
        forger = Forger(sock, context, tmp_path / "keys", server_name="localhost")
        sock.sendall(forger.record(ask(5)))
        wait_until(lambda: server.store.state().sealed == {5}, "agency 5 is sealed")
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"".join(forger.key_update() for _ in range(1000)))
        wait_until(lambda: server.reactor.connections() == [], "it is cut")
        assert forger.receive() == b""
    assert server.client(authority.agency(1)).exchange(batch(bet(1))) == b"\x01"


def test_what_is_no_handshake_takes_no_turn(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """Garbage, plain bytes, a byte and the end: nobody has to wait for those, however few handshakes may begin."""
    server = serve(scheme="tls", files=authority.server(), clock=Clock(), limits=FEW)
    for data in (GARBAGE, batch(bet(1)), b"\x16", GARBAGE):
        with _stranger(server, data) as sock:
            sock.shutdown(socket.SHUT_WR)
            _heard(sock)
    assert server.client(agency).exchange(batch(bet(2, agency=5))) == b"\x01"


def test_what_fails_behind_a_good_beginning_takes_its_turn(serve: Servers, authority: Authority) -> None:
    """It has cost as much as any other, also where both came in one piece: the next one waits."""
    server = serve(scheme="tls", files=authority.server(), clock=Clock(), limits=FEW)
    with _stranger(server, client_hello() + GARBAGE) as sock:
        _heard(sock)
    with _stranger(server, client_hello()):
        wait_until(lambda: _held(server) == 1, "it has to wait")


def test_peers_that_misbehave_shake_hands_last(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """Although they came last, and the newest goes first."""
    clock = Clock()
    server = serve(scheme="tls", files=authority.server(), clock=clock, limits=FEW)
    other = "127.0.0.2"
    for _ in range(FEW.complaints_per_minute + 1):
        with _stranger(server, GARBAGE, other) as sock:
            _heard(sock)
    assert server.client(agency).exchange(batch(bet(1, agency=5))) == b"\x01"
    thread, found = _in_background(lambda: server.client(agency))
    wait_until(lambda: _held(server) == 1, "the next one has to wait")
    with _stranger(server, client_hello(), other) as sock:
        wait_until(lambda: _held(server) == 2, "the stranger, too")
        clock.now += 1
        server.reactor.wake()
        thread.join(DEADLINE_S)
        assert found[0].exchange(batch(bet(2, agency=5))) == b"\x01"
        assert _held(server) == 1
        clock.now += 1
        server.reactor.wake()
        assert sock.recv(1) == b"\x16"


def test_stop_shakes_no_hands(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """Whoever waits for a handshake is not given one on the way out."""
    server = serve(scheme="tls", files=authority.server(), clock=Clock(), limits=FEW)
    assert server.client(agency).exchange(batch(bet(1, agency=5))) == b"\x01"
    with contextlib.ExitStack() as waiting:
        socks = [waiting.enter_context(_stranger(server, client_hello())) for _ in range(3)]
        wait_until(lambda: _held(server) == 3, "all have to wait")
        server.stop()
        assert [_heard(sock) for sock in socks] == [b""] * 3
