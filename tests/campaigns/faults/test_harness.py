"""The harness itself: each checker is seen to fail on a wrong book, a wrong word on the wire, a wrong disk."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.campaigns.faults import power_loss
from tests.campaigns.faults.__main__ import main
from tests.campaigns.faults.book import Book, BookUpload, read_book
from tests.campaigns.faults.invariants import check_book, check_finished, check_nothing_later, check_promises
from tests.campaigns.faults.kinds import Kind, run_seed
from tests.campaigns.faults.model import AgencyFile, document_of, number_of, split_bets, write_file
from tests.campaigns.faults.mutants import __main__ as mutants
from tests.campaigns.faults.stage import Stage
from tests.campaigns.faults.witness import DRAWN, OK, UPLOAD_STATUS, Talk

UPLOAD_ID = bytes(range(16))


@pytest.fixture
def file(tmp_path: Path) -> AgencyFile:
    """Thirty bets of agency 1."""
    return write_file(tmp_path, 1, bets=30, seed=7)


@pytest.fixture
def upload(file: AgencyFile) -> BookUpload:
    """All of it in a book."""
    return BookUpload(1, 1, UPLOAD_ID, 30, 30, file.crc32(30), epoch=1, voided=False, bets=file.bets)


def book_of(*uploads: BookUpload, number: int | None = None) -> Book:
    """A book of uploads, and of their draw."""
    order = tuple(bet for upload in uploads for bet in upload.bets)
    winners: dict[int, list[str]] = {}
    for upload in uploads:
        for bet in upload.bets:
            if number_of(bet) == number:
                winners.setdefault(upload.agency, []).append(document_of(bet))
    drawn = number is not None
    digest = hashlib.sha256(b"".join(order)).hexdigest() if drawn else ""
    sealed = frozenset(upload.agency for upload in uploads) if drawn else frozenset()
    return Book(uploads, sealed, number, winners, order, len(order) if drawn else 0, digest)


def status(code: int, stored: int, crc32: int) -> bytes:
    """An UploadStatus."""
    return struct.pack(">BBIQI", UPLOAD_STATUS, code, 1, stored, crc32)


def talk_of(file: AgencyFile, *stored: int, then: bytes = b"") -> Talk:
    """A connection of the upload on which the server said these numbers."""
    talk = Talk((1, UPLOAD_ID))
    for number in stored:
        talk.server_said(status(OK, number, file.crc32(number)))
    talk.server_said(then)
    return talk


def test_a_sound_book_passes(file: AgencyFile, upload: BookUpload) -> None:
    """Everything stored, told and drawn as it should be, on two connections."""
    number = number_of(file.bets[3])
    book = book_of(upload, number=number)
    winners = file.winners(number)
    told = struct.pack(">H", len(winners)) + "".join(winners).encode()
    talks = [talk_of(file, 0, 10), talk_of(file, 10, 20, 30, then=status(DRAWN, 30, file.crc32(30)) + told)]
    check_book(book, {1: file})
    check_promises(book, talks, {1: file})
    check_finished(book, talks, {1: file}, number)


Spoil = Callable[[BookUpload], BookUpload]


def _with_bets(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Spoil:
    def spoiled(upload: BookUpload) -> BookUpload:
        bets = change(upload.bets)
        return attrs.evolve(upload, bets=bets, stored=len(bets), crc32=zlib.crc32(b"".join(bets)))

    return spoiled


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_with_bets(lambda bets: bets + bets[-1:]), "I2"),
        (_with_bets(lambda bets: bets[:10] + bets[11:]), "I2"),
        (_with_bets(lambda bets: (*bets[:5], bets[6], bets[5], *bets[7:])), "I2"),
        (lambda upload: attrs.evolve(upload, stored=29), "I3"),
        (lambda upload: attrs.evolve(upload, crc32=1), "I3"),
    ],
)
def test_a_wrong_upload_is_found(file: AgencyFile, upload: BookUpload, spoil: Spoil, says: str) -> None:
    """A row twice, one missing, two exchanged; a row that says something else than its batches."""
    with pytest.raises(AssertionError, match=says):
        check_book(book_of(spoil(upload)), {1: file})


def test_a_wrong_draw_is_found(file: AgencyFile, upload: BookUpload) -> None:
    """Winners too early, a draw without everybody, one over other bets, and other winners than the model's."""
    number = number_of(file.bets[3])
    sound = book_of(upload, number=number)
    for spoiled, says in (
        (attrs.evolve(sound, number=None), "I5"),
        (attrs.evolve(sound, sealed=frozenset()), "I5"),
        (attrs.evolve(sound, digest="00"), "I6"),
        (attrs.evolve(sound, bets=29), "I6"),
    ):
        with pytest.raises(AssertionError, match=says):
            check_book(spoiled, {1: file})
    for spoiled, says in (
        (attrs.evolve(sound, winners={1: ["00000000"]}), "I5"),
        (attrs.evolve(sound, number=(number + 1) % 10_000), "I5"),
        (book_of(_with_bets(lambda bets: bets[:29])(upload), number=number), "I4"),
        (book_of(upload, upload, number=number), "I4"),
        (book_of(attrs.evolve(upload, total=31), number=number), "I4"),
    ):
        with pytest.raises(AssertionError, match=says):
            check_finished(spoiled, [], {1: file}, number)


