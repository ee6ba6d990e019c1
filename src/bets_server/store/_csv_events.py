"""The fields of the events that `_csv_journal` describes: which there must be, and what may be in them.

A checksum tells an accident. What somebody has written by hand, checksum included, is looked at field by field, so that
no field of it surprises whoever follows the events.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from bets_protocol import limits
from bets_server.store._values import MAX_TOTAL, UPLOAD_ID_BYTES

Event: TypeAlias = Mapping[str, Any]

_Check: TypeAlias = Callable[[object], bool]


def event_of(value: object) -> Event:
    """A JSON value, once it is known to be an event.

    Raises:
        ValueError: it is none; says why. Events that nobody follows pass, whatever their fields.
    """
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        raise ValueError("is not an event")
    name = value["event"]
    shape = _SHAPES.get(name, _Shape())
    for field in shape.required:
        if field not in value:
            raise ValueError(f"the event {name!r} lacks {field!r}")
    for field, good in (shape.required | shape.optional).items():
        if field in value and not good(value[field]):
            raise ValueError(f"{field!r} of the event {name!r} is {reprlib.repr(value[field])}")
    if name == "bets" and ("runs" in value) == ("bets" in value):
        raise ValueError("the event 'bets' must have either 'runs' or 'bets'")
    return value


@attrs.frozen
class _Shape:
    """The fields of an event that somebody reads."""

    required: dict[str, _Check] = attrs.Factory(dict)
    optional: dict[str, _Check] = attrs.Factory(dict)


def _number(lowest: int, highest: int) -> _Check:
    return lambda value: type(value) is int and lowest <= value <= highest


def _text(value: object) -> bool:
    """JSON can say half of a surrogate pair, which nothing can write."""
    return isinstance(value, str) and re.search("[\ud800-\udfff]", value) is None


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{2 * UPLOAD_ID_BYTES}}}", value) is not None


_AGENCY: Final = _number(1, limits.MAX_AGENCY)
_ANY: Final = _number(0, MAX_TOTAL)
_POSITIVE: Final = _number(1, MAX_TOTAL)

_WINNING: Final = _number(0, limits.MAX_BETTING_NUMBER)

_RUN: Final = (_POSITIVE, _AGENCY, _POSITIVE, _POSITIVE, _number(0, 2**32 - 1))
"""Number of the upload, agency, bets, bytes, CRC-32."""


def _runs(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(run, list)
        and len(run) == len(_RUN)
        and all(good(item) for good, item in zip(_RUN, run, strict=True))
        for run in value
    )


def _by_agency(good: _Check) -> _Check:
    """A mapping from agencies, which JSON writes as texts."""
    return lambda value: (
        isinstance(value, dict)
        and all(
            re.fullmatch("[1-9][0-9]{0,2}", agency) is not None and _AGENCY(int(agency)) and good(item)
            for agency, item in value.items()
        )
    )


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


_SAID: Final[dict[str, _Check]] = {"at": _text, "note": _text}

_SHAPES: Final[Mapping[str, _Shape]] = {
    "bets": _Shape({"draw": _ANY, "length": _ANY}, {"at": _text, "runs": _runs, "bets": _by_agency(_POSITIVE)}),
    "upload": _Shape(
        {"draw": _ANY, "upload": _POSITIVE, "agency": _AGENCY, "id": _is_id, "total": _ANY, "epoch": _POSITIVE}, _SAID
    ),
    "sealed": _Shape({"draw": _ANY, "agency": _AGENCY}, _SAID | {"forced": _flag}),
    "drawn": _Shape(
        {"draw": _ANY, "agency": _AGENCY, "number": _WINNING, "winners": _by_agency(_texts)},
        _SAID | {"sealed": _flag, "forced": _flag, "bets": _ANY, "digest": _text},
    ),
    "void": _Shape({"draw": _ANY, "upload": _POSITIVE, "agency": _AGENCY, "reason": _text}, _SAID),
}
