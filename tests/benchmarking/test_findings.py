"""The arithmetic behind the tables of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import findings
from benchmarks.findings import Bar
from benchmarks.measure import quantile


@pytest.mark.parametrize(
    ("samples", "at_least", "holds"),
    [
        ([0.1, 0.25, 0.9], False, True),
        ([0.1, 0.26, 0.3], False, False),
        ([0.1, 0.25, 0.9], True, True),
        ([0.1, 0.24, 0.9], True, False),
        ([0.2], False, True),
    ],
)
def test_the_median_decides_about_a_bar(samples: list[float], at_least: bool, holds: bool) -> None:
    """A bar is held where the median ratio is on its side of the limit, which is on both sides."""
    bar = Bar("a / b", samples, 0.25, at_least=at_least)
    assert bar.holds is holds
    assert ("**missed**" in findings.bars_table([bar])) is not holds


def test_ratios_are_of_the_same_round() -> None:
    """Each sample is divided by the other's of its round; rounds that do not match are an error."""
    assert findings.ratios([1.0, 6.0], [2.0, 3.0]) == [0.5, 2.0]
    with pytest.raises(ValueError, match="zip"):
        findings.ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_quantile(share: float, value: float) -> None:
    """The value at that share of the way; the last one at its end."""
    assert quantile([1, 2, 3, 4], share) == value


def test_quantile_of_nothing() -> None:
    """Nothing was measured: 0."""
    assert quantile([], 0.5) == 0


def test_slope() -> None:
    """Least squares, and flat where there is nothing to tell a slope from."""
    assert findings.slope([0, 1, 2], [5, 7, 9]) == pytest.approx(2)
    assert findings.slope([1], [5]) == 0
    assert findings.slope([], []) == 0


def test_a_page_is_written_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page goes to the folder and to the screen, what it was made from beside it; without a folder, no file."""
    parts = ["# Title\n", findings.table(("a", "b"), [(1, "x")])]
    findings.write("page", parts, {"a": [1]}, tmp_path / "results")
    findings.write("other", parts, {}, None)
    text = "# Title\n\n| a | b |\n|---|---|\n| 1 | x |\n"
    assert (tmp_path / "results" / "page.md").read_text() == text
    assert json.loads((tmp_path / "results" / "page.json").read_text()) == {"a": [1]}
    assert capsys.readouterr().out == f"{text}\n{text}\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["page.json", "page.md", "results"]
