"""Batches and the bytes of their bets: filling them, splitting them by agency, and reading them again later.

A store keeps the exact bytes that an agency sent. What must be known of a bet without decoding it (where it ends,
whose it is, its number) is read at places that are computed from the layout of a bet, once, when this module is
imported; no offset is written down here.

Splitting and searching have native twins, made from the same layouts. These take sound bytes only and give None for
all others, so what is damaged is always judged by the functions here.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Literal, TypeAlias, TypeVar

from bets_protocol.bytes_like import BytesLike, as_bytes
from bets_protocol.codec import CODECS, NEWEST_REVISION, codec_for
from bets_protocol.codec.backend import native_module
from bets_protocol.errors import LocalProtocolError
from bets_protocol.generated import layouts
from bets_protocol.layout import nodes as ir
from bets_protocol.limits import DEFAULT_BATCH_MAX, MAX_BATCH_BETS, MAX_FRAME_BYTES
from bets_protocol.messages import Bet, BetBatch, BetRun, EncodedBatch

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_ORDERS = {"little": "<", "big": ">"}


def _order(node: ir.Node) -> Literal["little", "big"]:
    """The byte order that the schema declares for an integer."""
    return "little" if isinstance(node, ir.Int) and node.little else "big"


def _head_of_bet() -> Struct:
    """Reads a bet's length and its agency in one go."""
    offset, agency = ir.field_offset(layouts.BET_RECORD, "agency")
    if not isinstance(agency, ir.Int):  # pragma: no cover - the schema has an integer there
        raise TypeError("the agency of a bet must be an integer")
    return Struct(f"{_LENGTH.format}{offset}x{_CODES[agency.size]}")


_PREFIX_SIZE = layouts.BET_FRAME.prefix.size
_PREFIX_ORDER = _order(layouts.BET_FRAME.prefix)
_LENGTH = Struct(f"{_ORDERS[_PREFIX_ORDER]}{_CODES[_PREFIX_SIZE]}")
_HEAD = _head_of_bet()
_NUMBER_BACK, _NUMBER = ir.field_offset(layouts.BET_RECORD, "number", from_end=True)
_DOCUMENT_BACK, _DOCUMENT = ir.field_offset(layouts.BET_RECORD, "document", from_end=True)
_NUMBER_SIZE = ir.size_bounds(_NUMBER)[0]
_NUMBER_ORDER = _order(_NUMBER)
_DOCUMENT_SIZE = ir.size_bounds(_DOCUMENT)[0]
_BET_FRAME = CODECS["bet_frame"]
_NATIVE = native_module()

_ATTEMPTS = 4
"""A batch of 130 bets has a byte that stands in their numbers only about every other time."""


_Count: TypeAlias = tuple[bytes, int, Literal["little", "big"]]
"""What stands before a count, where the count ends, and its byte order."""


def _count_field(batch: ir.Node) -> _Count:
    record = ir.unwrap(batch)
    if not isinstance(record, ir.Record):
        raise TypeError("a batch must be a record")
    offset, array = ir.field_offset(record, "bets")
    if not isinstance(array, ir.Array) or not isinstance(array.count, ir.Int):
        raise TypeError("the bets of a batch must be counted")
    before = b"".join(_constant(field.node) for field in record.fields if field.name != "bets")
    if len(before) != offset:
        raise TypeError("the bets of a batch must be its last field")
    return before, offset + array.count.size, _order(array.count)


def _constant(node: ir.Node) -> bytes:
    if not isinstance(node, ir.Const) or not isinstance(node.sub, ir.Int) or not isinstance(node.value, int):
        raise TypeError("a batch may have only constant numbers before its bets")
    return node.value.to_bytes(node.sub.size, _order(node.sub))


_COUNT_FIELDS = {id(batch): _count_field(batch) for batch in (layouts.BET_BATCH, layouts.UNTYPED_BATCH)}
"""Those of our own batches, by the identity of their layout: to look one up costs less than to walk through it."""


def header_size(batch: ir.Node) -> int:
    """How many bytes of a frame of layout `batch` stand before its first bet."""
    return _COUNT_FIELDS[id(batch)][1]


def bet_count(frame: bytes, batch: ir.Node) -> int:
    """How many bets a sound `frame` of layout `batch` says it holds."""
    before, end, order = _COUNT_FIELDS[id(batch)]
    return int.from_bytes(frame[len(before) : end], order)


