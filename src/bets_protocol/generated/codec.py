"""The codec of every frame in plain Python.

Generated from bets_protocol.schema by `nox -s generate`: do not edit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from bets_protocol.errors import DecodeError, FrameTooLarge
from bets_protocol.generated import layouts
from bets_protocol.generated.layouts import RULE_E0E970AE
from bets_protocol.generated.support import (
    KNOWN_DATES,
    as_bytes,
    bounded,
    explained,
    is_date,
    is_line,
    prefixed,
    refused,
)
from bets_protocol.messages import Ack, Bet, BetBatch, OpenUpload, Probe, UploadStatus, Winners, WinnersRequest

NATIVE_DIGEST: Final = "605b1a20da8fe7e2"
"""Names the layouts and the emitter that the native codec must have been made from."""


class _OpenBet:
    __slots__ = ('agency', 'first_name', 'last_name', 'document', 'birthdate', 'number',)

    def __init__(self, agency: int, first_name: str, last_name: str, document: str, birthdate: str, number: int) -> None:
        self.agency = agency
        self.first_name = first_name
        self.last_name = last_name
        self.document = document
        self.birthdate = birthdate
        self.number = number


class _OpenBetBatch:
    __slots__ = ('bets',)

    def __init__(self, bets: tuple[Bet, ...]) -> None:
        self.bets = bets


class _OpenWinnersRequest:
    __slots__ = ('agency',)

    def __init__(self, agency: int) -> None:
        self.agency = agency


class _OpenProbe:
    __slots__ = ('line',)

    def __init__(self, line: bytes) -> None:
        self.line = line


class _OpenAck:
    __slots__ = ('count',)

    def __init__(self, count: int) -> None:
        self.count = count


class _OpenWinners:
    __slots__ = ('documents',)

    def __init__(self, documents: tuple[str, ...]) -> None:
        self.documents = documents


class _OpenOpenUpload:
    __slots__ = ('agency', 'draw', 'total', 'upload_id',)

    def __init__(self, agency: int, draw: int, total: int, upload_id: bytes) -> None:
        self.agency = agency
        self.draw = draw
        self.total = total
        self.upload_id = upload_id


class _OpenUploadStatus:
    __slots__ = ('code', 'draw', 'stored', 'crc32',)

    def __init__(self, code: int, draw: int, stored: int, crc32: int) -> None:
        self.code = code
        self.draw = draw
        self.stored = stored
        self.crc32 = crc32


def _put_Bet(record: Bet) -> bytes:
    first_name = record.first_name.encode()
    last_name = record.last_name.encode()
    return b''.join((record.agency.to_bytes(1, "big"), len(first_name).to_bytes(1, "big"), first_name, len(last_name).to_bytes(1, "big"), last_name, record.document.encode("ascii"), record.birthdate.encode("ascii"), record.number.to_bytes(2, "big")))


def _put_BetBatch(record: BetBatch) -> bytes:
    return len(record.bets).to_bytes(1, "big") + b''.join([prefixed(_put_Bet(item), 2, 'big') for item in record.bets])


def _put_BetBatch_2(record: BetBatch) -> bytes:
    return b''.join((b'\x01', len(record.bets).to_bytes(1, "big") + b''.join([prefixed(_put_Bet(item), 2, 'big') for item in record.bets])))


def _put_WinnersRequest(record: WinnersRequest) -> bytes:
    return b''.join((b'\x02', record.agency.to_bytes(1, "big")))


def _put_Probe(record: Probe) -> bytes:
    return record.line


def _put_Ack(record: Ack) -> bytes:
    return record.count.to_bytes(1, "big")


def _put_Winners(record: Winners) -> bytes:
    return len(record.documents).to_bytes(2, "big") + b''.join([item.encode("ascii") for item in record.documents])


def _put_OpenUpload(record: OpenUpload) -> bytes:
    return b''.join((b'\x03', b'\x01', record.agency.to_bytes(1, "big"), record.draw.to_bytes(4, "big"), record.total.to_bytes(8, "big"), record.upload_id))


def _put_UploadStatus(record: UploadStatus) -> bytes:
    return b''.join((b'\x83', record.code.to_bytes(1, "big"), record.draw.to_bytes(4, "big"), record.stored.to_bytes(8, "big"), record.crc32.to_bytes(4, "big")))


def check_bet_frame(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound bet_frame frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        value_stop = 2 + (data[0] << 8 | data[1])
        if value_stop > end:
            raise ValueError
        agency = data[2]
        if not agency:
            raise ValueError
        first_name_end = 4 + data[3]
        first_name = text[4:first_name_end]
        if not first_name:
            raise ValueError
        if not first_name.isascii():
            first_name = data[4:first_name_end].decode("utf-8")
        if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
            raise ValueError
        last_name_end = first_name_end + 1 + data[first_name_end]
        last_name = text[first_name_end + 1:last_name_end]
        if not last_name:
            raise ValueError
        if not last_name.isascii():
            last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
        if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
            raise ValueError
        document = text[last_name_end:last_name_end + 8]
        if not (document.isdecimal() and document.isascii()):
            raise ValueError
        birthdate = text[last_name_end + 8:last_name_end + 18]
        if not (birthdate in KNOWN_DATES or is_date(birthdate)):
            raise ValueError
        number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
        if number > 9999:
            raise ValueError
        if last_name_end + 20 != value_stop:
            raise ValueError
        if value_stop != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.BET_FRAME, data) from None


def decode_bet_frame(data: bytes) -> Bet:
    """The message in `data`, which must be one whole bet_frame frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        value_stop = 2 + (data[0] << 8 | data[1])
        if value_stop > end:
            raise ValueError
        agency = data[2]
        if not agency:
            raise ValueError
        first_name_end = 4 + data[3]
        first_name = text[4:first_name_end]
        if not first_name:
            raise ValueError
        if not first_name.isascii():
            first_name = data[4:first_name_end].decode("utf-8")
        if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
            raise ValueError
        last_name_end = first_name_end + 1 + data[first_name_end]
        last_name = text[first_name_end + 1:last_name_end]
        if not last_name:
            raise ValueError
        if not last_name.isascii():
            last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
        if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
            raise ValueError
        document = text[last_name_end:last_name_end + 8]
        if not (document.isdecimal() and document.isascii()):
            raise ValueError
        birthdate = text[last_name_end + 8:last_name_end + 18]
        if not (birthdate in KNOWN_DATES or is_date(birthdate)):
            raise ValueError
        number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
        if number > 9999:
            raise ValueError
        made: Any = _OpenBet(agency, first_name, last_name, document, birthdate, number)
        made.__class__ = Bet
        if last_name_end + 20 != value_stop:
            raise ValueError
        if value_stop != end:
            raise ValueError
        result: Bet = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.BET_FRAME, data) from None


