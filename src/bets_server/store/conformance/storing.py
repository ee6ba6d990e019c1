"""Storing and refusing: the verdicts on the batches of a group, and reading bets back."""

from __future__ import annotations

from bets_protocol import Bet, encode_bets
from bets_server.store import DrawState, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_BEFORE,
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
    """Tests of `append` and `bets`."""

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

    def test_an_empty_group_stores_nothing(self, store_url: str) -> None:
        """It has no verdicts."""
        with open_store(store_url) as store:
            assert append_to(store, []) == []
            assert store.state().bets_by_agency == {}

    def test_identical_bets_are_each_kept(self, store_url: str) -> None:
        """A person may bet the same twice: in a batch, in two batches of a group, and in two groups."""
        twins = sample_batch([5, 5])
        with open_store(store_url) as store:
            assert append_to(store, [twins, twins]) == [Verdict.STORED] * 2
            assert append_to(store, [twins]) == [Verdict.STORED]
            assert documents(store.bets()) == rows_of(5) * 6
            assert store.state().bets_by_agency == {1: 6}

    def test_bets_of_an_agency_keep_their_order(self, store_url: str) -> None:
        """Their order holds across batches and groups, and with bets of other agencies between them."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([3, 1], agency=2), sample_batch([9], agency=1), sample_batch([2], agency=2)])
            append_to(store, [sample_batch([8], agency=1), sample_batch([0], agency=2)])
            assert documents(store.bets(2)) == rows_of(3, 1, 2, 0)
            assert documents(store.bets(1)) == rows_of(9, 8)
            assert documents(store.bets(3)) == []
            assert documents(store.bets()) == rows_of(3, 1, 9, 2, 8, 0)
            assert store.state().bets_by_agency == {1: 2, 2: 4}

    def test_a_large_group_is_stored_whole(self, store_url: str) -> None:
        """It has far more batches and agencies than a page in which a store may write or read."""
        agencies = range(1, 256)
        group = [sample_batch(range(20), agency=agency) for agency in agencies]
        with open_store(store_url) as store:
            assert append_to(store, group) == [Verdict.STORED] * 255
            assert append_to(store, group) == [Verdict.STORED] * 255
            assert store.state().bets_by_agency == dict.fromkeys(agencies, 40)
            assert documents(store.bets(200)) == rows_of(*range(20), *range(20))
            assert sum(1 for _ in store.bets()) == 255 * 40

    def test_a_walk_gives_what_was_stored_when_it_began(self, store_url: str) -> None:
        """Other calls may come in between, and two walks at once do not disturb each other."""
        with open_store(store_url) as store:
            for start in range(0, 5000, 100):
                append_to(store, [sample_batch(range(start, start + 100))])
            walk, other = store.bets(), store.bets(1)
            first = next(walk)
            append_to(store, [sample_batch([9999])])
            assert documents([first, *walk]) == rows_of(*range(5000))
            assert documents(other) == rows_of(*range(5000), 9999)

    def test_bets_of_a_sealed_agency_are_refused(self, store_url: str) -> None:
        """They are refused while other agencies are not sealed."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([1])])
            assert store.seal_and_draw(1, expected=2, pick=no_pick) == JUST_SEALED
            assert append_to(store, [sample_batch([2])]) == [Verdict.SEALED]
            assert documents(store.bets()) == rows_of(1)

    def test_a_refused_batch_harms_no_other_of_its_group(self, store_url: str) -> None:
        """The verdicts are in the order of the group."""
        with open_store(store_url) as store:
            store.seal_and_draw(1, expected=2, pick=no_pick)
            group = [sample_batch([1], agency=2), sample_batch([2], agency=1), sample_batch([3], agency=2)]
            assert append_to(store, group) == [Verdict.STORED, Verdict.SEALED, Verdict.STORED]
            assert documents(store.bets()) == rows_of(1, 3)

    def test_a_batch_with_one_sealed_agency_is_refused_whole(self, store_url: str) -> None:
        """The sealed agency may be anywhere in the batch; without it, a batch of several agencies is stored."""
        mixed = [sample_bet(1, agency=2), sample_bet(2, agency=3), sample_bet(3, agency=2), sample_bet(4, agency=1)]
        with open_store(store_url) as store:
            store.seal_and_draw(1, expected=3, pick=no_pick)
            verdicts = append_to(store, [batch_of(mixed), batch_of(mixed[:3]), batch_of(mixed[::-1])])
            assert verdicts == [Verdict.SEALED, Verdict.STORED, Verdict.SEALED]
            assert documents(store.bets(2)) == rows_of(1, 3)
            assert documents(store.bets(3)) == rows_of(2)
            assert store.state().bets_by_agency == {2: 2, 3: 1}

    def test_after_the_draw_nothing_changes(self, store_url: str) -> None:
        """No bet and no seal of any agency is added, and every verdict says why."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([1], number=WINNING)])
            store.seal_and_draw(1, expected=1, pick=winning)
            before = store.state()
            assert (
                append_to(store, [sample_batch([2], agency=agency) for agency in (1, 9)]) == [Verdict.DRAW_CLOSED] * 2
            )
            assert store.seal_and_draw(9, expected=1, pick=no_pick) == DRAWN_BEFORE
            assert store.seal_and_draw(9, expected=9, pick=no_pick) == DRAWN_BEFORE
            assert store.state() == before
            assert (before.number, before.sealed) == (WINNING, frozenset({1}))
            assert before.bets_by_agency == {1: 1}
            assert store.winners(1) == ("00000001",)
