"""One attack's world: a server process, a client that means well, crowds that do not, and what is measured of them.

The bar for the others' pace: the 99th percentile of the honest client's latencies while it is attacked is at most twice
that of the same run before and after. This machine has other work, too, so a single miss says little: a try that misses
this bar, and only this one, is done again, and three misses in a row are a miss.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from bets_protocol.cli.exit_codes import ExitCode
from tests.campaigns.attacks.crowd import Tale
from tests.campaigns.attacks.legitimate import Errand, connected, exactly
from tests.campaigns.attacks.watch import MB, Watch, descriptors
from tests.certificates import Authority
from tests.e2e.processes import Program, Programs, ServerProgram, wait_until
from tests.log_reader import read_log

PROJECT = Path(__file__).resolve().parents[3]
WITHIN = 2.0
"""Times the usual 99th percentile that the honest client may see under attack."""

LEAST_SAMPLES = 200
CUT_SLACK_S = 1.0

_KNOWN = frozenset(
    "config accept_connections open_listener receive_message open_upload apuesta_almacenada apuesta_recibida "
    "consulta_ganadores sorteo close_connection close_listener close_workers close_control close_store shutdown".split()
)
"""What a server that is attacked may have to say."""

_STORED = ("apuesta_recibida", "success")
"""The line that each batch is worth: of these there are as many as batches."""


class TooSlow(AssertionError):
    """The honest client was slowed down more than it may be; noise can do that, too."""


@attrs.frozen(kw_only=True)
class Pace:
    """The honest client's 99th percentiles.

    Attributes:
        usual_ms: without the attack, before and after taken together.
        noise: how many times the larger of before and after is the smaller.
        attacked_ms: under it.
        samples: requests under attack.
        waited_s: how long the server could have run meanwhile, and others had the processors: noise, where it is much.
    """

    usual_ms: float
    noise: float
    attacked_ms: float
    samples: int
    waited_s: float

    @property
    def ratio(self) -> float:
        """How many times as slow."""
        return self.attacked_ms / self.usual_ms

    def __str__(self) -> str:
        return (
            f"p99 {self.usual_ms:.1f} -> {self.attacked_ms:.1f} ms (x{self.ratio:.2f}, {self.samples} samples, "
            f"noise x{self.noise:.2f}, the server waited {self.waited_s:.1f} s for a processor)"
        )


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile, in milliseconds."""
    assert len(seconds) >= LEAST_SAMPLES, f"{len(seconds)} samples are too few"
    return statistics.quantiles(seconds, n=100)[98] * 1000


def python_path() -> str:
    """Where the programs of this package find it, behind what this process was told."""
    return os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(PROJECT)])


class Honest:
    """The honest client of a scene: a process that works until `ended`."""

    def __init__(self, program: Program, file: Path, batch: int) -> None:
        self.program = program
        self.batch = batch
        self._file = file

    def ended(self) -> list[tuple[float, float]]:
        """Ends it; gives when each request left and how long it took, in seconds."""
        self.program.stop()
        numbers = array.array("d", self._file.read_bytes())
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    @contextlib.contextmanager
    def asleep(self) -> Iterator[None]:
        """It says nothing meanwhile."""
        self.program.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.program.send_signal(signal.SIGCONT)


