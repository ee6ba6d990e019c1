"""Every function that takes bytes takes bytes, bytearray and memoryview, and refuses all else, unharmed."""

from __future__ import annotations

import array
import random
from collections.abc import Callable
from typing import Any

import construct as c
import pytest

from bets_protocol import (
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    ServerConnection,
    WinnersRequest,
    decode,
    decode_bets,
    documents_with_number,
    encode,
    encode_bets,
    survey_runs,
)
from bets_protocol.bytes_like import as_bytes, flat
from bets_protocol.compiler import compile_schema
from bets_protocol.connection.framing import FrameReader
from bets_protocol.testing import pair
from tests.protocol.codecs import CODEC_CASES, EVERY

BET = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=7574)
BETS = encode_bets([BET])
BATCH = encode(BetBatch(bets=(BET,)))
NOTE = compile_schema("Note" / c.Struct("body" / c.Prefixed(c.Int8ub, c.GreedyBytes), c.Terminated), name="note")

SENSELESS: tuple[object, ...] = (
    None,
    False,
    True,
    0,
    5,
    1.5,
    "",
    "text",
    [],
    [65, 66],
    (),
    {},
    array.array("B", b"ab"),
    BET,
)


def scan_whole(scan: Callable[[Any], Any], data: Any) -> int:
    """The size of the frame that `data` are."""
    try:
        next(scan(data))
    except StopIteration as end:
        size: int = end.value
        return size
    raise AssertionError("it waits for more")


TAKERS: dict[str, Callable[[Any], object]] = {
    "decode": lambda data: decode(BetBatch, data),
    "decode_bets": lambda data: decode_bets(data[2:] if isinstance(data, bytes | bytearray | memoryview) else data),
    "documents_with_number": lambda data: documents_with_number(
        data[2:] if isinstance(data, bytes | bytearray | memoryview) else data, 7574
    ),
    "survey_runs": lambda data: survey_runs(
        [([BETS, data[2:] if isinstance(data, bytes | bytearray | memoryview) else data], 0)], 7574
    ),
    "ServerConnection": lambda data: ServerConnection().receive_data(data),
    "ClientConnection": lambda data: ClientConnection().receive_data(data),
    "FrameReader": lambda data: FrameReader().feed(data),
    "server_events": lambda data: pair.server_events(ServerConnection(), [data]),
    "whole": lambda data: list(pair.whole(data)),
    "byte_by_byte": lambda data: list(pair.byte_by_byte(data)),
    "at_places": lambda data: list(pair.at_places([2])(data)),
    "at_random": lambda data: list(pair.at_random(random.Random(1))(data)),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_the_three_kinds_of_bytes_are_taken_alike(taker: str) -> None:
    """Also views of every second byte and of larger items."""
    take = TAKERS[taker]
    expected = take(BATCH)
    spread = memoryview(bytes(byte for pair in zip(BATCH, BATCH, strict=True) for byte in pair))[::2]
    for data in (bytearray(BATCH), memoryview(BATCH), memoryview(bytearray(BATCH)), spread):
        assert take(data) == expected


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("senseless", SENSELESS, ids=lambda value: f"{type(value).__name__}-{value}"[:12])
def test_what_are_no_bytes_is_a_type_error(taker: str, senseless: object) -> None:
    """It names what was expected and what came."""
    with pytest.raises(TypeError, match=f"expected bytes, bytearray or memoryview, not {type(senseless).__name__}"):
        TAKERS[taker](senseless)


def test_text_is_told_what_it_lacks() -> None:
    """The commonest mistake gets a hint."""
    with pytest.raises(TypeError, match="not str; text has to be encoded first"):
        decode_bets("text")  # type: ignore[arg-type]


@pytest.mark.parametrize(("which", "name"), CODEC_CASES)
def test_the_functions_of_each_codec_do_likewise(which: str, name: str) -> None:
    """Pure and native."""
    codec = EVERY[which][name]
    for call in (codec.check, codec.decode, lambda data: next(codec.scan(data))):
        for senseless in SENSELESS:
            with pytest.raises(TypeError, match="expected bytes, bytearray or memoryview"):
                call(senseless)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", EVERY)
def test_each_codec_reads_the_three_kinds(which: str) -> None:
    """The same message, the same size."""
    codec = EVERY[which]["bet_batch"]
    for data in (BATCH, bytearray(BATCH), memoryview(BATCH)):
        codec.check(data)  # type: ignore[arg-type]
        assert codec.decode(data) == BetBatch(bets=(BET,))  # type: ignore[arg-type]
        assert scan_whole(codec.scan, data) == len(BATCH)


def test_a_compiled_schema_does_likewise() -> None:
    """What it decodes are bytes, whatever they came in."""
    for data in (b"\2ab", bytearray(b"\2ab"), memoryview(b"\2ab")):
        NOTE.check(data)
        assert type(NOTE.decode(data).body) is bytes
        assert scan_whole(NOTE.scan, data) == 3
    for senseless in SENSELESS:
        for call in (NOTE.check, NOTE.decode, lambda data: next(NOTE.scan(data))):
            with pytest.raises(TypeError, match="expected bytes, bytearray or memoryview"):
                call(senseless)  # type: ignore[arg-type]


@pytest.mark.parametrize("senseless", SENSELESS, ids=lambda value: f"{type(value).__name__}-{value}"[:12])
def test_a_server_that_was_fed_nonsense_goes_on(senseless: object) -> None:
    """Nothing of it is taken, least of all for the end of the stream: not between frames, not inside one."""
    server = ServerConnection()
    for piece in (BATCH[:9], BATCH[9:]):
        with pytest.raises(TypeError):
            server.receive_data(senseless)  # type: ignore[arg-type]
        assert server.next_event() is NEED_DATA
        server.receive_data(piece)
    assert server.next_event() == BetBatch(bets=(BET,))
    with pytest.raises(TypeError):
        server.receive_data(senseless)  # type: ignore[arg-type]
    assert server.next_event() is NEED_DATA


def test_a_client_that_was_fed_nonsense_goes_on() -> None:
    """The answer is still due, and comes."""
    client = ClientConnection(revision=8)
    client.send(BetBatch(bets=(BET,)))
    for senseless in SENSELESS:
        with pytest.raises(TypeError):
            client.receive_data(senseless)  # type: ignore[arg-type]
    assert (client.next_event(), client.unanswered) == (NEED_DATA, 1)
    client.receive_data(b"\1")
    assert client.next_event() == Ack(count=1)


def test_pieces_are_looked_at_before_one_is_fed() -> None:
    """A None among the pieces of a test is not passed over."""
    server = ServerConnection()
    with pytest.raises(TypeError):
        pair.server_events(server, [BATCH, None])  # type: ignore[list-item]
    assert server.buffered == 0
    client = ClientConnection(revision=8)
    client.send(WinnersRequest(agency=1))
    with pytest.raises(TypeError):
        pair.client_events(client, [b"\0", None])  # type: ignore[list-item]
    assert pair.client_events(client, [b"\0\0"]) != []


def test_a_view_of_larger_items_counts_in_bytes() -> None:
    """So that nobody takes the number of its items for the size of what was sent."""
    view = memoryview(array.array("I", [1, 2]))
    assert (len(flat(view)), as_bytes(view)) == (8, view.tobytes())
    same = memoryview(b"abc")
    assert flat(same) is same
