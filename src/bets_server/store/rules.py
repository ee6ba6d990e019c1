"""The rules that every store shares: what an opening and each parcel of a group get, and what may be voided.

Nothing in here reads or writes a file. A store makes a `GroupPlan`, writes it in one transaction, and only then takes
it over into its memory.
"""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from bets_protocol import BetRun, InvalidMessage, RejectCode
from bets_server.store.values import (
    MAX_TOTAL,
    UPLOAD_ID_BYTES,
    NotVoidable,
    Opening,
    Parcel,
    Receipt,
    UploadState,
    Verdict,
)


def utc_now() -> str:
    """The time for an audit entry: UTC, ISO 8601 with seconds. No decision depends on it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def noted(detail: str, note: str) -> str:
    """The detail of an audit entry, with the caller's note if there is one."""
    return f"{detail}; {note}" if note else detail


def require_identity(upload_id: bytes, total: int) -> None:
    """Check the id and the total of an opening.

    Raises:
        InvalidMessage: the id does not have 16 bytes, or the total is negative.
    """
    if len(upload_id) != UPLOAD_ID_BYTES:
        raise InvalidMessage(f"{len(upload_id)} bytes, expected {UPLOAD_ID_BYTES}", path="upload_id")
    if total < 0:
        raise InvalidMessage(f"{total} is negative", path="total")


@attrs.frozen(kw_only=True)
class AgencyUploads:
    """The uploads of an agency in a draw, without the voided ones.

    Attributes:
        anonymous: the number of its anonymous upload, or None.
        identified: how many uploads with an identity it has.
        unfinished: how many of those lack bets.
    """

    anonymous: int | None = None
    identified: int = 0
    unfinished: int = 0

    def changed(self, before: UploadState | None, after: UploadState) -> AgencyUploads:
        """The counts after an upload changed from `before` to `after`; `before` is None for a new upload."""
        if before is not None and (before.unfinished, before.voided) == (after.unfinished, after.voided):
            return self  # the case of almost every batch
        counts = self._without(before) if before is not None and not before.voided else self
        return counts if after.voided else counts._with(after)

    def _with(self, upload: UploadState) -> AgencyUploads:
        if upload.total is None:
            return attrs.evolve(self, anonymous=upload.number)
        return attrs.evolve(self, identified=self.identified + 1, unfinished=self.unfinished + upload.unfinished)

    def _without(self, upload: UploadState) -> AgencyUploads:
        if upload.total is None:
            return attrs.evolve(self, anonymous=None)
        return attrs.evolve(self, identified=self.identified - 1, unfinished=self.unfinished - upload.unfinished)


NO_UPLOADS = AgencyUploads()
"""Of an agency that has sent nothing."""


def opening_code(
    known: UploadState | None,
    others: AgencyUploads,
    *,
    total: int,
    sealed: bool,
    drawn: bool,
    max_unfinished: int,
    max_uploads: int,
) -> RejectCode:
    """The code for the opening of an upload.

    Args:
        known: the upload with this identity, or None.
        others: the uploads of its agency.
        total: how many bets it announces.
        sealed: whether the agency is sealed.
        drawn: whether the draw is over.
        max_unfinished: how many unfinished uploads the agency may have.
        max_uploads: how many it may have at all.
    """
    if known is not None and known.total != total:
        return RejectCode.MISMATCH
    if known is not None and known.finished:
        return RejectCode.OK  # also after the draw, so that a client that was started again gets its winners
    if drawn:
        return RejectCode.DRAW_CLOSED
    if sealed:
        return RejectCode.SEALED
    if others.anonymous is not None:
        return RejectCode.MODE_CONFLICT
    if known is not None:
        return RejectCode.OK
    # An upload of no bets is finished at once, so it adds to the uploads only.
    too_many = others.identified >= max_uploads or (total > 0 and others.unfinished >= max_unfinished)
    return RejectCode.LIMIT if too_many or total > MAX_TOTAL else RejectCode.OK


def opening_of(code: RejectCode, upload: UploadState | None) -> Opening:
    """The result of an opening, given the upload afterwards, or None if it does not exist."""
    if upload is None:
        return Opening(code=code)
    ticket = upload.ticket if code is RejectCode.OK else None
    return Opening(code=code, stored=upload.stored, crc32=upload.crc32, ticket=ticket)


