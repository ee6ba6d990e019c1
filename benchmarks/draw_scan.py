"""One draw over a book, or one scan of a table with a row a bet, timed in a process of its own.

`python -m benchmarks.draw_scan draw BOOK` seals agencies 1 to 5 and times the last call, which draws; the book is used
up. `... stored BOOK` first stores the bets of BOOK in a new one beside it, and draws there: as a server does that has
taken the bets itself, and has hashed them meanwhile. `... scan TABLE` times
`SELECT document FROM bets WHERE number = ?`. Prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bets_protocol import BetRun
from bets_server.store import Parcel, open_store

NUMBER = 7574
AGENCIES = 5
PARCELS_A_GROUP = 100


def draw(path: Path, source: Path | None = None) -> dict[str, float]:
    """Draws, over what is in `source` as well; returns seconds of the draw, and how many won."""
    with open_store(f"sqlite:///{path}") as store:
        if source is not None:
            parcels = parcels_of(source)
            while group := list(itertools.islice(parcels, PARCELS_A_GROUP)):
                store.commit(group)
        for agency in range(1, AGENCIES):
            store.seal_and_draw(agency, expected=AGENCIES, pick=lambda: NUMBER)
        start, used = time.perf_counter(), time.process_time()
        store.seal_and_draw(AGENCIES, expected=AGENCIES, pick=lambda: NUMBER)
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        winners = sum(len(store.winners(agency) or ()) for agency in range(1, AGENCIES + 1))
    return {"wall_s": wall, "cpu_s": cpu, "winners": winners}


def parcels_of(book: Path) -> Iterator[Parcel]:
    """What a server has stored, as it came."""
    with contextlib.closing(sqlite3.connect(book)) as connection:
        what = "upload.agency, batch.count, batch.bets FROM batch JOIN upload ON upload.id = batch.upload"
        for agency, count, encoded in connection.execute(f"SELECT {what} ORDER BY batch.seq"):
            yield Parcel(runs=(BetRun(agency=agency, count=count, encoded=encoded),))


def stored(book: Path) -> dict[str, float]:
    """The draw in the process that has stored the bets."""
    new = book.with_name("stored.db")
    try:
        return draw(new, book)
    finally:
        for path in book.parent.glob("stored.db*"):
            path.unlink()


def scan(path: Path) -> dict[str, float]:
    """Scans; returns seconds of it, and how many won."""
    connection = sqlite3.connect(path)
    start, used = time.perf_counter(), time.process_time()
    winners = len(connection.execute("SELECT document FROM bets WHERE number = ?", (NUMBER,)).fetchall())
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    connection.close()
    return {"wall_s": wall, "cpu_s": cpu, "winners": winners}


if __name__ == "__main__":
    measures: dict[str, Callable[[Path], dict[str, float]]] = {"draw": draw, "stored": stored, "scan": scan}
    print(json.dumps(measures[sys.argv[1]](Path(sys.argv[2]))))
