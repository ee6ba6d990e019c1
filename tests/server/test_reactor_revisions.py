"""A running server, revision by revision: its answers to sound bytes, written by hand, and to the library's client."""

from __future__ import annotations

import struct

import pytest

from bets_protocol import NEED_DATA, Ack, Bet, BetBatch, ClientConnection, Winners, WinnersRequest
from tests.server.serving import RawClient, Servers, wait_until
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, bets, document, untyped_batch, winners

SANTIAGO = bytes.fromhex("002b 01 0f") + b"Santiago Lionel" + b"\x05Lorca" + b"30904465" + b"1999-03-17" + b"\x1d\x96"


def test_revision_5_stores_one_bet_and_closes(serve: Servers) -> None:
    """One bare bet: Ack 1, the bet's own line in the log, then the end."""
    server = serve(revision=5)
    client = server.client()
    client.send(SANTIAGO)
    assert client.read_to_end() == b"\x01"
    assert server.stored == ["30904465"]
    assert server.logged("apuesta_almacenada | result: success | dni: 30904465 | numero: 7574") == 1
    assert server.logged("apuesta_recibida") == 0


def test_revision_5_takes_one_bet_for_each_connection(serve: Servers) -> None:
    """What follows the bet on the same connection is not looked at."""
    server = serve(revision=5)
    client = server.client()
    client.send(bet(1), bet(2))
    assert client.read_to_end() == b"\x01"
    assert server.client().send_and_end(bet(3)) == b"\x01"
    assert server.stored == [document(1), document(3)]


def test_revision_6_stores_one_batch_and_closes(serve: Servers) -> None:
    """A count and bets: Ack with the count, then the end; bets of several agencies may stand in one batch."""
    server = serve(revision=6)
    client = server.client()
    client.send(untyped_batch(bet(1), bet(2, agency=2), bet(3)), untyped_batch(bet(4)))
    assert client.read_to_end() == b"\x03"
    assert server.stored == [document(1), document(2), document(3)]
    assert server.logged("apuesta_recibida | result: success | cantidad: 3") == 1


def test_revision_7_carries_one_message_on_each_connection(serve: Servers) -> None:
    """Batches and the question on connections of their own; clients that end their side, too, get their winners."""
    server = serve(agencies=1)
    assert server.client().send_and_end(batch(SANTIAGO, *bets([1, 2]))) == b"\x03"
    assert server.client().send_and_end(batch(bet(3, number=WINNING))) == b"\x01"
    assert server.client().send_and_end(ask(1)) == winners("30904465", document(3))


def test_revision_8_keeps_the_connection(serve: Servers) -> None:
    """Any number of batches, then the question, then silence until the client ends."""
    server = serve(agencies=1)
    client = server.client()
    assert client.exchange(batch(SANTIAGO)) == b"\x01"
    assert client.exchange(batch(*[bet(row, first_name=b"A", last_name=b"B") for row in range(255)])) == b"\xff"
    assert client.exchange(ask(1), size=10) == winners("30904465")
    assert client.exchange(ask(1), size=10) == winners("30904465")
    assert client.send_and_end() == b""


def test_pipelined_messages_are_answered_in_their_order(serve: Servers) -> None:
    """Batches, a refused one, the question and a probe in one piece: the answers come in the same order."""
    server = serve(agencies=1)
    bad = batch(bet(9, number=10_000))
    client = server.client()
    client.send(batch(*bets([1, 2])), bad, batch(bet(3, number=WINNING)), ask(1), batch(bet(4)), b"hello\n")
    assert client.read_to_end() == b"\x02" + ACK_0 + b"\x01" + winners(document(3)) + ACK_0 + b"hello\n"
    assert server.stored == [document(1), document(2), document(3)]


def test_many_pipelined_batches_are_all_answered(serve: Servers) -> None:
    """More than a unit of work and more than the read-ahead: nothing is lost, nothing changes places."""
    server = serve(agencies=1)
    counts = [1 + number % 7 for number in range(1000)]
    rows = iter(range(sum(counts)))
    frames = [batch(*bets([next(rows) for _ in range(count)])) for count in counts]
    client = server.client()
    client.send(*frames)
    assert client.read(len(counts)) == bytes(counts)
    assert server.stored == [document(row) for row in range(sum(counts))]


@pytest.mark.parametrize("scheme", ["tcp", "unix", "memory"])
def test_byte_by_byte(serve: Servers, scheme: str) -> None:
    """Every transport: a whole conversation sent a byte at a time is understood."""
    server = serve(agencies=1, scheme=scheme)
    client = server.client()
    for byte in batch(SANTIAGO, bet(2)) + ask(1) + b"ping\r\n":
        client.send(bytes([byte]))
    assert client.read_to_end() == b"\x02" + winners("30904465") + b"ping\r\n"


