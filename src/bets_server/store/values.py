"""The arguments and results of a store: plain frozen data, the limits, and the errors.

`BetStore` says what the values mean; `rules` decides which of them is due.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from bets_protocol import BetRun, BetsError, RejectCode, StorageError

MAX_UNFINISHED_UPLOADS: Final = 64
"""Unfinished uploads that an agency may have in a draw: ample for parallel files, and a bound for lost clients."""

MAX_UPLOADS: Final = 10_000
"""Uploads that an agency may have in a draw, without voided ones. The book keeps a row for each, for ever."""

MAX_TOTAL: Final = 2**63 - 1
"""Bets that an upload may announce: the largest integer of SQLite. The wire has room for twice as many."""

UPLOAD_ID_BYTES: Final = 16
"""Bytes of an upload's id on the wire."""


class StoreFull(StorageError):
    """There is no room on the disk: nothing of the call was stored, and the store stays usable."""


class NotVoidable(BetsError):
    """The upload cannot be voided; the message says why. Nothing changed, and the store stays usable."""


class Verdict(enum.Enum):
    """The result of one parcel of a group; its value is the code on the wire."""

    STORED = RejectCode.OK
    FENCED = RejectCode.FENCED
    OVERRUN = RejectCode.OVERRUN
    SEALED = RejectCode.SEALED
    DRAW_CLOSED = RejectCode.DRAW_CLOSED
    MODE_CONFLICT = RejectCode.MODE_CONFLICT


@attrs.frozen(kw_only=True)
class Ticket:
    """The right to add to one upload, given by one opening. The next opening of the upload ends it.

    It is plain data that is compared with the book, so it also works with another object of the same store.

    Attributes:
        agency: the agency of the upload.
        upload: the upload's number inside the store.
        epoch: how often the upload had been opened, this time included.
    """

    agency: int
    upload: int
    epoch: int


@attrs.frozen(kw_only=True)
class Parcel:
    """One batch for `BetStore.commit`.

    Attributes:
        runs: all bets of the batch; consecutive bets of one agency are one run.
        ticket: of the upload that they belong to. None on revisions 5 to 8, where each run belongs to the anonymous
            upload of its agency.
        first_row: with a ticket, how many bets of the upload must be stored before this parcel.
    """

    runs: tuple[BetRun, ...]
    ticket: Ticket | None = None
    first_row: int = 0

    @property
    def count(self) -> int:
        """How many bets it holds."""
        return sum(run.count for run in self.runs)


@attrs.frozen(kw_only=True)
class Receipt:
    """The result of one parcel.

    Attributes:
        verdict: `Verdict.STORED`, or why nothing of it was stored.
        stored: with a ticket, how many bets of the upload are on disk up to and including this parcel, without those
            of later parcels of the group. 0 if there is no such upload.
        crc32: the running CRC-32 over those bets.
    """

    verdict: Verdict
    stored: int = 0
    crc32: int = 0


@attrs.frozen(kw_only=True)
class Opening:
    """The result of `BetStore.open_upload`.

    Attributes:
        code: OK, MISMATCH, SEALED, DRAW_CLOSED, MODE_CONFLICT or LIMIT.
        stored: how many bets of the upload are on disk; 0 if there is no such upload.
        crc32: the running CRC-32 over those bets.
        ticket: what parcels of this upload need from now on; None unless the code is OK.
    """

    code: RejectCode
    stored: int = 0
    crc32: int = 0
    ticket: Ticket | None = None


@attrs.frozen(kw_only=True)
class UploadState:
    """One upload as the book has it.

    Attributes:
        number: of the upload inside the store, from 1 on.
        agency: the agency that sends it.
        upload_id: its 16 bytes; None for an anonymous upload (bets of revisions 5 to 8).
        total: how many bets it announced; None for an anonymous upload.
        stored: how many bets of it are on disk.
        crc32: the running CRC-32 over those bets.
        epoch: how often it was opened.
        voided: whether an operator has voided it.
    """

    number: int
    agency: int
    upload_id: bytes | None = None
    total: int | None = None
    stored: int = 0
    crc32: int = 0
    epoch: int = 0
    voided: bool = False

    @property
    def finished(self) -> bool:
        """Whether all bets that it announced are stored; False for an anonymous upload."""
        return self.total is not None and self.stored == self.total

    @property
    def unfinished(self) -> bool:
        """Whether it still lacks bets that it announced; False for an anonymous or a voided upload."""
        return not self.voided and self.total is not None and self.stored < self.total

    @property
    def ticket(self) -> Ticket:
        """The ticket of the last opening."""
        return Ticket(agency=self.agency, upload=self.number, epoch=self.epoch)

    def grown(self, bets: int, crc32: int) -> UploadState:
        """The upload with `bets` more bets, and the CRC-32 over all of them."""
        return UploadState(  # field by field: `evolve` takes three times as long, and this runs once a batch
            number=self.number,
            agency=self.agency,
            upload_id=self.upload_id,
            total=self.total,
            stored=self.stored + bets,
            crc32=crc32,
            epoch=self.epoch,
            voided=self.voided,
        )


@attrs.frozen(kw_only=True)
class AuditEntry:
    """One entry of the audit.

    Attributes:
        seq: its place in the order of events, from 1 on.
        at: the time by this machine's clock: UTC, ISO 8601 with seconds.
        draw: the draw's id.
        event: `open` (a new upload), `reopen` (a known one: its earlier connection is fenced), `seal`, `forced_close`
            (an operator sealed the agency), `draw` or `void`.
        agency: the agency; None if the event concerns all of them.
        detail: everything else, for people.
    """

    seq: int
    at: str
    draw: int
    event: str
    agency: int | None
    detail: str


@attrs.frozen
class SealOutcome:
    """The result of `BetStore.seal_and_draw`.

    Attributes:
        newly_sealed: this call sealed the agency; False if it was sealed before, or the draw was over.
        drawn: the draw has taken place, now or earlier: `winners` has the answer.
        drawn_now: this call made the draw. True once in the life of a draw.
        incomplete: nothing was changed, because an upload of the agency is unfinished.
    """

    newly_sealed: bool
    drawn: bool
    drawn_now: bool
    incomplete: bool = False


@attrs.frozen(kw_only=True)
class DrawState:
    """The state of a draw at one moment.

    Attributes:
        draw: the draw's id.
        number: the winning number, or None before the draw.
        sealed: the agencies that are sealed.
        bets_by_agency: how many bets each agency has stored; no entry for an agency without any.
        bets: how many bets took part in the draw; 0 before it.
        digest: SHA-256 over those bets as they were sent, each with its length field, in the order in which they were
            stored, in hexadecimal digits. Empty before the draw, and for one that an older version of this program
            made.
    """

    draw: int
    number: int | None
    sealed: frozenset[int]
    bets_by_agency: Mapping[int, int]
    bets: int = 0
    digest: str = ""

    @property
    def drawn(self) -> bool:
        """Whether the draw has taken place."""
        return self.number is not None
