"""What generated code calls: the rare branches and the pieces that are the same for every layout.

What is called for bad input only takes the slow path, `bets_protocol.layout.diagnose`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import error as StructError
from struct import pack, unpack_from
from typing import Any, Literal

from bets_protocol.bytes_like import as_bytes
from bets_protocol.errors import InvalidMessage, LocalProtocolError, RemoteProtocolError
from bets_protocol.layout.diagnose import (
    encoded_size,
    explain_bytes,
    explain_record,
    explain_value,
    fits_float,
    is_line,
)
from bets_protocol.layout.nodes import Node, Record, records
from bets_protocol.layout.rules import CalendarDate, is_whole_number

__all__ = [
    "KNOWN_DATES",
    "StructError",
    "as_bytes",
    "bounded",
    "encoded_size",
    "explained",
    "fits_float",
    "is_date",
    "is_line",
    "is_whole_number",
    "keeps_rules",
    "pack",
    "prefixed",
    "refused",
    "unpack_from",
    "utf8_size",
]

KNOWN_DATES: set[str] = set()
"""Dates that were checked before: birth dates repeat, and a look-up is cheaper than a calendar."""

_KNOWN_DATES_MAX = 50_000
"""More than all days of a century, and about 6 MB. A full memory is emptied, so that no peer can make it grow."""

_DATE_RULE = CalendarDate()


def is_date(value: str) -> bool:
    """Whether `value` is a day that exists, as YYYY-MM-DD; remembers it if so."""
    if not _DATE_RULE.allows(value):
        return False
    if len(KNOWN_DATES) >= _KNOWN_DATES_MAX:
        KNOWN_DATES.clear()
    KNOWN_DATES.add(value)
    return True


def keeps_rules(
    name: str, layout: Node, valid: Callable[[Any, Mapping[str, type]], bool], classes: Mapping[str, type]
) -> Callable[[Any], None]:
    """The last step of making a message of the class `name`, a record in `layout`."""
    record: Record = next(record for record in records(layout) if record.name == name)

    def check(self: Any) -> None:
        if not valid(self, classes):
            raise explain_record(record, self) or InvalidMessage(f"expected the parts of the {name} to be messages")

    return check


def utf8_size(value: str) -> int:
    """How many bytes of UTF-8 `value` takes; -1 where it cannot be written in it (a lone surrogate)."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        return -1


def explained(layout: Node, data: bytes) -> RemoteProtocolError | RuntimeError:
    """The error to raise for `data`, which the fast path refused."""
    return explain_bytes(layout, data) or RuntimeError(
        f"the generated decoder refused what its layout allows: {bytes(data[:64]).hex()}"
    )


def refused(layout: Node, message: object) -> InvalidMessage:
    """The error to raise for `message`, which is not of the class that is encoded as `layout`."""
    return explain_value(layout, message) or InvalidMessage(
        "expected a message of this library", found=f"a {type(message).__name__} of {type(message).__module__}"
    )


def prefixed(data: bytes, size: int, order: Literal["little", "big"]) -> bytes:
    """`data` with its length in front, in `size` bytes."""
    return len(data).to_bytes(size, order) + data


def bounded(data: bytes, max_bytes: int) -> bytes:
    """`data`, which must not pass `max_bytes`.

    Raises:
        LocalProtocolError: it does.
    """
    if len(data) > max_bytes:
        raise LocalProtocolError(f"expected a frame of at most {max_bytes} bytes, not {len(data)}")
    return data
