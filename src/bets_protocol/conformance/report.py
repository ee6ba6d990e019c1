"""What a check against the protocol reports: rules, findings, the table and the JSON object.

A *rule* is a sentence of docs/protocol.md that can be observed from the other end of a connection. A server and a
client can be observed to keep different rules, so each kit has its own; both report them in the same form.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from typing import Any

import attrs

from bets_protocol.cli.log_format import one_line

EVERY = (5, 6, 7, 8, 9)
UP_TO_8 = (5, 6, 7, 8)
SINCE_6 = (6, 7, 8, 9)
SINCE_7 = (7, 8, 9)
"""Revisions in which a rule holds: batches came with 6, types, probes and winners with 7, uploads with 9."""


class Result(enum.Enum):
    """The result of checking a rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@attrs.frozen
class Rule:
    """A sentence of the protocol that can be checked from the other end."""

    name: str  # words with hyphens; a contract with scripts
    section: str  # the heading in docs/protocol.md that states it
    expected: str  # what a program that keeps it does
    revisions: tuple[int, ...] = EVERY  # those in which it holds


@attrs.frozen
class Finding:
    """The result of checking one rule."""

    rule: Rule
    result: Result
    came: str = ""  # what came instead if the rule failed; the reason if it was not tried


def report(findings: Sequence[Finding], form: str, **about: Any) -> str:
    """The findings as a table, or if `form` is `json` as one JSON object, in which `about` comes before them."""
    counts = {result: sum(one.result is result for one in findings) for result in Result}
    if form == "json":
        rules = [
            {
                "rule": one.rule.name,
                "section": one.rule.section,
                "expected": one.rule.expected,
                "result": one.result.value,
                "came": one.came,
            }
            for one in findings
        ]
        numbers = {result.name.lower(): count for result, count in counts.items()}
        return json.dumps({**about, **numbers, "rules": rules}, ensure_ascii=False) + "\n"
    lines = [("RESULT", "RULE", "SECTION"), *((one.result.value, one.rule.name, one.rule.section) for one in findings)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = _row(lines[0], widths)
    for one, cells in zip(findings, lines[1:], strict=True):
        text += _row(cells, widths)
        if one.result is Result.FAILED:
            text += f"    expected: {one_line(one.rule.expected)}\n    came:     {one_line(one.came)}\n"
    summary = ", ".join(f"{count} {result.value}" for result, count in counts.items())
    reasons = sorted({one.came for one in findings if one.result is Result.NOT_TRIED})
    return f"{text}{summary}\n" + "".join(f"not tried: {one_line(reason)}\n" for reason in reasons)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip() + "\n"
