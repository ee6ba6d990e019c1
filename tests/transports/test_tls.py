"""TLS: who gets in and who does not, and what both sides hear of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from bets_protocol import ConnectError, ReadError, TransportError, WriteError
from bets_protocol.testing._driving import End, accept, drive, in_background, wait_readable
from bets_protocol.transports import (
    AuthenticationError,
    HandshakeError,
    PeerCertificate,
    Stream,
    TlsFiles,
    TlsTransport,
    connect,
    listen,
    parse_url,
)
from bets_protocol.transports.tcp import SocketAddress, TcpTransport
from bets_protocol.transports.tls.transport import _name_of
from tests.certificates import DAY, LOOPBACK, Authority
from tests.foreign import FOREIGN, PROXY_2
from tests.transports.tls_ends import DEADLINE_S, accepted, connected, failure_of, listening, paired, raw_client


def test_both_ends_prove_who_they_are(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """Each has the other's certificate: its URIs, the SHA-256 of it, until when it is valid."""
    with paired(server_files, agency_files) as (client, server):
        assert agency_files.cert is not None
        encoded = ssl.PEM_cert_to_DER_cert(agency_files.cert.read_text())
        shown = server.certificate
        assert shown == PeerCertificate(
            uris=("urn:bets:agency:5",),
            fingerprint=hashlib.sha256(encoded).hexdigest(),
            not_after=shown.not_after if shown else "",
        )
        assert shown.not_after.endswith("Z")
        assert len(shown.not_after) == len("2027-01-31T12:00:00Z")
        assert client.certificate is not None
        assert client.certificate.uris == ()
        assert not client.handshaking


def test_a_fresh_connection_is_handshaking(server_files: TlsFiles) -> None:
    """Until it is over nothing can be received or sent, no certificate is there, and the stream wants to read."""
    with listening(server_files) as listener, raw_client(listener), accepted(listener) as server:
        assert server.handshaking
        assert server.needs_read
        assert not server.needs_write
        assert server.receive() is None
        assert server.send(b"too early") == 0
        assert server.certificate is None
        server.close()
        assert not server.handshaking


REFUSED_CLIENTS = {
    "no certificate": ("it shows no certificate", "it lets nobody in without a certificate"),
    "another authority": ("of another authority than ours (unknown CA)", "it does not know the authority"),
    "expired": ("its certificate has expired", "it says that our certificate has expired"),
    "not valid yet": ("its certificate is not valid yet", "it refuses our certificate"),
    "a server's": ("not meant for this side of a connection", "not meant for this side of a connection"),
}


def files_of(case: str, authority: Authority, stranger: Authority) -> TlsFiles:
    if case == "no certificate":
        return TlsFiles(ca=authority.ca)
    if case == "another authority":
        theirs = stranger.agency(5)
        return TlsFiles(cert=theirs.cert, key=theirs.key, ca=authority.ca)
    if case == "a server's":
        return authority.server()
    starts, ends = (-2 * DAY, -DAY) if case == "expired" else (DAY, 2 * DAY)
    return authority.issue(case, "urn:bets:agency:5", starts=starts, ends=ends)


@pytest.mark.parametrize("minimum", ["1.2", "1.3"])
@pytest.mark.parametrize("case", REFUSED_CLIENTS)
def test_who_does_not_belong_is_refused(case: str, minimum: str, authority: Authority, stranger: Authority) -> None:
    """The server says why in the peer's terms; the client hears it at its first `receive`, each time it asks."""
    of_server, of_client = REFUSED_CLIENTS[case]
    with listening(authority.server(), minimum) as listener:
        future = in_background(lambda: connected(listener, files_of(case, authority, stranger)))
        with accepted(listener) as server:
            refusal = failure_of(server)
            assert isinstance(refusal, AuthenticationError)
            assert of_server in str(refusal)
            assert "127.0.0.1" in str(refusal)
        with future.result(DEADLINE_S) as client:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match=r"cannot receive from 127\.0\.0\.1") as caught:
                    client.receive()
                assert of_client in str(caught.value)


