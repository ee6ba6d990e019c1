"""Bets that are kept from the check to the sending: the same bets, within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_client.input.check import require_good
from bets_protocol import decode_bets, encode_bets
from bets_protocol.client.batch_source import CheckedSource
from bets_protocol.client.bet_cache import KEPT_BYTES, CacheBudget
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.errors import InputError, SourceChanged

ROWS = [f"Ana,Páez,{30_000_000 + number},1999-03-17,{number}\n" for number in range(1234)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of more rows than are packed at a time."""
    path = tmp_path / "agency-1.csv"
    path.write_text("".join(ROWS), encoding="utf-8")
    return path


@pytest.fixture
def source(path: Path) -> Iterator[CsvFile]:
    """That file, not yet checked."""
    source = CsvFile(str(path), 1)
    try:
        yield source
    finally:
        source.close()


def test_what_is_kept_is_what_the_file_holds(source: CsvFile, path: Path) -> None:
    """The same bets, any number of times, whatever becomes of the file; and the room is given back."""
    budget = CacheBudget()
    assert require_good(source, budget) == len(ROWS)
    read = list(source.bets())
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Ana", b"Eva"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert source.kept is not None
    assert [decode_bets(b"".join(source.kept)) for _ in range(2)] == [read] * 2
    assert KEPT_BYTES - budget.room == len(encode_bets(read))
    source.close()
    assert budget.room == KEPT_BYTES


@pytest.mark.parametrize("row", [0, 1, 500, 777, 1233, 1234])
def test_an_upload_goes_on_at_any_row(source: CsvFile, path: Path, row: int) -> None:
    """As from the file itself."""
    require_good(source, CacheBudget())
    other = CsvFile(str(path), 1)
    require_good(other)
    crc32, batches = CheckedSource(source, 130).resume(row)
    expected_crc32, expected = CheckedSource(other, 130).resume(row)
    assert (crc32, list(batches)) == (expected_crc32, list(expected))
    other.close()


def test_a_file_that_was_written_to_is_not_sent(source: CsvFile, path: Path) -> None:
    """Although its bets are there: whoever writes to it means something else by it."""
    require_good(source, CacheBudget())
    path.write_text("".join(ROWS[:7]), encoding="utf-8")
    with pytest.raises(SourceChanged):
        CheckedSource(source, 130).resume(0)


def test_there_is_only_so_much_room(source: CsvFile, path: Path) -> None:
    """Files share it; one that does not fit is read again, and takes nothing from the others."""
    size = len(encode_bets(list(source.bets())))
    budget = CacheBudget(room=size + 100)
    require_good(source, budget)
    second = CsvFile(str(path), 1)
    require_good(second, budget)
    assert source.kept is not None
    assert second.kept is not None
    assert (source.kept.complete, second.kept.complete) == (True, False)
    assert budget.room == 100
    assert list(second.checked_bets()) == list(source.checked_bets())
    second.close()


def test_a_bad_file_is_not_kept(tmp_path: Path) -> None:
    """Nothing of it is sent."""
    path = tmp_path / "bad.csv"
    path.write_text(ROWS[0] + "bad\n", encoding="utf-8")
    source = CsvFile(str(path), 1)
    with pytest.raises(InputError):
        require_good(source, CacheBudget())
    assert source.kept is None
    source.close()
