"""What an encrypted stream owes its loop: deadlines, readiness, every byte, and ends that are what they seem."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.testing._driving import End, accept, drive, in_background
from bets_protocol.transports import ConnectTimeout, HandshakeError, Stream, TlsFiles, TlsTransport, connect, listen
from bets_protocol.transports.tls.stream import TlsStream
from tests.certificates import Authority
from tests.transports.tls_ends import DEADLINE_S, accepted, connected, failure_of, listening, paired, raw_client

SMALL_BUFFER = 4_096


# -- time


@pytest.mark.parametrize("drips", [False, True])
def test_one_deadline_covers_the_whole_handshake(drips: bool, agency_files: TlsFiles) -> None:
    """A server that is silent, or that says a byte now and then, does not hold a client for longer than it has."""
    over = threading.Event()

    def drip(server: Stream) -> None:
        record = b"\x16\x03\x03\x10\x00"
        with contextlib.suppress(TransportError):
            while not over.wait(0.02):
                server.send(record[:1] if record else b"\0")
                record = record[1:]

    with listen("tcp://127.0.0.1:0") as listener:
        url = listener.url.replace("tcp", "tls")
        future = in_background(lambda: connect(url, timeout_s=0.3, transports={"tls": TlsTransport(agency_files)}))
        with accept(listener, None, DEADLINE_S) as server:
            dripping = in_background(lambda: drip(server) if drips else None)
            try:
                with pytest.raises(ConnectTimeout, match="timed out within the TLS handshake"):
                    future.result(DEADLINE_S)
            finally:
                over.set()
                dripping.result(DEADLINE_S)


def test_one_deadline_covers_a_whole_receive(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """Bytes that make no record yet do not give the call more time."""
    with paired(server_files, agency_files) as (client, server):
        client.set_timeout(0.2)
        over = threading.Event()

        def drip() -> None:
            # The plain stream below: a record that never becomes whole.
            record = b"\x17\x03\x03\x10\x00"
            assert isinstance(server, TlsStream)
            while not over.wait(0.01):
                server._plain.send(record[:1] if record else b"\0")
                record = record[1:]

        dripping = in_background(drip)
        try:
            with pytest.raises(TransportTimeout):
                client.receive()
        finally:
            over.set()
            dripping.result(DEADLINE_S)


# -- the handshake in a loop


def shake_in_memory(files: TlsFiles) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client that speaks to two buffers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert files.cert is not None
    context.load_cert_chain(files.cert, files.key)
    context.load_verify_locations(files.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming, outgoing


def test_a_handshake_may_come_byte_by_byte(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """`receive` gives None until it is over, and what came behind it is not lost."""
    tls, incoming, outgoing = shake_in_memory(agency_files)
    with listening(server_files) as listener, raw_client(listener) as sock, accepted(listener) as server:
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        for byte in outgoing.read():
            assert server.receive() is None
            assert server.handshaking
            sock.sendall(bytes([byte]))
            drive(End(server), until=lambda: True, within_s=DEADLINE_S)
        while tls.version() is None or outgoing.pending == 0:
            server.receive()
            with contextlib.suppress(BlockingIOError):
                sock.setblocking(False)
                incoming.write(sock.recv(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        tls.write(b"at last")
        sock.setblocking(True)
        end = End(server)
        for byte in outgoing.read():
            assert end.received == b""
            sock.sendall(bytes([byte]))
            end.step()
        drive(end, until=lambda: len(end.received) >= 7, within_s=DEADLINE_S)
        assert end.received == b"at last"
        assert server.certificate is not None
        # No ticket to come back with: the server has nothing to say yet.
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_who_leaves_our_part_unread_and_sends_on_is_refused(
    authority: Authority, agency_files: TlsFiles, tmp_path: Path
) -> None:
    """Else its bytes would keep a selector awake that has nobody to give them to."""
    files = authority.server()
    assert files.cert is not None
    # So much that it does not fit into the buffers of a connection.
    long = tmp_path / "long.pem"
    long.write_bytes(files.cert.read_bytes() + authority.ca.read_bytes() * 200)
    tls, _, outgoing = shake_in_memory(agency_files)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with listening(TlsFiles(cert=long, key=files.key, ca=files.ca)) as listener:
        host, _, port = listener.url.removeprefix("tls://").rpartition(":")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            sock.settimeout(DEADLINE_S)
            sock.connect((host, int(port)))
            with accepted(listener) as server:
                small_buffers(server)
                sock.sendall(outgoing.read())
                while not server.needs_write:
                    server.receive()
                assert server.receive() is None
                assert server.send(b"x") == 0
                sock.sendall(bytes(60_000))
                assert "does not read this side's part of the handshake" in str(failure_of(server))


# -- bytes


def small_buffers(stream: Stream) -> None:
    with socket.socket(fileno=os.dup(stream.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)


def drive_by_events(ends: list[End], until: Callable[[], bool]) -> None:
    """A loop that calls a stream for nothing but what the selector reports: it stops where a stream's needs lie."""
    with selectors.DefaultSelector() as selector:
        for end in ends:
            end.step()
            selector.register(end.stream.fileno(), selectors.EVENT_READ, end)
        while not until():
            for end in ends:
                if end.events:
                    selector.modify(end.stream.fileno(), end.events, end)
            ready = selector.select(2.0)
            assert ready, f"nobody is ready: {[(e.events, len(e.unsent), len(e.received)) for e in ends]}"
            for key, _ in ready:
                key.data.step()


