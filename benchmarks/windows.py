"""What pipelining brings: `python -m benchmarks.windows`.

One agency uploads a file with each window, once a round, in an order that changes: with `bets-client send`, and with
the load generator, which sends batches that were encoded beforehand and so shows what the server makes of a window.

Of the client two times are taken. *Transfer* is from the server's line that the upload is open to its line that the
last batch is stored: the client's start and its check of the whole file, both before, are the same with every window
and not part of it. *Whole* is the life of the client's process.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.data import sample_file
from benchmarks.findings import RESULTS, Bar, bars_table, ratios, spread, table, write
from benchmarks.load.payload import Payload, write_payloads
from benchmarks.measure import disk, load_average, machine, say
from benchmarks.processes import DEADLINE_S, Program, agent_command, run_load, start
from bets_protocol import codec_info

WINDOWS = (1, 2, 4, 8, 16, 32, 64)
SERVE = (
    *(sys.executable, "-m", "bets_server", "serve", "--listen", "tcp://127.0.0.1:0"),
    *("--log-level", "DEBUG", "--agencies", "1"),
)


@attrs.frozen
class Run:
    """One upload with one window, in seconds; of the load generator all three are of the transfer."""

    transfer_s: float
    whole_s: float
    server_cpu_s: float


def run_client(file: Path, window: int, folder: Path) -> Run:
    """Uploads a file with `bets-client send`."""
    with tempfile.TemporaryDirectory(dir=folder) as name, start(SERVE, Path(name)) as server:
        command = [sys.executable, "-m", "bets_client", "send", "--server", f"127.0.0.1:{server.port()}", "-q"]
        before = server.usage()
        begin = time.time()
        client = subprocess.Popen([*command, "--no-winners", "--window", str(window), str(file)])
        try:
            opened = _time_of_opening(server, client)
            code = client.wait(DEADLINE_S)
        finally:
            client.kill()
            client.wait()
        end = time.time()
        if code:
            raise RuntimeError(f"the client ended with {code}:\n{server.printed()}")
        last = server.log.stat().st_mtime  # the server writes a line for every batch
        return Run(last - opened, end - begin, server.usage().cpu_s - before.cpu_s)


def _time_of_opening(server: Program, client: subprocess.Popen[bytes]) -> float:
    while "action: open_upload" not in server.log.read_text(encoding="utf-8"):
        if client.poll() is not None:
            raise RuntimeError(f"the client ended before it had opened its upload:\n{server.printed()}")
        time.sleep(0.002)
    return time.time()


def run_generator(payload: Payload, window: int, folder: Path) -> Run:
    """Sends what was encoded beforehand, as revision 8."""
    with tempfile.TemporaryDirectory(dir=folder) as name, start(SERVE, Path(name)) as server:
        command = agent_command("--window", str(window))
        load = run_load(server, server.port(), [payload], command=command, ask=False)
        return Run(load.upload_s, load.upload_s, load.server.cpu_s)


def page(runs: Mapping[str, Mapping[int, Sequence[Run]]], bets: int, setting: str) -> list[str]:
    """The parts of the page."""
    parts = ["# What a window brings\n", setting]
    for who, by_window in runs.items():
        rows = []
        slowest = [run.transfer_s for run in by_window[1]]
        for window, each in by_window.items():
            transfers = [run.transfer_s for run in each]
            median, quartiles = spread(transfers)
            faster = spread(ratios(slowest, transfers), 2)[0]
            whole, cpu = spread([run.whole_s for run in each])[0], spread([run.server_cpu_s for run in each])[0]
            rows.append((window, median, quartiles, f"{bets / float(median or 1) / 1000:.0f}", faster, whole, cpu))
        head = ("window", "transfer, s", "quartiles", "1000 bets/s", "times as fast as 1", "whole, s", "server CPU, s")
        parts += [f"## {who}\n", table(head, rows)]
    bars = [
        Bar(
            f"{who}, transfer with window 1 / with window 16",
            ratios([run.transfer_s for run in by_window[1]], [run.transfer_s for run in by_window[16]]),
            3,
            at_least=True,
        )
        for who, by_window in runs.items()
        if 16 in by_window
    ]
    return [*parts, bars_table(bars)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bets", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the stores lie; default: the folder for temporary files")
    parser.add_argument("--quick", action="store_true", help="one round with few bets and windows; no results")
    options = parser.parse_args(arguments)
    windows = (1, 16) if options.quick else WINDOWS
    bets = 5_000 if options.quick else options.bets
    rounds = 1 if options.quick else options.rounds
    work = [(who, window) for who in ("bets-client send", "load generator") for window in windows]
    runs: dict[str, dict[int, list[Run]]] = {}
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bets-bench-", dir=options.folder) as name:
        folder = Path(name)
        file = sample_file(folder / "made", 1, bets)
        (payload,) = write_payloads(folder / "wire", [file])
        for who, window in work:
            runs.setdefault(who, {})[window] = []
        for number in range(rounds):
            say(f"windows: round {number + 1} of {rounds}")
            rng.shuffle(work)
            for who, window in work:
                ours = who == "bets-client send"
                found = run_client(file, window, folder) if ours else run_generator(payload, window, folder)
                runs[who][window].append(found)
        where = disk(folder)
    setting = (
        f"{machine()}; {codec_info()}.\n{where}; {load_average()} at the end.\n"
        f"One agency, {bets} made-up bets in batches of 130, {rounds} interleaved rounds.\n"
    )
    raw = {
        "setting": setting,
        "runs": {who: {w: [attrs.asdict(run) for run in each] for w, each in by.items()} for who, by in runs.items()},
    }
    write("windows", page(runs, bets, setting), raw, None if options.quick else RESULTS)


if __name__ == "__main__":
    main()
