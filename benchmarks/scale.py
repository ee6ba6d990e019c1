"""The server at scale: `python -m benchmarks.scale`.

Soak: five processes send ten million bets; the server's memory is read all the while. Draw: over the book that the soak
has filled, against a scan of the same bets in a plain table of SQLite. Parked: ten thousand connections that wait for
the draw, what each takes, and how long it takes to answer them all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.data import read_bets, sample_file
from benchmarks.findings import RESULTS, Bar, bars_table, ratios, slope, spread, table, write
from benchmarks.load.payload import FIELDS, write_payloads
from benchmarks.measure import disk, load_average, machine, say
from benchmarks.processes import (
    DEADLINE_S,
    Conversation,
    Load,
    Program,
    agent_command,
    converse,
    parker_command,
    run_load,
    start,
)
from bets_protocol import codec_info

AGENCIES = 5
PARKED_AGENCIES = 250
SAMPLE_BETS = 20_000
"""Bets of one agency's payload, which is sent again and again."""

SAMPLE_EVERY_S = 0.1


@attrs.frozen
class Point:
    """The server's resident memory when so many seconds had gone by since the soak began."""

    at_s: float
    rss_mib: float


@attrs.frozen
class Soak:
    """What the soak found."""

    bets: int
    load: Load
    points: Sequence[Point]

    @property
    def growth_mib_per_million(self) -> float:
        """The slope of the memory over the bets, without the first tenth, by least squares."""
        settled = self.points[len(self.points) // 10 :]
        per_s = slope([point.at_s for point in settled], [point.rss_mib for point in settled])
        return per_s * self.load.upload_s / (self.bets / 1e6)


@attrs.frozen
class Parked:
    """What the connections that wait have cost; KB of 1000 bytes, the kernel's for both of their ends."""

    connections: int
    connect_s: float
    idle_kb: float
    waiting_kb: float
    kernel_kb: float
    first_s: float
    median_s: float
    last_s: float


def serve_command(*arguments: str) -> list[str]:
    """A server on a free port that minds no number of connections."""
    command = [sys.executable, "-m", "bets_server", "serve"]
    shown = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True).stdout
    limits = [name for name in ("--max-connections", "--max-per-address", "--max-per-agency") if name in shown]
    unlimited = [part for name in limits for part in (name, "11000")] + ["--backlog", "4096"]
    return [*command, "--listen", "tcp://127.0.0.1:0", "--log-level", "DEBUG", *unlimited, *arguments]


# -- soak