class Mob:
    """A crowd of a scene: see `crowd`."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def done(self, within_s: float) -> Tale:
        """Waits until it ends by itself; gives what came of it."""
        self.program.expect(ExitCode.DONE, within_s)
        return Tale(**json.loads(self.program.results[-1]))

    def ended(self) -> Tale:
        """Ends it now; gives what came of it."""
        self.program.send_signal(signal.SIGTERM)
        return self.done(30)


class Scene:
    """A world; a context manager that ends everything.

    Args:
        folder: empty.
        seconds: how long the honest client is measured before an attack, and after it.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = seconds
        self.notes: list[str] = []
        self.pace: Pace | None = None
        self.too_slow: TooSlow | None = None
        self._folder = folder
        self._programs = Programs(folder)
        self._servers: list[ServerProgram] = []
        self._count = self._acknowledged = 0
        self._authority: Authority | None = None
        self._watch: Watch | None = None

    def close(self) -> None:
        """Ends everything."""
        self._programs.close()

    @property
    def server(self) -> ServerProgram:
        """The server that was started last."""
        return self._servers[-1]

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.server.port)

    @property
    def authority(self) -> Authority:
        """What signs the certificates here."""
        if self._authority is None:
            self._authority = Authority(self._folder / "certificates")
        return self._authority

    def serve(self, *options: str, tls: bool = False, descriptors: int | None = None) -> ServerProgram:
        """A server with its defaults, save `options`."""
        if tls:
            files = self.authority.server()
            options = (*options, "--tls-cert", str(files.cert), "--tls-key", str(files.key), "--tls-ca", str(files.ca))
        listen = "tls://127.0.0.1:0" if tls else "tcp://127.0.0.1:0"
        server = self._programs.server(*options, listen=listen, descriptors=descriptors)
        self._servers.append(server)
        return server

    @property
    def folder(self) -> Path:
        """Where it all happens."""
        return self._folder

    def start(self, name: str, *arguments: str) -> Program:
        """A program that runs."""
        return self._programs.start(name, *arguments)

    def agency_files(self, agency: int) -> tuple[str, str, str]:
        """Certificate, key and CA of an agency."""
        files = self.authority.agency(agency)
        return str(files.cert), str(files.key), str(files.ca)

    def honest(self, **errand: Any) -> Honest:
        """An honest client that works."""
        self._count += 1
        file = self._folder / f"latencies-{self._count}"
        made = Errand(port=self.port, file=str(file), **errand)
        text = json.dumps(attrs.asdict(made))
        program = self._programs.start(
            "python", "-m", "tests.campaigns.attacks.legitimate", text, PYTHONPATH=python_path()
        )
        program.wait_for_text("at work")
        return Honest(program, file, made.batch)

    def mob(self, **orders: Any) -> Mob:
        """A crowd that is at work."""
        text = json.dumps({"port": self.port, **orders})
        program = self._programs.start("python", "-m", "tests.campaigns.attacks.crowd", text, PYTHONPATH=python_path())
        program.wait_for_text("at work")
        return Mob(program)

    def key_changer(self, agency: int) -> Mob:
        """A peer that shows an agency's certificate and changes keys, which is at work; see `key_changer`."""
        cert, key, _ = self.agency_files(agency)
        arguments = (str(self.port), cert, key, str(agency))
        program = self._programs.start(
            "python", "-m", "tests.campaigns.attacks.key_changer", *arguments, PYTHONPATH=python_path()
        )
        program.wait_for_text("at work")
        return Mob(program)

    def rest(self) -> tuple[float, float]:
        """Lets the honest client work undisturbed for a while; gives the window."""
        began = time.monotonic()
        time.sleep(self.seconds)
        return began, time.monotonic()

    def judge(
        self,
        honest: Honest,
        usual: Sequence[tuple[float, float]],
        attacked: Sequence[tuple[float, float]],
        *,
        within: float = WITHIN,
    ) -> Pace:
        """Ends the honest client and compares what it has noted in some windows of time; see `too_slow`."""
        noted = honest.ended()
        self._acknowledged += len(noted) * honest.batch

        def inside(windows: Sequence[tuple[float, float]]) -> list[float]:
            return [took for at, took in noted if any(low <= at and at + took <= high for low, high in windows)]

        each = [p99(inside([window])) for window in usual]
        under = inside(attacked)
        self.pace = Pace(
            usual_ms=p99(inside(usual)),
            noise=max(each) / min(each),
            attacked_ms=p99(under),
            samples=len(under),
            waited_s=self._watch.waited_s if self._watch is not None else 0.0,
        )
        if self.pace.ratio > within:
            self.too_slow = TooSlow(f"the honest client was slowed down too much: {self.pace}")
        return self.pace

    def watch(self) -> Watch:
        """Watches the server."""
        self._watch = Watch(self.server.pid)
        return self._watch

    def note(self, text: str) -> None:
        """For the table."""
        self.notes.append(text)

    def probe(self, within_s: float) -> float:
        """Has the server send a line back, from an address that did nothing yet; gives how long that took."""
        began = time.monotonic()
        with contextlib.closing(connected(self.port)) as sock:
            sock.settimeout(within_s)
            sock.sendall(b"still there?\n")
            assert exactly(sock, 13) == b"still there?\n"
        took = time.monotonic() - began
        assert took <= within_s, f"a probe took {took:.2f} s, expected at most {within_s:g} s"
        return took

    def wait_for_quiet(self, descriptors_at_most: int, within_s: float) -> None:
        """Waits until the server has let go of connections."""
        wait_until(
            lambda: descriptors(self.server.pid) <= descriptors_at_most, "the server lets go of connections", within_s
        )

    def stop(self, *, lines_at_most: int, nothing_else_stored: bool = False) -> None:
        """SIGTERM: it ends as it should, its log is as documented and bounded, its standard error empty.

        Args:
            lines_at_most: of the log, those of stored batches aside.
            nothing_else_stored: its book has what the honest client was told is stored, and not one bet more.
        """
        self.server.stop()
        assert self.server.err == "", f"on standard error:\n{self.server.err[-2000:]}"
        assert "Traceback" not in self.server.out, f"a traceback:\n{self.server.out[-3000:]}"
        lines = [line for line in read_log(self.server.out) if (line.action, line.result) != _STORED]
        unknown = {line.action for line in lines} - _KNOWN
        assert not unknown, f"lines that nobody expects: {unknown}"
        assert len(lines) <= lines_at_most, f"{len(lines)} lines in the log, expected at most {lines_at_most}"
        if nothing_else_stored:
            assert self.stored() == self._acknowledged, f"{self.stored()} stored, {self._acknowledged} acknowledged"

    def stored(self) -> int:
        """Bets in the book of a server that has ended."""
        with contextlib.closing(sqlite3.connect(self._folder / "bets.db")) as book:
            return int(book.execute("SELECT coalesce(sum(count), 0) FROM batch").fetchone()[0])


def check_memory(before: int, highest: int, most: int, what: str) -> str:
    """Compares and tells how much memory the server needed more."""
    more = highest - before
    assert more <= most, f"{what}: {more / MB:.1f} MB more, expected at most {most / MB:.0f} MB"
    return f"RSS +{max(0, more) / MB:.1f} MB"


def check_cuts(ages: Sequence[float], expected: int, within_s: float) -> str:
    """All connections were cut in time; tells how long the slowest one lived."""
    assert len(ages) == expected, f"{len(ages)} of {expected} connections were cut"
    assert max(ages) <= within_s + CUT_SLACK_S, f"the last was cut after {max(ages):.1f} s, expected {within_s:g} s"
    return f"{len(ages)} cut within {max(ages):.1f} s"
