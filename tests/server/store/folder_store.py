"""A third party's store: one JSON file that is written anew at each change and put in the place of the old one.

Written against the contract alone, to see that the contract is enough. It is slow and simple on purpose.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bets_protocol import Bet, ConfigError, InvalidMessage, RejectCode, StorageError, decode_bets, documents_with_number
from bets_server.store import (
    MAX_TOTAL,
    AuditEntry,
    BetStore,
    DrawState,
    NotVoidable,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    Ticket,
    UploadState,
    Verdict,
    path_of,
)

Upload = dict[str, Any]


def open_folder(url: str, *, draw: int, create: bool, readonly: bool) -> FolderStore:  # noqa: ARG001
    """Open the store behind ``folder:///path``."""
    return FolderStore(path_of(url), draw, create=create)


class FolderStore(BetStore):
    """One draw of a folder with a JSON file in it."""

    def __init__(self, folder: Path, draw: int, *, create: bool) -> None:
        if create:
            folder.mkdir(exist_ok=True)
        elif not folder.exists():
            raise StorageError(f"{folder}: there is no such store")
        self._file = folder / "bets.json"
        self._draw = draw
        self._lock = threading.RLock()
        self._descriptor: int | None = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise StorageError(f"{folder}: another server has it open") from error
        empty: dict[str, Any] = {"draws": {}, "audit": [], "uploads": 0}
        self._book = json.loads(self._file.read_text()) if self._file.exists() else empty

    @property
    def _mine(self) -> dict[str, Any]:
        if self._descriptor is None:
            raise StorageError(f"{self._file}: the store is closed")
        new: dict[str, Any] = {"runs": [], "sealed": [], "number": None, "uploads": {}, "bets": 0, "digest": ""}
        mine: dict[str, Any] = self._book["draws"].setdefault(str(self._draw), new)
        return mine

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        with new.open("w") as file:
            json.dump(self._book, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def _tell(self, event: str, agency: int | None, detail: str) -> None:
        entries = self._book["audit"]
        entries.append([len(entries) + 1, "2026-11-23T12:00:00Z", self._draw, event, agency, detail])

    def _counting(self, agency: int) -> list[Upload]:
        uploads = self._mine["uploads"].values()
        return [upload for upload in uploads if upload["agency"] == agency and not upload["voided"]]

    def _new_upload(self, agency: int, upload_id: str | None, total: int | None) -> Upload:
        self._book["uploads"] += 1
        upload = {"number": self._book["uploads"], "agency": agency, "upload_id": upload_id, "total": total}
        upload |= {"stored": 0, "crc32": 0, "epoch": 0, "voided": False}
        self._mine["uploads"][str(upload["number"])] = upload
        if upload_id is None:
            self._tell("open", agency, f"upload {upload['number']}")
        return upload

    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        """Store a group of parcels."""
        with self._lock:
            _ = self._mine
            receipts = [self._take(parcel) for parcel in group]
            self._save()
            return receipts

    def _take(self, parcel: Parcel) -> Receipt:
        if parcel.ticket is None:
            verdict = self._verdict_on_anonymous(parcel)
            if verdict is Verdict.STORED:
                for run in parcel.runs:
                    upload = next(iter(self._counting(run.agency)), None) or self._new_upload(run.agency, None, None)
                    self._add(upload, run.count, run.encoded)
            return Receipt(verdict=verdict)
        found = self._mine["uploads"].get(str(parcel.ticket.upload))
        if found is None:
            return Receipt(verdict=Verdict.FENCED)
        verdict = self._verdict_on_identified(parcel, parcel.ticket, found)
        if verdict is Verdict.STORED:
            for run in parcel.runs:
                self._add(found, run.count, run.encoded)
        return Receipt(verdict=verdict, stored=found["stored"], crc32=found["crc32"])

    def _verdict_on_anonymous(self, parcel: Parcel) -> Verdict:
        mine, agencies = self._mine, {run.agency for run in parcel.runs}
        if mine["number"] is not None:
            return Verdict.DRAW_CLOSED
        if agencies & set(mine["sealed"]):
            return Verdict.SEALED
        if any(upload["total"] is not None for agency in agencies for upload in self._counting(agency)):
            return Verdict.MODE_CONFLICT
        return Verdict.STORED

    def _verdict_on_identified(self, parcel: Parcel, ticket: Ticket, upload: Upload) -> Verdict:
        agency, mine = upload["agency"], self._mine
        fits = (ticket.agency, ticket.epoch) == (agency, upload["epoch"])
        if not fits or upload["voided"] or upload["total"] is None or {run.agency for run in parcel.runs} - {agency}:
            return Verdict.FENCED
        if mine["number"] is not None:
            return Verdict.DRAW_CLOSED
        if agency in mine["sealed"]:
            return Verdict.SEALED
        if upload["stored"] != parcel.first_row:
            return Verdict.FENCED
        return Verdict.OVERRUN if upload["stored"] + parcel.count > upload["total"] else Verdict.STORED

    def _add(self, upload: Upload, count: int, encoded: bytes) -> None:
        self._mine["runs"].append([upload["number"], encoded.hex()])
        upload["stored"] += count
        upload["crc32"] = zlib.crc32(encoded, upload["crc32"])

    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        """Open an upload."""
        with self._lock:
            mine = self._mine
            if not (1 <= agency <= 255 and len(upload_id) == 16 and total >= 0):
                raise InvalidMessage(f"{agency}, {upload_id!r}, {total}: no upload has that", path="upload")
            counting = self._counting(agency)
            known = next((each for each in counting if each["upload_id"] == upload_id.hex()), None)
            unfinished = sum(each["total"] is not None and each["stored"] < each["total"] for each in counting)
            code = RejectCode.OK
            if known is not None and known["total"] != total:
                code = RejectCode.MISMATCH
            elif known is not None and known["stored"] == total:
                pass
            elif mine["number"] is not None:
                code = RejectCode.DRAW_CLOSED
            elif agency in mine["sealed"]:
                code = RejectCode.SEALED
            elif any(each["total"] is None for each in counting):
                code = RejectCode.MODE_CONFLICT
            elif known is None:
                full = len(counting) >= self.max_uploads or (total and unfinished >= self.max_unfinished_uploads)
                code = RejectCode.LIMIT if full or total > MAX_TOTAL else RejectCode.OK
            if code is not RejectCode.OK:
                stored, crc32 = (known["stored"], known["crc32"]) if known is not None else (0, 0)
                return Opening(code=code, stored=stored, crc32=crc32)
            self._tell("open" if known is None else "reopen", agency, f"{upload_id.hex()} {note}")
            upload = known or self._new_upload(agency, upload_id.hex(), total)
            upload["epoch"] += 1
            self._save()
            ticket = Ticket(agency=agency, upload=upload["number"], epoch=upload["epoch"])
            return Opening(code=code, stored=upload["stored"], crc32=upload["crc32"], ticket=ticket)

    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        """Seal an agency and draw where it was the last."""
        with self._lock:
            mine = self._mine
            if not 1 <= agency <= 255:
                raise InvalidMessage(f"{agency} is no agency", path="agency")
            if not 1 <= expected <= 255:
                raise ConfigError(f"{expected} agencies cannot be expected")
            if mine["number"] is not None:
                return SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
            newly_sealed = agency not in mine["sealed"]
            lacks_bets = any(
                each["total"] is not None and each["stored"] < each["total"] for each in self._counting(agency)
            )
            if newly_sealed and lacks_bets and not forced:
                return SealOutcome(newly_sealed=False, drawn=False, drawn_now=False, incomplete=True)
            sealed = {*mine["sealed"], agency}
            complete = sealed >= set(range(1, expected + 1))
            number = pick() if complete else None
            if number is not None and not 0 <= number <= 9999:
                raise ConfigError(f"{number} cannot win")
            if newly_sealed:
                self._tell("forced_close" if forced else "seal", agency, note)
            if complete:
                runs = [encoded for _, encoded in self._runs()]
                mine["bets"] = sum(len(decode_bets(encoded)) for encoded in runs)
                mine["digest"] = hashlib.sha256(b"".join(runs)).hexdigest()
                self._tell("draw", None, mine["digest"])
            mine["number"], mine["sealed"] = number, sorted(sealed)
            self._save()
            return SealOutcome(newly_sealed=newly_sealed, drawn=complete, drawn_now=complete)

    def _runs(self) -> list[tuple[int, bytes]]:
        """The agency and the bytes of each run that counts."""
        uploads = self._mine["uploads"]
        found = [(uploads[str(number)], encoded) for number, encoded in self._mine["runs"]]
        return [(upload["agency"], bytes.fromhex(encoded)) for upload, encoded in found if not upload["voided"]]

    def void(self, number: int, *, reason: str) -> UploadState:
        """Take an upload out of the draw."""
        with self._lock:
            mine = self._mine
            upload = mine["uploads"].get(str(number))
            if upload is None or upload["voided"] or upload["stored"] == upload["total"] or mine["number"] is not None:
                raise NotVoidable(f"upload {number} cannot be voided: missing, void already, finished or drawn")
            upload["voided"] = True
            mine["sealed"] = [agency for agency in mine["sealed"] if agency != upload["agency"]]
            self._tell("void", upload["agency"], f"upload {number}: {reason}")
            self._save()
            return self.uploads()[list(mine["uploads"]).index(str(number))]

    def uploads(self) -> list[UploadState]:
        """Every upload of the draw."""
        with self._lock:
            uploads = copy.deepcopy(list(self._mine["uploads"].values()))
        for upload in uploads:
            upload["upload_id"] = None if upload["upload_id"] is None else bytes.fromhex(upload["upload_id"])
        return [UploadState(**upload) for upload in uploads]

    def audit(self) -> Iterator[AuditEntry]:
        """What was done."""
        names = ("seq", "at", "draw", "event", "agency", "detail")
        with self._lock:
            _ = self._mine
            count = len(self._book["audit"])
        for position in range(count):
            with self._lock:
                _ = self._mine
                entry = self._book["audit"][position]
            yield AuditEntry(**dict(zip(names, entry, strict=True)))

    def winners(self, agency: int) -> tuple[str, ...] | None:
        """An agency's winners, found anew each time."""
        with self._lock:
            number = self._mine["number"]
            if number is None:
                return None
            runs = [encoded for whose, encoded in self._runs() if whose == agency]
            return tuple(document for run in runs for document in documents_with_number(run, number))

    def state(self) -> DrawState:
        """What is known of the draw."""
        with self._lock:
            mine = self._mine
            counts: Counter[int] = Counter()
            for agency, encoded in self._runs():
                counts[agency] += len(decode_bets(encoded))
            return DrawState(
                draw=self._draw,
                number=mine["number"],
                sealed=frozenset(mine["sealed"]),
                bets_by_agency=dict(counts),
                bets=mine["bets"],
                digest=mine["digest"],
            )

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        """The stored bets."""
        for whose, encoded in self._runs():
            if agency in {None, whose}:
                with self._lock:
                    _ = self._mine
                yield from decode_bets(encoded)

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