def require_voidable(upload: UploadState | None, number: int, *, drawn: bool) -> UploadState:
    """Return the upload if it may be voided.

    Raises:
        NotVoidable: it may not; says why.
    """
    if upload is None:
        raise NotVoidable(f"there is no upload {number} in this draw")
    if upload.voided:
        raise NotVoidable(f"upload {number} of agency {upload.agency} is void already")
    if drawn:
        raise NotVoidable(f"upload {number} of agency {upload.agency} took part in the draw, which is over")
    if upload.finished:
        raise NotVoidable(f"upload {number} of agency {upload.agency} is finished: its agency was told so")
    return upload


class GroupPlan:
    """The verdicts on a group of parcels, and what to write. Each parcel is decided after those before it.

    Attributes:
        receipts: one for each parcel, in order.
        rows: what to store, in order: upload, first row, run.
        before: the uploads that grow, as they are now; those in `new` hold nothing yet.
        after: the same uploads after the rows are stored.
        new: the numbers of the anonymous uploads that do not exist yet.
    """

    def __init__(
        self,
        *,
        drawn: bool,
        sealed: Collection[int],
        by_agency: Mapping[int, AgencyUploads],
        find: Callable[[int], UploadState | None],
        next_number: int,
    ) -> None:
        """A plan of no parcels.

        Args:
            drawn: whether the draw is over.
            sealed: the agencies that are sealed.
            by_agency: the uploads of each agency; no entry for those that sent nothing.
            find: returns an upload of this draw by its number.
            next_number: the number of the next new upload.
        """
        self.receipts: list[Receipt] = []
        self.rows: list[tuple[int, int, BetRun]] = []
        self.before: dict[int, UploadState] = {}
        self.after: dict[int, UploadState] = {}
        self.new: list[int] = []
        self._drawn = drawn
        self._sealed = sealed
        self._by_agency = by_agency
        self._find = find
        self._next_number = next_number
        self._new_anonymous: dict[int, int] = {}

    def add(self, parcels: Sequence[Parcel]) -> None:
        """Decide on more parcels."""
        for parcel in parcels:
            self.receipts.append(self._anonymous(parcel) if parcel.ticket is None else self._identified(parcel))

    def _anonymous(self, parcel: Parcel) -> Receipt:
        verdict = self._verdict_on_anonymous(parcel)
        if verdict is Verdict.STORED:
            for run in parcel.runs:
                self._grow(self._anonymous_upload(run.agency), run)
        return Receipt(verdict=verdict)

    def _verdict_on_anonymous(self, parcel: Parcel) -> Verdict:
        if self._drawn:
            return Verdict.DRAW_CLOSED
        if any(run.agency in self._sealed for run in parcel.runs):
            return Verdict.SEALED
        if any(self._by_agency.get(run.agency, NO_UPLOADS).identified for run in parcel.runs):
            return Verdict.MODE_CONFLICT
        return Verdict.STORED

    def _anonymous_upload(self, agency: int) -> UploadState:
        number = self._by_agency.get(agency, NO_UPLOADS).anonymous or self._new_anonymous.get(agency)
        found = self._now(number) if number is not None else None
        if found is not None:
            return found
        upload = UploadState(number=self._next_number, agency=agency)
        self._next_number += 1
        self._new_anonymous[agency] = upload.number
        self.new.append(upload.number)
        return upload

    def _identified(self, parcel: Parcel) -> Receipt:
        upload = self._now(parcel.ticket.upload) if parcel.ticket is not None else None
        if upload is None:
            return Receipt(verdict=Verdict.FENCED)
        verdict = self._verdict_on_identified(parcel, upload)
        if verdict is Verdict.STORED:
            for run in parcel.runs:
                upload = self._grow(upload, run)
        return Receipt(verdict=verdict, stored=upload.stored, crc32=upload.crc32)

    def _verdict_on_identified(self, parcel: Parcel, upload: UploadState) -> Verdict:
        # `intake.authorize` has refused bets of another agency. This is the last line of defence.
        foreign = any(run.agency != upload.agency for run in parcel.runs)
        if upload.voided or upload.total is None or parcel.ticket != upload.ticket or foreign:
            return Verdict.FENCED
        if self._drawn:
            return Verdict.DRAW_CLOSED
        if upload.agency in self._sealed:
            return Verdict.SEALED
        if upload.stored != parcel.first_row:
            return Verdict.FENCED
        if upload.stored + parcel.count > upload.total:
            return Verdict.OVERRUN
        return Verdict.STORED

    def _now(self, number: int) -> UploadState | None:
        return self.after.get(number) or self._find(number)

    def _grow(self, upload: UploadState, run: BetRun) -> UploadState:
        self.before.setdefault(upload.number, upload)
        self.rows.append((upload.number, upload.stored, run))
        grown = upload.grown(run.count, zlib.crc32(run.encoded, upload.crc32))
        self.after[upload.number] = grown
        return grown
