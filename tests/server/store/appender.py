"""A program that stores for ever, or draws once, for the tests that kill it.

What it stores is known beforehand: group `n` has the same bets in every process, and no two bets share a document.

Usage: ``python -m tests.server.store.appender append|draw URL NUMBER``
"""

from __future__ import annotations

import random
import sys

from bets_protocol import Bet
from bets_server.store import StoreFull, Verdict, open_store
from bets_server.store.conformance import WINNING, batch_of, sample_bet, winning

_MAX_BETS = 60


def group_bets(group: int) -> list[list[Bet]]:
    """The batches of a group, some with bets of several agencies."""
    source = random.Random(group)
    rows = iter(range(group * _MAX_BETS, (group + 1) * _MAX_BETS))
    return [
        [sample_bet(next(rows), agency=source.randint(1, 3), number=WINNING) for _ in range(source.randint(1, 20))]
        for _ in range(source.randint(1, 3))
    ]


def append(url: str, group: int) -> None:
    """Store one group after the other, from `group` on, and say so after each, until there is no room."""
    with open_store(url) as store:
        print("open", flush=True)
        while True:
            batches = [batch_of(bets) for bets in group_bets(group)]
            try:
                verdicts = store.append(batches)
            except StoreFull as error:
                print("full", error, flush=True)
                return
            if verdicts != [Verdict.STORED] * len(batches):
                raise SystemExit(f"refused: {verdicts}")
            print(group, flush=True)
            group += 1


def draw(url: str, agency: int) -> None:
    """Seal one agency, the only one that is expected."""
    with open_store(url) as store:
        print("open", flush=True)
        print(store.seal_and_draw(agency, expected=1, pick=winning), flush=True)


if __name__ == "__main__":
    {"append": append, "draw": draw}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
