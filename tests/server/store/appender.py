"""A program that stores for ever, uploads, or draws once, for the tests that kill it.

What it stores is known beforehand: group `n` has the same bets in every process, and no two bets share a document. It
imports the store alone, since it is started often.

Usage: ``python -m tests.server.store.appender append|upload|draw URL NUMBER``
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterable

from bets_protocol import Bet, BetRun, encode_bets
from bets_server.store import Parcel, StoreFull, Verdict, open_store

WINNING = 7574
UPLOAD_ID = b"sixteen bytes id"
TOTAL = 100_000
_MAX_BETS = 60


def bet(row: int, *, agency: int = 1) -> Bet:
    """A bet that tells by its document which one it is."""
    return Bet(
        agency=agency,
        first_name="Tomás Agustín",
        last_name='O"Higgins, hijo',
        document=f"{row:08d}",
        birthdate="1999-03-17",
        number=WINNING,
    )


def lots_of(bets: Iterable[Bet]) -> tuple[BetRun, ...]:
    """A batch as a store gets it."""
    runs = [(agency, list(run)) for agency, run in itertools.groupby(bets, key=lambda bet: bet.agency)]
    return tuple(BetRun(agency=agency, count=len(run), encoded=encode_bets(run)) for agency, run in runs)


def group_bets(group: int) -> list[list[Bet]]:
    """The batches of a group, some with bets of several agencies."""
    source = random.Random(group)
    rows = iter(range(group * _MAX_BETS, (group + 1) * _MAX_BETS))
    return [
        [bet(next(rows), agency=source.randint(1, 3)) for _ in range(source.randint(1, 20))]
        for _ in range(source.randint(1, 3))
    ]


def group_of(group: int) -> list[Parcel]:
    """The same as a store gets it, without uploads."""
    return [Parcel(runs=lots_of(bets)) for bets in group_bets(group)]


def append(url: str, group: int) -> None:
    """Store one group after the other, from `group` on, and say so after each, until there is no room."""
    with open_store(url) as store:
        print("open", flush=True)
        while True:
            try:
                receipts = store.commit(group_of(group))
            except StoreFull as error:
                print("full", error, flush=True)
                return
            if {receipt.verdict for receipt in receipts} != {Verdict.STORED}:
                raise SystemExit(f"refused: {receipts}")
            print(group, flush=True)
            group += 1


def upload(url: str, agency: int) -> None:
    """Go on with an upload, three parcels of a random size in each group, and say how far after each."""
    with open_store(url) as store:
        opening = store.open_upload(agency, UPLOAD_ID, total=TOTAL)
        print(opening.stored, flush=True)
        sizes = random.Random(opening.stored)
        end = opening.stored
        while True:
            group = []
            for _ in range(3):
                first_row, end = end, end + sizes.randint(1, 40)
                runs = lots_of(bet(row, agency=agency) for row in range(first_row, end))
                group.append(Parcel(runs=runs, ticket=opening.ticket, first_row=first_row))
            receipts = store.commit(group)
            if {receipt.verdict for receipt in receipts} != {Verdict.STORED}:
                raise SystemExit(f"refused: {receipts}")
            print(receipts[-1].stored, flush=True)


def draw(url: str, agency: int) -> None:
    """Seal one agency, the only one that is expected."""
    with open_store(url) as store:
        print("open", flush=True)
        print(store.seal_and_draw(agency, expected=1, pick=lambda: WINNING), flush=True)


if __name__ == "__main__":
    {"append": append, "upload": upload, "draw": draw}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
