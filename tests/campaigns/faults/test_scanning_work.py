"""How much work it is to find the end of a frame, counted in looks at the bytes and not in time."""

from __future__ import annotations

from collections.abc import Generator

import attrs
import pytest

from bets_protocol import BetBatch, ServerConnection
from bets_protocol.codec import CODECS
from bets_protocol.connection import server as server_connection
from tests.server.wire import batch, bet

FRAME = batch(*[bet()] * 100)


def test_a_dripping_frame_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, the scan of a frame begins once and looks twice at each bet: for its length and for its end.
    A scan that begins anew with each byte makes 7 KB stop a processor."""
    counted = {"starts": 0, "looks": 0}
    real = CODECS["bet_batch"]

    def scan(buffer: bytearray) -> Generator[int, None, int]:
        counted["starts"] += 1
        inner = real.scan(buffer)
        while True:
            counted["looks"] += 1
            try:
                needed = next(inner)
            except StopIteration as end:
                return int(end.value)
            yield needed

    connection = ServerConnection()
    monkeypatch.setitem(server_connection._DISPATCH[connection.revision], FRAME[0], attrs.evolve(real, scan=scan))
    for byte in FRAME:
        connection.receive_data(bytes([byte]))
        event = connection.next_event()
    assert isinstance(event, BetBatch)
    assert len(event.bets) == 100
    assert counted["starts"] == 1, f"{counted['starts']} scans of one frame"
    assert counted["looks"] <= 2 * 100 + 4
