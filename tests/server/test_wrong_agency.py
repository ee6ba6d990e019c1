"""A server behind TLS and peers that do not belong: what they say of another agency, and what they prove or do not.

Whatever they try: code 3, Ack 0, the end of the connection, or no handshake at all; nothing of it is stored, and the
agency that they meant is neither sealed nor fenced.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest

from bets_protocol import RejectCode, TransportError
from bets_protocol.transports import TlsFiles, parse_url
from bets_server.limits import Limits
from tests.certificates import Authority
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import ACK_0, STATUS_BYTES, ask, batch, bet, bets, document, opening, status

DAY = datetime.timedelta(days=1)
REFUSED = status(RejectCode.NOT_AUTHORIZED)


@pytest.fixture
def server(serve: Servers, authority: Authority) -> Server:
    """A server that waits for six agencies."""
    return serve(scheme="tls", files=authority.server(), agencies=6)


@pytest.fixture
def six(server: Server, authority: Authority) -> Iterator[RawClient]:
    """Agency 6, in the middle of an upload; afterwards it goes on as if nothing had been."""
    client = server.client(authority.agency(6))
    assert client.exchange(opening(3, agency=6, name=b"6"), size=STATUS_BYTES) == status(0)
    first, second, third = bets(range(601, 604), agency=6)
    assert client.exchange(batch(first), size=STATUS_BYTES) == status(0, first)
    yield client
    assert client.exchange(batch(second, third), size=STATUS_BYTES) == status(0, first, second, third)
    assert server.store.state().sealed == set()
    assert [row for row in server.stored if row > document(600)] == [document(row) for row in (601, 602, 603)]


HUNDRED = [bet(row, agency=6 if row == 57 else 5) for row in range(100)]
"""Bets of agency 5, and one of agency 6."""


@pytest.mark.usefixtures("six")
def test_certificate_of_another_agency_on_revision_9(server: Server, authority: Authority) -> None:
    """Code 3 to whoever opens, sends one bet in a hundred, or asks, for another agency; then the end."""
    five = authority.agency(5)
    for name in (b"6", b"x"):  # that of agency 6, and one that nobody has
        assert server.client(five).send_and_end(opening(3, agency=6, name=name)) == REFUSED
    own = server.client(five)
    own.send(opening(101, agency=5), batch(bet(7, agency=5)), batch(*HUNDRED), batch(bet(8, agency=5)))
    kept = bet(7, agency=5)
    assert own.read_to_end() == status(0) + status(0, kept) + status(RejectCode.NOT_AUTHORIZED, kept)
    asking = server.client(five)
    asking.send(opening(0, agency=5, name=b"b"), ask(6))
    assert asking.read_to_end() == status(0) + REFUSED
    assert [row for row in server.stored if row < document(600)] == [document(7)]
    assert server.logged("open_upload | result: fail | ip: 127.0.0.1 | agencia: 6 | total: 3 | error: the certif") == 2


def test_upload_of_another_agency_is_not_found_by_its_id(server: Server, six: RawClient, authority: Authority) -> None:
    """Agency 5 that names the id of agency 6's upload has an upload of its own: agency 6 is not fenced."""
    five = server.client(authority.agency(5))
    assert five.exchange(opening(3, agency=5, name=b"6"), size=STATUS_BYTES) == status(0)
    assert five.exchange(batch(bet(7, agency=5)), size=STATUS_BYTES) == status(0, bet(7, agency=5))
    assert six.pending is None
    assert {upload.agency: upload.stored for upload in server.store.uploads()} == {5: 1, 6: 1}


def test_certificate_of_another_agency_on_revision_8(server: Server, authority: Authority) -> None:
    """Ack 0 for one bet in a hundred, and the end for a question; either agency goes on with its own."""
    five = server.client(authority.agency(5))
    assert five.exchange(batch(*HUNDRED), batch(bet(7, agency=6)), batch(bet(8, agency=5)), size=3) == ACK_0 * 2 + b"\1"
    five.send(ask(6))
    assert five.read_to_end() == b""
    assert server.stored == [document(8)]
    assert server.client(authority.agency(6)).exchange(batch(bet(9, agency=6))) == b"\x01"
    assert server.store.state().sealed == set()


def test_another_agency_takes_no_place_of_its_own(serve: Servers, authority: Authority) -> None:
    """Whatever a client says, its connection counts with the agency of its certificate: in the status, also before it
    says anything, and where the connections of one agency are bounded."""
    server = serve(scheme="tls", files=authority.server(), agencies=6, limits=Limits(max_per_agency=1))
    five, silent = server.client(authority.agency(5)), server.client(authority.agency(4))
    wait_until(lambda: sorted(map(str, server.reactor.connections())) == ["4", "5"], "both are known")
    assert five.exchange(batch(bet(1, agency=6))) == ACK_0
    assert sorted(map(str, server.reactor.connections())) == ["4", "5"]
    assert server.client(authority.agency(6)).exchange(batch(bet(2, agency=6))) == b"\x01"
    assert set(server.reactor.silences()) == {5, 6}
    silent.close()