def test_type_byte_alone_first(serve: Servers) -> None:
    """The type byte and the rest in segments of their own."""
    server = serve(agencies=1)
    client, other = server.client(), server.client()
    client.send(b"\x01")
    assert other.send_and_end(b"in between\n") == b"in between\n"
    client.send(batch(bet(1))[1:])
    assert client.read(1) == b"\x01"


PROBES = [
    b"hello\n",
    b"hello\r\n",
    b"hello",
    b"~",
    b" \n",
    b"x" * 1024 + b"\n",
    b"x" * 1024,
    "[CLIENT 1] Message N°1\n".encode(),
    b"a\x00\xff|\x1b[31m\n",
]


@pytest.mark.parametrize("line", PROBES, ids=range(len(PROBES)))
def test_probe_comes_back_as_it_is(serve: Servers, line: bytes) -> None:
    """A line of at most 1024 bytes, ended by LF or by the end of the stream: the same bytes, then the end."""
    server = serve()
    assert server.client().send_and_end(line) == line
    assert server.logged("receive_message | result: success | ip: 127.0.0.1 | msg: ") == 1
    assert len(server.raw_log.splitlines()) == len(server.lines)


def test_probe_is_ended_by_the_server(serve: Servers) -> None:
    """A client that waits for the echo without ending its side gets it, and the end; what follows the line is not."""
    client = serve().client()
    client.send(b"hello\nworld\n")
    assert client.read_to_end() == b"hello\n"


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "open"])
def test_probe_of_1025_bytes_is_refused(serve: Servers, ended: bool) -> None:
    """A longer line is a framing error, noticed without its end: Ack 0 and the end."""
    client = serve().client()
    assert (client.send_and_end(b"x" * 1025) if ended else client.exchange(b"x" * 1025)) == ACK_0
    assert client.read_to_end() == b""


def test_probe_during_uploads(serve: Servers) -> None:
    """While the store holds up all uploads, a probe is answered; the uploads go on afterwards."""
    server = serve(agencies=1)
    server.store.gate.clear()
    clients = [server.client() for _ in range(3)]
    for row, client in enumerate(clients):
        client.send(batch(bet(row)))
    wait_until(server.store.inside.is_set, "the store is at work")
    assert server.client().send_and_end(b"are you there?\n") == b"are you there?\n"
    assert [client.pending for client in clients] == [None, None, None]
    server.store.gate.set()
    assert [client.read(1) for client in clients] == [b"\x01"] * 3


def _ask_library(client: RawClient, connection: ClientConnection, message: Bet | BetBatch | WinnersRequest) -> object:
    client.send(connection.send(message))
    while (event := connection.next_event()) is NEED_DATA:
        connection.receive_data(client.stream.receive() or b"")
    return event


@pytest.mark.parametrize("revision", [5, 6, 7, 8])
def test_the_library_s_client_is_understood(serve: Servers, revision: int) -> None:
    """`ClientConnection` of each revision against the server of that revision."""
    server = serve(agencies=1, revision=min(revision, 8) if revision in (5, 6) else 8)
    one = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=WINNING)
    connection, client = ClientConnection(revision=revision), server.client()
    sent = one if revision == 5 else BetBatch(bets=(one, one))
    assert _ask_library(client, connection, sent) == Ack(count=1 if revision == 5 else 2)
    if revision >= 7:
        if revision == 7:
            connection, client = ClientConnection(revision=7), server.client()
        assert _ask_library(client, connection, WinnersRequest(agency=1)) == Winners(documents=("30904465",) * 2)


def test_largest_frame(serve: Servers) -> None:
    """A batch of exactly 8192 bytes is taken, one byte more is refused."""
    server = serve(agencies=1)
    longest = [bet(row, first_name=b"x" * 255, last_name=b"y" * 255) for row in range(15)]
    room = 8192 - len(batch(*longest, bet(15, first_name=b"", last_name=b"y" * 100)))
    exact = batch(*longest, bet(15, first_name=b"x" * room, last_name=b"y" * 100))
    over = batch(*longest, bet(15, first_name=b"x" * (room + 1), last_name=b"y" * 100))
    assert (len(exact), len(over)) == (8192, 8193)
    assert server.client().send_and_end(exact) == b"\x10"
    assert server.client().send_and_end(over) == ACK_0
    assert len(server.stored) == 16


def test_longest_bet_of_revision_5(serve: Servers) -> None:
    """Two names of 255 bytes: 533 bytes behind the length."""
    server = serve(revision=5)
    longest = bet(1, first_name=b"x" * 255, last_name="é".encode() * 127 + b"e")
    assert struct.unpack(">H", longest[:2]) == (533,)
    assert server.client().send_and_end(longest) == b"\x01"
