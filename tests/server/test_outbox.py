"""Answers that wait to be taken: their order, their size, and what is kept once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bets_server.reactor.outbox import MAX_SHARED, SHARED_FROM_BYTES, Outbox, SharedAnswers

LONG = b"x" * SHARED_FROM_BYTES


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc", LONG, LONG + b"y"]), max_size=12),
    st.lists(st.integers(1, SHARED_FROM_BYTES), min_size=1, max_size=20),
)
def test_everything_comes_out_in_order(answers: list[bytes], sizes: list[int]) -> None:
    """However little is taken at a time, and whatever is put in between."""
    outbox, found, put, turn = Outbox(), b"", b"", 0
    for answer in answers:
        outbox.append(answer)
        put += answer
        for part in outbox.parts():
            size = min(len(part), sizes[turn % len(sizes)])
            found += bytes(part[:size])
            outbox.taken(size)
            turn += 1
            if turn % 3 == 0:
                break
        assert len(outbox) == len(put) - len(found)
        assert bytes(outbox) == put[len(found) :]


def test_short_answers_are_gathered() -> None:
    """One call sends many of them."""
    outbox = Outbox()
    for _ in range(5):
        outbox.append(b"ab")
    assert [bytes(part) for part in [next(outbox.parts())]] == [b"ab" * 5]


def test_long_answers_are_kept_once() -> None:
    """However often they are made; and only so many of them."""
    shared = SharedAnswers()
    kept = shared.of(bytes(LONG))
    assert shared.of(bytes(bytearray(LONG))) is kept
    assert shared.of(b"short") == b"short"
    for number in range(MAX_SHARED):
        shared.of(LONG + str(number).encode())
    again = bytes(bytearray(LONG))
    assert shared.of(again) is again
