"""What reads the wire: the two connections, the codecs, and the bets that stay bytes.

Where bytes are cut into pieces, the cuts follow from the bytes, so that an input fails the same way every time.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    SERVER_REVISIONS,
    Bet,
    BetBatch,
    ClientConnection,
    DecodeError,
    EncodedBatch,
    InvalidFrame,
    InvalidValue,
    OpenUpload,
    Probe,
    RemoteProtocolError,
    ServerConnection,
    WinnersRequest,
    decode_bets,
    documents_with_number,
    encode_bets,
    survey_runs,
)
from bets_protocol.codec import CODECS
from bets_protocol.encoded import header_size, split_runs
from bets_protocol.generated import codec as pure
from bets_protocol.generated import layouts
from bets_protocol.layout.diagnose import explain_bytes
from bets_protocol.schema import FRAMES
from bets_protocol.testing.pair import at_random, byte_by_byte, whole
from fuzz.differential import Trio

Pieces: TypeAlias = Iterable[bytes]

_BET = Bet(agency=1, first_name="A", last_name="B", document="12345678", birthdate="1999-01-01", number=1)
_TRIOS = tuple(Trio.of(frame) for frame in FRAMES)


def server(data: bytes) -> None:
    """A server gives events, NEED_DATA, CLOSED or a RemoteProtocolError, and the same however the bytes are cut."""
    kinds = itertools.product(SERVER_REVISIONS, (False, True))
    _same_however_cut(data, *(partial(ServerConnection, revision=r, encoded=encoded) for r, encoded in kinds))


def client(data: bytes) -> None:
    """So does a client, whatever it has asked."""

    def asks(revision: int, *messages: Any) -> ClientConnection:
        connection = ClientConnection(revision=revision)
        for message in messages:
            connection.send(message)
        return connection

    batch, request, probe = BetBatch(bets=[_BET]), WinnersRequest(agency=1), Probe(line=b"hello\n")
    upload = OpenUpload(agency=1, draw=1, total=3, upload_id=b"upload-id-of-16b")
    kinds = (
        *((5, [_BET]), (6, [batch]), (7, [batch]), (7, [request])),
        *((8, [batch, batch, request]), (8, [request]), (8, [probe])),
        *((9, [upload]), (9, [upload, batch, batch, request]), (9, [upload, request]), (9, [probe])),
    )
    _same_however_cut(data, *(partial(asks, revision, *messages) for revision, messages in kinds))


def codec(data: bytes) -> None:
    """`check`, `decode`, the scanner and the explanation agree on every frame; what is accepted is encoded again."""
    for name, running in CODECS.items():
        expected = _refusal(getattr(pure, f"check_{name}"), data)
        for read in (running.check, running.decode, getattr(pure, f"decode_{name}")):
            assert expected == _refusal(read, data), f"{name}: {read} says otherwise than check"
        explained = explain_bytes(running.frame.layout, data)
        assert expected == (None if explained is None else (type(explained), str(explained))), name
        for scan in (running.scan, getattr(pure, f"scan_{name}")):
            size = _scanned(scan(bytearray(data)))
            sound = expected is None or expected[0] is InvalidValue
            if sound and (name != "probe" or data.endswith(b"\n")):
                assert size == len(data), f"{name}: the scanner says {size}"
            assert size != -1 or not sound, f"{name}: the scanner refuses a sound frame"
        if expected is None:
            message = running.decode(data)
            assert message == getattr(pure, f"decode_{name}")(data)
            assert data == running.encode(message) == getattr(pure, f"encode_{name}")(message)


def schema(data: bytes) -> None:
    """construct, the pure and the native codec agree on every frame: verdict, reason, value, bytes when encoded."""
    for trio in _TRIOS:
        trio.compare(data)


def native(data: bytes) -> None:
    """What holds over the pure codec holds over the native one; and it agrees with the pure one."""
    for target in (server, client, codec, runs):
        target(data)


def runs(data: bytes) -> None:
    """Bets that stay bytes are the bets: cut, joined, decoded and searched they give what decoding the frame gives."""
    try:
        bets = decode_bets(data)
    except (DecodeError, InvalidValue):
        pass
    else:
        assert data == encode_bets(bets)
    for layout, name in ((layouts.BET_BATCH, "bet_batch"), (layouts.UNTYPED_BATCH, "untyped_batch")):
        try:
            batch: BetBatch = CODECS[name].decode(data)
        except (DecodeError, InvalidValue):
            continue
        encoded: EncodedBatch = split_runs(data, header_size(layout))
        joined = b"".join(run.encoded for run in encoded.runs)
        assert data[header_size(layout) :] == joined
        assert list(batch.bets) == [bet for run in encoded.runs for bet in decode_bets(run.encoded)]
        assert [bet.agency for bet in batch.bets] == [run.agency for run in encoded.runs for _ in range(run.count)]
        for number in {bet.number for bet in batch.bets} | {0, 7574}:
            expected = [bet.document for bet in batch.bets if bet.number == number]
            assert expected == documents_with_number(joined, number)
            upload = [run.encoded for run in encoded.runs], zlib.crc32(b"before")
            assert [(zlib.crc32(b"before" + joined), expected)] == survey_runs([upload], number)


def _same_however_cut(data: bytes, *makers: Callable[[], ServerConnection | ClientConnection]) -> None:
    """In one piece on all of them; in small ones, which take most of the time, on the one that the bytes choose."""
    chooser = random.Random(zlib.crc32(data))
    expected = [list(_events(make(), [*whole(data), b""])) for make in makers]
    chosen = chooser.randrange(len(makers))
    for cut in (byte_by_byte, at_random(chooser)):
        assert expected[chosen] == list(_events(makers[chosen](), [*cut(data), b""]))


def _events(connection: ServerConnection | ClientConnection, pieces: Pieces) -> Iterator[object]:
    """The events while `pieces` arrive, then the signal or the error that they end with."""
    last: object = NEED_DATA
    for piece in pieces:
        connection.receive_data(piece)
        while True:
            try:
                last = connection.next_event()
            except RemoteProtocolError as error:
                yield type(error), str(error)
                return
            if last is NEED_DATA or last is CLOSED:
                break
            # Errors are equal only to themselves.
            yield (last.kind, last.count, str(last.error)) if isinstance(last, InvalidFrame) else last
    yield last


def _refusal(read: Callable[[bytes], object], data: bytes) -> tuple[type[Exception], str] | None:
    try:
        read(data)
    except (DecodeError, InvalidValue) as error:
        return type(error), str(error)
    return None


def _scanned(scan: Iterator[int]) -> int | None:
    """The size of the frame; None where more bytes are needed, -1 where the scanner refuses it."""
    try:
        next(scan)
    except StopIteration as end:
        size: int = end.value
        return size
    except DecodeError:
        return -1
    return None
