"""The intake against other ways to build it: `python -m benchmarks.intake`.

Five processes upload the real data set to a server, each stop-and-wait in batches of 130 that were encoded beforehand,
and then ask for the winners: what the existing clients do. Every way of building the server is run once a round, in an
order that changes, each time as a new process with a new store. What is compared is the time of the upload.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from benchmarks.data import SIZES, agency_files
from benchmarks.findings import RESULTS, Bar, bars_table, ratios, spread, table, write
from benchmarks.load.payload import FIELDS, Encoder, Payload, as_http, write_payloads
from benchmarks.measure import Measurement, disk, load_average, machine, say, versions
from benchmarks.peers.messages import protobuf_class
from benchmarks.processes import Load, agent_command, run_load, start
from benchmarks.report import Row, write_bars
from bets_protocol import BetBatch, codec_info, encode

PEERS = Path(__file__).parent / "peers"
DOCS = Path(__file__).parent.parent / "docs"
DEADLINE_S = 300.0
OURS, OBVIOUS, GRPC = "ours", "obvious", "gRPC"


@attrs.frozen
class Way:
    """One way of building the intake.

    Attributes:
        what: it does, for the table.
        command: of the server, without the store.
        form: of what it is sent: ``wire``, ``protobuf`` or ``http``.
        family: what it is compared as, see the bars.
        durable: whether an acknowledged batch is on disk.
        environment: more of it.
    """

    what: str
    command: tuple[str, ...]
    form: str = "wire"
    family: str = ""
    durable: bool = True
    environment: Mapping[str, str] = attrs.field(factory=dict)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", module, *arguments


def _socketserver(*arguments: str) -> tuple[str, ...]:
    return _python("benchmarks.peers.socketserver_server", "--store", "bets.csv", *arguments)


def _grpc(*arguments: str) -> tuple[str, ...]:
    return _python("benchmarks.peers.grpc_server", "--store", "bets.db", *arguments)


def _http(*arguments: str) -> tuple[str, ...]:
    return _python("benchmarks.peers.http_server", "--store", "bets.db", *arguments)


_SERVE = _python("bets_server", "serve", "--listen", "tcp://127.0.0.1:0", "--log-level", "DEBUG")


def ways(floor: Path | None) -> dict[str, Way]:
    """Every way, by its name; the floor where there is a program for it."""
    found = {
        "bets-server": Way("native codec; one row a batch in SQLite, FULL", _SERVE, family=OURS),
        "bets-server, pure": Way("pure Python codec", _SERVE, family="pure", environment={"BETS_PURE": "1"}),
        "gRPC, threads": Way(
            "protobuf stream; a row a bet in SQLite, FULL, a commit for each batch",
            _grpc("--style", "threads", "--commit", "batch"),
            "protobuf",
            GRPC,
        ),
        "gRPC, threads, grouped": Way(
            "the same, grouped commits", _grpc("--style", "threads", "--commit", "group"), "protobuf", GRPC
        ),
        "gRPC, asyncio": Way(
            "the same with grpc.aio, a commit for each batch",
            _grpc("--style", "asyncio", "--commit", "batch"),
            "protobuf",
            GRPC,
        ),
        "gRPC, asyncio, grouped": Way(
            "the same, grouped commits", _grpc("--style", "asyncio", "--commit", "group"), "protobuf", GRPC
        ),
        "FastAPI": Way(
            "uvicorn, JSON; a row a bet in SQLite, FULL, a commit for each batch", _http("--commit", "batch"), "http"
        ),
        "FastAPI, grouped": Way("the same, grouped commits", _http("--commit", "group"), "http"),
        "socketserver, threads": Way("construct; CSV, no flush", _socketserver(), family=OBVIOUS, durable=False),
        "socketserver, threads, fsync": Way("construct; CSV, a flush a batch", _socketserver("--fsync")),
        "socketserver, processes": Way(
            "construct; CSV, no flush, both cores", _socketserver("--style", "processes"), durable=False
        ),
        "by hand, processes": Way(
            "slices instead of construct; CSV, no flush, both cores",
            _socketserver("--style", "processes", "--parse", "hand"),
            durable=False,
        ),
    }
    if floor is not None:
        found["floor"] = Way("C: append, one fdatasync a group; checks nothing", (str(floor), "book", "5", "7574"))
    return found


def build_floor(folder: Path) -> Path | None:
    """Compiles the floor; None where there is no C compiler or no Linux."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    program = folder / "floor"
    subprocess.run([compiler, "-O2", "-o", str(program), str(PEERS / "floor.c")], check=True, timeout=DEADLINE_S)
    return program


def protobuf_encoder() -> Encoder:
    """Turns a batch into a serialized protobuf message."""
    proto_class = protobuf_class()

    def encoder(batch: BetBatch) -> bytes:
        message = proto_class()
        for bet in batch.bets:
            message.bets.add(**{name: getattr(bet, name) for name in FIELDS})
        data: bytes = message.SerializeToString()
        return data

    return encoder


def run_once(way: Way, payloads: Mapping[str, Sequence[Payload]]) -> Load:
    """Starts a server, has everything uploaded and the winners asked for, and ends it."""
    with tempfile.TemporaryDirectory(prefix="bets-bench-") as name:
        folder = Path(name)
        arguments = ("--agencies", "5") if way.command[1:2] == ("-m",) else ()
        with start([*way.command, *arguments], folder, environment=way.environment) as server:
            command = agent_command(*(["--http"] if way.form == "http" else []))
            if way.form == "protobuf":
                command = [sys.executable, "-m", "benchmarks.peers.grpc_agent"]
            load = run_load(server, server.port(), payloads[way.form], command=command)
            expected = sum(payload.frames for payload in payloads[way.form])
            if load.batches != expected:
                raise RuntimeError(f"{way.what}: {load.batches} batches were acknowledged, not {expected}")
            return load


