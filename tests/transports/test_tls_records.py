"""What a peer may make an encrypted stream do besides carrying bytes: change keys, answer, count. And how often."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from bets_protocol import ReadError, WriteError
from bets_protocol.testing._driving import End, drive, in_background
from bets_protocol.transports import Stream, TlsFiles, TlsTransport, connect, parse_url
from bets_protocol.transports.tls.record_budget import RecordCount
from bets_protocol.transports.tls.stream import TlsStream
from tests.tls_records import Forger, client_hello, forging_context
from tests.transports.tls_ends import DEADLINE_S, accepted, listening, raw_client

MANY = 1000
VERSIONS = {"1.3": ssl.TLSVersion.TLSv1_3, "1.2": ssl.TLSVersion.TLSv1_2}
KILOBYTE = b"x" * 1024
UPDATE_BYTES = 27
"""Of the record by which a key is changed."""


@pytest.fixture
def against_server(server_files: TlsFiles, agency_files: TlsFiles, tmp_path: Path) -> Iterator[Pairs]:
    """Connections of forging clients to our servers."""
    with contextlib.ExitStack() as opened:

        def pair(minimum: str = "1.3", *, in_bytes: bool = False, buffer: int = 0) -> tuple[Forger, TlsStream]:
            listener = opened.enter_context(listening(server_files, minimum))
            sock = opened.enter_context(socket.socket())
            sock.settimeout(DEADLINE_S)
            if buffer:  # afterwards it would be too late: the other end was promised more
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            url = parse_url(listener.url)
            sock.connect((url.host, url.port or 0))
            context = _context(agency_files, minimum, server=False)
            keys = tmp_path / "keys"
            future = in_background(lambda: Forger(sock, context, keys, server_name="localhost", in_bytes=in_bytes))
            server = opened.enter_context(accepted(listener))
            drive(End(server), until=lambda: future.done() and not server.handshaking, within_s=DEADLINE_S)
            assert isinstance(server, TlsStream)
            return future.result(), server

        yield pair


@pytest.fixture
def against_client(server_files: TlsFiles, agency_files: TlsFiles, tmp_path: Path) -> Iterator[Pairs]:
    """Connections of our clients, which wait, to forging servers."""
    with contextlib.ExitStack() as opened:

        def pair(minimum: str = "1.3") -> tuple[Forger, TlsStream]:
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
            tls = TlsTransport(agency_files, minimum=minimum)
            future = in_background(lambda: connect(url, timeout_s=DEADLINE_S, transports={"tls": tls}))
            sock = opened.enter_context(listener.accept()[0])
            sock.settimeout(DEADLINE_S)
            forger = Forger(sock, _context(server_files, minimum, server=True), tmp_path / "keys")
            client = opened.enter_context(future.result(DEADLINE_S))
            assert isinstance(client, TlsStream)
            client.set_timeout(DEADLINE_S)
            return forger, client

        yield pair


Pairs = Callable[..., tuple[Forger, TlsStream]]


def _context(files: TlsFiles, version: str, *, server: bool) -> ssl.SSLContext:
    return forging_context(server=server, version=VERSIONS[version], files=(str(files.cert), str(files.key)))


def _received(stream: Stream, size: int) -> bytes:
    end = End(stream)
    drive(end, until=lambda: len(end.received) >= size, within_s=DEADLINE_S)
    return bytes(end.received)


def _kept(stream: TlsStream) -> int:
    """Bytes that the stream holds for the network."""
    return len(stream._engine.output) + stream._engine._outgoing.pending


def _says(forger: Forger, data: Iterable[bytes]) -> threading.Thread:
    """Sends, as long as it is taken."""

    def send() -> None:
        with contextlib.suppress(OSError):
            for each in data:
                forger.sock.sendall(each)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def _failure(stream: Stream, *, behind: bytes = b"") -> str:
    """What receiving comes to, once these bytes are received."""
    end = End(stream)
    with pytest.raises(ReadError) as caught:
        drive(end, until=lambda: False, within_s=DEADLINE_S)
    assert bytes(end.received) == behind
    return str(caught.value)


# -- what is lawful


def test_answers_to_new_keys_do_not_gather(against_server: Pairs) -> None:
    """What OpenSSL has answered leaves although there is nothing to send; bytes pass with the new keys both ways."""
    forger, server = against_server()
    forger.sock.sendall(forger.key_update() + forger.key_update())  # it answers one when the next thing happens
    drive(End(server), until=lambda: _peeked(forger) == UPDATE_BYTES, within_s=DEADLINE_S)
    assert not server.needs_write
    forger.sock.sendall(forger.record(b"with the new key"))
    assert _received(server, 16) == b"with the new key"
    assert server.send(b"likewise") == 8
    assert forger.receive() == b"likewise"


def _peeked(forger: Forger) -> int:
    forger.sock.setblocking(False)
    try:
        return len(forger.sock.recv(100, socket.MSG_PEEK))
    except BlockingIOError:
        return 0
    finally:
        forger.sock.settimeout(DEADLINE_S)


@pytest.mark.parametrize("asks", [True, False])
def test_keys_may_change_with_each_kilobyte(asks: bool, against_server: Pairs) -> None:
    """However long the connection lives."""
    forger, server = against_server()
    thread = _says(forger, [forger.record(KILOBYTE) + forger.key_update(asks=asks) for _ in range(200)])
    assert _received(server, 200 * 1024) == 200 * KILOBYTE
    thread.join()
    assert server.send(b"y") == 1
    assert forger.receive() == b"y"


def test_padding_and_small_records_are_no_matter(against_server: Pairs) -> None:
    """What counts is whether a record holds anything."""
    forger, server = against_server()
    thread = _says(forger, [b"".join(forger.record(b"x", padding=1000) for _ in range(MANY))])
    assert _received(server, MANY) == b"x" * MANY
    thread.join()


def test_a_handshake_in_small_records_is_no_matter(against_server: Pairs) -> None:
    """They hold no content, and are not counted."""
    forger, server = against_server(in_bytes=True)
    forger.sock.sendall(forger.key_update() + forger.record(b"and then"))
    assert _received(server, 8) == b"and then"
    assert not server._engine._records.idle


def test_new_keys_behind_our_end(against_server: Pairs) -> None:
    """What the peer still says is received, and nothing leaves behind the end."""
    forger, server = against_server()
    server.close_writing()
    forger.sock.sendall(b"".join([forger.key_update(), forger.record(b"more"), forger.key_update()]))
    assert _received(server, 4) == b"more"
    assert server.receive() is None
    assert not server.needs_write
    assert forger.receive() == b""
    assert _peeked(forger) == 0


def test_new_keys_from_a_server(against_client: Pairs) -> None:
    """A client answers them while it waits for bytes."""
    forger, client = against_client()
    forger.sock.sendall(forger.key_update() + forger.record(b"from the server"))
    assert client.receive() == b"from the server"
    client.send_all(b"from the client")
    assert forger.receive() == b"from the client"


# -- what is not


FLOODS: dict[str, tuple[str, Callable[[Forger], bytes]]] = {
    "keys": ("1.3", Forger.key_update),
    "keys without an answer": ("1.3", lambda forger: forger.key_update(asks=False)),
    "renegotiation": ("1.2", Forger.renegotiation),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_many_records_without_content_are_refused(flood: str, against_server: Pairs) -> None:
    """Each time the stream is asked; whoever is parked meets no peer that costs memory or a processor."""
    version, made = FLOODS[flood]
    forger, server = against_server(version)
    thread = _says(forger, [forger.record(b"winners") + b"".join(made(forger) for _ in range(MANY))])
    refusal = "cannot receive from 127.0.0.1: it sends many records without content"
    assert _failure(server, behind=b"winners") == refusal
    assert _failure(server) == refusal
    assert _kept(server) < 16_384
    with pytest.raises(WriteError, match="records without content"):
        server.send(b"x")
    server.close()
    thread.join()


def test_a_little_content_makes_up_for_little(against_server: Pairs) -> None:
    """Who drips bytes between changes of keys is refused like others."""
    forger, server = against_server()
    thread = _says(forger, [b"".join(forger.record(b"x") + forger.key_update() for _ in range(MANY))])
    end = End(server)
    with pytest.raises(ReadError, match="it sends many records without content"):
        drive(end, until=lambda: False, within_s=DEADLINE_S)
    assert len(end.received) < MANY
    server.close()
    thread.join()


@pytest.mark.parametrize("flood", FLOODS)
def test_a_client_refuses_them_as_well(flood: str, against_client: Pairs) -> None:
    """It is not kept for longer than it may wait, nor made to answer for ever."""
    version, made = FLOODS[flood]
    forger, client = against_client(version)
    thread = _says(forger, [b"".join(made(forger) for _ in range(MANY))])
    with pytest.raises(ReadError, match="it sends many records without content"):
        client.receive()
    assert _kept(client) < 16_384
    client.close()
    thread.join()


def test_answers_that_nobody_takes_are_bounded(against_server: Pairs) -> None:
    """A peer that says something now and then, has itself answered and reads nothing fills no memory."""
    forger, server = against_server(buffer=4096)
    with socket.socket(fileno=os.dup(server.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pairs = (b"".join(forger.record(KILOBYTE) + forger.key_update() for _ in range(100)) for _ in range(MANY))
    thread = _says(forger, pairs)
    deadline = time.monotonic() + DEADLINE_S
    while not server.needs_write:
        server.receive()
        assert time.monotonic() < deadline
    with pytest.raises(ReadError, match="it does not take what its records without content are answered with"):
        drive(End(server), until=lambda: False, within_s=DEADLINE_S)
    assert _kept(server) < 49_152
    assert not server.needs_write
    server.close()
    thread.join()


# -- the count


def _head(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2) + bytes(size)


def test_records_are_counted_however_they_come() -> None:
    """In pieces of any size; what has content makes up for those that have none."""
    chosen = random.Random(1)
    for most in (1, 40, 5000):
        count = RecordCount()
        count.begin()
        halves = [(500, False), (524, True)]
        for sizes, contents, idle in (
            ([17] * 64, [], False),
            ([1041, 17], [(1024, True)], False),
            ([0], [], True),
            ([1041], halves, False),
            ([18, 17], [(1, True)], True),
        ):
            data = b"".join(map(_head, sizes))
            while data:
                size = chosen.randint(1, most)
                count.came(data[:size])
                data = data[size:]
            for size, whole in contents:
                count.had_content(size, whole=whole)
            assert count.idle == idle
        count.begin()
        assert not count.idle


def test_what_is_no_record_hides_none() -> None:
    """Bytes that pretend to a length are not skipped."""
    count = RecordCount()
    count.came(b"\x80\x03\x03\xff\xff" * 65)
    assert count.idle


# -- what a handshake has cost


@pytest.mark.parametrize(
    ("said", "answered"),
    [(b"", False), (b"\x16", False), (b"GET / HTTP/1.0\r\n\r\n", False), (b"HELLO", True), (b"HELLOgarbage", True)],
)
def test_whether_a_handshake_was_answered(said: bytes, answered: bool, server_files: TlsFiles) -> None:
    """That is what costs, also where what came behind the hello makes it fail in the same moment."""
    with listening(server_files) as listener, raw_client(listener) as sock, accepted(listener) as server:
        sock.sendall(said.replace(b"HELLO", client_hello()))
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ReadError):
            drive(End(server), until=lambda: False, within_s=DEADLINE_S)
        assert server.handshake_answered == answered
