"""The whole job, timed: `python -m benchmarks.end_to_end`.

A real server and five real clients on loopback, once for each way of running them in every round, in an order that
changes. Real files where they are at hand, else made-up ones of the same sizes. Writes benchmarks/results/end_to_end.md
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.data import SIZES, agency_files
from benchmarks.findings import RESULTS, ratios, spread, table, write
from benchmarks.measure import machine, say
from benchmarks.processes import DEADLINE_S, start
from bets_protocol import codec_info


@attrs.frozen
class Way:
    """One way of running the job."""

    name: str
    server: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


_OLD = ("--revision", "8")
_ONE = ("--window", "1")
_PURE = (("BETS_PURE", "1"),)

WAYS = (
    Way("revision 9"),
    Way("revision 8", client=_OLD),
    Way("revision 9, pure codec", environment=_PURE),
    Way("revision 8, pure codec", client=_OLD, environment=_PURE),
    Way("revision 9, window 1", client=_ONE),
    Way("revision 8, window 1", client=(*_OLD, *_ONE)),
    Way("revision 9, one worker", server=("--workers", "1")),
    Way("revision 9, CSV store", server=("--store", "csv:///bets.csv")),
)


@attrs.frozen
class Run:
    """What one run took: seconds from the first client's start to the last one's end, and what the server used."""

    wall_s: float
    server_cpu_s: float
    server_peak_mib: float


def run_once(way: Way, files: Sequence[Path]) -> Run:
    """The whole job, done `way`, in a folder of its own."""
    environment = {**os.environ, **dict(way.environment)}
    command = [sys.executable, "-m", "bets_server", "serve", "--listen", "tcp://127.0.0.1:0"]
    command += ["--log-level", "DEBUG", "--agencies", str(len(files)), *way.server]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bets-bench-")))
        server = stack.enter_context(start(command, folder, environment=dict(way.environment)))
        base = [sys.executable, "-m", "bets_client", "send", "--server", f"127.0.0.1:{server.port()}", "-q"]
        begin = time.monotonic()
        clients = []
        for file in files:
            client = subprocess.Popen([*base, *way.client, str(file)], env=environment, stdout=subprocess.DEVNULL)
            stack.enter_context(client)
            stack.callback(client.kill)
            clients.append(client)
        codes = [client.wait(DEADLINE_S) for client in clients]
        wall = time.monotonic() - begin
        if any(codes):
            raise RuntimeError(f"{way.name}: the clients ended with {codes}; the server said:\n{server.printed()}")
        usage = server.usage()
        return Run(wall, usage.cpu_s, usage.peak_mib)


def _ratios(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """What exactly once costs: revision 9 over revision 8, round by round, where both were run in the same way."""
    rows = []
    for name, new in runs.items():
        old = runs.get(name.replace("revision 9", "revision 8"))
        if old is not None and old is not new:
            how = name.partition(", ")[2] or "native codec, window 16"
            rows.append((how, *spread(ratios([run.wall_s for run in new], [run.wall_s for run in old]))))
    return [table(("wall time of revision 9 / revision 8", "median", "quartiles"), rows)] if rows else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="ways whose name has this in it; writes no results")
    parser.add_argument("--quick", action="store_true", help="one round with few bets; writes no results")
    options = parser.parse_args(arguments)
    sizes = tuple(size // 50 for size in SIZES) if options.quick else SIZES
    rounds = 1 if options.quick else options.rounds
    ways = [way for way in WAYS if options.only in way.name]
    order, rng = list(ways), random.Random(1)
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="bets-bench-") as name:
        files, source = agency_files(Path(name), sizes)
        for number in range(rounds + (rounds > 1)):
            say(f"end to end: round {number} of {rounds}")
            rng.shuffle(order)
            for way in order:
                found = run_once(way, files)
                if number or rounds == 1:
                    runs[way.name].append(found)
    setting = (
        f"{machine()}; {codec_info()}.\n{source}, {sum(sizes)} bets, five clients at once, SQLite with an fsync\n"
        f"before every answer unless it says otherwise; {rounds} interleaved rounds. Wall time includes the\n"
        "start of the five client processes, the draw and the winners.\n"
    )
    rows = [
        (
            name,
            *spread([run.wall_s for run in each]),
            spread([run.server_cpu_s for run in each])[0],
            f"{max(run.server_peak_mib for run in each):.0f}",
        )
        for name, each in runs.items()
    ]
    head = ("", "wall, s", "quartiles", "server CPU, s", "server peak, MiB")
    raw = {"setting": setting, "runs": {name: [attrs.asdict(run) for run in each] for name, each in runs.items()}}
    parts = ["# The whole job\n", setting, table(head, rows), *_ratios(runs)]
    write("end_to_end", parts, raw, None if options.only or options.quick else RESULTS)


if __name__ == "__main__":
    main()