def batch_frame(run: BetRun, revision: int) -> bytes:
    """The batch of `revision` that holds `run` and nothing else. Its bets are not checked again.

    Raises:
        LocalProtocolError: it holds no bet or too many, its frame would pass 8192 bytes, or the revision has no
            batches.
    """
    before, end, order = _COUNT_FIELDS[id(codec_for(BetBatch, revision).frame.layout)]
    size = end + len(run.encoded)
    if not 1 <= run.count <= MAX_BATCH_BETS:
        raise LocalProtocolError(f"expected 1 to {MAX_BATCH_BETS} bets a batch, not {run.count}")
    if size > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"expected a batch of at most {MAX_FRAME_BYTES} bytes, not {size}")
    return b"".join((before, run.count.to_bytes(end - len(before), order), run.encoded))


def batches(
    bets: Iterable[Bet],
    *,
    max_amount: int = DEFAULT_BATCH_MAX,
    max_bytes: int = MAX_FRAME_BYTES,
    revision: int = NEWEST_REVISION,
) -> Iterator[BetBatch]:
    """`bets` in order, in batches such that the next bet would break a bound of its batch.

    Args:
        bets: any number of bets; read as far as the batches are asked for.
        max_amount: bets in a batch at most, 1 to 255.
        max_bytes: bytes of a whole frame at most; never above 8192.
        revision: 6 or above; says how large the frame's header is.

    Raises:
        LocalProtocolError: a bound that no batch can keep; while iterating, a bet that alone is above `max_bytes`.
    """
    bounds = _bounds(max_amount, max_bytes, revision)
    encode = _BET_FRAME.encode
    return (BetBatch(bets=some) for some in _filled(bets, lambda bet: len(encode(bet)), *bounds))


def encoded_batches(
    encoded_bets: Iterable[bytes],
    *,
    agency: int,
    max_amount: int = DEFAULT_BATCH_MAX,
    max_bytes: int = MAX_FRAME_BYTES,
    revision: int = NEWEST_REVISION,
) -> Iterator[BetRun]:
    """`batches` of bets that are encoded already, each as one run.

    Args:
        encoded_bets: each as `encode_bets` writes one.
        agency: that of all bets.
        max_amount, max_bytes, revision: as in `batches`.
    """
    bounds = _bounds(max_amount, max_bytes, revision)
    return (
        BetRun(agency=agency, count=len(some), encoded=b"".join(some)) for some in _filled(encoded_bets, len, *bounds)
    )


def _bounds(max_amount: int, max_bytes: int, revision: int) -> tuple[int, int, int]:
    """The most bets of a batch, the bytes of its header, and the most bytes of its frame."""
    if not 1 <= max_amount <= MAX_BATCH_BETS:
        raise LocalProtocolError(f"expected 1 to {MAX_BATCH_BETS} bets a batch, not {max_amount}")
    header = header_size(codec_for(BetBatch, revision).frame.layout)
    return max_amount, header, min(max_bytes, MAX_FRAME_BYTES)


_B = TypeVar("_B", Bet, bytes)


def _filled(
    bets: Iterable[_B], size_of: Callable[[_B], int], max_amount: int, header: int, bound: int
) -> Iterator[list[_B]]:
    waiting: list[_B] = []
    size = header
    for bet in bets:
        bet_size = size_of(bet)
        if header + bet_size > bound:
            raise LocalProtocolError(f"a bet of {bet_size} bytes does not fit a batch of {bound} bytes")
        if size + bet_size > bound or len(waiting) == max_amount:
            yield waiting
            waiting, size = [], header
        waiting.append(bet)
        size += bet_size
    if waiting:
        yield waiting


_Runs: TypeAlias = list[tuple[int, int, bytes]]
"""Agency, how many bets, and their bytes, of each run."""


def split_runs(frame: bytes, start: int) -> EncodedBatch:
    """The bets of a checked `frame`, from byte `start` on, as runs of one agency each."""
    runs: _Runs | None = None if _NATIVE is None else _NATIVE.split_bets(frame, start)
    if runs is None:
        runs = _split(frame, start)
    found = tuple([BetRun(agency=agency, count=count, encoded=encoded) for agency, count, encoded in runs])
    return EncodedBatch(count=sum([run.count for run in found]), runs=found)


