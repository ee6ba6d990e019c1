"""What a client does for one agency: uploads, seals, asks. Each operation is a conversation, without I/O of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, BinaryIO, TypeAlias, cast

import attrs

from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.batch_source import BetSequence, new_upload
from bets_protocol.client.bet_cache import CacheBudget, CachedBets
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.driver import Steps, Wait
from bets_protocol.client.exactly_once import ExactlyOnce
from bets_protocol.client.link import Link
from bets_protocol.client.numbered_batch import numbered_batches
from bets_protocol.client.options import ClientOptions, require_window
from bets_protocol.client.winners import WinnersCollector
from bets_protocol.codec import NEWEST_REVISION
from bets_protocol.connection.upload import Upload
from bets_protocol.errors import ConfigError, GaveUp, LocalProtocolError, NotDrawn
from bets_protocol.limits import MAX_AGENCY, MAX_BATCH_BETS, MAX_DRAW_ID, MAX_LABEL_BYTES
from bets_protocol.messages import Bet

Source: TypeAlias = "str | os.PathLike[str] | BinaryIO | Iterable[Bet]"
"""The bets of an upload: the path of a CSV file, such a file opened in binary mode, or a collection of bets."""

_ROWS_A_STEP = 1000
"""Rows that are checked before the driver has its turn: some milliseconds."""

_ASKS = 8
"""The revision of a question for winners without an upload; a server of revision 9 speaks it too."""


@attrs.frozen(kw_only=True)
class UploadResult:
    """An upload of revision 9 that is complete: each of its bets is stored exactly once.

    Attributes:
        stored: how many bets it has, all of them on the server's disk.
        already_stored: how many were there before this call.
        upload_id: its 16 bytes.
        crc32: over its bets, as the server has stored them.
    """

    stored: int
    already_stored: int
    upload_id: bytes
    crc32: int

    @property
    def sent_now(self) -> int:
        """How many bets this call has added."""
        return self.stored - self.already_stored


@attrs.frozen(kw_only=True)
class AtLeastOnceResult:
    """An upload on a revision from 5 to 8 that is complete: each of its bets is stored at least once.

    Attributes:
        stored: how many bets the server has acknowledged: all of them.
        sent_twice: how many were sent again after a lost connection, so that they may be stored twice.
    """

    stored: int
    sent_twice: int


class Agency:
    """One agency's conversations, one after the other.

    Args:
        agency: 1 to 255.
        draw: the draw's id.
        batch_max: the most bets in a batch.

    Raises:
        ConfigError: one of them is out of its range.
    """

    def __init__(self, options: ClientOptions, agency: int, draw: int, batch_max: int) -> None:
        for name, value, low, high in (
            ("agency", agency, 1, MAX_AGENCY),
            ("draw", draw, 0, MAX_DRAW_ID),
            ("batch_max", batch_max, 1, MAX_BATCH_BETS),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected {low} to {high}, not {value}")
        self._options = options
        self._agency = agency
        self._draw = draw
        self._batch_max = batch_max
        self._source: CsvFile | BetSequence | None = None
        self._upload: Upload | None = None  # the last one, which the question for winners follows
        self._link: Link | None = None
        self._collector: WinnersCollector | None = None

    def upload(
        self, source: Source, *, name: str | None, label: str, window: int | None
    ) -> Steps[UploadResult | AtLeastOnceResult]:
        """Check all of `source`, and send its bets until they are acknowledged."""
        if (size := len(label.encode("utf-8", "surrogateescape"))) > MAX_LABEL_BYTES:
            raise ConfigError(f"label: expected at most {MAX_LABEL_BYTES} bytes of UTF-8, not {size}")
        self.close()
        options = self._options
        if window is not None:
            require_window(window)
            options = attrs.evolve(options, window=window)
        try:
            self._source = self._opened(source, name)
            total = yield from _checked(self._source)
            if options.revision != NEWEST_REVISION:
                return (yield from self._send_at_least_once(options, self._source, total))
            upload = new_upload(
                self._source,
                total,
                draw=self._draw,
                label=label,
                batch_max=self._batch_max,
                window=options.window,
            )
            delivery = ExactlyOnce(options, upload, self._source.name)
            try:
                yield from delivery.run()
            finally:
                self._link = delivery.take_link()
        except BaseException:
            self.close()
            raise
        self._upload = upload
        return UploadResult(
            stored=upload.stored,
            already_stored=upload.already_stored,
            upload_id=upload.upload_id,
            crc32=upload.crc32,
        )

    def finish(self) -> Steps[None]:
        """Say that the agency has sent everything, without waiting for the draw."""
        if self._options.revision != NEWEST_REVISION or self._upload is None:
            raise LocalProtocolError("only an agency that has uploaded on revision 9 is told that it is sealed")
        yield from self._collected(None, seal=True)

    def winners(self, timeout_s: float | None) -> Steps[tuple[str, ...]]:
        """Say that the agency has sent everything, and wait for the draw and the documents of its winners."""
        collector = yield from self._collected(timeout_s, seal=False)
        return collector.found[self._agency]

    def close(self) -> None:
        """Close the connection and the source. Calling it again has no effect."""
        if self._collector is not None:
            self._collector.close()
        if self._link is not None:
            self._link.close()
        if self._source is not None:
            self._source.close()
        self._collector = self._link = self._source = self._upload = None

    def _opened(self, source: Source, name: str | None) -> CsvFile | BetSequence:
        if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
            return CsvFile(cast("str | os.PathLike[str] | BinaryIO", source), self._agency, name=name)
        bets: Any = source  # type checkers disagree about what is left of the union
        return BetSequence(bets, self._agency, name or "the bets")

    def _send_at_least_once(
        self, options: ClientOptions, source: CsvFile | BetSequence, total: int
    ) -> Steps[AtLeastOnceResult]:
        batches = numbered_batches([source], revision=options.revision, batch_max=self._batch_max)
        delivery = AtLeastOnce(options, self._agency, batches, total)
        try:
            yield from delivery.run()
        finally:
            self._link = delivery.take_link()
        return AtLeastOnceResult(stored=delivery.stored, sent_twice=delivery.sent_twice)

    def _collected(self, timeout_s: float | None, *, seal: bool) -> Steps[WinnersCollector]:
        """The collector, once it has what is waited for. A deadline that passes leaves it waiting."""
        try:
            if self._collector is None:
                revision = self._options.revision
                options = attrs.evolve(self._options, revision=revision if self._upload else min(revision, _ASKS))
                self._collector = WinnersCollector(options)
                link, self._link = self._link, None
                yield from self._collector.ask(self._agency, link, self._upload)
            yield from self._collector.collect(timeout_s, seal=seal)
        except (NotDrawn, GaveUp):
            raise
        except BaseException:
            self.close()
            raise
        return self._collector


def _checked(source: CsvFile | BetSequence) -> Steps[int]:
    """Read the whole source, keep its bets if they are few enough, and return how many there are.

    Raises:
        InputError: a row is bad (`BadRow`), there is none, or it cannot be read.
    """
    kept = CachedBets(CacheBudget())
    total = 0
    for bet in source.bets():
        kept.add(bet)
        total += 1
        if total % _ROWS_A_STEP == 0:
            yield Wait((), 0)
    kept.pack()
    source.kept = kept
    return total
