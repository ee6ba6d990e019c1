"""What generated code calls."""

from __future__ import annotations

import pytest

from bets_protocol import Ack, LocalProtocolError
from bets_protocol.generated import layouts
from bets_protocol.generated import support as runtime


def test_dates_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good ones only; past the limit the memory starts anew, so that no peer can make it grow."""
    monkeypatch.setattr(runtime, "_KNOWN_DATES_MAX", 2)
    monkeypatch.setattr(runtime, "KNOWN_DATES", set())
    assert not runtime.is_date("1999-02-30")
    for day in ("2000-01-01", "2000-01-02", "2000-01-03"):
        assert runtime.is_date(day)
    assert {"2000-01-03"} == runtime.KNOWN_DATES


@pytest.mark.parametrize(("text", "size"), [("", 0), ("abc", 3), ("ñ", 2), ("山", 3), ("\ud800", -1), ("a\udfff", -1)])
def test_the_bytes_of_a_text_are_counted(text: str, size: int) -> None:
    """-1 for what cannot be written in UTF-8."""
    assert size == runtime.utf8_size(text)


@pytest.mark.parametrize(
    ("value", "code", "fits"),
    [(1.5, ">e", True), (70000.0, ">e", False), (1e39, ">f", False), (1e39, ">d", True), (10**400, ">d", False)],
)
def test_a_float_that_is_too_large_does_not_fit(value: float, code: str, fits: bool) -> None:
    """Numbers beyond the format are refused, not turned into infinity."""
    assert fits == runtime.fits_float(value, code)


def test_lengths_come_in_front_in_their_order() -> None:
    """Big or little end first."""
    assert runtime.prefixed(b"abc", 2, "big") == b"\x00\x03abc"
    assert runtime.prefixed(b"abc", 2, "little") == b"\x03\x00abc"


def test_a_part_above_its_bound_is_refused() -> None:
    """The bound inside of a frame is one of the sender too."""
    assert runtime.bounded(b"abc", 3) == b"abc"
    with pytest.raises(LocalProtocolError, match="a frame of at most 2 bytes, not 3"):
        runtime.bounded(b"abc", 2)


def test_a_fast_path_that_refuses_what_is_good_is_a_bug() -> None:
    """There is nothing to explain, which must not end in silence."""
    error = runtime.explained(layouts.ACK, b"\x01")
    assert isinstance(error, RuntimeError)
    assert str(error) == "the generated decoder refused what its layout allows: 01"


def test_a_good_message_that_is_refused_is_not_of_this_library() -> None:
    """The class is all that can be wrong with it."""
    assert "found a Ack of bets_protocol" in str(runtime.refused(layouts.ACK, Ack(count=1)))