def test_a_client_that_sends_first_hears_why_it_is_refused(authority: Authority, server_files: TlsFiles) -> None:
    """Neither a reset nor what it has sent already hides the reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.load_cert_chain(server_files.cert or "", server_files.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    with listen("tcp://127.0.0.1:0") as listener, contextlib.ExitStack() as stack:
        transport = TlsTransport(TlsFiles(ca=authority.ca))
        url = listener.url.replace("tcp", "tls")
        future = in_background(lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": transport}))
        with accept(listener, None, DEADLINE_S) as server:
            server.set_timeout(DEADLINE_S)
            while not outgoing.pending:
                incoming.write(server.receive() or b"")
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
            server.send_all(outgoing.read())
            client = stack.enter_context(future.result(DEADLINE_S))
            client.set_timeout(0)
            for _ in range(100):
                client.send(bytes(10_000))
            while not outgoing.pending:
                incoming.write(server.receive(100) or b"")
                with contextlib.suppress(ssl.SSLError):
                    tls.do_handshake()
            server.send_all(outgoing.read())
        client.set_timeout(DEADLINE_S)
        with pytest.raises(AuthenticationError, match="it lets nobody in without a certificate"):
            send_for_ever(client)
        with pytest.raises(AuthenticationError, match="it lets nobody in without a certificate"):
            client.receive()


def send_for_ever(stream: Stream) -> None:
    while True:
        stream.send(bytes(10_000))


REFUSED_SERVERS = {
    "another name": "its certificate is for another name",
    "another address": "its certificate is for another address",
    "another authority": "of another authority than ours",
    "expired": "its certificate has expired",
    "an agency's": "not meant for this side of a connection",
}


@pytest.mark.parametrize("case", REFUSED_SERVERS)
def test_a_client_verifies_the_server(case: str, authority: Authority, stranger: Authority) -> None:
    """A server that is not the one of the url, or not of our authority, never gets a byte; the error names the url."""
    if case == "another name":
        files, host = authority.issue("elsewhere", "elsewhere.example", "127.0.0.1"), "localhost"
    elif case == "another address":
        files, host = authority.issue("elsewhere-2", "localhost", "192.0.2.1"), "127.0.0.1"
    elif case == "another authority":
        theirs = stranger.server()
        files, host = TlsFiles(cert=theirs.cert, key=theirs.key, ca=authority.ca), "127.0.0.1"
    elif case == "expired":
        files, host = authority.issue("old", *LOOPBACK, starts=-2 * DAY, ends=timedelta(seconds=-1)), "127.0.0.1"
    else:
        files, host = authority.issue("posing", *LOOPBACK, purposes=("client",)), "127.0.0.1"
    with listening(files) as listener:
        future = in_background(lambda: connected(listener, authority.agency(5), host))
        with accepted(listener) as server:
            refusal = failure_of(server)
            assert isinstance(refusal, HandshakeError | ReadError)
        with pytest.raises(AuthenticationError) as caught:
            future.result(DEADLINE_S)
        assert REFUSED_SERVERS[case] in str(caught.value)
        assert f"cannot connect to tls://{host}:" in str(caught.value)


def test_a_name_and_both_kinds_of_address_are_verified(authority: Authority, agency_files: TlsFiles) -> None:
    """A final dot makes no other name, nor does another spelling of an address make another one."""
    files = authority.issue("many", "bets.example", "127.0.0.1", "::1")
    with listening(files) as listener:
        port = parse_url(listener.url).port or 0

        def resolver(_name: str, _port: int) -> Sequence[SocketAddress]:
            return [(socket.AF_INET, ("127.0.0.1", port))]

        transport = TlsTransport(agency_files, tcp=TcpTransport(resolver=resolver))
        for host in ("bets.example", "bets.example.", "BETS.example", "127.0.0.1"):
            future = in_background(
                functools.partial(connect, f"tls://{host}:{port}", timeout_s=DEADLINE_S, transports={"tls": transport})
            )
            with accept(listener, future, DEADLINE_S), future.result() as client:
                assert client.certificate is not None
    assert [_name_of(host) for host in ("0:0::1", "fe80::1%eth0", "Bets.example.")] == [
        "::1",
        "fe80::1",
        "Bets.example",
    ]


def test_certificates_of_the_systems_authorities_do_not_count(
    authority: Authority, stranger: Authority, server_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What OpenSSL would trust by default is trusted by neither side."""
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger.ca))
    theirs = stranger.agency(5)
    with listening(server_files) as listener:
        future = in_background(lambda: connected(listener, TlsFiles(cert=theirs.cert, key=theirs.key, ca=authority.ca)))
        with accepted(listener) as server:
            assert "unknown CA" in str(failure_of(server))
        future.result(DEADLINE_S).close()


