"""Which uploads are opened again so often that it can be no honest client: each opening is an entry of the audit.

What counts is openings between which nothing was stored. A client whose connection is cut again and again, but which
gets on each time, may come back as often as it likes: its file ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from bets_protocol import OpenUpload, RejectCode
from bets_server.intake.requests import Answer, Refusal, Work
from bets_server.limits import Limits

WINDOW_S = 60.0
"""Seconds over which openings are counted."""

MAX_UPLOADS = 4096
"""Uploads that are watched: who opens more of its own within a minute has so many more to bring forth first."""


@attrs.define
class _Record:
    """The openings of one upload since `until` - `WINDOW_S`, as long as `stored` stays as it is."""

    until: float
    stored: int
    openings: int = 0


class Reopenings:
    """Counts the openings of uploads.

    Thread: reactor.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._records: dict[tuple[int, bytes], _Record] = {}  # the oldest first

    def refusal(self, work: Work, now: float) -> Refusal | None:
        """Why the upload that `work` opens is not opened again for now, or None."""
        request = work.requests[-1]
        if not isinstance(request, OpenUpload):
            return None
        record = self._records.get((request.agency, request.upload_id))
        if record is None or now >= record.until or record.openings <= self._limits.reopenings_per_minute:
            return None
        return Refusal(RejectCode.BUSY, "the upload is opened again and again")

    def note(self, work: Work, answers: Sequence[Answer], now: float) -> None:
        """Counts the upload that `work` has opened, if it has."""
        request, binding = work.requests[-1], answers[-1].binding
        if not isinstance(request, OpenUpload) or binding is None:
            return
        key = request.agency, request.upload_id
        record = self._records.get(key)
        if record is None or record.until <= now:
            self._records.pop(key, None)
            self._forget_old(now)
            record = self._records[key] = _Record(until=now + WINDOW_S, stored=binding.stored)
        if record.stored != binding.stored:
            record.stored, record.openings = binding.stored, 0
        record.openings += 1

    def _forget_old(self, now: float) -> None:
        """Makes room for one more."""
        while self._records:
            oldest = next(iter(self._records))
            if self._records[oldest].until > now and len(self._records) < MAX_UPLOADS:
                return
            del self._records[oldest]
