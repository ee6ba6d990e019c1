"""The rules that a value must keep, each defined once, as data.

Each rule has `allows`, which decides about a value of any type, and `expectation`, which ends the sentence "expected
...". The emitters, the tables of docs/protocol.md and the strategies of the tests read the same data. A rule knows
nothing of bytes or of the place of its value.
"""

from __future__ import annotations

import calendar
import re
from functools import cached_property
from typing import TypeAlias, TypeGuard

import attrs

CodeRanges = tuple[tuple[int, int], ...]
"""Code points, as pairs (first, last), both included, ascending."""


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether `value` is an integer: a member of an `IntEnum` is, True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


@attrs.frozen
class IntRange:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def expectation(self) -> str:
        if self.low == self.high:
            return f"{self.low}"
        return f"a number from {self.low} to {self.high}"

    def allows(self, value: object) -> bool:
        return is_whole_number(value) and self.low <= value <= self.high


@attrs.frozen(slots=False)
class Characters:
    """Text whose every character is in `allowed` (empty: any) and none in `excluded`, at least `min_bytes` of UTF-8.

    `label` names the set for people, as in "ASCII digits".
    """

    label: str
    allowed: CodeRanges = ()
    excluded: CodeRanges = ()
    min_bytes: int = 0

    @property
    def expectation(self) -> str:
        return f"{'non-empty ' if self.min_bytes == 1 else ''}{self.label}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression that the whole text must match."""
        allowed = f"[{_character_class(self.allowed)}]" if self.allowed else "."
        barred = f"(?![{_character_class(self.excluded)}])" if self.excluded else ""
        return re.compile(f"(?:{barred}{allowed})*", re.DOTALL)

    def allows(self, value: object) -> bool:
        if not isinstance(value, str) or (self.min_bytes and len(value.encode("utf-8", "replace")) < self.min_bytes):
            return False
        return self.pattern.fullmatch(value) is not None


@attrs.frozen
class CalendarDate:
    """Text ``YYYY-MM-DD`` in ASCII that names a day of the proleptic Gregorian calendar, year 1 to 9999."""

    @property
    def expectation(self) -> str:
        return "a day that exists, as YYYY-MM-DD"

    def allows(self, value: object) -> bool:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            return False
        year, month, day = int(value[:4]), int(value[5:7]), int(value[8:])
        return year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


Rule: TypeAlias = IntRange | Characters | CalendarDate

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # not date.fromisoformat: that takes 2020-W01-1 too
ASCII_DIGITS: CodeRanges = ((0x30, 0x39),)
CONTROLS: CodeRanges = ((0x00, 0x1F), (0x7F, 0x9F))
"""C0, DEL and C1."""


def digits() -> Characters:
    """Text of ASCII digits only."""
    return Characters(label="ASCII digits only", allowed=ASCII_DIGITS)


def printable_name() -> Characters:
    """Text of at least one byte without control characters."""
    return Characters(label="text without control characters (C0, DEL, C1)", excluded=CONTROLS, min_bytes=1)


def _character_class(ranges: CodeRanges) -> str:
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
