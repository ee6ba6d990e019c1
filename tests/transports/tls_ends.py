"""Both ends of TLS connections, for tests."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from bets_protocol import TransportError
from bets_protocol.testing._driving import End, accept, drive, in_background
from bets_protocol.transports import Listener, Stream, TlsFiles, TlsTransport, connect, listen

DEADLINE_S = 10.0


def listening(files: TlsFiles, minimum: str = "1.3") -> Listener:
    return listen("tls://127.0.0.1:0", transports={"tls": TlsTransport(files, minimum=minimum)})


def connected(listener: Listener, files: TlsFiles, host: str = "127.0.0.1", minimum: str = "1.3") -> Stream:
    url = listener.url.replace("127.0.0.1", host)
    return connect(url, timeout_s=DEADLINE_S, transports={"tls": TlsTransport(files, minimum=minimum)})


@contextlib.contextmanager
def paired(server_files: TlsFiles, client_files: TlsFiles, *, minimum: str = "1.3") -> Iterator[tuple[Stream, Stream]]:
    """A client that waits and the server's end, whose handshake is over as well."""
    with listening(server_files, minimum) as listener:
        future = in_background(lambda: connected(listener, client_files, minimum=minimum))
        with accept(listener, future, DEADLINE_S) as server, future.result() as client:
            end = End(server)
            drive(end, until=lambda: not server.handshaking, within_s=DEADLINE_S)
            yield client, server


@contextlib.contextmanager
def accepted(listener: Listener) -> Iterator[Stream]:
    with accept(listener, None, DEADLINE_S) as server:
        yield server


def failure_of(server: Stream) -> TransportError:
    """Serves a handshake that must fail."""
    end = End(server)
    with pytest.raises(TransportError) as caught:
        drive(end, until=lambda: not server.handshaking, within_s=DEADLINE_S)
    assert not server.handshaking
    assert server.certificate is None
    return caught.value


@contextlib.contextmanager
def raw_client(listener: Listener) -> Iterator[socket.socket]:
    """A socket with a deadline, to say anything at all with."""
    host, _, port = listener.url.removeprefix("tls://").rpartition(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as sock:
        yield sock