@pytest.mark.parametrize("minimum", ["1.3", "1.2"])
def test_much_passes_through_small_buffers_both_ways(
    minimum: str, server_files: TlsFiles, agency_files: TlsFiles
) -> None:
    """A loop that goes by the selector, `needs_read` and `needs_write` alone gets every byte across."""
    there, back = (random.Random(seed).randbytes(300_000) for seed in (1, 2))
    with paired(server_files, agency_files, minimum=minimum) as (client, server):
        client.set_timeout(0)
        for stream in (client, server):
            small_buffers(stream)
        ends = [End(client, there), End(server, back)]
        drive_by_events(ends, lambda: len(ends[0].received) == len(back) and len(ends[1].received) == len(there))
        assert (bytes(ends[0].received), bytes(ends[1].received)) == (back, there)
        assert not client.needs_write


def test_what_waits_for_room_leaves_without_more_to_send(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """`send` of nothing goes on with it, as `receive` does; `needs_write` says how long."""
    with paired(server_files, agency_files) as (client, server):
        client.set_timeout(0)
        sent = 0
        while taken := client.send(bytes(100_000)):
            sent += taken
        assert client.needs_write
        received = 0
        while client.needs_write:
            received += len(server.receive() or b"")
            assert client.send(b"") == 0
        end = End(server)
        drive(end, until=lambda: received + len(end.received) >= sent, within_s=DEADLINE_S)
        assert received + len(end.received) == sent


def flush(stream: Stream) -> None:
    while stream.needs_write:
        stream.send(b"")


def test_what_waits_for_room_that_never_comes_is_said(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """`send` of nothing raises where the peer is gone, so that nobody waits for its room."""
    with paired(server_files, agency_files) as (client, server):
        client.set_timeout(0)
        while client.send(bytes(100_000)):
            pass
        assert client.needs_write
        server.close()
        with pytest.raises(WriteError):
            flush(client)


@pytest.mark.parametrize("minimum", ["1.3", "1.2"])
def test_ending_one_side_loses_nothing_of_the_other(
    minimum: str, server_files: TlsFiles, agency_files: TlsFiles
) -> None:
    """Bytes that had come in, and those that come yet, are received; so is their end."""
    with paired(server_files, agency_files, minimum=minimum) as (client, server):
        server.set_timeout(DEADLINE_S)
        server.send_all(b"before, " * 100)
        assert client.receive(3) == b"bef"
        client.close_writing()
        server.set_timeout(0)
        end = End(server)
        drive(end, until=lambda: end.ended, within_s=DEADLINE_S)
        server.set_timeout(DEADLINE_S)
        server.send_all(b"behind")
        server.close_writing()
        rest = b""
        while data := client.receive():
            rest += data
        assert rest == (b"before, " * 100)[3:] + b"behind"
        # The connection below has ended with it, which is what a selector hears of.
        assert isinstance(client, TlsStream)
        assert client._plain.receive() == b""


def test_a_side_that_ends_with_no_room_ends_when_there_is(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """The end comes behind everything that was taken."""
    with paired(server_files, agency_files) as (client, server):
        client.set_timeout(0)
        sent = 0
        while taken := client.send(bytes(100_000)):
            sent += taken
        client.close_writing()
        with pytest.raises(WriteError, match="this side of the stream has ended"):
            client.send(b"more")
        ends = [End(client), End(server)]
        drive(*ends, until=lambda: ends[1].ended, within_s=DEADLINE_S)
        assert len(ends[1].received) == sent


def test_a_side_may_end_within_the_handshake(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """Then that is the first thing the peer hears once it is over."""
    with listening(server_files) as listener:
        future = in_background(lambda: connected(listener, agency_files))
        with accept(listener, None, DEADLINE_S) as server:
            server.close_writing()
            end = End(server)
            drive(end, until=lambda: future.done() and not server.handshaking, within_s=DEADLINE_S)
            with future.result() as client:
                assert client.receive() == b""
                client.send_all(b"I am not through yet")
                drive(end, until=lambda: len(end.received) >= 20, within_s=DEADLINE_S)


def test_a_cut_connection_is_no_end(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """An end that TLS did not announce breaks the stream, behind what came before; both ways, each time."""
    with paired(server_files, agency_files) as (client, server):
        client.send_all(b"half a frame")
        assert isinstance(client, TlsStream)
        client._plain.close()
        end = End(server)
        with pytest.raises(ReadError, match="ended without the end that TLS announces"):
            drive(end, until=lambda: end.ended, within_s=DEADLINE_S)
        assert bytes(end.received) == b"half a frame"
        for _ in range(2):
            with pytest.raises(ReadError, match="ended without the end that TLS announces"):
                server.receive()
            with pytest.raises(WriteError):
                server.send(b"x")
            with pytest.raises(WriteError):
                server.close_writing()


def test_changed_bytes_break_the_stream(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """Nothing of a record that was tampered with is handed out."""
    with paired(server_files, agency_files) as (client, server):
        assert isinstance(client, TlsStream)
        client._engine._tls.write(b"pay 10")
        record = bytearray(client._engine._outgoing.read())
        record[-1] ^= 1
        client._plain.send(bytes(record))
        end = End(server)
        with pytest.raises(ReadError, match="TLS broke") as caught:
            drive(end, until=lambda: end.ended, within_s=DEADLINE_S)
        # The two had agreed: this may be tried again.
        assert not isinstance(caught.value, HandshakeError)
        assert bytes(end.received) == b""


def test_a_stream_that_is_closed_with_bytes_unread_breaks(server_files: TlsFiles, agency_files: TlsFiles) -> None:
    """Also where the bytes had left the system's buffers already."""
    with paired(server_files, agency_files) as (client, server):
        client.send_all(b"two parts")
        received = None
        while received is None:
            received = server.receive(3)
        server.close()
        with pytest.raises(ReadError):
            client.receive()