def encode_bet_frame(message: Bet) -> bytes:
    """The bet_frame frame of `message`."""
    if type(message) is not Bet:
        raise refused(layouts.BET_FRAME, message)
    return prefixed(_put_Bet(message), 2, 'big')


def scan_bet_frame(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the bet_frame frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 2:
        yield 2
    value_length = data[0] << 8 | data[1]
    if not 25 <= value_length <= 533:
        raise DecodeError(f"expected a length from 25 to 533, not {value_length}", path='', offset=0)
    position = 2 + value_length
    while len(data) < position:
        yield position
    return position


def check_untyped_batch(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound untyped_batch frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        bets_count = data[0]
        if not bets_count:
            raise ValueError
        if bets_count * 27 > end - 1:
            raise ValueError
        position = 1
        for _ in range(bets_count):
            bets_item_stop = position + 2 + (data[position] << 8 | data[position + 1])
            if bets_item_stop > end:
                raise ValueError
            agency = data[position + 2]
            if not agency:
                raise ValueError
            first_name_end = position + 4 + (data[position + 3])
            first_name = text[position + 4:first_name_end]
            if not first_name:
                raise ValueError
            if not first_name.isascii():
                first_name = data[position + 4:first_name_end].decode("utf-8")
            if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
                raise ValueError
            last_name_end = first_name_end + 1 + data[first_name_end]
            last_name = text[first_name_end + 1:last_name_end]
            if not last_name:
                raise ValueError
            if not last_name.isascii():
                last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
            if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
                raise ValueError
            document = text[last_name_end:last_name_end + 8]
            if not (document.isdecimal() and document.isascii()):
                raise ValueError
            birthdate = text[last_name_end + 8:last_name_end + 18]
            if not (birthdate in KNOWN_DATES or is_date(birthdate)):
                raise ValueError
            number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
            if number > 9999:
                raise ValueError
            if last_name_end + 20 != bets_item_stop:
                raise ValueError
            position = bets_item_stop
        if position > 8192:
            raise ValueError
        if position != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.UNTYPED_BATCH, data) from None


def decode_untyped_batch(data: bytes) -> BetBatch:
    """The message in `data`, which must be one whole untyped_batch frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        bets_count = data[0]
        if not bets_count:
            raise ValueError
        if bets_count * 27 > end - 1:
            raise ValueError
        position = 1
        bets: list[Bet] = []
        for _ in range(bets_count):
            bets_item_stop = position + 2 + (data[position] << 8 | data[position + 1])
            if bets_item_stop > end:
                raise ValueError
            agency = data[position + 2]
            if not agency:
                raise ValueError
            first_name_end = position + 4 + (data[position + 3])
            first_name = text[position + 4:first_name_end]
            if not first_name:
                raise ValueError
            if not first_name.isascii():
                first_name = data[position + 4:first_name_end].decode("utf-8")
            if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
                raise ValueError
            last_name_end = first_name_end + 1 + data[first_name_end]
            last_name = text[first_name_end + 1:last_name_end]
            if not last_name:
                raise ValueError
            if not last_name.isascii():
                last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
            if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
                raise ValueError
            document = text[last_name_end:last_name_end + 8]
            if not (document.isdecimal() and document.isascii()):
                raise ValueError
            birthdate = text[last_name_end + 8:last_name_end + 18]
            if not (birthdate in KNOWN_DATES or is_date(birthdate)):
                raise ValueError
            number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
            if number > 9999:
                raise ValueError
            made: Any = _OpenBet(agency, first_name, last_name, document, birthdate, number)
            made.__class__ = Bet
            if last_name_end + 20 != bets_item_stop:
                raise ValueError
            bets.append(made)
            position = bets_item_stop
        made_2: Any = _OpenBetBatch(tuple(bets))
        made_2.__class__ = BetBatch
        if position > 8192:
            raise ValueError
        if position != end:
            raise ValueError
        result: BetBatch = made_2
        return result
    except (IndexError, ValueError):
        raise explained(layouts.UNTYPED_BATCH, data) from None


def encode_untyped_batch(message: BetBatch) -> bytes:
    """The untyped_batch frame of `message`."""
    if type(message) is not BetBatch:
        raise refused(layouts.UNTYPED_BATCH, message)
    return bounded(_put_BetBatch(message), 8192)


def scan_untyped_batch(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the untyped_batch frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    bets_count = data[0]
    if not 1 <= bets_count <= 255:
        raise DecodeError(f"expected a count from 1 to 255, not {bets_count}", path='bets', offset=0)
    position = 1
    for item_index in range(bets_count):
        if position + 2 > 8192:
            raise FrameTooLarge("expected at most 8192 bytes", path=f'bets[{item_index}]', offset=8192)
        while len(data) < position + 2:
            yield position + 2
        bets_item_length = data[position] << 8 | data[position + 1]
        if not 25 <= bets_item_length <= 533:
            raise DecodeError(f"expected a length from 25 to 533, not {bets_item_length}", path=f'bets[{item_index}]', offset=position)
        position_2 = position + 2 + bets_item_length
        if position_2 > 8192:
            raise FrameTooLarge("expected at most 8192 bytes", path=f'bets[{item_index}]', offset=8192)
        while len(data) < position_2:
            yield position_2
        position = position_2
    return position


def check_bet_batch(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound bet_batch frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        if data[0] != 1:
            raise ValueError
        bets_count = data[1]
        if not bets_count:
            raise ValueError
        if bets_count * 27 > end - 2:
            raise ValueError
        position = 2
        for _ in range(bets_count):
            bets_item_stop = position + 2 + (data[position] << 8 | data[position + 1])
            if bets_item_stop > end:
                raise ValueError
            agency = data[position + 2]
            if not agency:
                raise ValueError
            first_name_end = position + 4 + (data[position + 3])
            first_name = text[position + 4:first_name_end]
            if not first_name:
                raise ValueError
            if not first_name.isascii():
                first_name = data[position + 4:first_name_end].decode("utf-8")
            if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
                raise ValueError
            last_name_end = first_name_end + 1 + data[first_name_end]
            last_name = text[first_name_end + 1:last_name_end]
            if not last_name:
                raise ValueError
            if not last_name.isascii():
                last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
            if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
                raise ValueError
            document = text[last_name_end:last_name_end + 8]
            if not (document.isdecimal() and document.isascii()):
                raise ValueError
            birthdate = text[last_name_end + 8:last_name_end + 18]
            if not (birthdate in KNOWN_DATES or is_date(birthdate)):
                raise ValueError
            number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
            if number > 9999:
                raise ValueError
            if last_name_end + 20 != bets_item_stop:
                raise ValueError
            position = bets_item_stop
        if position > 8192:
            raise ValueError
        if position != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.BET_BATCH, data) from None


def decode_bet_batch(data: bytes) -> BetBatch:
    """The message in `data`, which must be one whole bet_batch frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        if data[0] != 1:
            raise ValueError
        bets_count = data[1]
        if not bets_count:
            raise ValueError
        if bets_count * 27 > end - 2:
            raise ValueError
        position = 2
        bets: list[Bet] = []
        for _ in range(bets_count):
            bets_item_stop = position + 2 + (data[position] << 8 | data[position + 1])
            if bets_item_stop > end:
                raise ValueError
            agency = data[position + 2]
            if not agency:
                raise ValueError
            first_name_end = position + 4 + (data[position + 3])
            first_name = text[position + 4:first_name_end]
            if not first_name:
                raise ValueError
            if not first_name.isascii():
                first_name = data[position + 4:first_name_end].decode("utf-8")
            if not (first_name.isprintable() or RULE_E0E970AE.allows(first_name)):
                raise ValueError
            last_name_end = first_name_end + 1 + data[first_name_end]
            last_name = text[first_name_end + 1:last_name_end]
            if not last_name:
                raise ValueError
            if not last_name.isascii():
                last_name = data[first_name_end + 1:last_name_end].decode("utf-8")
            if not (last_name.isprintable() or RULE_E0E970AE.allows(last_name)):
                raise ValueError
            document = text[last_name_end:last_name_end + 8]
            if not (document.isdecimal() and document.isascii()):
                raise ValueError
            birthdate = text[last_name_end + 8:last_name_end + 18]
            if not (birthdate in KNOWN_DATES or is_date(birthdate)):
                raise ValueError
            number = data[last_name_end + 18] << 8 | data[last_name_end + 19]
            if number > 9999:
                raise ValueError
            made: Any = _OpenBet(agency, first_name, last_name, document, birthdate, number)
            made.__class__ = Bet
            if last_name_end + 20 != bets_item_stop:
                raise ValueError
            bets.append(made)
            position = bets_item_stop
        made_2: Any = _OpenBetBatch(tuple(bets))
        made_2.__class__ = BetBatch
        if position > 8192:
            raise ValueError
        if position != end:
            raise ValueError
        result: BetBatch = made_2
        return result
    except (IndexError, ValueError):
        raise explained(layouts.BET_BATCH, data) from None


def encode_bet_batch(message: BetBatch) -> bytes:
    """The bet_batch frame of `message`."""
    if type(message) is not BetBatch:
        raise refused(layouts.BET_BATCH, message)
    return bounded(_put_BetBatch_2(message), 8192)


def scan_bet_batch(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the bet_batch frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    type_2 = data[0]
    if type_2 != 1:
        raise DecodeError(f"expected 1, not {type_2}", path='type', offset=0)
    while len(data) < 2:
        yield 2
    bets_count = data[1]
    if not 1 <= bets_count <= 255:
        raise DecodeError(f"expected a count from 1 to 255, not {bets_count}", path='bets', offset=1)
    position = 2
    for item_index in range(bets_count):
        if position + 2 > 8192:
            raise FrameTooLarge("expected at most 8192 bytes", path=f'bets[{item_index}]', offset=8192)
        while len(data) < position + 2:
            yield position + 2
        bets_item_length = data[position] << 8 | data[position + 1]
        if not 25 <= bets_item_length <= 533:
            raise DecodeError(f"expected a length from 25 to 533, not {bets_item_length}", path=f'bets[{item_index}]', offset=position)
        position_2 = position + 2 + bets_item_length
        if position_2 > 8192:
            raise FrameTooLarge("expected at most 8192 bytes", path=f'bets[{item_index}]', offset=8192)
        while len(data) < position_2:
            yield position_2
        position = position_2
    return position


def check_winners_request(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound winners_request frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 2:
            raise ValueError
        agency = data[1]
        if not agency:
            raise ValueError
        if 2 != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.WINNERS_REQUEST, data) from None


def decode_winners_request(data: bytes) -> WinnersRequest:
    """The message in `data`, which must be one whole winners_request frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 2:
            raise ValueError
        agency = data[1]
        if not agency:
            raise ValueError
        made: Any = _OpenWinnersRequest(agency)
        made.__class__ = WinnersRequest
        if 2 != end:
            raise ValueError
        result: WinnersRequest = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.WINNERS_REQUEST, data) from None


def encode_winners_request(message: WinnersRequest) -> bytes:
    """The winners_request frame of `message`."""
    if type(message) is not WinnersRequest:
        raise refused(layouts.WINNERS_REQUEST, message)
    return _put_WinnersRequest(message)


def scan_winners_request(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the winners_request frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    type_2 = data[0]
    if type_2 != 2:
        raise DecodeError(f"expected 2, not {type_2}", path='type', offset=0)
    while len(data) < 2:
        yield 2
    return 2


def check_probe(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound probe frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        line = data[0:end]
        if not is_line(line, 32, 126, 1024):
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.PROBE, data) from None


def decode_probe(data: bytes) -> Probe:
    """The message in `data`, which must be one whole probe frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        line = data[0:end]
        if not is_line(line, 32, 126, 1024):
            raise ValueError
        made: Any = _OpenProbe(line)
        made.__class__ = Probe
        result: Probe = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.PROBE, data) from None


def encode_probe(message: Probe) -> bytes:
    """The probe frame of `message`."""
    if type(message) is not Probe:
        raise refused(layouts.PROBE, message)
    return _put_Probe(message)


def scan_probe(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the probe frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    first = data[0]
    if first == 10 or not 32 <= first <= 126:
        raise DecodeError("expected a byte from 0x20 to 0x7E", path='line', offset=0)
    position = 0
    while (stop := data.find(b"\n", position)) < 0 and len(data) <= 1024:
        position = len(data)
        yield position + 1
    if stop < 0 or stop > 1024:
        raise FrameTooLarge("expected a line of at most 1024 bytes", path='line', offset=1024)
    return stop + 1


def check_ack(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound ack frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if 1 != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.ACK, data) from None


def decode_ack(data: bytes) -> Ack:
    """The message in `data`, which must be one whole ack frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        count = data[0]
        made: Any = _OpenAck(count)
        made.__class__ = Ack
        if 1 != end:
            raise ValueError
        result: Ack = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.ACK, data) from None


def encode_ack(message: Ack) -> bytes:
    """The ack frame of `message`."""
    if type(message) is not Ack:
        raise refused(layouts.ACK, message)
    return _put_Ack(message)


def scan_ack(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the ack frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    return 1


def check_winners(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound winners frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        documents_count = data[0] << 8 | data[1]
        if documents_count * 8 > end - 2:
            raise ValueError
        position = 2
        for _ in range(documents_count):
            documents_item = text[position:position + 8]
            if not (documents_item.isdecimal() and documents_item.isascii()):
                raise ValueError
            position += 8
        if position != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.WINNERS, data) from None


def decode_winners(data: bytes) -> Winners:
    """The message in `data`, which must be one whole winners frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        text = data.decode("latin-1")
        documents_count = data[0] << 8 | data[1]
        if documents_count * 8 > end - 2:
            raise ValueError
        position = 2
        documents: list[str] = []
        for _ in range(documents_count):
            documents_item = text[position:position + 8]
            if not (documents_item.isdecimal() and documents_item.isascii()):
                raise ValueError
            documents.append(documents_item)
            position += 8
        made: Any = _OpenWinners(tuple(documents))
        made.__class__ = Winners
        if position != end:
            raise ValueError
        result: Winners = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.WINNERS, data) from None


def encode_winners(message: Winners) -> bytes:
    """The winners frame of `message`."""
    if type(message) is not Winners:
        raise refused(layouts.WINNERS, message)
    return _put_Winners(message)


def scan_winners(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the winners frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 2:
        yield 2
    documents_count = data[0] << 8 | data[1]
    position = 2 + documents_count * 8
    while len(data) < position:
        yield position
    return position


def check_open_upload(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound open_upload frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 3:
            raise ValueError
        if data[1] != 1:
            raise ValueError
        agency = data[2]
        if not agency:
            raise ValueError
        if 31 != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.OPEN_UPLOAD, data) from None


def decode_open_upload(data: bytes) -> OpenUpload:
    """The message in `data`, which must be one whole open_upload frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 3:
            raise ValueError
        if data[1] != 1:
            raise ValueError
        agency = data[2]
        if not agency:
            raise ValueError
        draw = int.from_bytes(data[3:7], "big")
        total = int.from_bytes(data[7:15], "big")
        upload_id = data[15:31]
        made: Any = _OpenOpenUpload(agency, draw, total, upload_id)
        made.__class__ = OpenUpload
        if 31 != end:
            raise ValueError
        result: OpenUpload = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.OPEN_UPLOAD, data) from None


def encode_open_upload(message: OpenUpload) -> bytes:
    """The open_upload frame of `message`."""
    if type(message) is not OpenUpload:
        raise refused(layouts.OPEN_UPLOAD, message)
    return _put_OpenUpload(message)


def scan_open_upload(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the open_upload frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    type_2 = data[0]
    if type_2 != 3:
        raise DecodeError(f"expected 3, not {type_2}", path='type', offset=0)
    while len(data) < 2:
        yield 2
    version = data[1]
    if version != 1:
        raise DecodeError(f"expected 1, not {version}", path='version', offset=1)
    while len(data) < 31:
        yield 31
    return 31


def check_upload_status(data: bytes) -> None:
    """Refuse `data` unless it is one whole sound upload_status frame of good values."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 131:
            raise ValueError
        code = data[1]
        if code not in {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}:
            raise ValueError
        if 18 != end:
            raise ValueError
    except (IndexError, ValueError):
        raise explained(layouts.UPLOAD_STATUS, data) from None


def decode_upload_status(data: bytes) -> UploadStatus:
    """The message in `data`, which must be one whole upload_status frame."""
    if type(data) is not bytes:
        data = as_bytes(data)
    try:
        end = len(data)
        if data[0] != 131:
            raise ValueError
        code = data[1]
        if code not in {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}:
            raise ValueError
        draw = int.from_bytes(data[2:6], "big")
        stored = int.from_bytes(data[6:14], "big")
        crc32 = int.from_bytes(data[14:18], "big")
        made: Any = _OpenUploadStatus(code, draw, stored, crc32)
        made.__class__ = UploadStatus
        if 18 != end:
            raise ValueError
        result: UploadStatus = made
        return result
    except (IndexError, ValueError):
        raise explained(layouts.UPLOAD_STATUS, data) from None


def encode_upload_status(message: UploadStatus) -> bytes:
    """The upload_status frame of `message`."""
    if type(message) is not UploadStatus:
        raise refused(layouts.UPLOAD_STATUS, message)
    return _put_UploadStatus(message)


def scan_upload_status(data: bytes | bytearray) -> Generator[int, None, int]:
    """Find the end of the upload_status frame in front: yields how many bytes it needs, returns its size."""
    if type(data) is not bytearray:
        data = as_bytes(data)
    while len(data) < 1:
        yield 1
    type_2 = data[0]
    if type_2 != 131:
        raise DecodeError(f"expected 131, not {type_2}", path='type', offset=0)
    while len(data) < 18:
        yield 18
    return 18
