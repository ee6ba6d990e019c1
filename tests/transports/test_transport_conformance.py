"""The conformance suite over the built-in transports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bets_protocol.testing.transports import TransportConformance
from bets_protocol.transports import TlsTransport, register_transport
from tests.certificates import Authority


def ipv6_loopback() -> bool:
    """Whether ::1 can be bound here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


class TestTcpOverIPv4(TransportConformance):
    @pytest.fixture
    def listen_url(self) -> str:
        return "tcp://127.0.0.1:0"


@pytest.mark.skipif(not ipv6_loopback(), reason="this machine has no IPv6 loopback address")
class TestTcpOverIPv6(TransportConformance):
    @pytest.fixture
    def listen_url(self) -> str:
        return "tcp://[::1]:0"


class TestUnix(TransportConformance):
    @pytest.fixture
    def listen_url(self, tmp_path: Path) -> str:
        return f"unix://{tmp_path}/s"


class TestMemory(TransportConformance):
    @pytest.fixture
    def listen_url(self) -> str:
        return "memory://conformance"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsTransport:
    """One for all tests: they change nothing about it."""
    return Authority(tmp_path_factory.mktemp("tls")).both_ends()


class TestTls(TransportConformance):
    connections = 50  # each shakes hands twice over, here

    @pytest.fixture
    def listen_url(self, tls: TlsTransport) -> str:
        register_transport("tls", tls, replace=True)
        return "tls://127.0.0.1:0"
