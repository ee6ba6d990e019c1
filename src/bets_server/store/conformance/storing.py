"""Storing bets and reading them back; opening, closing and sharing a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import Bet, StorageError, encode_bets
from bets_server.store import BetStore, DrawState, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_BEFORE,
    DRAWN_NOW,
    JUST_SEALED,
    WINNING,
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


class StoringTests(Suite):
    """Tests of `commit` for parcels without tickets, and of `bets`."""

    def test_a_new_store_is_empty(self, store_url: str) -> None:
        """Nothing is stored, sealed or drawn."""
        with open_store(store_url, draw=7) as store:
            assert store.state() == DrawState(draw=7, number=None, sealed=frozenset(), bets_by_agency={})
            assert not store.state().drawn
            assert list(store.bets()) == []
            assert store.winners(1) is None

    def test_bets_come_back_as_they_were_sent(self, store_url: str) -> None:
        """Every byte and the order, for the shortest and the longest names and those that need quotes."""
        bets = [
            Bet(
                agency=255, first_name=first, last_name=last, document="00000000", birthdate="2000-02-29", number=number
            )
            for first, last, number in [
                ("Ñ", "x", 0),
                ("é" * 127 + "e", '"' * 255, 9999),
                (" , ", "'", 43),
                ("=1+1", "\u2028\ufeff\U0001f3b2", 5),
                ("a\xa0b", "\\N", 300),
            ]
        ]
        with open_store(store_url) as store:
            assert append_to(store, [batch_of(bets)]) == [Verdict.STORED]
            assert list(store.bets()) == bets
        with open_store(store_url) as store:
            assert encode_bets(store.bets()) == encode_bets(bets)

    def test_an_empty_group_stores_nothing(self, store: BetStore) -> None:
        """It has no verdicts."""
        assert append_to(store, []) == []
        assert store.state().bets_by_agency == {}

    def test_identical_bets_are_each_kept(self, store: BetStore) -> None:
        """A person may bet the same twice: in a batch, in two batches of a group, and in two groups."""
        twins = sample_batch([5, 5])
        assert append_to(store, [twins, twins]) == [Verdict.STORED] * 2
        assert append_to(store, [twins]) == [Verdict.STORED]
        assert documents(store.bets()) == rows_of(5) * 6
        assert store.state().bets_by_agency == {1: 6}

    def test_bets_of_an_agency_keep_their_order(self, store: BetStore) -> None:
        """Their order holds across batches and groups, and with bets of other agencies between them."""
        append_to(store, [sample_batch([3, 1], agency=2), sample_batch([9], agency=1), sample_batch([2], agency=2)])
        append_to(store, [sample_batch([8], agency=1), sample_batch([0], agency=2)])
        assert documents(store.bets(2)) == rows_of(3, 1, 2, 0)
        assert documents(store.bets(1)) == rows_of(9, 8)
        assert documents(store.bets(3)) == []
        assert documents(store.bets()) == rows_of(3, 1, 9, 2, 8, 0)
        assert store.state().bets_by_agency == {1: 2, 2: 4}

    def test_a_large_group_is_stored_whole(self, store: BetStore) -> None:
        """It has far more batches and agencies than a page in which a store may write or read."""
        agencies = range(1, 256)
        group = [sample_batch(range(20), agency=agency) for agency in agencies]
        assert append_to(store, group) == [Verdict.STORED] * 255
        assert append_to(store, group) == [Verdict.STORED] * 255
        assert store.state().bets_by_agency == dict.fromkeys(agencies, 40)
        assert documents(store.bets(200)) == rows_of(*range(20), *range(20))
        assert sum(1 for _ in store.bets()) == 255 * 40

    def test_a_walk_gives_what_was_stored_when_it_began(self, store: BetStore) -> None:
        """Other calls may come in between, and two walks at once do not disturb each other."""
        for start in range(0, 5000, 100):
            append_to(store, [sample_batch(range(start, start + 100))])
        walk, other = store.bets(), store.bets(1)
        first = next(walk)
        append_to(store, [sample_batch([9999])])
        assert documents([first, *walk]) == rows_of(*range(5000))
        assert documents(other) == rows_of(*range(5000), 9999)

    def test_bets_of_a_sealed_agency_are_refused(self, store: BetStore) -> None:
        """They are refused while other agencies are not sealed."""
        append_to(store, [sample_batch([1])])
        assert store.seal_and_draw(1, expected=2, pick=no_pick) == JUST_SEALED
        assert append_to(store, [sample_batch([2])]) == [Verdict.SEALED]
        assert documents(store.bets()) == rows_of(1)

    def test_a_refused_batch_harms_no_other_of_its_group(self, store: BetStore) -> None:
        """The verdicts are in the order of the group."""
        store.seal_and_draw(1, expected=2, pick=no_pick)
        group = [sample_batch([1], agency=2), sample_batch([2], agency=1), sample_batch([3], agency=2)]
        assert append_to(store, group) == [Verdict.STORED, Verdict.SEALED, Verdict.STORED]
        assert documents(store.bets()) == rows_of(1, 3)

    def test_a_batch_with_one_sealed_agency_is_refused_whole(self, store: BetStore) -> None:
        """The sealed agency may be anywhere in the batch; without it, a batch of several agencies is stored."""
        mixed = [sample_bet(1, agency=2), sample_bet(2, agency=3), sample_bet(3, agency=2), sample_bet(4, agency=1)]
        store.seal_and_draw(1, expected=3, pick=no_pick)
        verdicts = append_to(store, [batch_of(mixed), batch_of(mixed[:3]), batch_of(mixed[::-1])])
        assert verdicts == [Verdict.SEALED, Verdict.STORED, Verdict.SEALED]
        assert documents(store.bets(2)) == rows_of(1, 3)
        assert documents(store.bets(3)) == rows_of(2)
        assert store.state().bets_by_agency == {2: 2, 3: 1}

    def test_after_the_draw_nothing_changes(self, store: BetStore) -> None:
        """No bet and no seal of any agency is added, and every verdict says why."""
        append_to(store, [sample_batch([1], number=WINNING)])
        store.seal_and_draw(1, expected=1, pick=winning)
        before = store.state()
        assert append_to(store, [sample_batch([2], agency=agency) for agency in (1, 9)]) == [Verdict.DRAW_CLOSED] * 2
        assert store.seal_and_draw(9, expected=1, pick=no_pick) == DRAWN_BEFORE
        assert store.seal_and_draw(9, expected=9, pick=no_pick) == DRAWN_BEFORE
        assert store.state() == before
        assert (before.number, before.sealed) == (WINNING, frozenset({1}))
        assert before.bets_by_agency == {1: 1}
        assert store.winners(1) == ("00000001",)


class OpeningTests(Suite):
    """Tests of `open_store` and `close`."""

    def test_a_store_opened_again_goes_on(self, store_url: str) -> None:
        """Its bets, their order and its seals are found, before and after the draw."""
        for row in range(3):
            with open_store(store_url) as store:
                assert (
                    append_to(store, [sample_batch([row], number=WINNING), sample_batch([row], agency=2)])
                    == [Verdict.STORED] * 2
                )
        with open_store(store_url) as store:
            assert store.seal_and_draw(2, expected=2, pick=no_pick) == JUST_SEALED
        with open_store(store_url, create=False) as store:
            assert append_to(store, [sample_batch([3], agency=2)]) == [Verdict.SEALED]
            assert store.state() == DrawState(draw=1, number=None, sealed=frozenset({2}), bets_by_agency={1: 3, 2: 3})
            assert store.seal_and_draw(1, expected=2, pick=winning) == DRAWN_NOW
        for _ in range(2):
            with open_store(store_url, create=False) as store:
                assert store.winners(1) == tuple(rows_of(0, 1, 2))
                assert store.winners(2) == ()
                assert documents(store.bets(1)) == rows_of(0, 1, 2)

    def test_a_closed_store_says_so(self, store_url: str) -> None:
        """Closing it again has no effect; every other call is an error that says why."""
        store = open_store(store_url)
        append_to(store, [sample_batch(range(50))] * 100)
        walk = store.bets()
        next(walk)
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: append_to(store, [sample_batch([1])]),
            lambda: append_to(store, []),
            lambda: store.commit([]),
            lambda: store.open_upload(1, bytes(16), total=1),
            lambda: store.void(1, reason="closed"),
            store.uploads,
            lambda: next(store.audit()),
            lambda: store.seal_and_draw(1, expected=1, pick=no_pick),
            lambda: store.winners(1),
            store.state,
            lambda: next(store.bets()),
            lambda: list(walk),
        ]
        for call in calls:
            with pytest.raises(StorageError, match="closed"):
                call()
        with open_store(store_url) as store:
            assert store.state().bets_by_agency == {1: 5000}

    def test_a_store_that_is_open_cannot_be_opened(self, store_url: str) -> None:
        """Another draw and reading are refused, too; the process that has it open is not affected."""
        with open_store(store_url) as store:
            for draw, create in [(1, True), (2, True), (1, False)]:
                with pytest.raises(StorageError, match="another server has it open"):
                    open_store(store_url, draw=draw, create=create)
            assert append_to(store, [sample_batch([1])]) == [Verdict.STORED]
        with open_store(store_url) as store:
            assert documents(store.bets()) == rows_of(1)

    def test_a_missing_store_is_not_created_for_a_reader(self, store_url: str, tmp_path: Path) -> None:
        """It is an error, and no file is made."""
        with pytest.raises(StorageError, match="no such store"):
            open_store(store_url, create=False)
        assert list(tmp_path.iterdir()) == []

    def test_a_reader_of_a_draw_that_never_was_finds_nothing(self, store_url: str) -> None:
        """It has no bets and no seals, and is not drawn."""
        open_store(store_url).close()
        with open_store(store_url, draw=3, create=False) as store:
            assert store.state() == DrawState(draw=3, number=None, sealed=frozenset(), bets_by_agency={})
            assert store.winners(1) is None
