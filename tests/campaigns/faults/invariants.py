"""The invariants, each with its letter in the messages; what is compared was read and computed without the programs.

I1 acknowledged means stored. I2 each row at most once, and equal to the file's. I3 what an upload's row says is what
its batches hold. I4 a finished upload is its file. I5 the winners are those of a model, for their own agency only,
never before the draw, the same on every ask. I6 after the draw nothing changes.
(I8, everyone is done soon after the faults have stopped, and I9, no traceback and no unexplained end, are the stage's.)
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence

from tests.campaigns.faults.book import Book, BookUpload
from tests.campaigns.faults.model import AgencyFile
from tests.campaigns.faults.witness import OK, OPEN_BYTES, Talk

Files = Mapping[int, AgencyFile]


def check_book(book: Book, files: Files) -> None:
    """What must hold at any moment, a crash included: I2, I3, and nothing of the draw before the draw."""
    for upload in book.uploads:
        _check_upload(upload, files[upload.agency])
    if book.number is None:
        assert not book.winners, f"I5: winners are there before the draw: {book.winners}"
        return
    assert book.sealed >= files.keys(), f"I5: the draw took place, sealed are only {sorted(book.sealed)}"
    assert len(book.order) == book.bets, f"I6: the draw counted {book.bets} bets, the book has {len(book.order)}"
    assert book.digest == book.digest_of_order(), "I6: the bets are not those of the draw's digest"


def _check_upload(upload: BookUpload, file: AgencyFile) -> None:
    name = f"upload {upload.number} of agency {upload.agency}"
    expected = file.bets[: len(upload.bets)]
    if upload.bets != expected:
        differs = next(row for row, (one, other) in enumerate(_pairs(upload.bets, expected)) if one != other)
        raise AssertionError(f"I2: {name}: row {differs} of {len(upload.bets)} is not that of {file.path.name}")
    assert upload.stored == len(upload.bets), f"I3: {name}: says {upload.stored} stored, has {len(upload.bets)}"
    assert upload.crc32 == zlib.crc32(b"".join(upload.bets)), f"I3: {name}: the checksum is not that of its bets"


def _pairs(one: Iterable[bytes], other: Iterable[bytes]) -> Iterable[tuple[bytes | None, bytes | None]]:
    return itertools.zip_longest(one, other)


def check_promises(book: Book, talks: Iterable[Talk], files: Files) -> None:
    """I1, and what the server said on the wire: honest, and no row acknowledged twice, whatever the connection."""
    runs: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
    for talk in talks:
        assert not talk.problem, f"I9: {talk.problem}"
        if talk.opened is None:
            continue
        agency, upload_id = talk.opened
        file = files[agency]
        stored = max([upload.stored for upload in book.uploads if upload.upload_id == upload_id], default=0)
        for status in talk.statuses:
            if status.code == OK:
                assert status.stored <= stored, f"I1: agency {agency}: {status.stored} acknowledged, {stored} stored"
                assert status.crc32 == file.crc32(status.stored), f"I2: agency {agency}: a wrong checksum was told"
        runs.setdefault(talk.opened, []).extend(talk.acknowledged())
    for (agency, _), acknowledged in runs.items():
        ordered = sorted(acknowledged)
        for (_, end), (start, _) in itertools.pairwise(ordered):
            assert end <= start, f"I2: agency {agency}: rows {start} to {end} were acknowledged twice"


def check_nothing_later(talks: Iterable[Talk], sent_before: Sequence[int], files: Files, what: str) -> None:
    """I1 where the bytes of a store are gone: no bet that came later was acknowledged.

    Args:
        sent_before: by the client of each connection that there was at that moment.
    """
    for talk, sent in itertools.zip_longest(talks, sent_before, fillvalue=0):
        assert isinstance(talk, Talk), "a connection has gone from the record"
        acknowledged = talk.acknowledged()
        if talk.opened is None or not acknowledged:
            continue
        first, last = acknowledged[0][0], acknowledged[-1][1]
        ends = itertools.accumulate(map(len, files[talk.opened[0]].bets[first:]))
        came = first + sum(end <= sent - OPEN_BYTES for end in ends)
        assert last <= came, f"I1: {what}: agency {talk.opened[0]}: {came} bets had come, and {last} were acknowledged"


def check_finished(book: Book, talks: Iterable[Talk], files: Files, number: int) -> None:
    """I4 and I5, once everybody is done."""
    for agency, file in files.items():
        stored = [upload for upload in book.of_agency(agency) if upload.bets]
        sizes = [len(upload.bets) for upload in stored]
        assert [upload.bets for upload in stored] == [file.bets], f"I4: agency {agency}: {sizes}, not {len(file.bets)}"
        assert stored[0].total == stored[0].stored, f"I4: agency {agency}: the upload does not count as finished"
    assert book.number == number, f"I5: the winning number is {book.number}, not {number}"
    expected = {agency: file.winners(number) for agency, file in files.items()}
    for agency, winners in expected.items():
        assert book.winners.get(agency, []) == winners, f"I5: the book's winners of agency {agency}"
    check_told(talks, expected)


def check_told(talks: Iterable[Talk], expected: Mapping[int, list[str]]) -> None:
    """I5 on the wire: whoever was told winners was told the agency's own."""
    for talk in talks:
        if talk.winners is not None and talk.opened is not None:
            agency = talk.opened[0]
            assert talk.winners == expected[agency], f"I5: agency {agency} was told {talk.winners}"
