"""A running server and bytes that it must refuse: each with its answer, nothing of them stored, nobody else harmed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.foreign import FOREIGN
from tests.server.bad_frames import FRAMING, GOOD, SIXTEEN_LONG, VALUES, lied, with_length
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import ACK_0, ask, batch, bet, bets, document, untyped_batch


@pytest.fixture
def server(serve: Servers) -> Iterator[Server]:
    """A server that has stored one bet, and afterwards still has that one and a second."""
    server = serve(agencies=1)
    assert server.client().send_and_end(batch(bet(7))) == b"\x01"
    yield server
    assert server.stored == [document(7)]
    assert server.client().send_and_end(batch(bet(8))) == b"\x01"
    assert server.stored == [document(7), document(8)]


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING.keys())
def test_framing_error_is_answered_with_0_and_the_end(server: Server, data: bytes) -> None:
    """Ack 0, then the end; nothing of the batch is stored, nor of what follows it."""
    assert server.client().send_and_end(data) == ACK_0


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING.keys())
def test_framing_error_needs_no_end_of_the_stream(server: Server, data: bytes) -> None:
    """The same while the client goes on sending, unless the frame could still become sound."""
    client = server.client()
    if any(data == whole[: len(data)] for whole in (batch(GOOD, bet(2)), ask(1))):
        client.send(data)
        assert server.client().send_and_end(b"ping\n") == b"ping\n"
        assert client.pending is None
    else:
        client.send(data, batch(bet(3)))
        assert client.read_to_end() == ACK_0


@pytest.mark.parametrize("bad", VALUES.values(), ids=VALUES.keys())
def test_value_error_leaves_the_connection_usable(serve: Servers, bad: bytes) -> None:
    """Ack 0 for the whole batch; what is sent before and after on the same connection is stored."""
    server = serve(agencies=1)
    client = server.client()
    client.send(batch(bet(1)), batch(bet(2), bad, bet(3)), batch(bet(4), bet(5)))
    assert client.read(3) == b"\x01\x00\x02"
    assert server.stored == [document(1), document(4), document(5)]
    assert server.logged("apuesta_recibida | result: fail | cantidad: 3 | error: bets[1].") == 1
    assert len(server.raw_log.splitlines()) == len(server.lines)


def test_question_for_agency_0_is_refused(serve: Servers) -> None:
    """Sound, but no agency has that number: Ack 0, and the connection stays usable."""
    server = serve(agencies=1)
    client = server.client()
    assert client.exchange(ask(0)) == ACK_0
    assert client.exchange(batch(bet(1))) == b"\x01"
    assert server.logged("consulta_ganadores | result: fail") == 1


UNTYPED = {
    "count 0": (6, untyped_batch()),
    "bet of length 0": (6, untyped_batch(with_length(0, b""))),
    "bet of length 65535": (6, untyped_batch(with_length(65535, GOOD[2:]))),
    "length one short": (6, untyped_batch(lied(-1))),
    "length one long": (6, untyped_batch(lied(1) + b"x")),
    "cut short": (6, untyped_batch(GOOD, GOOD)[:-1]),
    "sum over 8192": (6, untyped_batch(*SIXTEEN_LONG)),
    "bad date": (6, untyped_batch(GOOD, bet(birthdate=b"2000-02-30"))),
    "a typed batch": (6, batch(GOOD)),
    "bare: length 0": (5, with_length(0, b"")),
    "bare: length 24": (5, with_length(24, GOOD[2:26])),
    "bare: length 534": (5, with_length(534, GOOD[2:])),
    "bare: length one short": (5, lied(-1)),
    "bare: length one long": (5, lied(1) + b"x"),
    "bare: cut short": (5, GOOD[:-1]),
    "bare: number 10000": (5, bet(number=10_000)),
    "bare: a typed batch": (5, batch(GOOD)),
    "bare: text": (5, b"hello\n"),
}


@pytest.mark.parametrize(("revision", "data"), UNTYPED.values(), ids=UNTYPED.keys())
def test_revisions_5_and_6_refuse_with_0_and_the_end(serve: Servers, revision: int, data: bytes) -> None:
    """Framing and value errors alike: Ack 0, then the end, nothing stored."""
    server = serve(revision=revision)
    assert server.client().send_and_end(data) == ACK_0
    assert server.stored == []


def test_trailing_bytes_begin_the_next_message(serve: Servers) -> None:
    """What stands behind a sound batch is no part of it: it is stored, and the rest is a message of its own."""
    server = serve(agencies=1)
    assert server.client().send_and_end(batch(bet(1)) + b"\x00") == b"\x01" + ACK_0
    assert server.stored == [document(1)]


def test_every_cut_of_a_batch_stores_nothing(serve: Servers) -> None:
    """The stream ends at each byte of a batch of three: Ack 0 if anything had come, nothing stored."""
    server = serve(agencies=1)
    whole = batch(*bets([1, 2, 3]))
    answers = {server.client().send_and_end(whole[:size]) for size in range(1, len(whole))}
    assert answers == {ACK_0}
    assert server.client().send_and_end() == b""
    assert server.stored == []
    assert server.logged("receive_message | result: fail") == 0


def test_answers_before_a_framing_error_are_kept(serve: Servers) -> None:
    """Batches in front of the broken one are stored and answered, those behind it are not."""
    server = serve(agencies=1)
    client = server.client()
    client.send(batch(bet(1)), batch(bet(2), bet(3)), b"\x00", batch(bet(4)))
    assert client.read_to_end() == b"\x01\x02" + ACK_0
    assert server.stored == [document(1), document(2), document(3)]
    assert server.logged("receive_message | result: fail | ip: 127.0.0.1 | error: type at byte 0: ") == 1


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_refusal_survives_what_the_client_still_sends(serve: Servers, scheme: str) -> None:
    """The answer is not lost to a reset, though the client was in the middle of sending much more."""
    client = serve(scheme=scheme).client()
    client.send(b"\xff", b"x" * 100_000)
    client.send(b"x" * 100_000)
    assert client.read_to_end() == ACK_0


def test_client_that_ends_no_side_is_dropped(serve: Servers) -> None:
    """A client that neither sends nor ends after a refusal holds its connection for a moment only."""
    server = serve()
    client = server.client()
    assert client.exchange(b"\xff") == ACK_0
    wait_until(lambda: server.logged("close_connection | result: success"), "the connection is closed")
    assert client.read_to_end() == b""


def test_bad_batch_harms_only_itself(serve: Servers) -> None:
    """Good and bad batches of many connections in one group: each gets its own answer."""
    server = serve(agencies=1)
    server.store.gate.clear()
    first = server.client()
    first.send(batch(bet(100)))
    wait_until(server.store.inside.is_set, "the store is at work")
    kinds = [batch(bet(row)) if row % 3 else batch(bet(row), bet(number=10_000)) for row in range(12)]
    clients: list[RawClient] = [server.client() for _ in kinds]
    for client, kind in zip(clients, kinds, strict=True):
        client.send(kind)
    server.store.gate.set()
    assert [client.read(1) for client in clients] == [b"\x01" if row % 3 else ACK_0 for row in range(12)]
    assert sorted(server.stored) == sorted(document(row) for row in [100, *range(12)] if row == 100 or row % 3)


@pytest.mark.parametrize("revision", [5, 6, 8, 9])
@pytest.mark.parametrize("name", FOREIGN)
def test_other_protocols_are_named(serve: Servers, name: str, revision: int) -> None:
    """The line says what it is; the answer is what it always was: Ack 0, or the line of text that it looks like."""
    server = serve(revision=revision)
    said, words = FOREIGN[name]
    text = revision >= 8 and name in {"PROXY 1", "HTTP"}
    answer = said.partition(b"\n")[0] + b"\n" if text else ACK_0
    assert server.client().exchange(said, size=len(answer)) == answer
    wait_until(lambda: server.logged("receive_message"), "its line")
    (line,) = [line for line in server.lines if line.startswith("receive_message")]
    if text:
        assert line.startswith("receive_message | result: success | ip: 127.0.0.1 | msg: ")
        assert line.endswith(f" | warning: {words}") == (name == "PROXY 1")
    else:
        assert line.startswith("receive_message | result: fail | ip: 127.0.0.1 | error: ")
        assert line.endswith(f": {words}")
    assert server.stored == []
