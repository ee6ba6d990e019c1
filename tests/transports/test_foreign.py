"""Other protocols by their first bytes: named where they are certain, and never a message of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol.transports import first_bytes_explained, foreign_protocol
from tests.foreign import FOREIGN, PROXY_2, TLS_HELLO


@pytest.mark.parametrize("name", FOREIGN)
def test_they_are_named(name: str) -> None:
    """The first bytes of each other protocol are explained."""
    head, words = FOREIGN[name]
    assert first_bytes_explained(head) == words


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", ""),
        (TLS_HELLO[:1], "TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
        (b"\x16\x03\x05", ""),
        (b"\x16\x00\x2b", ""),
        (PROXY_2[:4], ""),  # two empty lines
        (PROXY_2[:5], "a PROXY header (version 2)"),
        (b"\r\n\r\n\x01", ""),
        (b"PROXY", ""),
        (b"PROXY\n", ""),
        (b"HTTP/1.0 200 OK", "HTTP"),
        (b"SSH-2.0-x", "SSH"),
        (b"hello\n", ""),
    ],
)
def test_certain_ones_only(head: bytes, name: str) -> None:
    """Bytes that could still be something else are not named."""
    assert foreign_protocol(head) == name


@given(st.integers(1, 255), st.integers(25, 533))
def test_no_batch_of_ours_begins_like_any(count: int, length: int) -> None:
    """Neither those with a type nor those without one."""
    bets = length.to_bytes(2) + b"\x01" * 16
    assert [foreign_protocol(start + bets) for start in (b"", bytes([count]), bytes([1, count]))] == ["", "", ""]
