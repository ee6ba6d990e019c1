"""Durations in the notation of the legacy configuration files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol.cli.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("150ms", 0.15),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("2h45m", 9900.0),
        ("+5s", 5.0),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("7ns", 7e-9),
        ("1m1m", 120.0),
    ],
)
def test_a_duration_is_taken(text: str, seconds: float) -> None:
    """Hours to nanoseconds are summed, with fractions and a plus sign."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", " 5s", "5s ", "-5s", "5S", "5d", "1e3s", "٣s", "5s5", ".s", "1,5s"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """A text that is no duration is refused with what was expected."""
    with pytest.raises(ValueError, match="expected a duration such as 5s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1000000.1s", "278h", "9" * 320 + "h"])
def test_what_no_wait_takes_is_refused(text: str) -> None:
    """The longest one is taken."""
    assert parse_duration("277h46m40s") == 1_000_000
    with pytest.raises(ValueError, match=r"expected a duration such as .* of at most 277h46m40s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.0, "5s"),
        (0.15, "150ms"),
        (90.0, "1m30s"),
        (5400.0, "1h30m0s"),
        (1.5, "1.5s"),
        (0.0, "0s"),
        (0.0000035, "3.5µs"),
        (7e-9, "7ns"),
        (60.0, "1m0s"),
        (10.0, "10s"),
        (0.1, "100ms"),
    ],
)
def test_a_duration_is_shown_as_the_legacy_client_showed_it(seconds: float, text: str) -> None:
    """Units run from hours to nanoseconds, as in `1h30m0s`."""
    assert format_duration(seconds) == text


@given(st.integers(0, 10**15))
def test_what_is_shown_can_be_taken_again(nanoseconds: int) -> None:
    """Formatting and parsing are inverse to the nanosecond."""
    assert parse_duration(format_duration(nanoseconds / 1e9)) == pytest.approx(nanoseconds / 1e9)
