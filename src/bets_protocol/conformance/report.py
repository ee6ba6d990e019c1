"""How a program that checks another one against the protocol says what it found: rules, findings, the table.

A *rule* is a sentence of docs/protocol.md that can be seen from the other end of a connection. `bets-client conform`
checks a server by rules, `bets-server conform` a client; both report in the same form. The rules themselves stand in
the two programs, since what can be seen differs.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.log_format import one_line


class Result(enum.Enum):
    """What became of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@attrs.frozen(kw_only=True)
class Finding:
    """One rule and what became of it.

    Attributes:
        rule: its name: words with hyphens, and a contract with scripts.
        section: the heading in docs/protocol.md that says it.
        expected: what a program that keeps it does.
        result: what became of it.
        came: where it failed, what came instead; where it was not tried, why.
    """

    rule: str
    section: str
    expected: str
    result: Result
    came: str = ""


def exit_code_for(findings: Iterable[Finding]) -> ExitCode:
    """`PROTOCOL` where a rule has failed."""
    return ExitCode.PROTOCOL if any(one.result is Result.FAILED for one in findings) else ExitCode.DONE


def report(findings: Sequence[Finding], form: str, **about: Any) -> str:
    """The findings as a table for people, or as one JSON object where `form` is `json`.

    Args:
        about: what else the object says, in front.
    """
    counts = {result: sum(one.result is result for one in findings) for result in Result}
    if form == "json":
        rules = [attrs.asdict(one) | {"result": one.result.value} for one in findings]
        numbers = {result.name.lower(): count for result, count in counts.items()}
        return json.dumps({**about, **numbers, "rules": rules}, ensure_ascii=False) + "\n"
    lines = [("RESULT", "RULE", "SECTION"), *((one.result.value, one.rule, one.section) for one in findings)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = _row(lines[0], widths)
    for one, cells in zip(findings, lines[1:], strict=True):
        text += _row(cells, widths)
        if one.result is Result.FAILED:
            text += f"    expected: {one_line(one.expected)}\n    came:     {one_line(one.came)}\n"
    summary = ", ".join(f"{count} {result.value}" for result, count in counts.items())
    reasons = sorted({one.came for one in findings if one.result is Result.NOT_TRIED})
    return f"{text}{summary}\n" + "".join(f"not tried: {one_line(reason)}\n" for reason in reasons)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip() + "\n"