# -- versions, plain bytes, garbage


def raw_context(files: TlsFiles, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client of an old version that would take any server and has a good certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    assert files.cert is not None
    context.load_cert_chain(files.cert, files.key)
    return context


@pytest.mark.parametrize(
    ("newest", "minimum", "let_in"),
    [
        (ssl.TLSVersion.TLSv1_1, "1.3", False),
        (ssl.TLSVersion.TLSv1_1, "1.2", False),
        (ssl.TLSVersion.TLSv1_2, "1.3", False),
        (ssl.TLSVersion.TLSv1_2, "1.2", True),
        (ssl.TLSVersion.TLSv1_3, "1.2", True),
    ],
)
def test_old_versions_are_refused(
    newest: ssl.TLSVersion, minimum: str, let_in: bool, server_files: TlsFiles, agency_files: TlsFiles
) -> None:
    """1.3 unless told otherwise, 1.2 where asked for, nothing older ever."""
    context = raw_context(agency_files, newest)

    seen = threading.Event()

    def shake(sock: socket.socket) -> str | None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock) as wrapped:
            seen.wait(DEADLINE_S)
            return wrapped.version()
        return None

    with listening(server_files, minimum) as listener, raw_client(listener) as sock:
        future = in_background(lambda: shake(sock))
        with accepted(listener) as server:
            if let_in:
                drive(End(server), until=lambda: not server.handshaking, within_s=DEADLINE_S)
                assert server.certificate is not None
                assert server.certificate.uris == ("urn:bets:agency:5",)
                seen.set()
                assert future.result(DEADLINE_S) == newest.name.replace("_", ".")
            else:
                refusal = failure_of(server)
                assert "its version of TLS is too old" in str(refusal)
                assert isinstance(refusal, HandshakeError)
                assert not isinstance(refusal, AuthenticationError)
                assert future.result(DEADLINE_S) is None


def test_old_versions_verify_as_well(stranger: Authority, server_files: TlsFiles) -> None:
    """A client of 1.2 with a certificate of another authority does not get in."""
    context = raw_context(stranger.agency(5), ssl.TLSVersion.TLSv1_2)

    def shake(sock: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match="unknown ca"):
            context.wrap_socket(sock)

    with listening(server_files, "1.2") as listener, raw_client(listener) as sock:
        future = in_background(lambda: shake(sock))
        with accepted(listener) as server:
            assert isinstance(failure_of(server), AuthenticationError)
        future.result(DEADLINE_S)


