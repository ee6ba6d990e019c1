"""Tables and plots of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import matplotlib as mpl

from benchmarks.measure import Measurement

mpl.use("Agg")
import matplotlib.pyplot as plt


@attrs.frozen
class Row:
    """One contender of a table."""

    name: str
    what: str
    found: Measurement


def markdown_table(rows: Sequence[Row], reference: Measurement, unit: str) -> str:
    """A table with medians, quartiles, and each median as a multiple of the reference's."""
    lines = [f"| | median | quartiles | of {unit} | gives |\n|---|---|---|---|---|\n"]
    for row in sorted(rows, key=lambda row: row.found.median):
        m = row.found
        ratio = m.median / reference.median
        lines.append(f"| {row.name} | {m.median:.3g} | {m.low:.3g} to {m.high:.3g} | {ratio:.2f} | {row.what} |\n")
    return "".join(lines)


def write_bars(path: Path, groups: Mapping[str, Sequence[Row]], axis: str) -> None:
    """A picture: one panel a group, a bar a contender on a logarithmic axis, whiskers at the quartiles."""
    heights = [len(rows) for rows in groups.values()]
    figure, panels = plt.subplots(
        len(groups), 1, figsize=(8, 1.2 + 0.42 * sum(heights)), height_ratios=heights, layout="constrained"
    )
    for panel, (title, rows) in zip(panels if len(groups) > 1 else [panels], groups.items(), strict=True):
        ordered = sorted(rows, key=lambda row: row.found.median, reverse=True)
        medians = [row.found.median for row in ordered]
        whiskers = [
            [row.found.median - row.found.low for row in ordered],
            [row.found.high - row.found.median for row in ordered],
        ]
        ours = {"native", "pure Python", "bets-server", "bets-server, pure"}
        colours = ["tab:blue" if row.name in ours else "tab:gray" for row in ordered]
        panel.barh([row.name for row in ordered], medians, xerr=whiskers, color=colours)
        panel.set_xscale("log")
        panel.set_title(title, loc="left")
        for index, row in enumerate(ordered):
            panel.annotate(
                f"{row.found.median:.2g}",
                (row.found.high, index),
                va="center",
                fontsize=8,
                xytext=(4, 0),
                textcoords="offset points",
            )
        panel.margins(x=0.15)
    (panels if len(groups) == 1 else panels[-1]).set_xlabel(f"{axis} (logarithmic; less is better)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
