"""Durations as the legacy configuration files write them: `5s`, `150ms`, `1m30s`, `1.5h`.

A number without a unit is refused, except `0`: it could mean seconds or nanoseconds.
"""

from __future__ import annotations

import re

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"

MAX_DURATION_S = 1_000_000  # the system's calls have a limit, too

EXPECTED = "expected a duration such as 5s, 150ms or 1m30s"


def parse_duration(text: str) -> float:
    """Seconds in `text`.

    Raises:
        ValueError: `text` is not a duration of at most `MAX_DURATION_S`.
    """
    if text == "0":
        return 0.0
    if re.fullmatch(rf"\+?(?:{_PART})+", text) is None:
        raise ValueError(EXPECTED)
    seconds = sum(float(amount) * _UNITS_S[unit] for amount, unit in re.findall(_PART, text))
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{EXPECTED}, of at most {format_duration(MAX_DURATION_S)}")
    return seconds


def format_duration(seconds: float) -> str:
    """`seconds` in the same notation, to the nanosecond: `1m30s`, `150ms`, `0s`."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds, size)}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
