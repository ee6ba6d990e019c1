"""What a journal tells of one draw of a `bets.csv`: event by event, without touching a file.

`bets.csv` keeps every line for good, in the order of storing. The register knows which bytes of it belong to the draw,
and whose they are: a *stretch* is a run of bytes in which each agency adds to one upload, so the agency of a line tells
its upload, and the lines of a voided one can be passed over. Events are described in `_csv_journal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from bets_server.store._csv_events import Event
from bets_server.store._rules import NO_UPLOADS, AgencyUploads, noted
from bets_server.store._values import UploadState

Entry: TypeAlias = tuple[str, int | None, str]
"""What an audit entry says: event, agency, detail."""


_ENDED_BY_THE_DRAW: Final = frozenset({"bets", "sealed", "drawn", "void"})
"""An `upload` may be opened again at any time: its client asks how it ended."""


@attrs.frozen
class Stretch:
    """Lines of `bets.csv` that belong to the draw.

    Attributes:
        start: its first byte.
        end: the byte behind its last one.
        first_line: the number of its first line in the file, from 1 on.
        uploads: the number of the upload that each agency adds to.
    """

    start: int
    end: int
    first_line: int
    uploads: dict[int, int]


class MisfitError(ValueError):
    """An event cannot follow those before it; says why."""


class Register:
    """What is known after the events so far.

    Attributes:
        counted: bytes of `bets.csv` that count, those of other draws included.
        lines: how many lines those are.
        last_upload: the number of the newest upload of any draw.
        stretches: where the draw's lines are, in order.
        uploads: the draw's uploads by their numbers, voided ones included.
        by_agency: what each agency has sent, voided uploads aside.
        sealed: the agencies that are sealed.
        number: the winning number, or None.
        winners: each agency's documents.
        bets: how many bets took part in the draw.
        digest: which ones; see `DrawState`.

    Thread: the store's lock guards every call.
    """

    def __init__(self, draw: int) -> None:
        self.counted = 0
        self.lines = 0
        self.last_upload = 0
        self.stretches: list[Stretch] = []
        self.uploads: dict[int, UploadState] = {}
        self.by_agency: dict[int, AgencyUploads] = {}
        self.sealed: frozenset[int] = frozenset()
        self.number: int | None = None
        self.winners: dict[int, tuple[str, ...]] = {}
        self.bets = 0
        self.digest = ""
        self._draw = draw
        self._anonymous: dict[tuple[int, int], int] = {}  # of all draws: their uploads are numbered on the way
        self._identified: dict[tuple[int, bytes], int] = {}

    def find(self, agency: int, upload_id: bytes) -> UploadState | None:
        """The upload of this identity, voided ones aside."""
        number = self._identified.get((agency, upload_id))
        return None if number is None else self.uploads[number]

    def counted_uploads(self) -> Iterator[UploadState]:
        """The draw's uploads, voided ones aside."""
        return (upload for upload in self.uploads.values() if not upload.voided)

    def apply(self, event: Event) -> list[Entry]:
        """Follow an event, which is on disk.

        Returns:
            What it adds to the audit, whichever its draw.

        Raises:
            MisfitError: it contradicts the events before it; the register is of no more use.
        """
        if self.number is not None and event["event"] in _ENDED_BY_THE_DRAW and event["draw"] == self._draw:
            raise MisfitError(f"draw {self._draw} is over since an event before")
        match event["event"]:
            case "bets":
                return self._add_bets(event)
            case "upload":
                return self._open(event)
            case "sealed" | "drawn":
                return self._seal_or_draw(event)
            case "void":
                return self._void(event)
            case _:
                return []

    def _add_bets(self, event: Event) -> list[Entry]:
        entries: list[Entry] = []
        draw, length = event["draw"], event["length"]
        added = length - self.counted
        if added < 0 or ("runs" in event and sum(run[3] for run in event["runs"]) != added):
            raise MisfitError(f"bets up to byte {length} do not follow byte {self.counted}")
        if "runs" in event:
            for number, agency, count, size, crc32 in event["runs"]:
                entries += self._number(draw, agency, number)
                self._extend(draw, self.counted + size, {agency: number})
                self._grow(draw, number, agency, count, crc32)
        else:
            counts = {int(agency): count for agency, count in event["bets"].items()}
            for agency in counts:
                entries += self._number(draw, agency, self._anonymous.get((draw, agency), self.last_upload + 1))
            numbers = {agency: self._anonymous[draw, agency] for agency in counts}
            self._extend(draw, length, numbers)
            for agency, count in counts.items():
                self._grow(draw, numbers[agency], agency, count, 0)
        self.counted = length
        return entries

    def _number(self, draw: int, agency: int, number: int) -> list[Entry]:
        """Take note of an anonymous upload that comes into being with its first bets."""
        if number <= self.last_upload:
            return []
        if number != self.last_upload + 1 or (draw, agency) in self._anonymous:
            raise MisfitError(f"upload {number} of agency {agency} was not opened")
        self.last_upload = self._anonymous[draw, agency] = number
        return [("open", agency, f"upload {number}, anonymous")]

    def _extend(self, draw: int, end: int, uploads: dict[int, int]) -> None:
        """The bytes up to `end` belong to a draw and to one upload of each agency in them."""
        start, first_line = self.counted, self.lines + 1
        self.counted = end
        if draw != self._draw:
            return
        if self.stretches and self.stretches[-1].end == start:
            last = self.stretches[-1]
            if all(last.uploads.get(agency, number) == number for agency, number in uploads.items()):
                self.stretches.pop()
                start, first_line, uploads = last.start, last.first_line, last.uploads | uploads
        self.stretches.append(Stretch(start, end, first_line, uploads))

    def _grow(self, draw: int, number: int, agency: int, count: int, crc32: int) -> None:
        self.lines += count
        if draw == self._draw:
            before = self.uploads.get(number)
            upload = before or UploadState(number=number, agency=agency)
            stored = upload.stored + count
            if before is None and self._anonymous.get((draw, agency)) != number:
                raise MisfitError(f"upload {number} is of another draw")
            if upload.agency != agency or upload.voided or (upload.total is not None and stored > upload.total):
                raise MisfitError(f"upload {number} cannot have {count} bets more of agency {agency}")
            self._change(before, attrs.evolve(upload, stored=stored, crc32=crc32))

    def _open(self, event: Event) -> list[Entry]:
        number, agency, epoch = event["upload"], event["agency"], event["epoch"]
        identity = bytes.fromhex(event["id"])
        if number > self.last_upload + 1:
            raise MisfitError(f"upload {number} follows upload {self.last_upload}")
        is_new = number > self.last_upload
        self.last_upload = max(self.last_upload, number)
        if event["draw"] == self._draw:
            before = self.find(agency, identity)
            upload = before or UploadState(number=number, agency=agency, upload_id=identity, total=event["total"])
            known = before is self.uploads.get(number) and (before is None) is is_new
            if not known or (upload.total, upload.epoch + 1) != (event["total"], epoch):
                raise MisfitError(f"upload {number} was opened otherwise before")
            self._change(before, attrs.evolve(upload, epoch=epoch))
        said = f"upload {number}, id {event['id']}, total {event['total']}, epoch {epoch}"
        said = noted(said, event.get("note", ""))
        return [("open" if epoch == 1 else "reopen", agency, said)]

    def _seal_or_draw(self, event: Event) -> list[Entry]:
        drawn, agency = event["event"] == "drawn", event["agency"]
        entries: list[Entry] = []
        if event.get("sealed", not drawn):
            entries.append(("forced_close" if event.get("forced") else "seal", agency, event.get("note", "")))
        if event["draw"] == self._draw:
            self.sealed |= {agency}
            if drawn:
                self.number = event["number"]
                self.winners = {int(agency): tuple(documents) for agency, documents in event["winners"].items()}
                self.bets = event.get("bets", sum(upload.stored for upload in self.counted_uploads()))
                self.digest = event.get("digest", "")
        if drawn:
            said = f"number {event['number']}, bets {event.get('bets', '?')}, digest {event.get('digest', '?')}"
            entries.append(("draw", None, said))
        return entries

    def _void(self, event: Event) -> list[Entry]:
        draw, number, agency = event["draw"], event["upload"], event["agency"]
        before = self.uploads.get(number) if draw == self._draw else None
        if draw == self._draw and (before is None or before.voided or before.agency != agency):
            raise MisfitError(f"agency {agency} has no upload {number} that could be voided")
        if self._anonymous.get((draw, agency)) == number:
            del self._anonymous[draw, agency]
        if before is not None:
            self._change(before, attrs.evolve(before, voided=True))
            self.sealed -= {agency}
        return [("void", agency, f"upload {number}: {event['reason']}")]

    def _change(self, before: UploadState | None, after: UploadState) -> None:
        self.uploads[after.number] = after
        if after.upload_id is not None:
            self._identified[after.agency, after.upload_id] = after.number
            if after.voided:
                del self._identified[after.agency, after.upload_id]
        counts = self.by_agency.get(after.agency, NO_UPLOADS)
        self.by_agency[after.agency] = counts.changed(before, after)
