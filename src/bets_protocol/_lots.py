"""Batches whose bets stay bytes: splitting them by agency, and reading them again later.

A store keeps the exact bytes that an agency sent. What must be known of a bet without decoding it (where it ends,
whose it is, its number) is read at places that are computed from the layout of a bet, once, when this module is
imported; no offset is written down here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Literal

from bets_protocol import _generated_layouts as layouts
from bets_protocol import _ir as ir
from bets_protocol._codec import CODECS
from bets_protocol._messages import Bet, EncodedBatch, Lot

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _order(node: ir.Node) -> Literal["little", "big"]:
    """The byte order that the schema declares for an integer."""
    return "little" if isinstance(node, ir.Int) and node.little else "big"


def _head_of_bet() -> Struct:
    """Reads a bet's length and its agency in one go."""
    prefix = layouts.BET_FRAME.prefix
    offset, agency = ir.field_offset(layouts.BET_RECORD, "agency")
    if not isinstance(agency, ir.Int):  # pragma: no cover - the schema has an integer there
        raise TypeError("the agency of a bet must be an integer")
    order = "<" if prefix.little else ">"
    return Struct(f"{order}{_CODES[prefix.size]}{offset}x{_CODES[agency.size]}")


_HEAD = _head_of_bet()
_PREFIX_SIZE = layouts.BET_FRAME.prefix.size
_PREFIX_ORDER = _order(layouts.BET_FRAME.prefix)
_NUMBER_BACK, _NUMBER = ir.field_offset_from_end(layouts.BET_RECORD, "number")
_DOCUMENT_BACK, _DOCUMENT = ir.field_offset_from_end(layouts.BET_RECORD, "document")
_NUMBER_SIZE = ir.size_bounds(_NUMBER)[0]
_NUMBER_ORDER = _order(_NUMBER)
_DOCUMENT_SIZE = ir.size_bounds(_DOCUMENT)[0]
_BET_FRAME = CODECS["bet_frame"]


def _count_extent(batch: ir.Node) -> tuple[int, int]:
    """Where the count of bets starts and ends in a frame of layout `batch`."""
    record = ir.unwrap(batch)
    if not isinstance(record, ir.Record):
        raise TypeError("a batch must be a record")
    offset, array = ir.field_offset(record, "bets")
    if not isinstance(array, ir.Array) or not isinstance(array.count, ir.Int):
        raise TypeError("the bets of a batch must be counted")
    return offset, offset + array.count.size


def header_size(batch: ir.Node) -> int:
    """How many bytes of a frame of layout `batch` stand before its first bet."""
    return _count_extent(batch)[1]


def bet_count(frame: bytes, batch: ir.Node) -> int:
    """How many bets a sound `frame` of layout `batch` says it holds."""
    start, end = _count_extent(batch)
    return int.from_bytes(frame[start:end], "big")


def split_lots(frame: bytes, start: int) -> EncodedBatch:
    """The bets of a checked `frame`, from byte `start` on, as runs of one agency each."""
    lots: list[Lot] = []
    end = len(frame)
    unpack = _HEAD.unpack_from
    position = run_start = start
    run_agency = count = total = 0
    while position < end:
        length, agency = unpack(frame, position)
        if agency != run_agency:
            if count:
                lots.append(Lot(agency=run_agency, count=count, encoded=frame[run_start:position]))
            total += count
            run_agency, run_start, count = agency, position, 0
        count += 1
        position += _PREFIX_SIZE + length
    lots.append(Lot(agency=run_agency, count=count, encoded=frame[run_start:]))
    return EncodedBatch(count=total + count, lots=tuple(lots))


def encode_bets(bets: Iterable[Bet]) -> bytes:
    """`bets` one behind the other, each with its length field: the contents of `Lot.encoded`."""
    return b"".join([_BET_FRAME.encode(bet) for bet in bets])


def decode_bets(encoded: bytes) -> list[Bet]:
    """The bets in `encoded`, as `encode_bets` writes them.

    Raises:
        DecodeError: the bytes do not fit the layout.
        InvalidValue: they do, and a value breaks its rule.
    """
    return [_BET_FRAME.decode(encoded[start:end]) for start, end in _extents(encoded)]


def documents_with_number(encoded: bytes, number: int) -> list[str]:
    """The documents of the bets in `encoded` on `number`, in order.

    The bytes must have been checked before. A batch without the number's bytes is passed over at the speed of a
    byte search.
    """
    needle = number.to_bytes(_NUMBER_SIZE, _NUMBER_ORDER)
    if needle not in encoded:
        return []
    return [
        encoded[end - _DOCUMENT_BACK : end - _DOCUMENT_BACK + _DOCUMENT_SIZE].decode("ascii")
        for _, end in _extents(encoded)
        if encoded[end - _NUMBER_BACK : end - _NUMBER_BACK + _NUMBER_SIZE] == needle
    ]


def _extents(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Where each bet starts and ends; the last one may claim more bytes than there are."""
    position, end = 0, len(encoded)
    while position < end:
        length = int.from_bytes(encoded[position : position + _PREFIX_SIZE], _PREFIX_ORDER)
        stop = position + _PREFIX_SIZE + length
        yield position, stop
        position = stop