def soak(folder: Path, bets: int) -> tuple[Soak, Path]:
    """Fills a book with `bets` bets; returns what was found, and the book."""
    each = min(SAMPLE_BETS, bets // AGENCIES)
    files = [sample_file(folder / "made", AGENCIES, each).with_name(f"agency-{n}.csv") for n in range(1, AGENCIES + 1)]
    payloads = write_payloads(folder / "wire", files)
    repeat = max(1, bets // (each * AGENCIES))
    # One agency more than come, so that there is no draw yet.
    with start(serve_command("--agencies", str(AGENCIES + 1)), folder) as server:
        port = server.port()
        with _sampled(server) as points:
            load = run_load(
                server, port, payloads, command=agent_command(), arguments=["--repeat", str(repeat)], ask=False
            )
    (folder / "server.log").unlink()
    return Soak(bets=repeat * each * AGENCIES, load=load, points=points), folder / "bets.db"


@contextlib.contextmanager
def _sampled(server: Program) -> Iterator[list[Point]]:
    """Reads a server's memory again and again until the block ends."""
    points: list[Point] = []
    done = threading.Event()
    begin = time.monotonic()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            points.append(Point(time.monotonic() - begin, server.usage().rss_mib))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield points
    finally:
        done.set()
        thread.join()


# -- the draw


def write_table(path: Path, folder: Path, repeat: int) -> None:
    """The bets of the soak as rows of one table without an index."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        columns = "agency INTEGER, first_name TEXT, last_name TEXT, document TEXT, birthdate TEXT, number INTEGER"
        for name in ("sample", "bets"):
            connection.execute(f"CREATE TABLE {name} ({columns})")
        connection.execute("BEGIN")
        for agency in range(1, AGENCIES + 1):
            rows = (
                tuple(getattr(bet, name) for name in FIELDS)
                for bet in read_bets(folder / "made" / f"agency-{agency}.csv", agency)
            )
            connection.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?)", rows)
        for _ in range(repeat):
            connection.execute("INSERT INTO bets SELECT * FROM sample")
        connection.execute("DROP TABLE sample")
        connection.execute("COMMIT")


def draws(folder: Path, book: Path, bets: int, *, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The draw with both codecs, and the scan, once a round in an order that changes."""
    plain = folder / "rows.db"
    write_table(plain, folder, bets // (AGENCIES * min(SAMPLE_BETS, bets // AGENCIES)))
    found: dict[str, list[dict[str, float]]] = {
        name: [] for name in ("SQL scan", "draw", "draw, pure", "draw, store opened again")
    }
    order, rng = list(found), random.Random(1)
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            found[name].append(_one_draw(name, book, plain))
    if len({run["winners"] for each in found.values() for run in each}) > 1:
        raise RuntimeError(f"the draw and the scan do not agree on the winners: {found}")
    return found


def _one_draw(name: str, book: Path, plain: Path) -> dict[str, float]:
    used = book.with_name("used.db")
    what = {"SQL scan": ("scan", str(plain)), "draw, store opened again": ("draw", str(used))}.get(name)
    if what is not None and what[0] == "draw":
        shutil.copyfile(book, used)
        used.chmod(0o600)
    os.sync()  # what was written until now is not written while something is timed
    what = what or ("stored", str(book))
    environment = {**os.environ, "BETS_PURE": "1"} if name == "draw, pure" else None
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.draw_scan", *what],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parent.parent,
        timeout=DEADLINE_S,
    )
    used.unlink(missing_ok=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


# -- parked connections


def park(folder: Path, connections: int) -> Parked:
    """Lets connections wait for the draw, then makes it."""
    need = connections + 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        raise RuntimeError(f"{connections} connections need {need} descriptors, and a process may have {hard}")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))  # inherited by what is started now
    try:
        agencies = min(PARKED_AGENCIES, connections + 1)
        with start(serve_command("--agencies", str(agencies)), folder) as server:
            arguments = ("--connections", str(connections), "--agencies", str(agencies))
            command = parker_command("--server", f"127.0.0.1:{server.port()}", *arguments)
            with converse(command, folder / "parker.log", server) as parker:
                return _park(server, parker, connections)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _park(server: Program, parker: Conversation, connections: int) -> Parked:
    parker.expect_ready()
    memory, kernel = [_settled_rss_mib(server)], [_kernel_kb()]
    connected: dict[str, Any] = {}
    for step in ("connect", "ask"):
        result = parker.do(step)
        connected = connected or result
        memory.append(_settled_rss_mib(server))
        kernel.append(_kernel_kb())
    answered = parker.do("draw")
    to_kb = 2**20 / 1000 / connections
    return Parked(
        connections=connections,
        connect_s=connected["end"] - connected["start"],
        idle_kb=(memory[1] - memory[0]) * to_kb,
        waiting_kb=(memory[2] - memory[0]) * to_kb,
        kernel_kb=(kernel[2] - kernel[0]) * 1.024 / connections,
        **{name: answered[name] for name in ("first_s", "median_s", "last_s")},
    )


def _settled_rss_mib(server: Program) -> float:
    """The server's memory once it has nothing to do any more."""
    deadline = time.monotonic() + 60
    before = -1.0
    while (usage := server.usage()).cpu_s != before and time.monotonic() < deadline:
        before = usage.cpu_s
        time.sleep(0.2)
    return usage.rss_mib


def _kernel_kb() -> float:
    """What the kernel has taken for its objects, of 1024 bytes."""
    found = re.search(r"^Slab:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return float(found[1]) if found else 0.0


# -- the page


def soak_part(found: Soak) -> str:
    """The soak in words and a table."""
    load = found.load
    step = max(1, len(found.points) // 10)
    rows = [(f"{point.at_s:.0f}", f"{point.rss_mib:.1f}") for point in found.points[::step]]
    return (
        f"## {found.bets} bets\n\n"
        f"{load.upload_s:.1f} s ({found.bets / load.upload_s / 1000:.0f} thousand bets/s), server CPU"
        f" {load.server.cpu_s:.1f} s, p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.1f} ms a batch. Server memory: peak"
        f" {load.server.peak_mib:.1f} MiB,\ngrowth {found.growth_mib_per_million:.3f} MiB a million bets (least"
        " squares, without the first tenth).\n\n" + table(("s", "resident, MiB"), rows)
    )


def draw_part(found: Mapping[str, Sequence[Mapping[str, float]]], bets: int) -> str:
    """The draw and the scan."""
    rows = [
        (name, *spread([run["wall_s"] for run in each]), spread([run["cpu_s"] for run in each])[0], each[0]["winners"])
        for name, each in found.items()
    ]
    scan = [run["wall_s"] for run in found["SQL scan"]]
    bars = [
        Bar(f"{name} / SQL scan", ratios([run["wall_s"] for run in found[name]], scan), limit)
        for name, limit in (("draw", 0.5), ("draw, pure", 1.2))
    ]
    said = (
        "The draw reads every bet, makes sure of every upload's checksum, writes the digest and the winners; the scan\n"
        "does none of this. Each in a process of its own, the file in the page cache; the draw in the one that has\n"
        "stored the bets, as in a server that has taken them, and where its store was opened again in between.\n\n"
    )
    shown = table(("", "s", "quartiles", "CPU, s", "winners"), rows) + "\n" + bars_table(bars)
    return f"## The draw over {bets} bets\n\n{said}{shown}"


def parked_part(found: Parked) -> str:
    """The connections that wait."""
    rows = [
        ("to connect them, s", f"{found.connect_s:.2f}"),
        ("server memory, idle, KB each", f"{found.idle_kb:.1f}"),
        ("server memory, waiting for the draw, KB each", f"{found.waiting_kb:.1f}"),
        ("kernel memory of both ends, KB each", f"{found.kernel_kb:.1f}"),
        ("last agency's question to the first answer, s", f"{found.first_s:.2f}"),
        ("to half of the answers, s", f"{found.median_s:.2f}"),
        ("to the last answer, s", f"{found.last_s:.2f}"),
    ]
    return f"## {found.connections} connections that wait\n\n" + table(("", ""), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bets", type=int, default=10_000_000)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5, help="of the draw")
    parser.add_argument("--quick", action="store_true", help="a hundredth of everything; no results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.bets, options.connections, options.rounds = options.bets // 100, options.connections // 100, 1
    with tempfile.TemporaryDirectory(prefix="bets-bench-") as name:
        folder = Path(name)
        where = disk(folder)
        say("scale: connections that wait")
        parked = park(folder, options.connections)
        (folder / "bets.db").unlink()
        say("scale: soak")
        soaked, book = soak(folder, options.bets)
        say("scale: the draw")
        drawn = draws(folder, book, soaked.bets, rounds=options.rounds)
    setting = f"{machine()}; {codec_info()}; SQLite {sqlite3.sqlite_version}.\n{where}; {load_average()} at the end.\n"
    parts = ["# The server at scale\n", setting, soak_part(soaked), draw_part(drawn, soaked.bets), parked_part(parked)]
    raw = {"setting": setting, "soak": attrs.asdict(soaked), "draw": drawn, "parked": attrs.asdict(parked)}
    write("scale", parts, raw, None if options.quick else RESULTS)


if __name__ == "__main__":
    main()