NOBODY = {
    "no name": (),
    "a host": ("localhost", "127.0.0.1"),
    "two agencies": ("urn:bets:agency:5", "urn:bets:agency:6"),
    "the same twice": ("urn:bets:agency:6", "urn:bets:agency:6"),
    "agency 0": ("urn:bets:agency:0",),
    "agency 256": ("urn:bets:agency:256",),
    "agency 06": ("urn:bets:agency:06",),
    "more behind it": ("urn:bets:agency:6:admin",),
    "something else": ("urn:bets:agent:6",),
}


@pytest.mark.usefixtures("six")
def test_certificates_that_speak_for_nobody(server: Server, authority: Authority) -> None:
    """They are let in, and may probe: whatever concerns an agency is refused, any agency."""
    for name, identities in NOBODY.items():
        files = authority.issue(name.replace(" ", "-"), *identities, purposes=("client",))
        assert server.client(files).send_and_end(b"hello\n") == b"hello\n", name
        for agency in (1, 5, 6):
            assert server.client(files).send_and_end(opening(3, agency=agency, name=b"6")) == REFUSED, name
        batches = server.client(files)
        assert batches.send_and_end(batch(bet(1, agency=6)), batch(bet(2))) == ACK_0 * 2, name
        asking = server.client(files)
        asking.send(ask(6))
        assert asking.read_to_end() == b"", name
    assert server.stored == [document(601)]


def _old(newest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that takes any server, and speaks nothing newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    return context


NOT_LET_IN = ("nothing", "another authority's", "expired", "not yet valid", "a server's", "TLS 1.1", "TLS 1.2")


def _context(case: str, authority: Authority, stranger: Authority) -> ssl.SSLContext:
    newest = {"TLS 1.1": ssl.TLSVersion.TLSv1_1, "TLS 1.2": ssl.TLSVersion.TLSv1_2}
    context = _old(newest.get(case, ssl.TLSVersion.TLSv1_3))
    files = {
        "another authority's": lambda: stranger.agency(6),
        "expired": lambda: authority.issue("expired", "urn:bets:agency:6", starts=-2 * DAY, ends=-DAY),
        "not yet valid": lambda: authority.issue("early", "urn:bets:agency:6", starts=DAY, ends=2 * DAY),
        "a server's": authority.server,
    }.get(case, lambda: authority.agency(6))()
    if case != "nothing":
        assert files.cert is not None
        context.load_cert_chain(files.cert, files.key)
    return context


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("case", NOT_LET_IN)
def test_who_is_not_let_in(server: Server, authority: Authority, stranger: Authority, case: str) -> None:
    """A handshake that fails, and a line that says so; what was said at once behind it is heard by nobody."""
    said = opening(3, agency=6, name=b"6") + batch(bet(1, agency=6)) + ask(6)
    heard = b""
    with (
        _connected(server) as sock,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        _context(case, authority, stranger).wrap_socket(sock) as wrapped,
    ):
        wrapped.sendall(said)
        heard = wrapped.recv(100)
    assert heard == b""
    _wait_for_refusal(server)
    assert server.stored == [document(601)]


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("said", [b"hello\n", batch(bet(1, agency=6)) + ask(6), opening(3, agency=6, name=b"6")])
def test_plain_bytes_on_the_port_of_tls(server: Server, said: bytes) -> None:
    """They are no handshake."""
    heard = b""
    with _connected(server) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(said)
        while data := sock.recv(100):
            heard += data
    assert heard[:1] in (b"", b"\x15"), "only an alert of TLS"
    _wait_for_refusal(server)
    assert server.stored == [document(601)]


def test_a_client_without_encryption_is_told_nothing(server: Server, authority: Authority) -> None:
    """A certificate that only the other end lacks is no way in either: without one there is not even a probe."""
    assert authority.ca is not None
    with pytest.raises(TransportError):
        server.client(TlsFiles(ca=authority.ca)).send_and_end(b"hello\n")


def _connected(server: Server) -> socket.socket:
    url = parse_url(server.url)
    return socket.create_connection((url.host, url.port or 0), timeout=20)


def _wait_for_refusal(server: Server) -> None:
    """The line of the refusal, and only that."""
    refusal = "accept_connections | result: fail | ip: 127.0.0.1 | error: cannot talk TLS with 127.0.0.1:"
    wait_until(lambda: server.logged(refusal) == 1, "the refusal")
