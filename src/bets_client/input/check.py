"""Validation without a server: which rows are bad and why, and which names look wrong.

`send` checks all of its files before it sends the first bet, so that a file with a bad row stores nothing. A name that
looks wrong only gets a warning: the protocol allows it, and somebody may have that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from bets_client.input.names import odd_names
from bets_protocol import BadRow, Bet, InputError
from bets_protocol.cli.log_format import one_line
from bets_protocol.cli.stdio import write_remark
from bets_protocol.client.bet_cache import CacheBudget, CachedBets
from bets_protocol.client.csv_file import CsvFile

SHOWN_ROWS = 10
"""Bad rows that an error quotes; `check` shows them all."""


@attrs.frozen(kw_only=True)
class Checked:
    """The result of a validation.

    Attributes:
        good: rows that are bets.
        bad: rows that are not.
        odd: names in good rows that look wrong.
    """

    good: int
    bad: int
    odd: int


class OnOdd(Protocol):
    """A function that is called for a name that looks wrong."""

    def __call__(self, line: int, field: str, what: str) -> None:
        """Report a name; `what` shows it and says why it looks wrong."""


def _not_told(line: int, field: str, what: str) -> None:
    pass


def check(
    source: CsvFile,
    on_bad: Callable[[BadRow], None],
    on_good: Callable[[Bet], None] = lambda _: None,
    on_odd: OnOdd = _not_told,
) -> Checked:
    """Read all of `source`; call `on_bad` for each bad row, `on_good` for each bet, `on_odd` for names that look wrong.

    Raises:
        InputError: it has no row, or reading failed.
    """
    good = bad = odd = 0
    for row in source.rows():
        if isinstance(row, BadRow):
            bad += 1
            on_bad(row)
        else:
            good += 1
            on_good(row)
            if source.may_be_odd:
                for field, what in odd_names(row):
                    odd += 1
                    on_odd(good + bad, field, what)  # the line number: a blank line counts as a bad row
    if not good and not bad:
        raise source.empty()
    return Checked(good=good, bad=bad, odd=odd)


class NameWarnings:
    """Warns on standard error of the first names of a file that look wrong.

    Args:
        name: of the file.
        shown: the most warnings.
    """

    def __init__(self, name: str, shown: int) -> None:
        self._name = name
        self._left = shown

    def __call__(self, line: int, field: str, what: str) -> None:
        """As `OnOdd`."""
        self._left -= 1
        if self._left >= 0:
            write_remark(one_line(f"{self._name}:{line}: {field}: warning: {what}") + "\n")

    def summarize(self, count: int, what_to_do: str) -> None:
        """Write how many there were in all, if any."""
        if count:
            names = "1 name that looks" if count == 1 else f"{count:,} names that look"
            more = f", {-self._left:,} of them not shown" if self._left < 0 else ""
            write_remark(one_line(f"{self._name}: warning: {names} wrong{more}; {what_to_do}") + "\n")


def require_good(source: CsvFile, budget: CacheBudget | None = None, *, warn: bool = False) -> int:
    """Check that all rows of `source` are good, and return how many there are.

    Args:
        budget: the room for keeping its bets for `CsvFile.checked_bets`; with None it reads the file again.
        warn: whether to warn of names that look wrong.

    Raises:
        InputError: a row is bad, and the text has the first bad ones, a line each; or it has no row.
    """
    first: list[BadRow] = []

    def keep(row: BadRow) -> None:
        if len(first) < SHOWN_ROWS:
            first.append(row)

    kept = CachedBets(budget or CacheBudget(room=0))
    warnings = NameWarnings(source.name, SHOWN_ROWS if warn else 0)
    found = check(source, keep, kept.add, warnings)
    if found.bad:
        text = "\n".join(str(row) for row in first)
        if found.bad > len(first):
            text += f"\n{source.name}: {found.bad - len(first)} more bad rows; bets-client check shows them all"
        raise InputError(f"{text}\n{source.name}: nothing was sent")
    if warn:
        warnings.summarize(found.odd, "they are sent as they stand; bets-client check shows them before")
    if budget is not None:
        kept.pack()
        source.kept = kept
    return found.good
