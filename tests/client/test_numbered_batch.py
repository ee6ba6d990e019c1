"""Bets are cut into messages that know their rows, and never across files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bets_protocol import Bet, BetRun
from bets_protocol.client.batch_source import BetSequence
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.numbered_batch import NumberedBatch, describe_rows, numbered_batches

ROW = "Ana,Paz,30904465,1999-03-17,1\n"
BET = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=1)


def cut(folder: Path, sizes: list[int], *, revision: int = 8, batch_max: int = 130) -> list[tuple[str, int, int, int]]:
    sources = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.csv"
        path.write_text(ROW * size)
        sources.append(CsvFile(str(path), 1))
    found = list(numbered_batches(sources, revision=revision, batch_max=batch_max))
    for source in sources:
        source.close()
    return [(Path(one.name).name, one.count, one.first_row, one.last_row) for one in found]


def test_batches_end_with_their_file(tmp_path: Path) -> None:
    """No batch holds rows of two files, and each knows its rows."""
    assert cut(tmp_path, [5, 1], batch_max=2) == [
        ("0.csv", 2, 1, 2),
        ("0.csv", 2, 3, 4),
        ("0.csv", 1, 5, 5),
        ("1.csv", 1, 1, 1),
    ]


def test_revision_5_sends_bet_by_bet(tmp_path: Path) -> None:
    """Whatever `--batch-max` says, a batch of revision 5 is one bet."""
    assert cut(tmp_path, [2], revision=5) == [("0.csv", 1, 1, 1), ("0.csv", 1, 2, 2)]


def test_a_batch_keeps_the_bound_in_bytes_as_well(tmp_path: Path) -> None:
    """Long bets fill a frame before the amount is reached."""
    path = tmp_path / "long.csv"
    path.write_text(f"{'x' * 255},{'y' * 255},30904465,1999-03-17,1\n" * 40)
    source = CsvFile(str(path), 1)
    counts = [one.count for one in numbered_batches([source], revision=8, batch_max=255)]
    source.close()
    assert counts == [15, 15, 10]  # (8192 - 2) // 535 = 15


@pytest.mark.parametrize(("revision", "kind"), [(5, Bet), (6, BetRun), (8, BetRun)])
def test_a_single_bet_is_what_the_revision_sends(revision: int, kind: type) -> None:
    """A bet that comes from no file is a Bet on revision 5 and a run of one bet later, and has no row."""
    (batch,) = numbered_batches([BetSequence([BET], 1, "the bet")], revision=revision, batch_max=130)
    assert (type(batch.message), batch.count, batch.first_row, batch.last_row) == (
        kind,
        1,
        0,
        0,
    )


def some(name: str, first: int, count: int) -> NumberedBatch:
    return NumberedBatch(message=BET, count=count, name=name, first_row=first)


@pytest.mark.parametrize(
    ("those", "text"),
    [
        ([some("a", 1, 130), some("a", 131, 130)], "a:1-260"),
        ([some("a", 1, 130), some("a", 261, 1), some("b", 1, 2)], "a:1-130, a:261, b:1-2"),
        ([some("a", 1, 2), some("b", 3, 2)], "a:1-2, b:3-4"),
        ([some("the bet", 0, 1)], "the bet"),
        ([], ""),
    ],
)
def test_rows_are_described_as_ranges(those: list[NumberedBatch], text: str) -> None:
    """Neighbouring batches of a file are joined."""
    assert describe_rows(those) == text
