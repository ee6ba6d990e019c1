"""Validation without a server: what is wrong with which row.

`send` runs it over all of its files before it sends the first bet, so that a file with a bad row stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_client.errors import BadInput, BadRow
from bets_client.kept import Keeper, KeptBets
from bets_client.source import Source
from bets_protocol import Bet

SHOWN_ROWS = 10
"""Bad rows that an error quotes; `check` shows them all."""


@attrs.frozen(kw_only=True)
class Checked:
    """What a validation found.

    Attributes:
        good: rows that are bets.
        bad: rows that are not.
    """

    good: int
    bad: int


def check(source: Source, on_bad: Callable[[BadRow], None], on_good: Callable[[Bet], None] = lambda _: None) -> Checked:
    """Read all of `source`; tell `on_bad` of each bad row, and `on_good` of each bet.

    Raises:
        BadInput: it holds no row, or reading failed.
    """
    good = bad = 0
    for row in source.rows():
        if isinstance(row, BadRow):
            bad += 1
            on_bad(row)
        else:
            good += 1
            on_good(row)
    if not good and not bad:
        raise source.empty()
    return Checked(good=good, bad=bad)


def require_good(source: Source, keeper: Keeper | None = None) -> int:
    """How many bets `source` holds, all of its rows being good.

    Args:
        keeper: where the source may keep its bets for `Source.checked_bets`; None: it reads its file again.

    Raises:
        BadInput: some row is bad; the text has the first ones, a line each. Or it holds no row.
    """
    first: list[BadRow] = []

    def keep(row: BadRow) -> None:
        if len(first) < SHOWN_ROWS:
            first.append(row)

    kept = KeptBets(keeper or Keeper(room=0))
    found = check(source, keep, kept.add)
    if found.bad:
        text = "\n".join(str(row) for row in first)
        if found.bad > len(first):
            text += f"\n{source.name}: {found.bad - len(first)} more bad rows; bets-client check shows them all"
        raise BadInput(f"{text}\n{source.name}: nothing was sent")
    if keeper is not None:
        kept.pack()
        source.kept = kept
    return found.good
