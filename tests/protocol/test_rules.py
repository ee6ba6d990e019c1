"""The rules by themselves: what they allow, whatever the type, and how they put it."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol.layout.rules import CalendarDate, Characters, IntRange, Rule, digits, printable_name

VOWELS = Characters(label="small vowels", allowed=((0x61, 0x61), (0x65, 0x65), (0x69, 0x69)))
NO_E = Characters(label="small letters without e", allowed=((0x61, 0x7A),), excluded=((0x65, 0x65),), min_bytes=2)


@pytest.mark.parametrize(
    ("rule", "allowed", "forbidden"),
    [
        (IntRange(-1, 1), [-1, 0, 1], [-2, 2, True, 0.0, "0", None]),
        (digits(), ["", "0", "0123456789"], ["a", "1a", "a1", "٣", "²", "1\n", " ", 1, None, b"1"]),
        (printable_name(), ["a", " ", "\u00a0", "\u202e", "\ud7ff", "山"], ["", "\n", "a\x00", "\x7f", "\x9f", 1]),
        (VOWELS, ["", "a", "aei"], ["b", "aeb", "A"]),
        (NO_E, ["ab", "abc"], ["a", "ae", "AB", ""]),
        (Characters(label="anything"), ["", "\x00", "山"], [b"", 1]),
        (CalendarDate(), ["2000-02-29", "0001-01-01", "9999-12-31"], ["1900-02-29", "0000-01-01", "2020-W01-1", 1]),
    ],
)
def test_what_a_rule_allows(rule: Rule, allowed: list[object], forbidden: list[object]) -> None:
    """Good values pass, bad ones and those of another type do not."""
    assert [value for value in allowed if not rule.allows(value)] == []
    assert [value for value in forbidden if rule.allows(value)] == []


@pytest.mark.parametrize(
    ("rule", "expectation"),
    [
        (IntRange(1, 255), "a number from 1 to 255"),
        (IntRange(7, 7), "7"),
        (digits(), "ASCII digits only"),
        (printable_name(), "non-empty text without control characters (C0, DEL, C1)"),
        (NO_E, "small letters without e"),
        (CalendarDate(), "a day that exists, as YYYY-MM-DD"),
    ],
)
def test_a_rule_in_words(rule: Rule, expectation: str) -> None:
    """The words that end the sentence "expected ..."."""
    assert expectation == rule.expectation


@given(st.dates())
def test_every_day_exists(day: datetime.date) -> None:
    """All days that a date can name are allowed, in the one form."""
    assert CalendarDate().allows(day.isoformat())
    assert not CalendarDate().allows(day.strftime("%Y%m%d"))


@given(st.integers(0, 9999), st.integers(0, 99), st.integers(0, 99))
def test_a_date_is_allowed_exactly_when_the_calendar_has_it(year: int, month: int, day: int) -> None:
    """Ten characters of the right form are good where a date can be made of them."""
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        datetime.date(year, month, day)
    except ValueError:
        assert not CalendarDate().allows(text)
    else:
        assert CalendarDate().allows(text)


@given(st.text())
def test_a_name_is_refused_exactly_for_its_control_characters(text: str) -> None:
    """Of all text, only the empty one and that with C0, DEL or C1 is refused."""
    barred = any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in text)
    assert printable_name().allows(text) == (bool(text) and not barred)