def test_a_broken_promise_is_found(file: AgencyFile, upload: BookUpload) -> None:
    """More acknowledged than stored, a row acknowledged on two connections, a false checksum, nonsense."""
    partly = _with_bets(lambda bets: bets[:20])(upload)
    for talks, says in (
        ([talk_of(file, 0, 10, 30)], "I1"),
        ([talk_of(file, 0, 10, 20), talk_of(file, 10, 20)], "I2"),
        ([talk_of(file, then=status(OK, 10, 5))], "I2"),
        ([talk_of(file, then=b"\x01" * 18)], "I9"),
        ([talk_of(file, 0, then=status(DRAWN, 0, 0) + b"\0\0" + status(OK, 0, 0))], "I9"),
    ):
        with pytest.raises(AssertionError, match=says):
            check_promises(book_of(partly), talks, {1: file})
    with pytest.raises(AssertionError, match="I1"):  # not even the upload is there
        check_promises(book_of(), [talk_of(file, 0, 10)], {1: file})


def test_an_acknowledgement_of_what_came_later_is_found(file: AgencyFile) -> None:
    """Twenty bets had come when the files were gone: not even the twenty-first may be acknowledged, nor any on a
    connection that came later."""
    sent = 31 + 2 + sum(map(len, file.bets[:20]))
    check_nothing_later([talk_of(file, 0, 10, 20), talk_of(file, 20)], [sent], {1: file}, "deleted")
    check_nothing_later([talk_of(file, 5, 10, 25)], [sent - sum(map(len, file.bets[:5])) + 300], {1: file}, "deleted")
    for talks in ([talk_of(file, 0, 10, 21)], [talk_of(file, 0, 20), talk_of(file, 20, 21)]):
        with pytest.raises(AssertionError, match="I1: deleted: agency 1: 20 bets had come, and 21 were acknowledged"):
            check_nothing_later(talks, [sent], {1: file}, "deleted")


def test_a_server_that_begins_where_it_must_not_is_found(tmp_path: Path) -> None:
    """The first one does; the second is refused, since the first has the store."""
    with Stage(tmp_path, 5, bets=30).opened() as stage:
        with pytest.raises(AssertionError, match=r"I1: a server begins at \S+bets\.db"):
            stage.refused()
        assert "another server" in stage.refused().err


def test_winners_of_another_agency_are_found(file: AgencyFile, upload: BookUpload) -> None:
    """What an agency is told on the wire is compared with its own winners."""
    number = number_of(file.bets[3])
    wrong = talk_of(file, 30, then=status(DRAWN, 30, file.crc32(30)) + b"\0\x01" + b"12345678")
    with pytest.raises(AssertionError, match="I5: agency 1 was told"):
        check_finished(book_of(upload, number=number), [wrong], {1: file}, number)


