"""What callers and stores hand each other: plain frozen data, the limits, and the errors.

Nothing in here reads a file or decides anything; `BetStore` says what the values mean, `_rules` which of them is due.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from bets_protocol import BetRun, BetsError, RejectCode, StorageError

MAX_UNFINISHED_UPLOADS: Final = 64
"""Unfinished uploads that an agency may have in a draw: ample for one file each, and what a lost client can leave."""

MAX_UPLOADS: Final = 10_000
"""Uploads that an agency may have in a draw, those not voided. A row each is kept for as long as the book is."""

MAX_TOTAL: Final = 2**63 - 1
"""Bets that an upload may announce: what a store's integers hold. The wire has room for twice as many."""

UPLOAD_ID_BYTES: Final = 16
"""The wire gives the id of an upload so many bytes."""


class StoreFull(StorageError):
    """No room on the disk: nothing of the call was stored, and the store stays usable."""


class NotVoidable(BetsError):
    """The upload cannot be voided, and why. Nothing changed, and the store stays usable."""


class Verdict(enum.Enum):
    """What became of one parcel of a group; the value is the code that says so on the wire."""

    STORED = RejectCode.OK
    FENCED = RejectCode.FENCED
    OVERRUN = RejectCode.OVERRUN
    SEALED = RejectCode.SEALED
    DRAW_CLOSED = RejectCode.DRAW_CLOSED
    MODE_CONFLICT = RejectCode.MODE_CONFLICT


@attrs.frozen(kw_only=True)
class Ticket:
    """The right to add to one upload, as of one opening; worthless once the upload was opened again.

    Plain data that the book is asked about: it outlives the store object that gave it.

    Attributes:
        agency: whose upload it is.
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
        runs: all of the batch's bets, a run for each agency that follows another.
        ticket: the upload that they belong to; None on revisions 5 to 8: the anonymous upload of each run's agency.
        first_row: with a ticket, how many bets of the upload must be stored before this one.
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
    """What became of one parcel.

    Attributes:
        verdict: `Verdict.STORED`, or why nothing of it was stored.
        stored: with a ticket, how many bets of the upload are on disk up to and including this parcel; what parcels
            further on in the group have added comes on top. 0 where there is no such upload.
        crc32: the running CRC-32 over those bets.
    """

    verdict: Verdict
    stored: int = 0
    crc32: int = 0


@attrs.frozen(kw_only=True)
class Opening:
    """What `BetStore.open_upload` did.

    Attributes:
        code: OK, MISMATCH, SEALED, DRAW_CLOSED, MODE_CONFLICT or LIMIT.
        stored: how many bets of the upload are on disk; 0 where there is no such upload.
        crc32: the running CRC-32 over those bets.
        ticket: with OK only: what parcels of this upload need from now on.
    """

    code: RejectCode
    stored: int = 0
    crc32: int = 0
    ticket: Ticket | None = None


@attrs.frozen(kw_only=True)
class UploadState:
    """One upload as it stands in the book.

    Attributes:
        number: which one inside the store, from 1 on.
        agency: whose it is.
        upload_id: its 16 bytes; None: anonymous, bets of revisions 5 to 8.
        total: how many bets it announced; None: anonymous.
        stored: how many bets of it are on disk.
        crc32: the running CRC-32 over those bets.
        epoch: how often it was opened.
        voided: it counts nowhere any more.
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
        """Whether all bets that it announced are stored; never so for an anonymous one."""
        return self.total is not None and self.stored == self.total

    @property
    def unfinished(self) -> bool:
        """Whether it still lacks bets that it announced; never so for an anonymous or a voided one."""
        return not self.voided and self.total is not None and self.stored < self.total

    @property
    def ticket(self) -> Ticket:
        """The one that is good now."""
        return Ticket(agency=self.agency, upload=self.number, epoch=self.epoch)

    def grown(self, bets: int, crc32: int) -> UploadState:
        """The upload with so many bets more, and the CRC-32 over all of them."""
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
    """Something that was done and that an auditor may ask for.

    Attributes:
        seq: its place in the order in which things were done, from 1 on.
        at: when, by this machine's clock: UTC, ISO 8601 with seconds.
        draw: in which draw.
        event: `open` (a new upload), `reopen` (one that is there: whoever had it is fenced), `seal`, `forced_close`
            (an operator sealed the agency), `draw` or `void`.
        agency: whose; None where it concerns all of them.
        detail: the rest, for people.
    """

    seq: int
    at: str
    draw: int
    event: str
    agency: int | None
    detail: str


@attrs.frozen
class SealOutcome:
    """What `BetStore.seal_and_draw` did.

    Attributes:
        newly_sealed: this call sealed the agency; False where it was sealed before, or the draw was over.
        drawn: the draw has taken place, now or earlier: `winners` has the answer.
        drawn_now: this very call drew. True once in the life of a draw.
        incomplete: nothing was changed, since an upload of the agency is unfinished.
    """

    newly_sealed: bool
    drawn: bool
    drawn_now: bool
    incomplete: bool = False


@attrs.frozen(kw_only=True)
class DrawState:
    """What a store knows of its draw at one moment.

    Attributes:
        draw: the draw's id.
        number: the winning number, or None where the draw has not taken place.
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