@pytest.mark.parametrize(
    ("newest", "minimum"),
    [(ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")],
)
def test_no_session_is_resumed(
    newest: ssl.TLSVersion, minimum: str, server_files: TlsFiles, agency_files: TlsFiles
) -> None:
    """A client that asks for its session of before, of which the server could have kept all, is verified anew."""
    context = raw_context(agency_files, newest)

    def talk(sock: socket.socket, session: ssl.SSLSession | None) -> ssl.SSLSocket:
        wrapped = context.wrap_socket(sock, session=session)
        assert wrapped.recv(1) == b"x"  # what the server gives for a later session comes before it
        return wrapped

    with listening(server_files, minimum) as listener, contextlib.ExitStack() as opened:
        session: ssl.SSLSession | None = None
        for _ in range(3):  # all stay open: a session of a connection that broke would be forgotten in any case
            sock = opened.enter_context(raw_client(listener))
            future = in_background(functools.partial(talk, sock, session))
            server = opened.enter_context(accepted(listener))
            drive(End(server), until=functools.partial(has_shaken_hands, server), within_s=DEADLINE_S)
            server.send(b"x")
            client = opened.enter_context(future.result(DEADLINE_S))
            assert client.version() == newest.name.replace("_", ".")
            assert not client.session_reused
            assert server.certificate is not None
            session = client.session


def has_shaken_hands(stream: Stream) -> bool:
    return not stream.handshaking


def test_a_server_that_is_too_old_is_refused(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """The client says so, and that it is no matter of who it is."""
    assert server_files.cert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(server_files.cert, server_files.key)

    def serve(listening: socket.socket) -> None:
        sock, _ = listening.accept()
        with sock, pytest.raises(ssl.SSLError):
            context.wrap_socket(sock, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as old:
        serving = in_background(lambda: serve(old))
        url = f"tls://127.0.0.1:{old.getsockname()[1]}"
        with pytest.raises(HandshakeError, match="version") as caught:
            connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(agency_files)})
        assert not isinstance(caught.value, AuthenticationError)
        serving.result(DEADLINE_S)


@pytest.mark.parametrize(
    "said",
    [b"zzzz health 0123456789\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x82" + bytes(200), b"bets" * 10_000],
    ids=["probe", "http", "bet", "many bets"],
)
def test_plain_bytes_on_a_tls_port_are_named(said: bytes, server_files: TlsFiles) -> None:
    """The server says that the peer speaks no TLS; the peer gets an end and no reset."""
    with listening(server_files) as listener, raw_client(listener) as sock:
        sock.sendall(said)
        with accepted(listener) as server:
            refusal = failure_of(server)
        assert isinstance(refusal, HandshakeError)
        assert "cannot talk TLS with 127.0.0.1: it does not speak TLS" in str(refusal)
        while sock.recv(4_096):
            pass


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "TLS"])
def test_what_a_tls_port_gets_instead_is_named(name: str, server_files: TlsFiles) -> None:
    """From its first bytes, of whatever protocol."""
    said, words = FOREIGN[name]
    with listening(server_files) as listener, raw_client(listener) as sock:
        sock.sendall(said)
        with accepted(listener) as server:
            assert str(failure_of(server)).endswith(words)


@pytest.mark.parametrize("said", [b"\x02", b"\x02\x01", b"\x83"])
def test_a_first_byte_is_enough_for_a_tls_port(said: bytes, server_files: TlsFiles) -> None:
    """A request for winners has two bytes: its client must not wait for an answer. It is told in the words of TLS."""
    with listening(server_files) as listener, raw_client(listener) as sock:
        sock.sendall(said)
        with accepted(listener) as server:
            assert isinstance(failure_of(server), HandshakeError)
            assert not server.handshake_answered
        assert sock.recv(100) == b"\x15\x03\x03\x00\x02\x02\x0a"
        assert sock.recv(100) == b""


