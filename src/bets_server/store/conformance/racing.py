"""Calls from many threads at once: sealing, storing against a seal, taking an upload over."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from bets_protocol import encode_bets
from bets_server.store import BetStore, Parcel, SealOutcome, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_NOW,
    INCOMPLETE,
    JUST_SEALED,
    WINNING,
    Suite,
    append_to,
    crc32_of,
    documents,
    opened,
    part,
    rows_of,
    sample_batch,
    upload_id,
    winning,
)

THREADS: Final = 5
DEADLINE_S: Final = 60.0
_ROUNDS: Final = 5

T = TypeVar("T")


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """The results of some calls that begin at the same moment, each in a thread of its own."""
    calls = list(calls)
    gate = threading.Barrier(len(calls))

    def wait_and(call: Callable[[], T]) -> T:
        gate.wait(DEADLINE_S)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and, calls, timeout=DEADLINE_S))


class RacingTests(Suite):
    """Tests with calls from many threads."""

    def test_agencies_that_seal_at_the_same_moment_draw_once(self, store_url: str) -> None:
        """Exactly one of them makes the draw, and all are sealed, in every draw of the store."""
        for draw in range(1, _ROUNDS + 1):
            with open_store(store_url, draw=draw) as store:
                append_to(
                    store, [sample_batch([agency], agency=agency, number=WINNING) for agency in range(1, THREADS + 1)]
                )

                def seal(agency: int, store: BetStore = store) -> SealOutcome:
                    return store.seal_and_draw(agency, expected=THREADS, pick=winning)

                outcomes = at_once([lambda agency=agency: seal(agency) for agency in range(1, THREADS + 1)])  # type: ignore[misc]
                assert Counter(outcomes) == {JUST_SEALED: THREADS - 1, DRAWN_NOW: 1}
                assert store.state().sealed == set(range(1, THREADS + 1))
                assert [store.winners(agency) for agency in (1, THREADS)] == [(row,) for row in rows_of(1, THREADS)]
                events = Counter(entry.event for entry in store.audit() if entry.draw == draw)
                assert (events["seal"], events["draw"]) == (THREADS, 1)

    def test_a_batch_that_races_a_seal_is_in_the_draw_or_refused(self, store_url: str) -> None:
        """Whichever comes first, the stored bets take part, and nothing of the others is stored."""
        for draw in range(1, _ROUNDS + 1):
            with open_store(store_url, draw=draw) as store:
                begun = threading.Event()

                def store_all(store: BetStore = store, begun: threading.Event = begun) -> int:
                    verdict, row = Verdict.STORED, -1
                    while verdict is Verdict.STORED:
                        row += 1
                        (verdict,) = append_to(store, [sample_batch([row], number=WINNING)])
                        begun.set()
                    assert verdict in {Verdict.SEALED, Verdict.DRAW_CLOSED}
                    return row

                def seal(store: BetStore = store, begun: threading.Event = begun) -> int:
                    assert begun.wait(DEADLINE_S)
                    assert store.seal_and_draw(1, expected=1, pick=winning) == DRAWN_NOW
                    return -1

                stored = max(at_once([store_all, seal]))
                assert store.winners(1) == tuple(rows_of(*range(stored)))
                assert documents(store.bets()) == rows_of(*range(stored))
                digest = hashlib.sha256(encode_bets(store.bets())).hexdigest()
                assert (store.state().bets, store.state().digest) == (stored, digest)

    def test_an_upload_that_races_a_seal_is_in_the_draw_whole(self, store_url: str) -> None:
        """The agency is not sealed while its upload is unfinished."""
        for draw in range(1, _ROUNDS + 1):
            with open_store(store_url, draw=draw) as store:
                ticket = opened(store, total=4)

                def send(store: BetStore = store, ticket=ticket) -> SealOutcome | None:  # type: ignore[no-untyped-def]
                    for row in range(4):
                        assert store.commit([part(ticket, [row], number=WINNING)])[0].stored == row + 1
                    return None

                def ask(store: BetStore = store) -> SealOutcome | None:
                    outcome = INCOMPLETE
                    while outcome == INCOMPLETE:
                        outcome = store.seal_and_draw(1, expected=1, pick=winning)
                    return outcome

                assert at_once([send, ask])[1] == DRAWN_NOW
                assert store.winners(1) == tuple(rows_of(0, 1, 2, 3))

    def test_uploaders_that_take_over_from_each_other_store_each_bet_once(self, store: BetStore) -> None:
        """Each of them goes on until it is fenced or done, and they may follow each other in any way."""
        total = 12

        def send(store: BetStore) -> Counter[Verdict]:
            opening = store.open_upload(1, upload_id(0), total=total)
            assert opening.ticket is not None
            verdicts: Counter[Verdict] = Counter()
            stored = opening.stored
            while stored < total and not verdicts[Verdict.FENCED]:
                ahead = [part(opening.ticket, [row]) for row in range(stored, min(stored + 3, total))]
                receipts = store.commit(ahead)
                assert len({receipt.verdict for receipt in receipts}) == 1
                verdicts.update(receipt.verdict for receipt in receipts)
                stored = receipts[-1].stored
            return verdicts

        verdicts = sum(at_once([lambda: send(store)] * 4), Counter[Verdict]())
        assert verdicts[Verdict.STORED] == total
        assert documents(store.bets()) == rows_of(*range(total))
        (upload,) = store.uploads()
        assert (upload.finished, upload.epoch, upload.crc32) == (True, 4, crc32_of(range(total)))

    def test_groups_from_many_threads_keep_their_order(self, store: BetStore) -> None:
        """Every parcel is stored once, and the parcels of each thread are in their order."""
        per_thread = 25

        def store_all(agency: int) -> list[Verdict]:
            return [
                store.commit([Parcel(runs=sample_batch([row], agency=agency))])[0].verdict for row in range(per_thread)
            ]

        agencies = range(1, THREADS + 1)
        for verdicts in at_once([lambda agency=agency: store_all(agency) for agency in agencies]):  # type: ignore[misc]
            assert verdicts == [Verdict.STORED] * per_thread
        assert store.state().bets_by_agency == dict.fromkeys(agencies, per_thread)
        for agency in agencies:
            assert documents(store.bets(agency)) == rows_of(*range(per_thread))
