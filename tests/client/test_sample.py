"""Sample files look like the real ones and are the same everywhere for the same seed."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import pytest

from bets_client.input.check import check
from bets_client.input.sample import rows, write_samples
from bets_protocol import ConfigError
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.errors import BadRow

FIRST_ROW = "Ariana Fatima,Ortiz,27086465,1980-07-17,75"
DIGEST = "54133ba20e75edb2cdfb5670c76c7ebfcdf9bdf9c3574d42f059f7b231e1da2d"


def test_the_same_seed_gives_the_same_bytes_on_every_python() -> None:
    """The rows of a seed have a fixed digest."""
    text = "\n".join(rows(3, 500, 7))
    assert next(rows(1, 1, 1)) == FIRST_ROW
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_another_seed_and_another_agency_give_other_rows() -> None:
    """Seed and agency each change the rows."""
    first = list(rows(1, 50, 1))
    assert list(rows(1, 50, 2)) != first
    assert list(rows(2, 50, 1)) != first


def test_a_longer_file_begins_as_a_shorter_one() -> None:
    """The number of bets does not change the first rows."""
    assert list(rows(1, 60, 1))[:50] == list(rows(1, 50, 1))


def test_the_shape_is_that_of_the_real_files(tmp_path: Path) -> None:
    """Line ends, accents and birthdates are as in the agencies' files."""
    (path,) = write_samples(str(tmp_path), agencies=1, bets=5000, seed=3)
    content = path.read_bytes()
    lines = content.decode().split("\r\n")
    assert lines.pop() == ""
    assert len(lines) == 5000
    assert "\n" not in "".join(lines)
    fields = [line.split(",") for line in lines]
    accented = sum(not (first + last).isascii() for first, last, *_ in fields) / len(fields)
    assert 0.25 <= accented <= 0.34
    assert all("1980-01-01" <= birthdate <= "2004-08-23" for *_, birthdate, _ in fields)
    assert all("20000000" <= document <= "39999999" for _, _, document, _, _ in fields)
    numbers = {int(number) for *_, number in fields}
    assert (min(numbers) < 20, max(numbers) > 9980) == (True, True)
    assert 45 <= len(content) / len(lines) <= 50


def test_every_row_is_good(tmp_path: Path) -> None:
    """`check` finds nothing wrong in a sample."""
    (path,) = write_samples(str(tmp_path / "made" / "as needed"), agencies=1, bets=5000, seed=4)
    source = CsvFile(str(path), 1)
    bad: list[BadRow] = []
    found = check(source, bad.append)
    source.close()
    assert (found.good, bad) == (5000, [])


def test_an_agency_more_changes_no_file(tmp_path: Path) -> None:
    """The files of the other agencies stay byte for byte."""
    few = write_samples(str(tmp_path), agencies=2, bets=10, seed=1)
    before = [path.read_bytes() for path in few]
    more = write_samples(str(tmp_path), agencies=3, bets=10, seed=1)
    assert [path.name for path in more] == ["agency-1.csv", "agency-2.csv", "agency-3.csv"]
    assert [path.read_bytes() for path in more][:2] == before


def test_a_different_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    """Without `overwrite` nothing of another content is lost."""
    theirs = tmp_path / "agency-2.csv"
    theirs.write_text("somebody's data")
    with pytest.raises(ConfigError, match=r"agency-2\.csv: a different file is there already; --overwrite"):
        write_samples(str(tmp_path), agencies=2, bets=10, seed=1)
    assert theirs.read_text() == "somebody's data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agency-1.csv", "agency-2.csv"]
    write_samples(str(tmp_path), agencies=2, bets=10, seed=1, overwrite=True)
    assert theirs.read_bytes().count(b"\r\n") == 10


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error has the path and the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: cannot write it: File exists"):
        write_samples(str(tmp_path / "file"), agencies=1, bets=1, seed=1)
    with pytest.raises(ConfigError, match=r"x\x00y: cannot write it: .*embedded null"):
        write_samples("x\0y", agencies=1, bets=1, seed=1)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """It itself, not the one beside it that is written first; and nothing stays."""
    (tmp_path / "agency-1.csv").mkdir()
    with pytest.raises(ConfigError) as caught:
        write_samples(str(tmp_path), agencies=1, bets=1, seed=1, overwrite=True)
    assert str(caught.value) == f"{tmp_path}/agency-1.csv: cannot write it: Is a directory"
    assert [path.name for path in tmp_path.iterdir()] == ["agency-1.csv"]


def test_a_file_that_the_disk_has_no_room_for_is_named(tmp_path: Path) -> None:
    """A bound on the size of files fails in the same way, in the middle of writing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(ConfigError) as caught:
            write_samples(str(tmp_path), agencies=1, bets=3000, seed=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{tmp_path}/agency-1.csv: cannot write it: File too large"
    assert list(tmp_path.iterdir()) == []
