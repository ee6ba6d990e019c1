"""Operators and auditors: voiding, closing an agency by force, the digest of a draw, the audit."""

from __future__ import annotations

import hashlib
import re

import attrs
import pytest

from bets_protocol import RejectCode, StorageError, encode_bets
from bets_server.store import BetStore, NotVoidable, Parcel, UploadState, Verdict, open_store
from bets_server.store.conformance.samples import (
    DRAWN_BEFORE,
    DRAWN_NOW,
    INCOMPLETE,
    JUST_SEALED,
    NOTHING_NEW,
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


def _upload_of(store: BetStore, agency: int) -> UploadState:
    """The only upload of an agency that is not voided."""
    (upload,) = (each for each in store.uploads() if each.agency == agency and not each.voided)
    return upload


class ClosingTests(Suite):
    """Tests of `seal_and_draw` with unfinished uploads, and of the digest of a draw."""

    def test_an_agency_with_an_unfinished_upload_is_not_sealed(self, store_url: str) -> None:
        """Nothing changes, however often it asks; it is sealed when the upload is finished."""
        with open_store(store_url) as store:
            ticket = opened(store, total=2)
            opened(store, total=0, which=1)
            before = store.state(), [*store.audit()]
            for _ in range(2):
                assert store.seal_and_draw(1, expected=1, pick=no_pick) == INCOMPLETE
            assert (store.state(), [*store.audit()]) == before
            store.commit([part(ticket, [0])])
        with open_store(store_url) as store:
            assert store.seal_and_draw(1, expected=1, pick=no_pick) == INCOMPLETE
            assert store.seal_and_draw(2, expected=2, pick=no_pick) == JUST_SEALED
            assert store.commit([part(ticket, [1])])[0].verdict is Verdict.STORED
            assert store.seal_and_draw(1, expected=2, pick=winning) == DRAWN_NOW

    def test_an_operator_can_close_an_agency_all_the_same(self, store: BetStore) -> None:
        """Its stored bets take part, and later ones are refused; it may be the last agency that is missing."""
        store.commit([part(opened(store, total=9), [0, 1], number=WINNING)])
        assert store.seal_and_draw(1, expected=3, pick=no_pick, forced=True) == JUST_SEALED
        assert store.seal_and_draw(1, expected=3, pick=no_pick) == NOTHING_NEW
        assert store.seal_and_draw(1, expected=3, pick=no_pick, forced=True) == NOTHING_NEW
        assert store.seal_and_draw(2, expected=3, pick=no_pick) == JUST_SEALED
        assert store.seal_and_draw(3, expected=3, pick=winning, forced=True) == DRAWN_NOW
        assert store.seal_and_draw(4, expected=3, pick=no_pick, forced=True) == DRAWN_BEFORE
        assert store.winners(1) == tuple(rows_of(0, 1))
        assert [upload.finished for upload in store.uploads()] == [False]

    def test_a_draw_says_which_bets_took_part(self, store_url: str) -> None:
        """It has their number and a digest over their bytes in the order of storing, which never change."""
        with open_store(store_url) as store:
            ticket = opened(store, total=5, agency=2)
            store.commit([part(ticket, [0]), Parcel(runs=sample_batch([7])), part(ticket, [1, 2])])
            assert (store.state().bets, store.state().digest) == (0, "")
            store.seal_and_draw(1, expected=2, pick=no_pick)
            store.seal_and_draw(2, expected=2, pick=winning, forced=True)
            encoded = encode_bets(store.bets())
            digest = hashlib.sha256(encoded).hexdigest()
            assert (store.state().bets, store.state().digest) == (4, digest)
        with open_store(store_url) as store:
            assert (store.state().bets, store.state().digest) == (4, digest)
            assert encode_bets(store.bets()) == encoded

    def test_a_draw_without_bets_has_a_digest_too(self, store: BetStore) -> None:
        """It is the digest of no bytes."""
        store.seal_and_draw(1, expected=1, pick=winning)
        assert (store.state().bets, store.state().digest) == (0, hashlib.sha256().hexdigest())

    def test_each_draw_has_its_own_digest(self, store_url: str) -> None:
        """The bets of two draws of one store are interleaved."""
        expected = {}
        for turn, draw in enumerate([1, 2, 1, 2, 3]):
            with open_store(store_url, draw=draw) as store:
                ticket = opened(store, total=1, which=turn)
                store.commit([part(ticket, [0], number=turn)])
                if turn > 1:
                    store.seal_and_draw(1, expected=1, pick=winning)
                    digest = hashlib.sha256(encode_bets(store.bets())).hexdigest()
                    expected[draw] = (1 if draw == 3 else 2, digest)
        for draw, digest_of_draw in expected.items():
            with open_store(store_url, draw=draw) as store:
                assert (store.state().bets, store.state().digest) == digest_of_draw
        assert len({digest for _, digest in expected.values()}) == 3


class VoidingTests(Suite):
    """Tests of `void`."""

    def test_a_voided_upload_counts_nowhere(self, store_url: str) -> None:
        """Its bets are not in the draw, now or later; the bets between them keep their order."""
        with open_store(store_url) as store:
            ticket = opened(store, total=9, which=1)
            other = opened(store, total=2, which=2)
            group = [part(ticket, [0]), part(other, [0]), part(ticket, [1, 2]), part(other, [1])]
            store.commit([*group, Parcel(runs=sample_batch([8], agency=2, number=WINNING))])
            append_to(store, [sample_batch([9], agency=3)])
            before = store.uploads()
            voided = store.void(ticket.upload, reason="wrong file")
            assert voided == attrs.evolve(before[0], voided=True)
            assert (voided.stored, voided.crc32) == (3, crc32_of(range(3)))
            anonymous = store.void(_upload_of(store, 2).number, reason="test data")
            assert (anonymous.agency, anonymous.upload_id, anonymous.stored) == (2, None, 1)
        with open_store(store_url) as store:
            assert [upload.voided for upload in store.uploads()] == [True, False, True, False]
            assert store.state().bets_by_agency == {1: 2, 3: 1}
            assert documents(store.bets()) == rows_of(0, 1, 9)
            assert documents(store.bets(2)) == []
            for agency in (1, 2):
                assert store.seal_and_draw(agency, expected=3, pick=no_pick) == JUST_SEALED
            assert store.seal_and_draw(3, expected=3, pick=lambda: 1) == DRAWN_NOW
            assert [store.winners(agency) for agency in (1, 2, 3)] == [tuple(rows_of(0, 1)), (), tuple(rows_of(9))]
            digest = hashlib.sha256(encode_bets(store.bets())).hexdigest()
            assert (store.state().bets, store.state().digest) == (3, digest)

    def test_a_voided_upload_takes_no_more_bets(self, store_url: str) -> None:
        """Its ticket is fenced, and its identity is free for a new upload, with any total."""
        with open_store(store_url) as store:
            ticket = opened(store, total=9)
            store.commit([part(ticket, [0, 1])])
            store.void(ticket.upload, reason="wrong file")
            assert store.commit([part(ticket, [2])])[0].verdict is Verdict.FENCED
            again = store.open_upload(1, upload_id(0), total=3)
            assert (again.code, again.stored, again.crc32) == (RejectCode.OK, 0, 0)
            assert again.ticket is not None
            assert again.ticket.upload != ticket.upload
            assert again.ticket.epoch == 1
            assert store.commit([part(ticket, [2]), part(again.ticket, [0])])[1].stored == 1
        with open_store(store_url) as store:
            assert [upload.stored for upload in store.uploads()] == [2, 1]
            assert store.open_upload(1, upload_id(0), total=3).stored == 1
            assert documents(store.bets()) == rows_of(0)

    def test_voiding_lets_an_agency_send_in_the_other_way(self, store_url: str) -> None:
        """It may change back again; each time it is a new upload."""
        with open_store(store_url) as store:
            append_to(store, [sample_batch([1])])
            store.void(_upload_of(store, 1).number, reason="sent twice")
            ticket = opened(store, total=3)
            assert append_to(store, [sample_batch([2])]) == [Verdict.MODE_CONFLICT]
            store.void(ticket.upload, reason="after all not")
        with open_store(store_url) as store:
            assert append_to(store, [sample_batch([3])]) == [Verdict.STORED]
            assert store.open_upload(1, upload_id(0), total=3).code is RejectCode.MODE_CONFLICT
            store.void(_upload_of(store, 1).number, reason="again")
            assert append_to(store, [sample_batch([4])]) == [Verdict.STORED]
        with open_store(store_url) as store:
            assert append_to(store, [sample_batch([5])]) == [Verdict.STORED]
            assert documents(store.bets()) == rows_of(4, 5)
            assert [upload.stored for upload in store.uploads()] == [1, 0, 1, 2]

    def test_voiding_takes_back_the_seal(self, store_url: str) -> None:
        """The draw waits for the agency again; the seals of other agencies and of other draws stay."""
        with open_store(store_url, draw=2) as store:
            store.seal_and_draw(1, expected=2, pick=no_pick)
        with open_store(store_url) as store:
            append_to(store, [sample_batch([1])])
            store.commit([part(opened(store, total=2, agency=2), [0])])
            store.seal_and_draw(1, expected=3, pick=no_pick)
            store.seal_and_draw(2, expected=3, pick=no_pick, forced=True)
            store.void(_upload_of(store, 1).number, reason="sent twice")
            assert store.state().sealed == {2}
        with open_store(store_url) as store:
            assert store.state().sealed == {2}
            assert append_to(store, [sample_batch([2])]) == [Verdict.STORED]
            store.void(_upload_of(store, 2).number, reason="never came back")
            assert store.seal_and_draw(3, expected=3, pick=no_pick) == JUST_SEALED
            assert store.seal_and_draw(2, expected=3, pick=no_pick) == JUST_SEALED
            assert store.seal_and_draw(1, expected=3, pick=winning) == DRAWN_NOW
        with open_store(store_url, draw=2) as store:
            assert store.state().sealed == {1}

    def test_a_voided_upload_makes_room_for_another(self, store: BetStore) -> None:
        """It counts for neither limit, and does not restrict its agency."""
        store.max_unfinished_uploads, store.max_uploads = 1, 2
        ticket = opened(store, total=1)
        store.void(ticket.upload, reason="lost")
        ticket = opened(store, total=1)
        assert store.open_upload(1, upload_id(1), total=1).code is RejectCode.LIMIT
        store.commit([part(ticket, [0])])
        store.void(opened(store, total=1, which=1).upload, reason="lost")
        assert store.seal_and_draw(1, expected=1, pick=winning) == DRAWN_NOW

    def test_what_cannot_be_voided_is_told(self, store_url: str) -> None:
        """No such upload, one of another draw, a finished one, a void one, any after the draw: nothing changes."""
        with open_store(store_url, draw=2) as store:
            elsewhere = opened(store, total=1).upload
        with open_store(store_url) as store:
            finished = opened(store, total=1)
            store.commit([part(finished, [0], number=WINNING)])
            unfinished, void = (opened(store, total=2, which=which).upload for which in (1, 2))
            store.void(void, reason="first")
            cases = [-1, 0, 999, 2**70, elsewhere, finished.upload, void]
            for drawn in (False, True):
                before = store.state(), store.uploads(), [*store.audit()]
                for number in cases:
                    with pytest.raises(NotVoidable, match=f"upload {number} "):
                        store.void(number, reason="no reason")
                assert (store.state(), store.uploads(), [*store.audit()]) == before
                if not drawn:
                    store.seal_and_draw(1, expected=1, pick=winning, forced=True)
                    cases.append(unfinished)
            assert store.winners(1) == tuple(rows_of(0))


class AuditTests(Suite):
    """Tests of `audit`."""

    def test_the_audit_tells_what_was_done(self, store_url: str) -> None:
        """It has one entry for each event in all draws of the store, in their order."""
        with open_store(store_url) as store:
            assert [*store.audit()] == []
            opened(store, total=1)
            ticket = opened(store, total=1)
            append_to(store, [sample_batch([1], agency=2), sample_batch([2], agency=2)])
            store.commit([part(ticket, [0])])
            store.void(_upload_of(store, 2).number, reason="sent by mistake")
            store.seal_and_draw(1, expected=3, pick=no_pick)
        with open_store(store_url, draw=2) as store:
            store.seal_and_draw(1, expected=1, pick=winning)
        with open_store(store_url) as store:
            store.seal_and_draw(3, expected=3, pick=no_pick, forced=True, note="they have closed")
            store.seal_and_draw(2, expected=3, pick=winning, note="certificate 22")
            store.open_upload(1, upload_id(0), total=1, note="certificate 11")
            entries = [*store.audit()]
            assert [(entry.draw, entry.event, entry.agency) for entry in entries] == [
                (1, "open", 1),
                (1, "reopen", 1),
                (1, "open", 2),
                (1, "void", 2),
                (1, "seal", 1),
                (2, "seal", 1),
                (2, "draw", None),
                (1, "forced_close", 3),
                (1, "seal", 2),
                (1, "draw", None),
                (1, "reopen", 1),
            ]
            assert [entry.seq for entry in entries] == list(range(1, 12))
            assert "sent by mistake" in entries[3].detail
            assert "they have closed" in entries[7].detail
            assert "certificate 22" in entries[8].detail
            assert "certificate 11" in entries[10].detail
            assert store.state().digest in entries[9].detail
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.at) for entry in entries)
        for draw in (1, 3):
            with open_store(store_url, draw=draw) as store:
                assert [*store.audit()] == entries

    def test_the_audit_is_walked_a_piece_at_a_time(self, store_url: str) -> None:
        """Other calls may come in between, and the next walk sees them; closing the store ends a walk."""
        with open_store(store_url) as store:
            opened(store, total=1)
            for _ in range(100):
                store.open_upload(1, upload_id(0), total=1, note="n" * 800)
            walk, other = store.audit(), store.audit()
            entries = [next(walk)]
            next(other)
            ticket = opened(store, total=1)
            store.commit([part(ticket, [0])])
            entries += walk
            assert [entry.seq for entry in entries] == list(range(1, 102))
            assert [*store.audit()][:-1] == entries
        with pytest.raises(StorageError, match="closed"):
            list(other)

    def test_what_changes_nothing_is_no_entry(self, store: BetStore) -> None:
        """Refusals of every kind, and repeated requests, are not in the audit."""
        store.max_uploads = 1
        ticket = opened(store, total=2)
        append_to(store, [sample_batch([1], agency=2)])
        store.seal_and_draw(3, expected=4, pick=no_pick)
        entries = [*store.audit()]
        store.open_upload(1, upload_id(0), total=3)
        store.open_upload(1, upload_id(1), total=3)
        store.open_upload(2, upload_id(0), total=3)
        store.open_upload(3, upload_id(0), total=3)
        append_to(store, [sample_batch([1]), sample_batch([2], agency=2), sample_batch([3], agency=3)])
        store.commit([part(ticket, [1]), part(ticket, range(3))])
        for agency in (1, 3):
            store.seal_and_draw(agency, expected=4, pick=no_pick)
        assert [*store.audit()] == entries

    def test_an_entry_tells_of_the_number_and_the_reason(self, store_url: str) -> None:
        """The reason comes back as it was given, with any characters."""
        reason = 'Ñandú | "quoted"\n\x1b[31m\u2029'
        with open_store(store_url) as store:
            number = opened(store, total=2).upload
            store.void(number, reason=reason)
        with open_store(store_url) as store:
            assert [*store.audit()][-1].detail.endswith(reason)
            assert str(number) in [*store.audit()][-1].detail
