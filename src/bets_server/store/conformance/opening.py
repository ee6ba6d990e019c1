"""Opening, closing and sharing: what a store finds again, and which processes it keeps out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bets_protocol import StorageError
from bets_server.store import DrawState, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_NOW,
    JUST_SEALED,
    WINNING,
    Suite,
    append_to,
    documents,
    no_pick,
    rows_of,
    sample_batch,
    winning,
)


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
