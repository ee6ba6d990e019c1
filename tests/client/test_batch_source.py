"""What an upload carries: an identity from the bytes of its input, and its bets again from any row."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bets_client.config import load_settings
from bets_client.input.check import require_good
from bets_client.input.files import open_csv
from bets_client.run_context import working
from bets_client.upload.running import Running
from bets_protocol import Bet, BetRun, OpenUpload, decode_bets, encode_bets
from bets_protocol.client.batch_source import BetSequence, CheckedSource, upload_id
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.errors import InputError, SourceChanged

ROWS = [f"Ana,Paz,{30_000_000 + number},1999-03-17,{number}\n" for number in range(10)]
TEXT = "".join(ROWS)
SETTINGS = load_settings({"batch_max": "3"}, {})


def bet(number: int) -> Bet:
    return Bet(
        agency=1,
        first_name="Ana",
        last_name="Paz",
        document=str(30_000_000 + number),
        birthdate="1999-03-17",
        number=number,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of ten rows."""
    path = tmp_path / "agency-1.csv"
    path.write_text("".join(ROWS))
    return path


@pytest.fixture
def source(path: Path) -> Iterator[CsvFile]:
    """That file, checked."""
    source = CsvFile(str(path), 1)
    assert require_good(source) == 10
    yield source
    source.close()


def opening(source: CsvFile, **options: str) -> OpenUpload:
    with working(load_settings(options, {})) as context:
        upload = Running(context).upload(source, 10)
    upload.connected()
    message = upload.next_message()
    assert isinstance(message, OpenUpload)
    return message


def test_the_identity_is_that_of_the_contract() -> None:
    """The upload id is the SHA-256 of the fields in docs/protocol.md, cut to 16 bytes."""
    named = b"bets-upload/1" + b"\x03" + b"\x00\x00\x01\x00" + b"\x03" + "é!".encode() + b"\xab" * 32
    assert upload_id(3, 256, "é!", b"\xab" * 32) == hashlib.sha256(named).digest()[:16]


