"""Decodes a long stream of bets and watches the memory: `python -m benchmarks.soak --bets 10000000`.

The stream goes through a connection in pieces of uneven size, as from a network, and every bet becomes an object. The
resident memory is read at twenty points; after the first tenth it must not grow by more than 2 MiB. That is a check
and not a measurement: it ends with exit code 1 when it does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import bets_for_benchmarks
from bets_protocol import NEED_DATA, Ack, BetBatch, ServerConnection, batches, codec_info, encode

MAX_GROWTH_BYTES = 2 * 1024 * 1024
POINTS = 20


def resident_bytes() -> int:
    """The resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def soak(total: int) -> list[int]:
    """Decodes at least `total` bets; returns the resident memory at each point."""
    bets, _ = bets_for_benchmarks(5_000)
    stream = b"".join(encode(batch) for batch in batches(bets))
    rng = random.Random(1)
    sizes = itertools.cycle([rng.randrange(1, 20_000) for _ in range(997)])
    connection = ServerConnection()
    done = 0
    points: list[int] = []
    while done < total:
        position = 0
        while position < len(stream):
            piece = stream[position : position + next(sizes)]
            position += len(piece)
            connection.receive_data(piece)
            while (event := connection.next_event()) is not NEED_DATA:
                if not isinstance(event, BetBatch):
                    raise TypeError(f"expected a batch, not {event!r}")
                done += len(event.bets)
                connection.send(Ack(count=len(event.bets)))
        if done * POINTS >= total * (len(points) + 1):
            points.append(resident_bytes())
    return points


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bets", type=int, default=10_000_000)
    options = parser.parse_args(arguments)
    points = soak(options.bets)
    settled = points[POINTS // 10 :]
    growth = max(settled) - settled[0]
    shown = " ".join(f"{point / 2**20:.1f}" for point in points)
    print(f"{codec_info()}: {options.bets} bets; resident MiB: {shown}; growth {growth / 2**20:.2f} MiB")
    return 1 if growth > MAX_GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
