"""A running server and made-up conversations, cut at random: the answers are those of a model of a few lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.server.serving import Server, Servers
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, document, winners

FRAMING = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x01\x00",
    b"\x01\x01\x00\x18",
    b"\x01\x01\xff\xff",
    b"\x01\x01\x00\x21\x01\xff",
]
"""Bytes after which nobody can say where the next message begins."""

KINDS = st.one_of(
    st.tuples(st.just("batch"), st.integers(1, 20)),
    st.tuples(st.just("value"), st.integers(1, 5)),
    st.tuples(st.just("ask"), st.sampled_from([1, 2])),
    st.tuples(st.just("framing"), st.integers(0, len(FRAMING) - 1)),
    st.tuples(st.just("probe"), st.integers(1, 1024)),
)
CONVERSATIONS = st.lists(KINDS, max_size=60)
CUTS = st.lists(st.integers(1, 3000), max_size=20)


class Model:
    """What the server should say and store.

    Args:
        drawn: whether the draw is over; where it is not, questions are left out of the conversations.
    """

    def __init__(self, *, drawn: bool) -> None:
        self.stored: list[str] = []
        self._drawn = drawn
        self._rows = itertools.count(1000)

    def converse(self, conversation: list[tuple[str, int]]) -> tuple[bytes, bytes]:
        """The bytes of a conversation, and all that is answered to them."""
        sent, answer, over = b"", b"", False
        for kind, size in conversation:
            data, reply = self._message(kind, size, over=over)
            sent += data
            answer += b"" if over else reply
            over = over or kind in ("framing", "probe")
        return sent, answer

    def _message(self, kind: str, size: int, *, over: bool) -> tuple[bytes, bytes]:
        if kind == "batch":
            rows = [next(self._rows) for _ in range(size)]
            if self._drawn or over:
                return batch(*map(bet, rows)), ACK_0
            self.stored += map(document, rows)
            return batch(*map(bet, rows)), bytes([size])
        if kind == "value":
            return batch(*[bet(1)] * (size - 1), bet(number=10_000)), ACK_0
        if kind == "ask":
            return (ask(size), winners(document(1)) if size == 1 else winners()) if self._drawn else (b"", b"")
        if kind == "framing":
            return FRAMING[size] + b"\xff" * 2, ACK_0
        return b"~" * size + b"\n", b"~" * size + b"\n"


def _cut(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`data` in pieces of the sizes given, over and over; whole without any."""
    sizes = itertools.cycle(cuts or [len(data) or 1])
    start = 0
    while start < len(data):
        size = next(sizes)
        yield data[start : start + size]
        start += size


def _answers(server: Server, data: bytes, cuts: list[int]) -> bytes:
    client = server.client()
    for piece in _cut(data, cuts):
        client.send(piece)
    try:
        client.stream.close_writing()
        return client.read_to_end()
    finally:
        client.close()


@pytest.mark.parametrize("drawn", [False, True], ids=["open", "drawn"])
def test_conversations(tmp_path: Path, drawn: bool) -> None:
    """Any messages in any order, cut anywhere: the model's answers, in order, and the model's bets in the store."""
    servers = Servers(tmp_path)
    server = servers(agencies=1, scheme="unix")
    model = Model(drawn=drawn)
    if drawn:
        assert server.client().send_and_end(batch(bet(1, number=WINNING)), ask(1))[:1] == b"\x01"
        model.stored.append(document(1))

    @given(CONVERSATIONS, CUTS)
    @example([("batch", 1)] * 200, [])
    @example([("batch", 3), ("probe", 1024), ("batch", 1)], [1])
    def converse(conversation: list[tuple[str, int]], cuts: list[int]) -> None:
        data, answer = model.converse(conversation)
        assert _answers(server, data, cuts) == answer

    try:
        converse()
        assert server.stored == model.stored
    finally:
        servers.close()


def test_any_bytes(tmp_path: Path) -> None:
    """Whatever follows the type of a batch and is none is refused, whenever that shows; the server stays well."""
    servers = Servers(tmp_path)
    server = servers(agencies=1, scheme="unix")

    @given(st.binary(max_size=300), CUTS)
    def send(data: bytes, cuts: list[int]) -> None:
        assert _answers(server, b"\x01" + data, cuts) == ACK_0

    try:
        send()
        assert server.client().send_and_end(batch(bet(1))) == b"\x01"
        assert server.stored == [document(1)]
    finally:
        servers.close()
