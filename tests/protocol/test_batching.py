"""Batches: never above a bound, and none with room for the bet that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    Bet,
    BetBatch,
    BetRun,
    LocalProtocolError,
    batches,
    decode,
    decode_bets,
    encode,
    encode_bets,
    limits,
)
from bets_protocol.encoded import batch_frame, encoded_batches, split_bets
from tests.effort import examples
from tests.protocol.frames import ANA, JOSE, sized_bet
from tests.strategies import bets


def frame_size(batch: BetBatch, revision: int = 8) -> int:
    return len(encode(batch, revision=revision))


def bet_size(bet: Bet) -> int:
    return len(encode(bet, revision=5))


def bet_of_size(size: int) -> Bet:
    return decode(Bet, sized_bet(size), revision=5)


@st.composite
def many_bets(draw: st.DrawFn) -> list[Bet]:
    """More bets than fit a batch, of few kinds."""
    kinds = draw(st.lists(bets(), min_size=1, max_size=4))
    order = draw(st.lists(st.integers(0, len(kinds) - 1), max_size=20))
    return [kinds[index] for index in order] + kinds * draw(st.integers(0, 100))


@settings(max_examples=examples(60))
@given(
    many_bets(), st.integers(1, 255), st.one_of(st.integers(537, 8192), st.just(8192)), st.sampled_from((6, 7, 8, 9))
)
def test_batches_keep_their_bounds_and_are_filled(
    given_bets: list[Bet], max_amount: int, max_bytes: int, revision: int
) -> None:
    """No batch passes a bound, none has room for the first bet of the next, and every bet comes out in order."""
    made = list(batches(given_bets, max_amount=max_amount, max_bytes=max_bytes, revision=revision))
    assert given_bets == [bet for batch in made for bet in batch.bets]
    for batch in made:
        assert 1 <= len(batch.bets) <= max_amount
        assert frame_size(batch, revision) <= max_bytes
    for batch, after in pairwise(made):
        full = len(batch.bets) == max_amount
        assert full or frame_size(batch, revision) + bet_size(after.bets[0]) > max_bytes


@settings(max_examples=examples(60))
@given(many_bets(), st.integers(1, 255), st.integers(537, 8192), st.sampled_from((6, 7, 8, 9)))
def test_encoded_bets_fill_the_same_batches(
    given_bets: list[Bet], max_amount: int, max_bytes: int, revision: int
) -> None:
    """Bets that are encoded already make the same frames, byte for byte, as bets that are not."""
    expected = batches(given_bets, max_amount=max_amount, max_bytes=max_bytes, revision=revision)
    encoded = split_bets(encode_bets(given_bets))
    runs = list(encoded_batches(encoded, agency=1, max_amount=max_amount, max_bytes=max_bytes, revision=revision))
    assert [batch_frame(run, revision) for run in runs] == [encode(batch, revision=revision) for batch in expected]
    assert decode_bets(b"".join(run.encoded for run in runs)) == given_bets


@pytest.mark.parametrize(
    ("count", "size", "revision", "text"),
    [
        (0, 0, 9, "1 to 255 bets a batch, not 0"),
        (256, 256, 9, "1 to 255 bets a batch, not 256"),
        (16, 8191, 9, "at most 8192 bytes, not 8193"),
        (16, 8192, 6, "at most 8192 bytes, not 8193"),
        (1, 45, 5, "revision 5 has no BetBatch; revision 6, 7, 8, 9 has"),
    ],
)
def test_a_run_that_fits_no_frame_is_refused(count: int, size: int, revision: int, text: str) -> None:
    """Its bytes are not looked at, its bounds are: nothing illegal is sent."""
    with pytest.raises(LocalProtocolError, match=text):
        batch_frame(BetRun(agency=1, count=count, encoded=bytes(size)), revision)


@pytest.mark.parametrize("revision", [6, 8])
def test_a_batch_of_exactly_8192_bytes_is_made(revision: int) -> None:
    """The last byte is used, and not one more; revision 6 has a byte more of room, since it has no type."""
    header = 2 if revision == 8 else 1
    bets_of_15 = [bet_of_size(535)] * 15
    exact = bet_of_size(8192 - header - 15 * 535)
    (batch,) = batches([*bets_of_15, exact], revision=revision)
    assert frame_size(batch, revision) == 8192
    over = bet_of_size(8192 - header - 15 * 535 + 1)
    assert [len(batch.bets) for batch in batches([*bets_of_15, over], revision=revision)] == [15, 1]


def test_the_usual_bound_is_130_bets() -> None:
    """Unless told otherwise a batch holds 130 bets."""
    assert [len(batch.bets) for batch in batches([ANA] * 300)] == [130, 130, 40]


def test_255_bets_fit_when_they_are_short() -> None:
    """The count of a batch is used up to its end."""
    short = attrs.evolve(ANA, first_name="A", last_name="P")
    assert [len(batch.bets) for batch in batches([short] * 300, max_amount=255)] == [255, 45]


def test_no_bets_make_no_batch() -> None:
    """An empty batch cannot be said, so none is made."""
    assert list(batches([])) == []


def test_bets_are_read_only_as_far_as_needed() -> None:
    """Of an endless supply the first batch takes its bets and the one that did not fit."""
    taken = 0

    def endless() -> Iterator[Bet]:
        nonlocal taken
        while True:
            taken += 1
            yield JOSE

    assert len(next(batches(endless(), max_amount=10)).bets) == 10
    assert taken == 11


@pytest.mark.parametrize("max_amount", [0, 256, -1])
def test_an_amount_that_no_batch_has_is_refused_at_once(max_amount: int) -> None:
    """The mistake shows at the call, not at the first batch."""
    with pytest.raises(LocalProtocolError, match=f"1 to 255 bets a batch, not {max_amount}"):
        batches([], max_amount=max_amount)


def test_a_revision_without_batches_is_refused_at_once() -> None:
    """Revision 5 sends bets one by one."""
    with pytest.raises(LocalProtocolError, match="revision 5 has no BetBatch"):
        batches([], revision=5)


def test_a_bet_above_the_bound_is_refused_where_it_comes() -> None:
    """What stands before it has been given out."""
    stream = batches([ANA, JOSE, bet_of_size(535)], max_bytes=100, max_amount=1)
    assert next(stream) == BetBatch(bets=[ANA])
    with pytest.raises(LocalProtocolError, match="a bet of 535 bytes does not fit a batch of 100 bytes"):
        list(stream)


def test_a_bound_above_8192_does_not_count() -> None:
    """Nobody can raise the bound of the contract."""
    (first, *_) = batches([bet_of_size(535)] * 100, max_bytes=100_000, max_amount=255)
    assert frame_size(first) <= limits.MAX_FRAME_BYTES