def _split(frame: bytes, start: int) -> _Runs:
    runs: _Runs = []
    end = len(frame)
    unpack = _HEAD.unpack_from
    position = run_start = start
    run_agency = count = 0
    while position < end:
        length, agency = unpack(frame, position)
        if agency != run_agency:
            if count:
                runs.append((run_agency, count, frame[run_start:position]))
            run_agency, run_start, count = agency, position, 0
        count += 1
        position += _PREFIX_SIZE + length
    runs.append((run_agency, count, frame[run_start:]))
    return runs


def encode_bets(bets: Iterable[Bet]) -> bytes:
    """`bets` one behind the other, each with its length field: the contents of `BetRun.encoded`."""
    return b"".join([_BET_FRAME.encode(bet) for bet in bets])


def decode_bets(encoded: BytesLike) -> list[Bet]:
    """The bets in `encoded`, as `encode_bets` writes them.

    Raises:
        DecodeError: the bytes do not fit the layout.
        InvalidValue: they do, and a value breaks its rule.
        TypeError: `encoded` is no bytes, bytearray or memoryview.
    """
    encoded = as_bytes(encoded)
    return [_BET_FRAME.decode(bet) for bet in split_bets(encoded)]


def split_bets(encoded: bytes) -> Iterator[bytes]:
    """Each bet in `encoded` on its own, with its length field; the last one may lack bytes, which decoding refuses."""
    position, end = 0, len(encoded)
    while position < end:
        stop = position + _PREFIX_SIZE + int.from_bytes(encoded[position : position + _PREFIX_SIZE], _PREFIX_ORDER)
        yield encoded[position:stop]
        position = stop


def documents_with_number(encoded: BytesLike, number: int) -> list[str]:
    """The documents of the bets in `encoded` on `number`, in order.

    The bytes must have been checked before. Bets without the number's bytes are passed over at the speed of a byte
    search.

    Raises:
        TypeError: `encoded` is no bytes, bytearray or memoryview.
    """
    return survey_runs([([as_bytes(encoded)], 0)], number)[0][1]


Found: TypeAlias = list[tuple[int, list[str]]]
"""Of each upload its CRC-32, and the documents of the bets with the number."""


def survey_runs(uploads: Sequence[tuple[Sequence[BytesLike], int]], number: int) -> Found:
    """`documents_with_number` over many encoded bets at once, beside the CRC-32 over all of their bytes.

    The native codec gives up the interpreter's lock meanwhile: another thread may fetch what comes next.

    Args:
        uploads: of each upload its runs as bytes, checked before, and the CRC-32 to go on from.
        number: the winning number.

    Raises:
        TypeError: what should be encoded bets is no bytes, bytearray or memoryview.
    """
    found: Found | None = None if _NATIVE is None else _NATIVE.survey_bets(uploads, number)
    if found is not None:
        return found
    return [
        (
            functools.reduce(lambda crc32, run: zlib.crc32(run, crc32), runs, before),
            [document for run in runs for document in _find(run, number)],
        )
        for runs, before in [([as_bytes(run) for run in runs], before) for runs, before in uploads]
    ]


def _find(encoded: bytes, number: int) -> list[str]:
    if not _searcher(number)(encoded):
        return []
    documents = []
    needle = number.to_bytes(_NUMBER_SIZE, _NUMBER_ORDER)
    unpack, back, size = _LENGTH.unpack_from, _NUMBER_BACK, _NUMBER_SIZE
    end, last = 0, len(encoded) - _PREFIX_SIZE
    while end <= last:
        end += _PREFIX_SIZE + unpack(encoded, end)[0]
        if encoded[end - back : end - back + size] == needle:
            documents.append(encoded[end - _DOCUMENT_BACK : end - _DOCUMENT_BACK + _DOCUMENT_SIZE].decode("ascii"))
    return documents


@functools.lru_cache(maxsize=16)
def _searcher(number: int) -> Callable[[bytes], bool]:
    """Tells whether the bytes of a number stand anywhere in given bytes.

    Its last byte alone is found many times faster, but most bets hold some bytes several times, which takes longer than
    to look for both: so a few attempts, then an expression, which takes less than half the time of `in`.
    """
    needle = number.to_bytes(_NUMBER_SIZE, _NUMBER_ORDER)
    last, before = needle[-1:], _NUMBER_SIZE - 1
    search = re.compile(re.escape(needle)).search

    def stands_in(encoded: bytes) -> bool:
        at = encoded.find(last)
        for _ in range(_ATTEMPTS):
            if at < 0:
                return False
            if encoded[max(at - before, 0) : at + 1] == needle:
                return True
            at = encoded.find(last, at + 1)
        return search(encoded) is not None

    return stands_in