@pytest.mark.parametrize("said", [b"\0", b"\x83", b"\x19", b"H"])
def test_a_first_byte_is_enough_for_a_client(said: bytes, agency_files: TlsFiles) -> None:
    """A plain server of ours answers a TLS hello with one byte; nobody waits for more, and nobody tries again."""
    with listen("tcp://127.0.0.1:0") as listener:
        url = listener.url.replace("tcp", "tls")
        future = in_background(
            lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(agency_files)})
        )
        with accept(listener, None, DEADLINE_S) as server:
            server.set_timeout(DEADLINE_S)
            server.send_all(said)
            with pytest.raises(HandshakeError, match="it does not speak TLS"):
                future.result(DEADLINE_S / 2)


def test_a_client_behind_a_proxy_header_is_told(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """It speaks TLS, and so does the server: what a balancer has put in between is what does not fit."""
    with listening(server_files) as listener, socket.create_server(("127.0.0.1", 0)) as balancer:
        url = f"tls://127.0.0.1:{balancer.getsockname()[1]}"
        future = in_background(
            lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(agency_files)})
        )
        front, _ = balancer.accept()
        with front, raw_client(listener) as back:
            back.sendall(PROXY_2)
            back.sendall(front.recv(4_096))
            with accepted(listener) as server:
                failure_of(server)
            front.sendall(back.recv(100))
            with pytest.raises(HandshakeError, match="such as the PROXY header of a balancer"):
                future.result(DEADLINE_S)


def test_garbage_is_refused_or_waited_for(server_files: TlsFiles) -> None:
    """Whatever comes, also in the shape of a handshake: an error of the transport, or None until more comes."""
    source = random.Random(11)
    with listening(server_files) as listener:
        for number in range(40):
            body = source.randbytes(source.randrange(1, 400))
            said = b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body if number % 2 else body
            with raw_client(listener) as sock, accepted(listener) as server:
                sock.sendall(said)
                sock.shutdown(socket.SHUT_WR)
                refusal = failure_of(server)
                assert isinstance(refusal, ReadError)


def test_a_plain_server_is_named(agency_files: TlsFiles) -> None:
    """A client that speaks TLS to a server that does not is told so, and not to try again."""
    with listen("tcp://127.0.0.1:0") as listener:
        url = listener.url.replace("tcp", "tls")
        future = in_background(
            lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(agency_files)})
        )
        with accept(listener, None, DEADLINE_S) as server:
            server.set_timeout(DEADLINE_S)
            server.send_all(b"what did you say?\n")
            with pytest.raises(HandshakeError, match="it does not speak TLS") as caught:
                future.result(DEADLINE_S)
            assert not isinstance(caught.value, AuthenticationError)


def test_a_server_that_goes_away_within_the_handshake_may_be_tried_again(agency_files: TlsFiles) -> None:
    """That is an ordinary failure to connect: a server that restarts does just that."""
    with listen("tcp://127.0.0.1:0") as listener:
        url = listener.url.replace("tcp", "tls")
        future = in_background(
            lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(agency_files)})
        )
        with accept(listener, None, DEADLINE_S) as server:
            server.set_timeout(DEADLINE_S)
            server.receive()
        with pytest.raises(ConnectError, match="broke off within the handshake") as caught:
            future.result(DEADLINE_S)
        assert not isinstance(caught.value, HandshakeError)


def test_a_handshake_that_breaks_off_is_told_in_the_callers_terms(server_files: TlsFiles) -> None:
    """As a `ReadError` by `receive`, a `WriteError` by `send` and `close_writing`; each time, also the first."""
    calls: list[tuple[Callable[[Stream], object], type[TransportError]]] = [
        (lambda stream: stream.receive(), ReadError),
        (lambda stream: stream.send(b"x"), WriteError),
        (lambda stream: stream.close_writing(), WriteError),
    ]
    with listening(server_files) as listener:
        for first in range(3):
            with raw_client(listener) as sock, accepted(listener) as server:
                sock.shutdown(socket.SHUT_WR)
                wait_readable(server, DEADLINE_S)
                for call, kind in (*calls[first:], *calls[:first]):
                    with pytest.raises(kind, match="broke off within the handshake"):
                        call(server)
