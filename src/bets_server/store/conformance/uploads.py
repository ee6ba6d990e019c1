"""Uploads with an identity: opening, resuming, fencing, what a parcel may add, modes and limits."""

from __future__ import annotations

import itertools

import attrs
import pytest

from bets_protocol import InvalidMessage, RejectCode
from bets_server.store import (
    MAX_TOTAL,
    MAX_UNFINISHED_UPLOADS,
    MAX_UPLOADS,
    BetStore,
    Opening,
    Parcel,
    Receipt,
    Ticket,
    UploadState,
    Verdict,
    open_store,
)
from bets_server.store.conformance.samples import (
    DRAWN_NOW,
    JUST_SEALED,
    WINNING,
    Suite,
    append_to,
    crc32_of,
    documents,
    no_pick,
    opened,
    part,
    rows_of,
    sample_batch,
    upload_id,
    winning,
)


class UploadTests(Suite):
    """Tests of `open_upload`, and of `commit` for parcels with tickets."""

    def test_a_new_upload_is_empty(self, store: BetStore) -> None:
        """It exists as soon as it was opened, and counts its openings from one."""
        assert store.uploads() == []
        opening = store.open_upload(7, upload_id(1), total=5)
        assert (opening.code, opening.stored, opening.crc32) == (RejectCode.OK, 0, 0)
        assert opening.ticket is not None
        assert (opening.ticket.agency, opening.ticket.epoch) == (7, 1)
        state = UploadState(number=opening.ticket.upload, agency=7, upload_id=upload_id(1), total=5, epoch=1)
        assert store.uploads() == [state]
        assert not state.finished
        assert store.state().bets_by_agency == {}

    def test_an_upload_is_found_by_its_identity(self, store_url: str) -> None:
        """It is as in the list. The same id of another agency is another upload, and a voided one is not found."""
        with open_store(store_url) as store:
            ticket, other = opened(store, total=6), opened(store, total=9, agency=2)
            store.commit([part(ticket, range(2)), Parcel(runs=sample_batch([9], agency=3))])
            mine, theirs, _ = store.uploads()
            assert (mine.upload_id, theirs.upload_id) == (upload_id(0), upload_id(0))
            assert [store.find_upload(agency, upload_id(0)) for agency in (1, 2, 3)] == [mine, theirs, None]
            assert store.find_upload(1, upload_id(1)) is None
            store.void(other.upload, reason="a test")
            assert store.find_upload(2, upload_id(0)) is None
        with open_store(store_url) as store:
            assert store.find_upload(1, upload_id(0)) == mine

    def test_an_upload_grows_parcel_by_parcel(self, store: BetStore) -> None:
        """Each receipt says how many bets are on disk by then, and their CRC-32."""
        ticket = opened(store, total=6, agency=2)
        for end in (1, 2, 4):
            rows = range(end // 2, end)
            stored = Receipt(verdict=Verdict.STORED, stored=end, crc32=crc32_of(range(end), agency=2))
            assert store.commit([part(ticket, rows)]) == [stored]
        assert documents(store.bets()) == rows_of(0, 1, 2, 3)
        assert store.state().bets_by_agency == {2: 4}
        (upload,) = store.uploads()
        assert (upload.stored, upload.crc32, upload.finished) == (4, crc32_of(range(4), agency=2), False)

    def test_parcels_of_one_upload_may_share_a_group(self, store_url: str) -> None:
        """Each begins where the one before it ends, with others in between; all runs of a parcel are stored."""
        with open_store(store_url) as store:
            ticket, other = opened(store, total=9), opened(store, total=1, agency=2)
            two_runs = Parcel(runs=sample_batch([5]) + sample_batch([6, 7]), ticket=ticket, first_row=5)
            group = [
                part(ticket, [0, 1]),
                part(ticket, [2]),
                part(other, [0]),
                Parcel(runs=sample_batch([9], agency=3)),
                part(ticket, [3, 4]),
                two_runs,
            ]
            receipts = store.commit(group)
            assert [receipt.verdict for receipt in receipts] == [Verdict.STORED] * 6
            assert [receipt.stored for receipt in receipts if receipt.crc32] == [2, 3, 1, 5, 8]
            assert receipts[-1].crc32 == crc32_of(range(8))
            assert receipts[0].crc32 == crc32_of(range(2))
            assert documents(store.bets()) == rows_of(0, 1, 2, 0, 9, 3, 4, 5, 6, 7)
        with open_store(store_url) as store:
            assert documents(store.bets(1)) == rows_of(*range(8))
            again = store.open_upload(1, upload_id(0), total=9)
            assert (again.stored, again.crc32) == (8, crc32_of(range(8)))

    def test_a_group_of_very_many_uploads_is_stored_whole(self, store: BetStore) -> None:
        """They are more than a store may write in one statement."""
        agencies = range(1, 151)
        tickets = [opened(store, total=2, agency=agency) for agency in agencies]
        group = [part(ticket, [row]) for row in (0, 1) for ticket in tickets]
        assert {receipt.verdict for receipt in store.commit(group)} == {Verdict.STORED}
        assert all(upload.finished and upload.crc32 for upload in store.uploads())
        assert store.state().bets_by_agency == dict.fromkeys(agencies, 2)

    def test_an_upload_opened_again_goes_on_where_it_is(self, store_url: str) -> None:
        """It does so in the same store and in one that was opened again; each opening counts."""
        with open_store(store_url) as store:
            store.commit([part(opened(store, total=4), [0, 1])])
            first = store.open_upload(1, upload_id(0), total=4)
        with open_store(store_url) as store:
            second = store.open_upload(1, upload_id(0), total=4)
            assert first.ticket is not None
            assert second == attrs.evolve(first, ticket=attrs.evolve(first.ticket, epoch=3))
            assert (first.stored, first.crc32, first.ticket.epoch) == (2, crc32_of(range(2)), 2)
            assert second.ticket is not None
            assert [receipt.stored for receipt in store.commit([part(second.ticket, [2, 3])])] == [4]
            assert [upload.finished for upload in store.uploads()] == [True]
            assert documents(store.bets()) == rows_of(0, 1, 2, 3)

    def test_whoever_opens_an_upload_fences_all_before(self, store: BetStore) -> None:
        """Nothing more of earlier tickets is stored, at any row, and the receipt says what is stored."""
        older = [opened(store, total=9) for _ in range(2)]
        newest = opened(store, total=9)
        store.commit([part(newest, [0, 1])])
        fenced = Receipt(verdict=Verdict.FENCED, stored=2, crc32=crc32_of(range(2)))
        for ticket, first in itertools.product(older, (0, 1, 2, 3)):
            assert store.commit([part(ticket, [first])]) == [fenced]
        assert documents(store.bets()) == rows_of(0, 1)
        assert store.commit([part(older[0], [2]), part(newest, [2])])[1].stored == 3

    def test_a_ticket_outlives_the_store_that_gave_it(self, store_url: str) -> None:
        """It is valid until the upload is opened again, in any store object."""
        with open_store(store_url) as store:
            ticket = opened(store, total=9)
        with open_store(store_url) as store:
            assert store.commit([part(ticket, [0])])[0].stored == 1
        with open_store(store_url) as store:
            newer = opened(store, total=9)
        with open_store(store_url) as store:
            fenced = Receipt(verdict=Verdict.FENCED, stored=1, crc32=crc32_of([0]))
            assert store.commit([part(ticket, [1])]) == [fenced]
            assert store.commit([part(newer, [1])])[0].stored == 2

    def test_what_an_older_connection_has_under_way_never_lands(self, store: BetStore) -> None:
        """It is fenced after a takeover, in any order, alone or mixed with parcels of the newer connection."""
        cuts = [range(0, 2), range(2, 3), range(3, 6), range(6, 8)]
        before = opened(store, total=8)
        store.commit([part(before, cuts[0]), part(before, cuts[1])])
        after = opened(store, total=8)
        for order in itertools.permutations([part(before, cut) for cut in cuts]):
            assert {receipt.verdict for receipt in store.commit(order)} == {Verdict.FENCED}
        mixed = [part(before, cuts[2]), part(after, cuts[2]), part(before, cuts[3]), part(after, cuts[3])]
        assert [receipt.verdict for receipt in store.commit(mixed)] == [Verdict.FENCED, Verdict.STORED] * 2
        assert documents(store.bets()) == rows_of(*range(8))
        (upload,) = store.uploads()
        assert (upload.finished, upload.crc32) == (True, crc32_of(range(8)))

    def test_a_parcel_must_begin_where_its_upload_ends(self, store: BetStore) -> None:
        """One that was stored before and one that leaves a gap are fenced; the ticket stays valid."""
        ticket = opened(store, total=9)
        assert store.commit([part(ticket, [1])]) == [Receipt(verdict=Verdict.FENCED)]
        store.commit([part(ticket, [0, 1, 2])])
        for rows in ([0, 1, 2], [1], [2, 3], [4]):
            fenced = Receipt(verdict=Verdict.FENCED, stored=3, crc32=crc32_of(range(3)))
            assert store.commit([part(ticket, rows)]) == [fenced]
        assert store.commit([part(ticket, [3])])[0].stored == 4
        assert documents(store.bets()) == rows_of(0, 1, 2, 3)

    def test_a_refused_parcel_harms_only_what_stands_on_it(self, store: BetStore) -> None:
        """The parcels behind it of the same upload no longer fit; all others are stored."""
        ticket, other = opened(store, total=5), opened(store, total=5, which=1)
        group = [
            part(ticket, [0]),
            part(ticket, range(1, 9)),  # more than it lacks
            part(other, [0]),
            part(ticket, [9]),
            part(other, [1]),
            Parcel(runs=sample_batch([7], agency=2)),
        ]
        receipts = store.commit(group)
        assert [receipt.verdict for receipt in receipts] == [
            Verdict.STORED,
            Verdict.OVERRUN,
            Verdict.STORED,
            Verdict.FENCED,
            Verdict.STORED,
            Verdict.STORED,
        ]
        assert [receipt.stored for receipt in receipts[:5]] == [1, 1, 1, 1, 2]
        assert documents(store.bets()) == rows_of(0, 0, 1, 7)

    def test_an_upload_takes_no_more_than_it_announced(self, store: BetStore) -> None:
        """A parcel with one bet too many is refused whole; one that fills it is stored, and nothing after."""
        ticket = opened(store, total=4)
        store.commit([part(ticket, [0])])
        overrun = Receipt(verdict=Verdict.OVERRUN, stored=1, crc32=crc32_of([0]))
        assert store.commit([part(ticket, range(1, 5))]) == [overrun]
        assert store.commit([part(ticket, range(1, 4))])[0].verdict is Verdict.STORED
        assert store.commit([part(ticket, [4])])[0].verdict is Verdict.OVERRUN
        assert documents(store.bets()) == rows_of(0, 1, 2, 3)

    def test_a_parcel_without_bets_changes_nothing(self, store: BetStore) -> None:
        """It may have a ticket or not."""
        ticket = opened(store, total=4)
        assert store.commit([Parcel(runs=(), ticket=ticket)]) == [Receipt(verdict=Verdict.STORED)]
        assert store.commit([Parcel(runs=())]) == [Receipt(verdict=Verdict.STORED)]
        assert [upload.agency for upload in store.uploads()] == [1]

    def test_a_ticket_for_no_upload_is_worthless(self, store_url: str) -> None:
        """Nothing is stored for an invented ticket, or one of another agency, an anonymous upload or another draw."""
        with open_store(store_url, draw=2) as store:
            elsewhere = opened(store, total=9)
        with open_store(store_url) as store:
            ticket = opened(store, total=9)
            append_to(store, [sample_batch([5], agency=2)])
            anonymous = next(upload for upload in store.uploads() if upload.upload_id is None)
            worthless = [
                elsewhere,
                *(attrs.evolve(ticket, upload=number) for number in (0, -1, 999, 2**63, 2**70)),
                *(attrs.evolve(ticket, epoch=epoch) for epoch in (0, 2, 2**70)),
                attrs.evolve(ticket, agency=2),
                Ticket(agency=2, upload=anonymous.number, epoch=anonymous.epoch),
            ]
            for each in worthless:
                receipts = store.commit([part(each, [0])])
                assert [receipt.verdict for receipt in receipts] == [Verdict.FENCED], each
            assert documents(store.bets()) == rows_of(5)
            assert store.commit([part(ticket, [0])])[0].stored == 1

    def test_an_id_with_another_total_is_another_file(self, store: BetStore) -> None:
        """It is refused for a begun and for a finished upload, whose ticket stays valid."""
        ticket = opened(store, total=2)
        for row in (0, 1):
            assert store.commit([part(ticket, [row])])[0].stored == row + 1
            mismatch = Opening(code=RejectCode.MISMATCH, stored=row + 1, crc32=crc32_of(range(row + 1)))
            assert store.open_upload(1, upload_id(0), total=row) == mismatch
            assert store.open_upload(1, upload_id(0), total=3) == mismatch
        assert [upload.epoch for upload in store.uploads()] == [1]

    def test_the_same_id_elsewhere_is_another_upload(self, store_url: str) -> None:
        """Another agency or another draw makes another upload."""
        with open_store(store_url) as store:
            tickets = [opened(store, total=agency, agency=agency) for agency in (1, 2)]
            store.commit([part(tickets[0], [0])])
            assert [upload.stored for upload in store.uploads()] == [1, 0]
            numbers = {ticket.upload for ticket in tickets}
            assert len(numbers) == 2
        with open_store(store_url, draw=2) as store:
            assert store.uploads() == []
            ticket = opened(store, total=9)
            assert ticket.upload not in numbers
            assert store.commit([part(ticket, [0])])[0].stored == 1
            assert [upload.total for upload in store.uploads()] == [9]

    @pytest.mark.parametrize(
        ("agency", "identity", "total"),
        [(0, bytes(16), 1), (256, bytes(16), 1), (1, bytes(15), 1), (1, bytes(17), 1), (1, b"", 1), (1, bytes(16), -1)],
    )
    def test_nonsense_opens_nothing(self, store: BetStore, agency: int, identity: bytes, total: int) -> None:
        """An agency, an id or a total that is out of range is an error, and the store stays usable."""
        with pytest.raises(InvalidMessage):
            store.open_upload(agency, identity, total=total)
        assert store.uploads() == []
        opened(store, total=1)

    def test_an_upload_of_no_bets_is_finished_at_once(self, store: BetStore) -> None:
        """An empty file is an upload, too."""
        opened(store, total=0)
        assert [upload.finished for upload in store.uploads()] == [True]
        assert store.seal_and_draw(1, expected=1, pick=winning) == DRAWN_NOW

    def test_a_finished_upload_can_be_opened_for_good(self, store: BetStore) -> None:
        """It can be opened when its agency is sealed and after the draw; but nothing can be added to it."""
        finished = Opening(code=RejectCode.OK, stored=2, crc32=crc32_of(range(2), number=WINNING))
        store.commit([part(opened(store, total=2), [0, 1], number=WINNING)])
        for expected, verdict in [(2, Verdict.OVERRUN), (1, Verdict.SEALED), (9, Verdict.DRAW_CLOSED)]:
            opening = store.open_upload(1, upload_id(0), total=2)
            assert attrs.evolve(opening, ticket=None) == finished
            assert opening.ticket is not None
            assert store.commit([part(opening.ticket, [2])])[0].verdict is verdict
            store.seal_and_draw(1, expected=expected, pick=winning)
        assert store.open_upload(1, upload_id(0), total=2).code is RejectCode.OK
        assert store.winners(1) == tuple(rows_of(0, 1))

    def test_an_unfinished_upload_of_a_sealed_agency_stays_so(self, store: BetStore) -> None:
        """Neither it nor a new one can be opened, and its ticket is refused; a wrong total is reported first."""
        ticket = opened(store, total=2)
        store.commit([part(ticket, [0])])
        for expected, code, verdict in [
            (2, RejectCode.SEALED, Verdict.SEALED),
            (1, RejectCode.DRAW_CLOSED, Verdict.DRAW_CLOSED),
        ]:
            store.seal_and_draw(1, expected=expected, pick=winning, forced=True)
            refused = Opening(code=code, stored=1, crc32=crc32_of([0]))
            assert store.open_upload(1, upload_id(0), total=2) == refused
            assert store.open_upload(1, upload_id(1), total=2) == Opening(code=code)
            assert store.open_upload(1, upload_id(0), total=3).code is RejectCode.MISMATCH
            assert store.commit([part(ticket, [1])])[0].verdict is verdict
        assert store.open_upload(2, upload_id(0), total=0).code is RejectCode.DRAW_CLOSED
        assert documents(store.bets()) == rows_of(0)

    def test_a_fenced_one_is_told_so_first(self, store: BetStore) -> None:
        """FENCED comes before SEALED and DRAW_CLOSED: its client must not believe that it still has the upload."""
        old, new = opened(store, total=2), opened(store, total=2)
        for expected, verdict in [(2, Verdict.SEALED), (1, Verdict.DRAW_CLOSED)]:
            store.seal_and_draw(1, expected=expected, pick=winning, forced=True)
            receipts = store.commit([part(old, [0]), part(new, [0]), part(new, [1])])
            assert [receipt.verdict for receipt in receipts] == [Verdict.FENCED, verdict, verdict]

    def test_who_sends_without_uploads_cannot_begin_with_them(self, store_url: str) -> None:
        """This holds in one draw; other agencies and other draws are not affected."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([5])])
        with open_store(store_url) as store:
            assert store.open_upload(1, upload_id(0), total=3) == Opening(code=RejectCode.MODE_CONFLICT)
            assert append_to(store, [sample_batch([6])]) == [Verdict.STORED]
            opened(store, total=3, agency=2)
        with open_store(store_url, draw=2) as store:
            opened(store, total=3)

    def test_who_sends_uploads_cannot_go_on_without(self, store_url: str) -> None:
        """This holds from the first opening on; a batch with some bets of such an agency is refused whole."""
        with open_store(store_url) as store:
            opened(store, total=3)
        with open_store(store_url) as store:
            group = [sample_batch([1]), sample_batch([2], agency=2), sample_batch([3], agency=3) + sample_batch([4])]
            assert append_to(store, group) == [Verdict.MODE_CONFLICT, Verdict.STORED, Verdict.MODE_CONFLICT]
            assert documents(store.bets()) == rows_of(2)
            assert store.seal_and_draw(2, expected=2, pick=no_pick) == JUST_SEALED
            assert append_to(store, [sample_batch([5], agency=2), sample_batch([6])]) == [
                Verdict.SEALED,
                Verdict.MODE_CONFLICT,
            ]

    def test_anonymous_uploads_are_told_too(self, store: BetStore) -> None:
        """The list has one for each agency, with all that it has sent."""
        for row in range(3):
            append_to(store, [sample_batch([row]), sample_batch([row, row], agency=2)])
        found = [(upload.agency, upload.upload_id, upload.total, upload.stored) for upload in store.uploads()]
        assert sorted(found) == [(1, None, None, 3), (2, None, None, 6)]
        assert not any(upload.finished or upload.voided for upload in store.uploads())

    def test_unfinished_uploads_of_an_agency_are_limited(self, store_url: str) -> None:
        """Existing ones can be opened again, finished ones make room, and other agencies are not affected."""
        with open_store(store_url) as store:
            assert store.max_unfinished_uploads == MAX_UNFINISHED_UPLOADS == 64
            store.max_unfinished_uploads = 2
            tickets = [opened(store, total=1, which=which) for which in range(2)]
            assert store.open_upload(1, upload_id(2), total=1) == Opening(code=RejectCode.LIMIT)
            opened(store, total=1, which=1)
            opened(store, total=0, which=3)
            opened(store, total=1, agency=2)
            assert store.commit([part(tickets[0], [0])])[0].verdict is Verdict.STORED
            opened(store, total=1, which=2)
            assert store.open_upload(1, upload_id(4), total=1) == Opening(code=RejectCode.LIMIT)
        with open_store(store_url) as store:
            store.max_unfinished_uploads = 2
            assert store.open_upload(1, upload_id(4), total=1) == Opening(code=RejectCode.LIMIT)

    def test_uploads_of_an_agency_are_limited(self, store: BetStore) -> None:
        """Finished ones count as well; existing ones can be opened again."""
        assert store.max_uploads == MAX_UPLOADS == 10_000
        store.max_uploads = 3
        for which in range(3):
            store.commit([part(opened(store, total=1, which=which), [0])])
        assert store.open_upload(1, upload_id(3), total=1) == Opening(code=RejectCode.LIMIT)
        assert store.open_upload(1, upload_id(3), total=0) == Opening(code=RejectCode.LIMIT)
        opened(store, total=1, which=2)
        opened(store, total=1, agency=2)

    @pytest.mark.parametrize("total", [MAX_TOTAL + 1, 2**64 - 1])
    def test_more_bets_than_any_book_holds_are_too_many(self, store: BetStore, total: int) -> None:
        """A total that only the wire has room for is refused with LIMIT."""
        assert store.open_upload(1, upload_id(0), total=total) == Opening(code=RejectCode.LIMIT)
        opened(store, total=MAX_TOTAL)
        assert store.open_upload(1, upload_id(0), total=total).code is RejectCode.MISMATCH