def measure(chosen: Mapping[str, Way], runner: Callable[[Way], Load], *, rounds: int) -> dict[str, list[Load]]:
    """Every way once a round, after a round that warms up; a single round does without."""
    order, rng = list(chosen), random.Random(1)
    loads: dict[str, list[Load]] = {name: [] for name in chosen}
    for number in range(rounds + (rounds > 1)):
        say(f"intake: round {number} of {rounds}")
        rng.shuffle(order)
        for name in order:
            found = runner(chosen[name])
            if number or rounds == 1:
                loads[name].append(found)
    if len({load.winners for each in loads.values() for load in each}) > 1:
        raise RuntimeError("the servers do not agree on the winners")
    return loads


def bars(loads: Mapping[str, Sequence[Load]], chosen: Mapping[str, Way]) -> list[Bar]:
    """Ours against the obvious way, and against the fastest of the gRPC servers."""
    times = {name: [load.upload_s for load in each] for name, each in loads.items()}

    def fastest(family: str) -> str:
        names = [name for name in times if chosen[name].family == family]
        return min(names, key=lambda name: statistics.median(times[name]), default="")

    ours, obvious, grpc = fastest(OURS), fastest(OBVIOUS), fastest(GRPC)
    return [
        Bar(f"{name} / {peer}", ratios(times[name], times[peer]), limit)
        for name in filter(None, (ours, fastest("pure")))
        for peer, limit in ((obvious, 0.25), (grpc, 0.5))
        if peer
    ]


def page(loads: Mapping[str, Sequence[Load]], chosen: Mapping[str, Way], setting: str) -> list[str]:
    """The parts of the page."""
    rows = []
    for name in sorted(loads, key=lambda name: statistics.median(load.upload_s for load in loads[name])):
        each, way = loads[name], chosen[name]
        rows.append(
            (
                name,
                *spread([load.upload_s for load in each], 3),
                spread([load.p50_ms for load in each])[0],
                spread([load.p99_ms for load in each], 1)[0],
                spread([load.server.cpu_s for load in each])[0],
                spread([load.client_cpu_s for load in each])[0],
                spread([load.server.peak_mib for load in each], 0)[0],
                "yes" if way.durable else "no",
                way.what,
            )
        )
    head = (
        *("", "upload, s", "quartiles", "p50, ms", "p99, ms", "server CPU, s", "clients' CPU, s"),
        *("server memory, MiB", "durable", "what it is"),
    )
    return [
        "# The intake and other ways to build it\n",
        setting,
        "Upload: from the first byte to the last acknowledgement, of all five agencies; what one agency waits for a\n"
        "batch is p50 and p99. Every server checks the bets (socketserver less), logs a line a batch, and tells the\n"
        "same winners at the end. Memory is the peak, of several processes their sum.\n",
        table(head, rows),
        bars_table(bars(loads, chosen)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="ways whose name has one of these, with commas; writes no results")
    parser.add_argument("--quick", action="store_true", help="one round with a hundredth of the bets; no results")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bets-bench-") as name:
        folder = Path(name)
        sizes = tuple(size // 50 for size in SIZES) if options.quick else SIZES
        files, source = agency_files(folder / "made", sizes)
        forms: dict[str, Encoder] = {"wire": encode, "http": as_http, "protobuf": protobuf_encoder()}
        payloads = {form: write_payloads(folder / form, files, encoder=encoder) for form, encoder in forms.items()}
        names = options.only.split(",")
        chosen = {name: way for name, way in ways(build_floor(folder)).items() if any(part in name for part in names)}
        where = disk(folder)
        rounds = 1 if options.quick else options.rounds
        loads = measure(chosen, partial(run_once, payloads=payloads), rounds=rounds)
    bets = sum(payload.bets for payload in payloads["wire"])
    library = versions("grpcio", "protobuf", "fastapi", "uvicorn", "construct")
    setting = (
        f"{machine()}; {codec_info()}; SQLite {sqlite3.sqlite_version}.\n{library}.\n"
        f"{where}; {load_average()} at the end.\n"
        f"{source[0].upper()}{source[1:]}, {bets} bets; five processes, stop-and-wait, 130 bets a batch, encoded\n"
        f"beforehand; {rounds} interleaved rounds.\n"
    )
    whole = not options.quick and not options.only
    raw = {"setting": setting, "runs": {way: [attrs.asdict(load) for load in each] for way, each in loads.items()}}
    write("intake", page(loads, chosen, setting), raw, RESULTS if whole else None)
    if whole:
        draw_plot(loads, chosen)


def draw_plot(loads: Mapping[str, Sequence[Load]], chosen: Mapping[str, Way]) -> None:
    """The picture of the documentation."""
    rows = [
        Row(name, chosen[name].what, Measurement.of([load.upload_s for load in each])) for name, each in loads.items()
    ]
    for path in (RESULTS / "intake.png", DOCS / "intake.png"):
        write_bars(path, {"upload of the real data set": rows}, "seconds")


if __name__ == "__main__":
    main()
