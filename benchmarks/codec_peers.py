"""The peers of the codec: other ways to turn the same bets into bytes and back.

Each does the same work where it can: bytes of a batch in, checked typed objects out. Where a peer checks less, its
name says so.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Annotated, Any

import attrs
import msgspec

from bets_protocol import Bet, BetBatch
from bets_protocol.layout.rules import CalendarDate, printable_name
from bets_protocol.schema import BET_BATCH

FIELDS = tuple(field.name for field in attrs.fields(Bet))


@attrs.frozen
class Peer:
    """One peer: a batch to its bytes, and back to a list of objects."""

    name: str
    encode: Callable[[BetBatch], bytes]
    decode: Callable[[bytes], object]
    prepare: Callable[[BetBatch], Any]
    encode_prepared: Callable[[Any], bytes]


def _records(batch: BetBatch) -> list[dict[str, Any]]:
    return [{name: getattr(bet, name) for name in FIELDS} for bet in batch.bets]


# -- construct


def construct_decode(data: bytes, layout: Any = BET_BATCH) -> list[Bet]:
    """construct's own parser, then our objects."""
    return [Bet(**{name: item[name] for name in FIELDS}) for item in layout.parse(data).bets]


def construct_prepare(batch: BetBatch) -> dict[str, Any]:
    """What construct builds from."""
    return {"bets": _records(batch)}


def compiled_construct() -> Any:
    """The same layout out of construct's own parts only, since its `compile()` knows no others; compiled.

    It checks the layout and the text's encoding, no rule.
    """
    import construct as c  # noqa: PLC0415  # only this benchmark runs it

    bet = c.Struct(
        "agency" / c.Int8ub,
        "first_name" / c.PascalString(c.Int8ub, "utf8"),
        "last_name" / c.PascalString(c.Int8ub, "utf8"),
        "document" / c.PaddedString(8, "ascii"),
        "birthdate" / c.PaddedString(10, "ascii"),
        "number" / c.Int16ub,
    )
    batch = c.Struct("type" / c.Const(1, c.Int8ub), "bets" / c.PrefixedArray(c.Int8ub, c.Prefixed(c.Int16ub, bet)))
    return batch.compile()


# -- struct, by hand, as one would write it


@attrs.frozen
class PlainBet:
    """A frozen object without validators, for peers that check by themselves or not at all."""

    agency: int
    first_name: str
    last_name: str
    document: str
    birthdate: str
    number: int


_DATE = CalendarDate()
_NAME = printable_name()
_DOCUMENT = re.compile(rb"[0-9]{8}")


def struct_decode(data: bytes) -> list[PlainBet]:
    """Straight-line code with `struct`, every rule checked."""
    bets = []
    kind, count = data[0], data[1]
    if kind != 1 or not count or len(data) > 8192:
        raise ValueError("header")
    position = 2
    for _ in range(count):
        (length,) = struct.unpack_from(">H", data, position)
        end = position + 2 + length
        agency, size = struct.unpack_from(">BB", data, position + 2)
        first_end = position + 4 + size
        first_name = data[position + 4 : first_end].decode()
        last_end = first_end + 1 + data[first_end]
        last_name = data[first_end + 1 : last_end].decode()
        document, birthdate, number = struct.unpack_from(">8s10sH", data, last_end)
        if last_end + 20 != end or not agency or number > 9999 or not _DOCUMENT.fullmatch(document):
            raise ValueError("bet")
        date = birthdate.decode("ascii")
        if not _DATE.allows(date) or not _NAME.allows(first_name) or not _NAME.allows(last_name):
            raise ValueError("bet")
        bets.append(PlainBet(agency, first_name, last_name, document.decode("ascii"), date, number))
        position = end
    if position != len(data):
        raise ValueError("trailing")
    return bets


def struct_encode(batch: BetBatch) -> bytes:
    """Straight-line code with `struct`; the objects were checked when they were made."""
    parts = [bytes((1, len(batch.bets)))]
    for bet in batch.bets:
        first, last = bet.first_name.encode(), bet.last_name.encode()
        form = f">HBB{len(first)}sB{len(last)}s8s10sH"
        document, birthdate = bet.document.encode(), bet.birthdate.encode()
        length = 23 + len(first) + len(last)
        parts.append(
            struct.pack(form, length, bet.agency, len(first), first, len(last), last, document, birthdate, bet.number)
        )
    return b"".join(parts)


# -- msgspec


class MsgspecBet(msgspec.Struct, frozen=True, array_like=True):
    """Typed, without constraints."""

    agency: int
    first_name: str
    last_name: str
    document: str
    birthdate: str
    number: int


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]


class CheckedMsgspecBet(msgspec.Struct, frozen=True, array_like=True):
    """Typed, with the constraints that msgspec can express; the day is matched by form only."""

    agency: Annotated[int, msgspec.Meta(ge=1, le=255)]
    first_name: _Name
    last_name: _Name
    document: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{8}\Z")]
    birthdate: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    number: Annotated[int, msgspec.Meta(ge=0, le=9999)]