def test_a_file_is_named_by_its_bytes_and_by_what_it_is_sent_for(source: CsvFile, path: Path) -> None:
    """Agency, draw, label and bytes each change the upload id."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert source.digest == digest
    assert opening(source) == OpenUpload(agency=1, draw=1, total=10, upload_id=upload_id(1, 1, "", digest))
    different = {
        opening(source).upload_id,
        opening(source, label="again").upload_id,
        opening(source, draw="2").upload_id,
        upload_id(2, 1, "", digest),
    }
    assert len(different) == 4


@pytest.mark.parametrize(
    "content",
    ["\ufeff" + "".join(ROWS), "".join(ROWS).replace("\n", "\r\n"), "".join(ROWS) + "\n\n", "".join(ROWS)[:-1]],
)
def test_every_byte_counts_also_where_the_rows_are_the_same(tmp_path: Path, source: CsvFile, content: str) -> None:
    """A BOM, CRLF or blank line gives another digest."""
    other = tmp_path / "other.csv"
    other.write_bytes(content.encode())
    copy = CsvFile(str(other), 1)
    assert require_good(copy) == 10
    assert copy.digest == hashlib.sha256(content.encode()).digest()
    assert [*copy.checked_bets()] == [*source.checked_bets()]
    copy.close()


def test_standard_input_is_named_by_its_bytes_too(source: CsvFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes give the same upload from a pipe."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        copy = open_csv("-", 1)
    assert require_good(copy) == 10
    assert opening(copy) == opening(source)
    assert CheckedSource(copy, 3).resume(10)[0] == CheckedSource(source, 3).resume(10)[0]
    copy.close()


@pytest.mark.parametrize("row", range(11))
def test_a_file_goes_on_at_any_row(source: CsvFile, row: int) -> None:
    """The CRC-32 covers the rows before it, and the batches begin at it."""
    crc32, rest = CheckedSource(source, 3).resume(row)
    batches = [decode_bets(batch.encoded) for batch in rest]
    assert crc32 == zlib.crc32(encode_bets(bet(number) for number in range(row)))
    assert [one for batch in batches for one in batch] == [bet(number) for number in range(row, 10)]
    assert [len(batch) for batch in batches] == [3] * ((10 - row) // 3) + [(10 - row) % 3] * bool((10 - row) % 3)


def test_more_rows_than_are_skipped_at_a_time(tmp_path: Path) -> None:
    """Skipping goes on over several pieces of the file."""
    path = tmp_path / "agency-1.csv"
    path.write_text("".join(ROWS) * 250)
    source = CsvFile(str(path), 1)
    require_good(source)
    crc32, rest = CheckedSource(source, 255).resume(2499)
    encoded = encode_bets(bet(number) for number in range(10)) * 250
    assert crc32 == zlib.crc32(encoded[: -len(encode_bets([bet(9)]))])
    assert [*rest] == [BetRun(agency=1, count=1, encoded=encode_bets([bet(9)]))]
    source.close()


def test_a_file_is_short_of_rows_that_the_server_has(source: CsvFile) -> None:
    """A file with fewer rows than are stored has changed."""
    with pytest.raises(SourceChanged, match="it has 10 rows instead of 11"):
        CheckedSource(source, 3).resume(11)


def replace_a_row(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(len("".join(ROWS[:8])) + len("Ana,Paz,3000000"))
        file.write(b"9")


def add_a_row(path: Path) -> None:
    with path.open("a") as file:
        file.write(ROWS[0])


def truncate(path: Path) -> None:
    os.truncate(path, len("".join(ROWS[:8])))


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(len("".join(ROWS[:8])) + 1)
        file.write(b"\x01")


CHANGES = [replace_a_row, add_a_row, truncate, spoil]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_written_to_gives_no_further_batch(path: Path, change: Callable[[Path], None]) -> None:
    """Its time of writing tells; also after it was read into memory."""
    os.utime(path, ns=(0, 0))
    batch_source = CheckedSource(fresh := CsvFile(str(path), 1), 3)
    require_good(fresh)
    _, rest = batch_source.resume(0)
    assert next(rest).count == 3
    change(path)
    with pytest.raises(SourceChanged, match=f"{path}: the file has changed since it was checked: it was written to"):
        next(rest)
    with pytest.raises(SourceChanged, match="it was written to"):
        batch_source.resume(0)
    fresh.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_no_time_tells_costs_the_last_batch_at_least(
    path: Path, source: CsvFile, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """The second reading is hashed as well, so an upload of changed bytes is never complete."""
    monkeypatch.setattr(CsvFile, "require_unchanged", lambda _: None)
    change(path)
    _, rest = CheckedSource(source, 3).resume(0)
    given: list[BetRun] = []
    with pytest.raises(SourceChanged, match=r"the file has changed since it was checked: (its bytes|9: first_name)"):
        given.extend(rest)
    assert len(given) == (3 if change in (replace_a_row, add_a_row) else 2)


def test_a_file_that_the_system_does_not_know_any_more_is_bad_input(source: CsvFile) -> None:
    """A closed descriptor is reported as an error of reading."""
    descriptor = source._file.fileno()
    spare = os.dup(descriptor)
    os.close(descriptor)
    with pytest.raises(InputError, match="cannot read it: Bad file descriptor"):
        CheckedSource(source, 3).resume(0)
    os.dup2(spare, descriptor, inheritable=False)
    os.close(spare)


def test_one_bet_is_named_by_what_it_says() -> None:
    """The upload of a single bet has the digest of its encoding."""
    one = bet(7)
    with working(SETTINGS) as context:
        source = BetSequence([one], 1, "the bet")
        upload = Running(context).upload(source, len(list(source.bets())))
    upload.connected()
    digest = hashlib.sha256(encode_bets([one])).digest()
    expected = OpenUpload(agency=1, draw=1, total=1, upload_id=upload_id(1, 1, "", digest))
    assert upload.next_message() == expected
    encoded = encode_bets([one])
    checked = BetSequence([one], 1, "the bet")
    assert [*checked.bets()] == [one]
    crc32, rest = CheckedSource(checked, 3).resume(0)
    assert (crc32, [*rest]) == (0, [BetRun(agency=1, count=1, encoded=encoded)])
    crc32, rest = CheckedSource(checked, 3).resume(1)
    assert (crc32, [*rest]) == (zlib.crc32(encoded), [])
