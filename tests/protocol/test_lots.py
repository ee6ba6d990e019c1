"""Bets as bytes: split by agency, joined again, searched without making objects."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    Bet,
    BetBatch,
    DecodeError,
    EncodedBatch,
    InvalidMessage,
    InvalidValue,
    Lot,
    decode_bets,
    documents_with_number,
    encode,
    encode_bets,
)
from bets_protocol import _generated_layouts as layouts
from bets_protocol import _ir as ir
from bets_protocol._lots import bet_count, header_size, split_lots
from tests.effort import examples
from tests.protocol.frames import ANA, JOSE, bet
from tests.strategies import bets, messages

LISTS = st.lists(bets(), max_size=12)


@settings(max_examples=examples(30))
@given(LISTS)
def test_bets_come_back_from_their_bytes(given_bets: list[Bet]) -> None:
    """decode_bets(encode_bets(bets)) gives the bets, in order."""
    assert given_bets == decode_bets(encode_bets(given_bets))


@settings(max_examples=examples(30))
@given(messages("bet_batch"))
def test_lots_are_the_frame_cut_between_bets(batch: BetBatch) -> None:
    """Joined again the lots are the frame behind its header; each is of one agency, and no two neighbours are."""
    frame = encode(batch)
    encoded = split_lots(frame, header_size(layouts.BET_BATCH))
    assert frame[2:] == b"".join(lot.encoded for lot in encoded.lots)
    assert len(batch.bets) == encoded.count == sum(lot.count for lot in encoded.lots)
    assert list(batch.bets) == [found for lot in encoded.lots for found in decode_bets(lot.encoded)]
    for lot in encoded.lots:
        assert {lot.agency} == {found.agency for found in decode_bets(lot.encoded)}
        assert lot.count == len(decode_bets(lot.encoded))
    agencies = [lot.agency for lot in encoded.lots]
    assert all(one != other for one, other in pairwise(agencies))


@settings(max_examples=examples(40))
@given(LISTS, st.integers(0, 9999))
def test_documents_are_those_of_the_bets_with_the_number(given_bets: list[Bet], number: int) -> None:
    """In order, one entry a bet, and nothing but the number field counts."""
    given_bets = [*given_bets, *(attrs.evolve(found, number=number) for found in given_bets[::2])]
    expected = [found.document for found in given_bets if found.number == number]
    assert expected == documents_with_number(encode_bets(given_bets), number)


def test_the_bytes_of_a_number_elsewhere_are_no_hit() -> None:
    """Number 8224 has the bytes of two spaces, which a name may hold."""
    with_look_alike = attrs.evolve(ANA, first_name="\x20\x20" * 3, number=1)
    assert documents_with_number(encode_bets([with_look_alike]), 0x2020) == []
    hit = attrs.evolve(with_look_alike, number=0x2020, document="11111111")
    assert documents_with_number(encode_bets([with_look_alike, hit]), 0x2020) == ["11111111"]


def test_two_agencies_by_turns_make_a_lot_a_turn() -> None:
    """A lot is a run; bets of one agency that do not stand together are in several lots."""
    frame = encode(BetBatch(bets=[ANA, ANA, JOSE, ANA]))
    assert split_lots(frame, 2) == EncodedBatch(
        count=4,
        lots=(
            Lot(agency=1, count=2, encoded=encode_bets([ANA, ANA])),
            Lot(agency=5, count=1, encoded=encode_bets([JOSE])),
            Lot(agency=1, count=1, encoded=encode_bets([ANA])),
        ),
    )


def test_the_count_is_read_where_the_layout_has_it() -> None:
    """Behind the type on revision 8, in front on revision 6."""
    batch = BetBatch(bets=[ANA, JOSE])
    assert bet_count(encode(batch, revision=8), layouts.BET_BATCH) == 2
    assert bet_count(encode(batch, revision=6), layouts.UNTYPED_BATCH) == 2
    assert (header_size(layouts.BET_BATCH), header_size(layouts.UNTYPED_BATCH)) == (2, 1)


@pytest.mark.parametrize("layout", [layouts.WINNERS_REQUEST, ir.Int(1)])
def test_a_layout_that_is_no_batch_is_a_bug(layout: ir.Node) -> None:
    """Whoever asks for the bets of something else learns it at once."""
    with pytest.raises((TypeError, LookupError)):
        header_size(layout)


def test_a_batch_without_a_count_is_a_bug() -> None:
    """The bets of a batch must be counted in front."""
    uncounted = ir.Record("BetBatch", (ir.Field("bets", ir.Array(2, layouts.BET_FRAME)),))
    with pytest.raises(TypeError, match="must be counted"):
        header_size(uncounted)


@pytest.mark.parametrize("cut", [1, 2, 3, 30])
def test_bytes_that_end_inside_a_bet_are_refused(cut: int) -> None:
    """A damaged book shows; it does not lose its last bet in silence."""
    with pytest.raises(DecodeError):
        decode_bets(encode_bets([ANA, JOSE])[:-cut])
    with pytest.raises(DecodeError):
        decode_bets(encode_bets([ANA]) + b"\x00" * cut)


def test_a_bad_value_in_stored_bytes_is_refused() -> None:
    """Reading checks the rules again."""
    with pytest.raises(InvalidValue, match="number"):
        decode_bets(bet() + bet(number=10000))


def test_only_bets_can_be_encoded() -> None:
    """Another object is refused by its kind."""
    with pytest.raises(InvalidMessage, match="expected a Bet"):
        encode_bets([ANA, "JOSE"])  # type: ignore[list-item]  # what no type checker lets pass
