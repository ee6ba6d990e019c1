"""Two engines of TLS wired together in memory: no socket, no thread, no clock."""

from __future__ import annotations

import pytest

from bets_protocol import ReadError
from bets_protocol.transports import HandshakeError
from bets_protocol.transports.tls.contexts import load_context
from bets_protocol.transports.tls.engine import RECORD_BYTES, TlsEngine
from bets_protocol.transports.tls.files import read_files
from tests.certificates import Authority

Pair = tuple[TlsEngine, TlsEngine]


@pytest.fixture
def last_words() -> list[bytearray]:
    """What an engine wants its peer to hear of a failure."""
    return []


@pytest.fixture
def pair(authority: Authority, last_words: list[bytearray]) -> Pair:
    """A client and a server."""
    made = []
    for files, name in ((authority.agency(5), "127.0.0.1"), (authority.server(), None)):
        context = load_context(files, read_files(files), minimum="1.3", server=name is None)
        made.append(TlsEngine(context, "peer", server_name=name, on_failure=last_words.append))
    return made[0], made[1]


def _carry(source: TlsEngine, target: TlsEngine, size: int) -> bool:
    """Carries all output over in pieces of `size` bytes; whether there was some."""
    data = bytes(source.collect())
    source.output.clear()
    for start in range(0, len(data), size):
        target.take_in(data[start : start + size])
    return bool(data)


def _shake(client: TlsEngine, server: TlsEngine, size: int = 100_000) -> None:
    for _ in range(10):
        client.shaken or client.shake()
        _carry(client, server, size)
        server.shaken or server.shake()
        if not _carry(server, client, size) and client.shaken and server.shaken:
            break
    client.decrypt(1)  # what comes behind the handshake, such as tickets
    assert client.shaken
    assert server.shaken


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_bytes_arrive_however_they_are_cut(pair: Pair, size: int) -> None:
    """Both ends are shaken, the server knows whose certificate it saw, and each byte arrives once."""
    client, server = pair
    _shake(client, server, size)
    assert server.certificate is not None
    assert server.certificate.uris == ("urn:bets:agency:5",)
    sent = bytes(range(256)) * 64
    assert client.encrypt(memoryview(sent)) == len(sent) == RECORD_BYTES
    _carry(client, server, size)
    assert server.decrypt(len(sent)) == sent
    assert server.decrypt(1) is None


def test_one_side_ends_and_the_other_goes_on(pair: Pair) -> None:
    """An announced end is b"", and bytes still travel the other way."""
    client, server = pair
    _shake(client, server)
    client.end()
    _carry(client, server, 100_000)
    assert (server.decrypt(10), server.ended) == (b"", True)
    server.encrypt(memoryview(b"answer"))
    _carry(server, client, 100_000)
    assert client.decrypt(10) == b"answer"


def test_an_end_that_was_not_announced_is_an_error_for_ever(pair: Pair) -> None:
    """Half a file must not pass for a complete one."""
    client, server = pair
    _shake(client, server)
    for _ in range(2):
        with pytest.raises(ReadError, match="ended without the end that TLS announces"):
            server.take_in(b"")
    assert server.failure is not None


def test_a_peer_that_does_not_speak_tls_is_told(pair: Pair, last_words: list[bytearray]) -> None:
    """By an alert, before the error is raised."""
    _, server = pair
    with pytest.raises(HandshakeError, match="cannot talk TLS with peer"):
        server.take_in(b"GET / HTTP/1.1\r\n")
    assert last_words == [b"\x15\x03\x03\x00\x02\x02\x0a"]
