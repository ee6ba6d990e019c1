"""Sealing and drawing: which agencies must be sealed, that the draw takes place once, and the winners."""

from __future__ import annotations

import attrs
import pytest

from bets_protocol import ConfigError, InvalidMessage
from bets_server.store import BetStore, DrawState, SealOutcome, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_BEFORE,
    DRAWN_NOW,
    JUST_SEALED,
    NOTHING_NEW,
    WINNING,
    NoPickError,
    Suite,
    append_to,
    batch_of,
    documents,
    no_pick,
    rows_of,
    sample_batch,
    sample_bet,
    winning,
)


class DrawingTests(Suite):
    """Tests of `seal_and_draw` and `winners`."""

    def test_the_draw_waits_for_every_expected_agency(self, store: BetStore) -> None:
        """They may be sealed in any order; no agency has winners before the draw."""
        append_to(store, [sample_batch([agency], agency=agency, number=WINNING) for agency in (1, 2, 3)])
        for agency in (3, 1):
            assert store.seal_and_draw(agency, expected=3, pick=no_pick) == JUST_SEALED
            assert store.winners(agency) is None
        assert store.state().sealed == {1, 3}
        assert store.seal_and_draw(2, expected=3, pick=winning) == DRAWN_NOW
        assert store.state().drawn
        assert [store.winners(agency) for agency in (1, 2, 3)] == [(row,) for row in rows_of(1, 2, 3)]

    def test_an_agency_that_asks_twice_counts_once(self, store: BetStore) -> None:
        """Five requests of one agency do not count as five agencies."""
        assert store.seal_and_draw(1, expected=2, pick=no_pick) == JUST_SEALED
        for _ in range(5):
            assert store.seal_and_draw(1, expected=2, pick=no_pick) == NOTHING_NEW

    def test_the_draw_takes_place_once(self, store_url: str) -> None:
        """Asking again gives the same result, also after the store was opened again."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([1], number=WINNING)])
            assert store.seal_and_draw(1, expected=1, pick=winning) == DRAWN_NOW
            assert store.seal_and_draw(1, expected=1, pick=no_pick) == DRAWN_BEFORE
        with open_store(store_url) as store:
            assert store.seal_and_draw(1, expected=1, pick=no_pick) == DRAWN_BEFORE
            assert store.winners(1) == ("00000001",)
            assert store.state().number == WINNING

    def test_winners_are_each_agencys_own_in_the_order_of_storing(self, store: BetStore) -> None:
        """One entry for each winning bet; bets whose bytes only look like the number do not win."""
        two_spaces = 0x2020  # as a number on the wire
        looks_alike = attrs.evolve(sample_bet(9), first_name="a  b", last_name="  ")
        append_to(store, [sample_batch([5, 3], number=two_spaces), sample_batch([4], agency=2, number=two_spaces)])
        append_to(store, [batch_of([looks_alike, sample_bet(6), sample_bet(3, number=two_spaces)])])
        append_to(store, [sample_batch([1, 2], agency=3)])
        for agency in (3, 2):
            store.seal_and_draw(agency, expected=3, pick=no_pick)
        store.seal_and_draw(1, expected=3, pick=lambda: two_spaces)
        assert store.winners(1) == tuple(rows_of(5, 3, 3))
        assert store.winners(2) == tuple(rows_of(4))
        assert store.winners(3) == ()
        assert store.winners(4) == ()

    def test_many_winners_are_all_found(self, store: BetStore) -> None:
        """They are far more than a page in which a store may write or read."""
        for start in range(0, 4000, 200):
            append_to(store, [sample_batch(range(start, start + 200), number=WINNING)])
        store.seal_and_draw(1, expected=1, pick=winning)
        assert store.winners(1) == tuple(rows_of(*range(4000)))

    def test_an_agency_outside_the_expected_ones_neither_helps_nor_hinders(self, store: BetStore) -> None:
        """It may store and be sealed like any other, and its bets take part."""
        append_to(store, [sample_batch([7], agency=200, number=WINNING), sample_batch([8], agency=201, number=WINNING)])
        assert store.seal_and_draw(200, expected=2, pick=no_pick) == JUST_SEALED
        assert append_to(store, [sample_batch([9], agency=200)]) == [Verdict.SEALED]
        assert store.seal_and_draw(1, expected=2, pick=no_pick) == JUST_SEALED
        assert store.seal_and_draw(2, expected=2, pick=winning) == DRAWN_NOW
        assert store.winners(200) == ("00000007",)
        assert store.winners(201) == ("00000008",)

    def test_how_many_are_expected_may_change_between_asks(self, store_url: str) -> None:
        """A server that is started again with another number uses that one from the next request on."""
        with open_store(store_url) as store:
            store.seal_and_draw(1, expected=2, pick=no_pick)
            assert store.seal_and_draw(2, expected=3, pick=no_pick) == JUST_SEALED
        with open_store(store_url) as store:
            assert not store.state().drawn
            drawn = SealOutcome(newly_sealed=False, drawn=True, drawn_now=True)
            assert store.seal_and_draw(1, expected=2, pick=winning) == drawn
        with open_store(store_url) as store:
            assert store.state().sealed == {1, 2}
            assert store.seal_and_draw(3, expected=9, pick=no_pick) == DRAWN_BEFORE

    def test_a_draw_that_finds_no_number_changes_nothing(self, store: BetStore) -> None:
        """An exception of the source of numbers passes through; the agency is not sealed, and may try again."""
        with pytest.raises(NoPickError):
            store.seal_and_draw(1, expected=1, pick=no_pick)
        for number in (-1, 10_000):
            with pytest.raises(ConfigError, match=str(number)):
                store.seal_and_draw(1, expected=1, pick=lambda number=number: number)  # type: ignore[misc]
        assert store.state() == DrawState(draw=1, number=None, sealed=frozenset(), bets_by_agency={})
        assert append_to(store, [sample_batch([1], number=0)]) == [Verdict.STORED]
        assert store.seal_and_draw(1, expected=1, pick=lambda: 0) == DRAWN_NOW
        assert store.winners(1) == ("00000001",)

    @pytest.mark.parametrize("wrong", [-1, 0, 256])
    def test_nonsense_is_neither_expected_nor_sealed(self, store: BetStore, wrong: int) -> None:
        """A number of agencies or an agency that is out of range is an error, and the store stays usable."""
        with pytest.raises(ConfigError, match=f"{wrong}"):
            store.seal_and_draw(1, expected=wrong, pick=no_pick)
        with pytest.raises(InvalidMessage, match=f"agency.*{wrong}"):
            store.seal_and_draw(wrong, expected=1, pick=no_pick)
        assert store.state().sealed == frozenset()
        assert store.seal_and_draw(1, expected=1, pick=winning) == DRAWN_NOW

    def test_draws_in_one_store_do_not_see_each_other(self, store_url: str) -> None:
        """Each draw has its own bets, seals, number and winners."""
        for draw in (1, 0xFFFF_FFFF, 0):
            with open_store(store_url, draw=draw) as store:
                assert store.state() == DrawState(draw=draw, number=None, sealed=frozenset(), bets_by_agency={})
                assert list(store.bets()) == []
                append_to(store, [sample_batch([draw % 10, 5], number=draw % 10_000), sample_batch([6], agency=2)])
                assert documents(store.bets(1)) == rows_of(draw % 10, 5)
        for draw in (0xFFFF_FFFF, 0):
            with open_store(store_url, draw=draw) as store:
                append_to(store, [sample_batch([draw % 10 + 1])])
                store.seal_and_draw(1, expected=1, pick=lambda draw=draw: draw % 10_000)  # type: ignore[misc]
                assert store.winners(1) == tuple(rows_of(draw % 10, 5))
                assert documents(store.bets(1)) == rows_of(draw % 10, 5, draw % 10 + 1)
        with open_store(store_url, draw=1) as store:
            assert store.state() == DrawState(draw=1, number=None, sealed=frozenset(), bets_by_agency={1: 2, 2: 1})
            assert append_to(store, [sample_batch([3])]) == [Verdict.STORED]
