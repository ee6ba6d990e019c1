"""One draw over a book, or one scan of a table with a row a bet, timed in a process of its own.

`python -m benchmarks.draw_scan draw BOOK` seals agencies 1 to 5 and times the last call, which draws; the book is used
up. `... scan TABLE` times `SELECT document FROM bets WHERE number = ?`. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

from bets_server.store import open_store

NUMBER = 7574
AGENCIES = 5


def draw(path: Path) -> dict[str, float]:
    """Draws; returns seconds of it, and how many won."""
    with open_store(f"sqlite:///{path}") as store:
        for agency in range(1, AGENCIES):
            store.seal_and_draw(agency, expected=AGENCIES, pick=lambda: NUMBER)
        start, used = time.perf_counter(), time.process_time()
        store.seal_and_draw(AGENCIES, expected=AGENCIES, pick=lambda: NUMBER)
        wall, cpu = time.perf_counter() - start, time.process_time() - used
        winners = sum(len(store.winners(agency) or ()) for agency in range(1, AGENCIES + 1))
    return {"wall_s": wall, "cpu_s": cpu, "winners": winners}


def scan(path: Path) -> dict[str, float]:
    """Scans; returns seconds of it, and how many won."""
    connection = sqlite3.connect(path)
    start, used = time.perf_counter(), time.process_time()
    winners = len(connection.execute("SELECT document FROM bets WHERE number = ?", (NUMBER,)).fetchall())
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    connection.close()
    return {"wall_s": wall, "cpu_s": cpu, "winners": winners}


if __name__ == "__main__":
    print(json.dumps((draw if sys.argv[1] == "draw" else scan)(Path(sys.argv[2]))))
