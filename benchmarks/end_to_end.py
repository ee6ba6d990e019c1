"""The whole job, timed: `python -m benchmarks.end_to_end`.

A real server and five real clients on loopback, once for each way of running them in every round, in an order that
changes. Real files where they are at hand, else made-up ones of the same sizes. Writes benchmarks/results/end_to_end.md
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.data import real_data
from benchmarks.measure import machine
from bets_protocol import codec_info

RESULTS = Path(__file__).parent / "results"
DEADLINE_S = 300.0
SIZES = (26_936, 25_518, 16_014, 9_238, 991)
"""Bets of the five real files."""


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
    with tempfile.TemporaryDirectory(prefix="bets-bench-") as name:
        folder = Path(name)
        log = folder / "server.log"
        command = [sys.executable, "-m", "bets_server", "serve", "--listen", "tcp://127.0.0.1:0"]
        command += ["--log-level", "DEBUG", "--agencies", str(len(files)), *way.server]
        with log.open("w") as output:
            server = subprocess.Popen(command, cwd=folder, env=environment, stdout=output)
        try:
            port = _port(log)
            start = time.monotonic()
            base = [sys.executable, "-m", "bets_client", "send", "--server", f"127.0.0.1:{port}", "-q", *way.client]
            clients = [
                subprocess.Popen([*base, str(file)], env=environment, stdout=subprocess.DEVNULL) for file in files
            ]
            codes = [client.wait(DEADLINE_S) for client in clients]
            wall = time.monotonic() - start
            if any(codes):
                raise RuntimeError(
                    f"{way.name}: the clients ended with {codes}; see the server's log:\n{log.read_text()}"
                )
            return Run(wall, _cpu_s(server.pid), _peak_mib(server.pid))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(DEADLINE_S)


def _port(log: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = re.search(r"action: config \| result: success \| port: (\d+)", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _files(folder: Path) -> tuple[list[Path], str]:
    real = real_data()
    if real is not None:
        return sorted(real.glob("agency-*.csv")), "the five real files"
    files = []
    for agency, bets in enumerate(SIZES, 1):
        command = [sys.executable, "-m", "bets_client", "sample", str(folder / str(agency))]
        subprocess.run([*command, "--agencies", str(agency), "--bets", str(bets)], check=True, capture_output=True)
        files.append(folder / str(agency) / f"agency-{agency}.csv")
    return files, "made-up files of the real sizes"


def _ratios(runs: dict[str, list[Run]]) -> list[str]:
    """What exactly once costs: revision 9 over revision 8, round by round, where both were run in the same way."""
    lines = ["\n| wall time of revision 9 / revision 8 | median | quartiles |\n|---|---|---|\n"]
    for name, new in runs.items():
        old = runs.get(name.replace("revision 9", "revision 8"))
        if old is None or old is new:
            continue
        ratios = [one.wall_s / other.wall_s for one, other in zip(new, old, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        how = name.partition(", ")[2] or "native codec, window 16"
        lines.append(f"| {how} | {median:.2f} | {low:.2f} to {high:.2f} |\n")
    return lines if len(lines) > 1 else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="ways whose name has this in it; writes no results")
    options = parser.parse_args(arguments)
    ways = [way for way in WAYS if options.only in way.name]
    order, rng = list(ways), random.Random(1)
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        files, source = _files(Path(name))
        for number in range(options.rounds + 1):
            rng.shuffle(order)
            for way in order:
                found = run_once(way, files)
                if number:
                    runs[way.name].append(found)
    lines = [
        "# The whole job\n\n",
        f"{machine()}; {codec_info()}.\n{source}, {sum(SIZES)} bets, five clients at once, SQLite with an fsync\n"
        f"before every answer unless it says otherwise; {options.rounds} interleaved rounds. Wall time includes the\n"
        "start of the five client processes, the draw and the winners.\n\n",
        "| | wall, s | quartiles | server CPU, s | server peak, MiB |\n|---|---|---|---|---|\n",
    ]
    for way in ways:
        walls = [run.wall_s for run in runs[way.name]]
        low, median, high = statistics.quantiles(walls, n=4, method="inclusive")
        cpu = statistics.median(run.server_cpu_s for run in runs[way.name])
        peak = max(run.server_peak_mib for run in runs[way.name])
        lines.append(f"| {way.name} | {median:.2f} | {low:.2f} to {high:.2f} | {cpu:.2f} | {peak:.0f} |\n")
    lines += _ratios(runs)
    text = "".join(lines)
    if options.only:
        print(text)
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "end_to_end.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
