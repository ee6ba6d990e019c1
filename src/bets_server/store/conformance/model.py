"""A model of a store as a few lists, to which every store must be equal after any history.

It is written for clarity: an upload is the list of its stored rows, and everything else is computed from it each time.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence

import attrs

from bets_protocol import Bet, RejectCode, encode_bets
from bets_server.store import DrawState, SealOutcome, UploadState, Verdict

MAX_UNFINISHED = 2
MAX_UPLOADS = 4
"""Limits small enough for a short history to reach."""


@attrs.define(eq=False)
class ModelUpload:
    """One upload.

    Attributes:
        number: its number in the store.
        bets: its stored bets, in order.
        epoch: how often it was opened.
    """

    number: int
    agency: int
    upload_id: bytes | None
    total: int | None
    bets: list[Bet] = attrs.Factory(list)
    epoch: int = 0
    voided: bool = False

    @property
    def unfinished(self) -> bool:
        return self.total is not None and len(self.bets) < self.total

    @property
    def crc32(self) -> int:
        return zlib.crc32(encode_bets(self.bets))

    @property
    def state(self) -> UploadState:
        """The state that the store must report. The CRC-32 of an anonymous upload is not compared."""
        return UploadState(
            number=self.number,
            agency=self.agency,
            upload_id=self.upload_id,
            total=self.total,
            stored=len(self.bets),
            crc32=0 if self.total is None else self.crc32,
            epoch=self.epoch,
            voided=self.voided,
        )


@attrs.define
class ModelDraw:
    """One draw.

    Attributes:
        uploads: all of them, in the order of their making.
        stored: each stored bet with its upload, in the order of storing.
        sealed: the agencies that are sealed.
        number: the winning number.
        final: the bets that took part in the draw.
        done: the entries that the audit must have: event and agency.
    """

    draw: int
    uploads: list[ModelUpload] = attrs.Factory(list)
    stored: list[tuple[ModelUpload, Bet]] = attrs.Factory(list)
    sealed: set[int] = attrs.Factory(set)
    number: int | None = None
    final: list[Bet] = attrs.Factory(list)
    done: list[tuple[str, int | None]] = attrs.Factory(list)

    def counting(self, agency: int) -> list[ModelUpload]:
        """An agency's uploads without the voided ones."""
        return [upload for upload in self.uploads if upload.agency == agency and not upload.voided]

    def find(self, agency: int, upload_id: bytes | None) -> ModelUpload | None:
        """The upload of that identity that is not voided, or None."""
        return next((upload for upload in self.counting(agency) if upload.upload_id == upload_id), None)

    @property
    def bets(self) -> list[Bet]:
        """The bets of the uploads that are not voided."""
        return [bet for upload, bet in self.stored if not upload.voided]

    def open(self, agency: int, upload_id: bytes, total: int) -> tuple[RejectCode, ModelUpload | None]:
        """The code of an opening, and the upload afterwards; a new one has the number 0."""
        known, others = self.find(agency, upload_id), self.counting(agency)
        if known is not None and known.total != total:
            return RejectCode.MISMATCH, known
        if known is None or known.unfinished:
            if self.number is not None:
                return RejectCode.DRAW_CLOSED, known
            if agency in self.sealed:
                return RejectCode.SEALED, known
            if any(upload.total is None for upload in others):
                return RejectCode.MODE_CONFLICT, known
            unfinished = sum(upload.unfinished for upload in others)
            if known is None and (len(others) >= MAX_UPLOADS or (total and unfinished >= MAX_UNFINISHED)):
                return RejectCode.LIMIT, None
        self.done.append(("open" if known is None else "reopen", agency))
        if known is None:
            known = ModelUpload(0, agency, upload_id, total)
            self.uploads.append(known)
        known.epoch += 1
        return RejectCode.OK, known

    def add_anonymous(self, bets: Sequence[Bet]) -> Verdict:
        """Add a batch without an upload and return its verdict."""
        agencies = {bet.agency for bet in bets}
        if self.number is not None:
            return Verdict.DRAW_CLOSED
        if self.sealed & agencies:
            return Verdict.SEALED
        if any(upload.total is not None for agency in agencies for upload in self.counting(agency)):
            return Verdict.MODE_CONFLICT
        for bet in bets:
            upload = self.find(bet.agency, None)
            if upload is None:
                upload = ModelUpload(0, bet.agency, None, None)
                self.uploads.append(upload)
                self.done.append(("open", bet.agency))
            self._add(upload, [bet])
        return Verdict.STORED

    def add(self, upload: ModelUpload | None, epoch: int, first_row: int, bets: Sequence[Bet]) -> Verdict:
        """Add a batch of an upload and return its verdict."""
        if upload is None or upload.voided or upload.epoch != epoch:
            return Verdict.FENCED
        if self.number is not None:
            return Verdict.DRAW_CLOSED
        if upload.agency in self.sealed:
            return Verdict.SEALED
        if len(upload.bets) != first_row:
            return Verdict.FENCED
        if len(upload.bets) + len(bets) > (upload.total or 0):
            return Verdict.OVERRUN
        self._add(upload, bets)
        return Verdict.STORED

    def _add(self, upload: ModelUpload, bets: Sequence[Bet]) -> None:
        upload.bets += bets
        self.stored += [(upload, bet) for bet in bets]

    def seal(self, agency: int, expected: int, number: int, *, forced: bool) -> SealOutcome:
        """Seal an agency and return the outcome."""
        if self.number is not None:
            return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
        newly_sealed = agency not in self.sealed
        if newly_sealed and not forced and any(upload.unfinished for upload in self.counting(agency)):
            return SealOutcome(newly_sealed=False, drawn=False, drawn_now=False, incomplete=True)
        self.sealed.add(agency)
        if newly_sealed:
            self.done.append(("forced_close" if forced else "seal", agency))
        complete = self.sealed >= set(range(1, expected + 1))
        if complete:
            self.number = number
            self.final = list(self.bets)
            self.done.append(("draw", None))
        return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def may_void(self, upload: ModelUpload) -> bool:
        """Whether an upload may be voided."""
        return self.number is None and not upload.voided and (upload.total is None or upload.unfinished)

    def void(self, upload: ModelUpload) -> None:
        """Void an upload."""
        upload.voided = True
        self.sealed -= {upload.agency}
        self.done.append(("void", upload.agency))

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners."""
        if self.number is None:
            return None
        return tuple(bet.document for bet in self.final if (bet.agency, bet.number) == (agency, self.number))

    @property
    def state(self) -> DrawState:
        """The state that the store must report."""
        drawn = self.number is not None
        return DrawState(
            draw=self.draw,
            number=self.number,
            sealed=frozenset(self.sealed),
            bets_by_agency=Counter(bet.agency for bet in self.bets),
            bets=len(self.final),
            digest=hashlib.sha256(encode_bets(self.final)).hexdigest() if drawn else "",
        )
