"""A running server behind TLS: handshakes that take their time, certificates, and bytes that no selector sees."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bets_protocol import RejectCode
from bets_protocol.transports import TlsFiles, parse_url
from bets_server.limits import Limits
from tests.certificates import Authority
from tests.server.serving import Clock, RawClient, Server, Servers, wait_until
from tests.server.wire import (
    ACK_0,
    STATUS_BYTES,
    WINNING,
    ask,
    batch,
    bet,
    bets,
    document,
    opening,
    status,
    winners,
)

ROOMY = {"max_per_agency": 1000, "max_per_address": 1000}


@contextlib.contextmanager
def _stranger(server: Server, *data: bytes) -> Iterator[socket.socket]:
    """A peer that connects, and says this much of a handshake."""
    url = parse_url(server.url)
    with socket.create_connection((url.host, url.port or 0), timeout=20) as sock:
        sock.sendall(b"".join(data))
        yield sock


def _in_background(do: Callable[[], RawClient]) -> tuple[threading.Thread, list[RawClient]]:
    """Connects in a thread: the handshake needs the server's answer."""
    found: list[RawClient] = []
    thread = threading.Thread(target=lambda: found.append(do()))
    thread.start()
    return thread, found


def test_agency_uploads_and_gets_its_winners(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """As without encryption; for its own bets."""
    server = serve(scheme="tls", files=authority.server(), agencies=5)
    client = server.client(agency)
    assert client.exchange(batch(bet(1, agency=5, number=WINNING), bet(2, agency=5))) == b"\x02"
    for number in range(1, 5):
        server.client(authority.agency(number)).send(ask(number))
    assert client.exchange(ask(5), size=10) == winners(document(1))
    assert server.stored == [document(1), document(2)]


def test_certificate_of_another_agency(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """A single bet of another agency refuses the batch; a question for its winners ends the connection."""
    server = serve(scheme="tls", files=authority.server(), agencies=6)
    client = server.client(agency)
    assert client.exchange(batch(bet(1, agency=5), bet(2, agency=6))) == ACK_0
    assert client.exchange(batch(bet(3, agency=5))) == b"\x01"
    client.send(ask(6))
    assert client.read_to_end() == b""
    assert server.stored == [document(3)]
    assert server.store.state().sealed == set()
    error = "error: the certificate speaks for agency 5 only"
    assert server.logged(f"apuesta_recibida | result: fail | cantidad: 2 | {error}") == 1
    assert server.logged(f"consulta_ganadores | result: fail | ip: 127.0.0.1 | {error}") == 1


def test_certificate_of_nobody_may_probe(serve: Servers, authority: Authority) -> None:
    """And nothing else."""
    server = serve(scheme="tls", files=authority.server())
    files = authority.issue("monitor", purposes=("client",))
    assert server.client(files).send_and_end(b"hello\n") == b"hello\n"
    assert server.client(files).exchange(batch(bet(1))) == ACK_0
    error = "apuesta_recibida | result: fail | cantidad: 1 | error: the certificate speaks for no agency"
    assert server.logged(error) == 1


def _fingerprint(files: TlsFiles) -> str:
    assert files.cert is not None
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(files.cert.read_text())).hexdigest()


def _pin(server: Server, pins: Mapping[str, int]) -> None:
    """The server takes other pins."""
    taken = threading.Event()
    server.reactor.call(lambda: server.reactor.renew_pins(pins))
    server.reactor.call(taken.set)
    assert taken.wait(20)


def test_pins(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """They count from then on; a connection that speaks for the same agency by the new ones goes on."""
    server = serve(scheme="tls", files=authority.server())
    before = server.client(agency)
    assert before.exchange(batch(bet(1, agency=5))) == b"\x01"
    good = {_fingerprint(agency): 5}
    _pin(server, good)
    assert before.exchange(batch(bet(2, agency=5))) == b"\x01"
    _pin(server, {})
    assert server.client(agency).exchange(batch(bet(3, agency=5))) == ACK_0
    _pin(server, good)
    assert server.client(agency).exchange(batch(bet(4, agency=5))) == b"\x01"


def test_open_connections_of_a_revoked_certificate(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """Each is told so, where it has an upload, and ends, also one that waits for the draw; those of others go on."""
    server = serve(scheme="tls", files=authority.server(), agencies=5)
    other = authority.agency(1)
    uploading, waiting, idle, others = (server.client(files) for files in (agency, authority.agency(4), agency, other))
    assert uploading.exchange(opening(2, agency=5), size=STATUS_BYTES) == status(0)
    assert uploading.exchange(batch(bet(1, agency=5)), size=STATUS_BYTES) == status(0, bet(1, agency=5))
    assert waiting.exchange(opening(0, agency=4), ask(4), size=2 * STATUS_BYTES) == status(0) * 2
    assert idle.exchange(b"hello\n", size=6) == b"hello\n"
    assert others.exchange(batch(bet(2))) == b"\x01"
    _pin(server, {_fingerprint(other): 1, _fingerprint(agency): 4})
    assert uploading.read_to_end() == status(RejectCode.NOT_AUTHORIZED, bet(1, agency=5))
    assert waiting.read_to_end() == status(RejectCode.NOT_AUTHORIZED)
    assert idle.read_to_end() == b""
    assert others.exchange(batch(bet(3))) == b"\x01"
    error = "error: its certificate speaks for no agency now"
    assert server.logged(f"close_connection | result: fail | ip: 127.0.0.1 | {error}") == 2  # one for each agency


def test_revoked_while_its_batch_is_in_work(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """It gets the answer to that, and nothing more of it is stored."""
    server = serve(scheme="tls", files=authority.server())
    client = server.client(agency)
    server.store.gate.clear()
    client.send(batch(bet(1, agency=5)))
    assert server.store.inside.wait(20)
    client.send(batch(bet(2, agency=5)))
    _pin(server, {})
    server.store.gate.set()
    assert client.read_to_end() == b"\x01"
    assert server.stored == [document(1)]


def test_frames_that_come_in_one_piece(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """What the stream has decrypted is read on although no selector sees it; four times the read-ahead."""
    server = serve(scheme="tls", files=authority.server(), limits=Limits())
    client = server.client(agency)
    frame = batch(*bets(range(200), agency=5))
    count = 4 * 65_536 // len(frame)
    client.stream.set_timeout(0)  # what is sent in the end, no later event makes the server look for
    data, sent = frame * count, 0

    def all_sent() -> bool:
        nonlocal sent
        sent += client.stream.send(data[sent:])
        return sent == len(data) and not client.stream.needs_write

    wait_until(all_sent, "everything has left")
    client.stream.set_timeout(20)
    assert client.read(count) == b"\xc8" * count


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01"], ids=["silent", "begun"])
def test_handshake_that_is_never_done(serve: Servers, authority: Authority, hello: bytes) -> None:
    """It has five seconds, whether it has begun or not."""
    clock = Clock()
    server = serve(scheme="tls", files=authority.server(), clock=clock, limits=Limits())
    with _stranger(server, hello) as sock:
        wait_until(lambda: len(server.reactor.connections()) == 1, "it is in")
        wait_until(lambda: server.handshakes == bool(hello), "its handshake has begun")
        clock.pass_s(4.9, server)
        clock.pass_s(0.0, server)
        assert server.logged("close_connection") == 0
        clock.pass_s(0.2, server)
        assert sock.recv(100) == b""
    assert (
        server.logged("close_connection | result: fail | ip: 127.0.0.1 | error: the handshake was not done in time")
        == 1
    )


def test_plain_bytes(serve: Servers, authority: Authority) -> None:
    """They are refused, and the line says what they are."""
    server = serve(scheme="tls", files=authority.server())
    with _stranger(server, batch(bet(1))) as sock:
        sock.recv(100)
    refusal = "accept_connections | result: fail | ip: 127.0.0.1 | error: cannot talk TLS with 127.0.0.1:"
    wait_until(lambda: server.logged(refusal), "the refusal")
    assert server.stored == []


def test_handshakes_wait_their_turn(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """One a second is allowed: the second one waits, and is served like the first."""
    clock = Clock()
    limits = Limits(handshakes_per_second=1, **ROOMY)
    server = serve(scheme="tls", files=authority.server(), clock=clock, limits=limits)
    assert server.client(agency).exchange(batch(bet(1, agency=5))) == b"\x01"
    thread, found = _in_background(lambda: server.client(agency))
    wait_until(lambda: any(session.held for session in server.sessions), "it has to wait")
    assert found == []
    clock.pass_s(1.1, server)
    thread.join(20)
    assert found[0].exchange(batch(bet(2, agency=5))) == b"\x01"


def test_slow_handshakes_give_way(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """All places are taken by peers that stop in the middle: after a second the oldest loses its place."""
    clock = Clock()
    limits = Limits(max_handshakes=2, **ROOMY)
    server = serve(scheme="tls", files=authority.server(), clock=clock, limits=limits)
    with _stranger(server, b"\x16\x03\x01") as first:
        wait_until(lambda: len(server.reactor.connections()) == 1, "the first is in")
        clock.pass_s(0.1, server)
        with _stranger(server, b"\x16\x03\x01"):
            wait_until(lambda: server.handshakes == 2, "both have begun")
            thread, found = _in_background(lambda: server.client(agency))
            wait_until(lambda: any(s.held for s in server.sessions), "the third has to wait")
            clock.pass_s(1.0, server)
            thread.join(20)
            assert found[0].exchange(batch(bet(1, agency=5))) == b"\x01"
            assert first.recv(100) == b""
    reason = "its handshake was slow, and others waited"
    assert server.logged(f"close_connection | result: fail | ip: 127.0.0.1 | error: {reason}") == 1


def test_reload(serve: Servers, authority: Authority, agency: TlsFiles, tmp_path: Path) -> None:
    """New certificates are for connections from then on; those that are open go on."""
    ours = authority.server()
    files = TlsFiles(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem", ca=tmp_path / "ca.pem")

    def install(source: TlsFiles) -> None:
        for old, new in ((source.cert, files.cert), (source.key, files.key), (source.ca, files.ca)):
            assert old is not None
            assert new is not None
            new.touch(mode=0o600)
            new.write_bytes(old.read_bytes())

    install(ours)
    server = serve(scheme="tls", files=files)
    before = server.client(agency)
    assert before.exchange(batch(bet(1, agency=5))) == b"\x01"
    other = Authority(tmp_path / "other")
    install(other.server())
    reloaded = threading.Event()
    assert server.tls is not None
    server.reactor.call(server.tls.reload)
    server.reactor.call(reloaded.set)
    assert reloaded.wait(20)
    assert server.client(other.agency(5)).exchange(batch(bet(2, agency=5))) == b"\x01"
    assert before.exchange(batch(bet(3, agency=5))) == b"\x01"


def test_stop(serve: Servers, authority: Authority, agency: TlsFiles) -> None:
    """Who waits for the draw hears an orderly end; handshakes hold nothing up."""
    server = serve(scheme="tls", files=authority.server(), agencies=2)
    client = server.client(agency)
    client.send(batch(bet(1, agency=5)), ask(5))
    wait_until(lambda: server.store.state().sealed == {5}, "agency 5 is sealed")
    with _stranger(server, b"\x16\x03\x01"):
        wait_until(lambda: len(server.reactor.connections()) == 2, "the stranger is in")
        server.stop()
    assert client.read_to_end() == b"\x01"