def test_a_batch_that_is_there_twice_is_found(tmp_path: Path) -> None:
    """Also where no key of the table keeps it out."""
    with Stage(tmp_path, 5, bets=30).opened() as stage:
        stage.start()
        stage.finish({}, "--batch-max", "10")
        assert len(split_bets(b"".join(stage.files[1].bets))) == 30
        with _opened(stage.store) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (upload, first_row)', 'CHECK (1)')")
            connection.execute("DELETE FROM sqlite_schema WHERE type IN ('trigger', 'index') AND tbl_name = 'batch'")
        with _opened(stage.store) as connection:
            connection.execute("VACUUM")  # the pages of the index that went away
            connection.execute(
                "INSERT INTO batch (upload, first_row, count, bets) SELECT upload, first_row, count, bets "
                "FROM batch WHERE first_row = 10"
            )
        with pytest.raises(AssertionError, match="row 10 is stored behind row 29"):
            read_book(stage.store)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def test_what_was_not_flushed_may_be_lost() -> None:
    """A power cut keeps what was flushed and any part of the rest, torn writes and removed files included."""
    log = "\n".join(
        (
            r'7  pwrite64(3<\x2f\x61>, "\x01\x02", 2, 0) = 2',
            r"7  fdatasync(3<\x2f\x61> <unfinished ...>",
            r'8  sendto(5<\x73>, "\x83\x00", 2, 0, NULL, 0) = 2',
            r"7  <... fdatasync resumed>) = 0",
            r'7  pwrite64(3<\x2f\x61>, "\x03", 1, 1) = 1',
            r'7  unlink("\x2f\x61") = 0',
            r"7  ftruncate(3<\x2f\x61>, 0) = -1 EIO (Input/output error)",
        )
    )
    deeds = list(power_loss.deeds(log))
    assert [deed.what for deed in deeds] == ["write", "send", "flush", "write", "unlink"]
    disk = power_loss.Disk({})
    for deed in deeds:
        if deed.what != "send":
            disk.do(deed)
    found = {repr(sorted(disk.after_a_power_cut(random.Random(seed)).items())) for seed in range(200)}
    assert found == {"[]", r"[('a', bytearray(b'\x01\x02'))]", r"[('a', bytearray(b'\x01\x03'))]"}


def test_a_failing_trial_is_told_and_fails_the_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that does it again stands in the output; what it left behind is kept."""

    def fails(folder: Path, seed: int) -> int:
        (folder / "evidence").touch()
        raise AssertionError(f"I1: seed {seed}")

    outcome = run_seed(Kind(name="broken", row="0", trials=1, run=fails), 5, tmp_path)
    assert "I1: seed 5" in outcome.error
    assert (tmp_path / "broken-5" / "evidence").exists()
    assert main(["--kinds", "late-frame", "--trials", "1", "--seed", "7", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "late-frame           7            10        0   0.3000       7-7" in printed
    assert re.search(r"^0 failures; .*; first seed 7\ncommit ([0-9a-f]{12}\b|unknown$)", printed, re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["--kinds", "nonsense"])


def test_every_mutant_says_what_it_is_and_still_applies(tmp_path: Path) -> None:
    """The patches fit the sources as they are."""
    found = [mutants.read_mutant(path) for path in sorted(mutants.HERE.glob("*.patch"))]
    assert len(found) == 11
    for mutant in found:
        tree = tmp_path / mutant.name
        shutil.copytree(mutants.PROJECT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        mutants.apply(mutant.path, tree)


def test_a_mutant_that_cannot_be_tried_says_so(tmp_path: Path) -> None:
    """A header that lacks something, a patch that no longer applies."""
    patch = tmp_path / "old.patch"
    patch.write_text("breaks: nothing\ncatch: python -V\n--- a/src/x.py\n+++ b/src/x.py\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(mutants.MutantError, match="must have breaks, catch and says"):
        mutants.read_mutant(patch)
    with pytest.raises(mutants.MutantError, match="no longer applies"):
        mutants.apply(patch, tmp_path)
