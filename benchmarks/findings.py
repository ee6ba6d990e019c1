"""What was found, as a page and as JSON, and whether it holds the bars.

Nothing in here runs or draws anything; plots are in `report`, which needs more installed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.measure import Measurement

RESULTS = Path(__file__).parent / "results"


@attrs.frozen
class Bar:
    """A ratio that should not be above, or below, a limit.

    Attributes:
        what: is compared with what.
        samples: of the ratio, one a round.
        limit: what it is held against.
        at_least: the ratio should be the limit or more, not the limit or less.
    """

    what: str
    samples: Sequence[float]
    limit: float
    at_least: bool = False

    @property
    def found(self) -> Measurement:
        """The median ratio and its quartiles."""
        return Measurement.of(self.samples)

    @property
    def holds(self) -> bool:
        """Whether the median is on the right side."""
        median = self.found.median
        return median >= self.limit if self.at_least else median <= self.limit


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bars_table(bars: Sequence[Bar]) -> str:
    """Each bar with what was found, round by round."""
    rows = []
    for bar in bars:
        found = bar.found
        limit = f"at {'least' if bar.at_least else 'most'} {bar.limit:g}"
        verdict = "held" if bar.holds else "**missed**"
        rows.append((bar.what, f"{found.median:.2f}", f"{found.low:.2f} to {found.high:.2f}", limit, verdict))
    return table(("ratio, round by round", "median", "quartiles", "bar", ""), rows)


def spread(samples: Sequence[float], digits: int = 2) -> tuple[str, str]:
    """The median of samples, and their quartiles, for two columns."""
    found = Measurement.of(samples)
    return f"{found.median:.{digits}f}", f"{found.low:.{digits}f} to {found.high:.{digits}f}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def slope(places: Sequence[float], values: Sequence[float]) -> float:
    """How fast values grow with their places, by least squares; 0 where that cannot be said."""
    if len(set(places)) < 2:
        return 0.0
    return statistics.linear_regression(places, values).slope


def write(name: str, parts: Sequence[str], raw: Mapping[str, Any], folder: Path | None) -> None:
    """Prints a page; where there is a `folder`, writes it there too, and what it was made from as JSON."""
    text = "\n".join(parts)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        (folder / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(text, flush=True)
