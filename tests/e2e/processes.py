"""The two programs as processes: started, watched through what they print, signalled, and gone when a test ends.

Every wait has a deadline and waits for a condition. Servers listen on port 0 and say in their first line which port
they got. What a program prints goes to files in the test's folder, so that no pipe can fill up.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bets_protocol.cli.exit_codes import ExitCode
from tests.log_reader import read_answers, read_log, read_output

PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 40.0
"""For whatever a program does: many times what it takes on a machine that is busy with other things."""

STOP_DEADLINE_S = 8.0
"""For a stop: what the programs promise."""

_OURS = re.compile(
    r"(BETS|CLI|SERVER)_|(AGENCIA|EXPECTED_CLIENTS|LOGGING_LEVEL|NOMBRE|APELLIDO|DOCUMENTO|NACIMIENTO|NUMERO)$"
)
_PORT = re.compile(r"action: config \| result: success \| port: ([0-9]+) .*\| listen: (\S+)")

_ANSWERING = [["bets-client", command] for command in ("send", "bet", "winners", "probe", "run")]
"""The commands that print a log, winners and nothing else."""


def clean_environment(**ours: str) -> dict[str, str]:
    """The environment of this process without settings of the two programs, and with `ours`."""
    return {name: value for name, value in os.environ.items() if not _OURS.match(name)} | ours


def unmeasured_environment(**ours: str) -> dict[str, str]:
    """Likewise, without what has coverage measure a process: one that may write little cannot say what it has found."""
    return {name: value for name, value in clean_environment(**ours).items() if not name.startswith("COVERAGE_")}


def wait_until(holds: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for: {what}"
        time.sleep(0.01)


class Program:
    """A program that runs.

    Args:
        folder: its working folder; what it prints lies in there, too.
        name: `bets-server`, `bets-client` or `python`.
        arguments: of the command line.
        environment: settings of the programs.
        number: tells it from others of the same folder.
        descriptors: how many it may have open; None: as many as this process.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *arguments: str,
        environment: Mapping[str, str],
        number: int,
        descriptors: int | None = None,
    ) -> None:
        self.what = f"{name} {' '.join(arguments)}"[:200]
        self._stdout = folder / f"{number}-{name}.out"
        self._stderr = folder / f"{number}-{name}.err"
        limit = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh"] if descriptors is not None else []
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*limit, str(PROGRAMS / name), *arguments],
                cwd=folder,
                env=clean_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.pid = self._process.pid

    @property
    def out(self) -> str:
        """What it has printed to standard output."""
        return self._stdout.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has printed to standard error."""
        return self._stderr.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[str]:
        """Its log, each line from `action:` on."""
        return [line.partition("action: ")[2] for line in self.out.splitlines() if "action: " in line]

    @property
    def results(self) -> list[str]:
        """What it has printed to standard output and is no log."""
        return [line for line in self.out.splitlines() if "action: " not in line]

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def logged(self, text: str) -> int:
        """How many lines of the log begin with `text`."""
        return sum(line.startswith(text) for line in self.lines)

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Waits for something that it does; fails at once when it ends without."""

        def done() -> bool:
            running = self.running  # before the look, so that its last deeds count
            if holds():
                return True
            assert running, f"{self.what} ended without {what}:\n{self.out}{self.err}"
            return False

        wait_until(done, f"{what} of {self.what}")

    def wait_for_text(self, text: str) -> None:
        """Waits until it has printed some text."""
        self.wait_until(lambda: text in self.out, repr(text))

    def wait_for_line(self, text: str, count: int = 1) -> None:
        """Waits until so many lines of the log begin with `text`."""
        self.wait_until(lambda: self.logged(text) >= count, repr(text))

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def finished(self, within_s: float = DEADLINE_S) -> int:
        """Waits for the end; gives the exit code, or minus the signal that killed it."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.what} did not end in {within_s:g} s:\n{self.out}{self.err}") from None

    def expect(self, code: int = ExitCode.DONE, within_s: float = DEADLINE_S) -> Program:
        """Waits for the end, which must be with `code`."""
        found = self.finished(within_s)
        assert code == found, f"{self.what}: expected {code}, actually {found}:\n{self.out}{self.err}"
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, code: int = ExitCode.DONE) -> Program:
        """Has it stop by a signal, as it should."""
        self.send_signal(number)
        return self.expect(code, STOP_DEADLINE_S)

    def kill(self) -> None:
        """Ends it without a word."""
        if self.running:
            self._process.kill()
        self._process.wait()


class ServerProgram(Program):
    """`bets-server serve`, once it has said where it listens.

    Attributes:
        url: for clients.
    """

    url = ""

    def wait_until_it_listens(self) -> None:
        """Reads the URL from its first line."""
        self.wait_for_line("accept_connections | result: in_progress")
        found = _PORT.search(self.out)
        assert found, self.out
        self.url = found[2]

    @property
    def port(self) -> str:
        """The port of its URL."""
        return self.url.rpartition(":")[2]


class Programs:
    """Starts programs in one folder and kills, when the test ends, what still runs.

    Args:
        folder: where they run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Program] = []

    def server(
        self,
        *arguments: str,
        listen: str = "tcp://127.0.0.1:0",
        descriptors: int | None = None,
        **environment: str,
    ) -> ServerProgram:
        """A server on a free port that logs everything; its store is `bets.db` unless `arguments` say otherwise."""
        server = ServerProgram(
            self.folder,
            "bets-server",
            *("serve", "--listen", listen, "--log-level", "DEBUG", *arguments),
            environment=environment,
            number=len(self._started),
            descriptors=descriptors,
        )
        self._started.append(server)
        server.wait_until_it_listens()
        return server

    def start(self, name: str, *arguments: str, **environment: str) -> Program:
        """A program that runs."""
        program = Program(self.folder, name, *arguments, environment=environment, number=len(self._started))
        self._started.append(program)
        return program

    def client(self, *arguments: str, **environment: str) -> Program:
        """A `bets-client` that runs."""
        return self.start("bets-client", *arguments, **environment)

    def python(self, code: str) -> Program:
        """An interpreter that runs `code`."""
        return self.start("python", "-c", code)

    def run(self, name: str, *arguments: str, code: int = ExitCode.DONE, **environment: str) -> Program:
        """A program that has ended with `code`."""
        return self.start(name, *arguments, **environment).expect(code)

    def close(self) -> None:
        """Kills what still runs; whatever was logged must be as documented."""
        for program in self._started:
            program.kill()
        for program in self._started:
            if isinstance(program, ServerProgram):
                read_log(program.out)
            elif program.what.split()[:2] in _ANSWERING:
                read_answers(program.out)
            else:
                read_output(program.out)
            read_output(program.err)  # where the log goes beside results in JSON


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs, and kills what a test leaves running."""
    programs = Programs(tmp_path)
    try:
        yield programs
    finally:
        programs.close()
