"""What a plug-in's own tests look like. pytest runs this file when it is named, where the plug-in is installed."""

from __future__ import annotations

import pytest

from bets_protocol.testing.transports import TransportConformance
from bets_protocol.transports import connect, listen, transport_schemes


class TestMask(TransportConformance):
    @pytest.fixture
    def listen_url(self) -> str:
        return "mask://127.0.0.1:0"

    def test_bytes_are_masked_on_the_way(self, listen_url: str) -> None:
        """Who looks at the TCP stream reads something else."""
        with listen(listen_url) as listener, connect(listener.url.replace("mask", "tcp")) as eavesdropper:
            with self.accept(listener) as server:
                server.set_timeout(self.deadline_s)
                server.send_all(b"7574")
            assert eavesdropper.receive() == bytes(byte ^ 42 for byte in b"7574")

    def test_the_scheme_is_listed(self) -> None:
        """As installed, whether it was used before or not."""
        assert transport_schemes() == ("mask", "memory", "tcp", "tls", "unix")
