"""Programs that are measured: started in a session of their own, read from outside, gone when the block ends.

A server under measurement prints ``port: N`` once it listens, as `bets-server` does in its first line. What it prints
goes to a file, so no pipe can fill up. However a block ends, an interrupt included, every process of its session is
killed in the end; where the measuring program itself is killed, what it has started goes along, see `_tied`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.load.payload import Payload
from benchmarks.measure import quantile

DEADLINE_S = 300.0
"""For one step of one program."""

_AGENT = Path(__file__).parent / "load" / "agent.py"
_PORT = re.compile(r"\bport: ([0-9]+)")


@attrs.frozen
class Usage:
    """What processes have used until now.

    Attributes:
        cpu_s: user and system time, of children that have ended, too.
        rss_mib: resident now; of several processes what they share counts once.
        peak_mib: the most that one process had resident; of several, their sum now.
    """

    cpu_s: float
    rss_mib: float
    peak_mib: float


@attrs.frozen
class Program:
    """A program that runs."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self.process.pid

    def port(self, within_s: float = 30.0) -> int:
        """The port that it says it listens on.

        Raises:
            RuntimeError: it ended, or said nothing in time; with what it has printed.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = _PORT.search(self.log.read_text(encoding="utf-8", errors="replace"))
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self.process.args!r} did not start:\n{self.printed()}")

    def printed(self, last: int = 2000) -> str:
        """The end of what it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-last:]

    def usage(self) -> Usage:
        """What it has used, its children included."""
        pids = [self.pid, *_descendants(self.pid)]
        memory = [_status(pid) for pid in pids]
        shares = [_proportional_mib(pid) for pid in pids] if len(pids) > 1 else [memory[0][0]]
        peak = memory[0][1] if len(pids) == 1 else sum(shares)
        return Usage(cpu_s=sum(_cpu_s(pid) for pid in pids), rss_mib=sum(shares), peak_mib=peak)


@contextlib.contextmanager
def start(
    command: Sequence[str], folder: Path, *, environment: Mapping[str, str] | None = None, name: str = "server"
) -> Iterator[Program]:
    """Runs a program in `folder`; asks it to end when the block ends, and kills what is left of its session."""
    log = folder / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            _tied(command),
            cwd=folder,
            env={**_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        _end(process)


def end_cleanly_when_told() -> None:
    """Lets SIGTERM end this program as Ctrl-C does: what it has started and written goes along."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end(process: subprocess.Popen[str], patience_s: float = 10.0) -> None:
    """Ends a process and its session: politely, then not."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass  # killed below
    finally:
        # The session may outlive its first process.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    """That of this process, in which `benchmarks` can be imported from any folder."""
    paths = [str(_AGENT.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _tied(command: Sequence[str]) -> list[str]:
    """A command that is killed when whoever started it is, where the system has a program that sees to that."""
    return [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]


# -- the load generator


@attrs.frozen
class Load:
    """What a load generator has done.

    Attributes:
        upload_s: from the first agency's first byte to the last one's last acknowledgement.
        winners_s: from the first question for winners to the last answer.
        winners: how many there were, all agencies together.
        batches: how many were acknowledged.
        p50_ms: the middle time from a batch to its answer.
        p99_ms: the time that one batch of a hundred took longer than.
        client_cpu_s: what the agencies' processes used.
        server: what the server used for the upload: CPU, and memory at its end.
    """

    upload_s: float
    winners_s: float
    winners: int
    batches: int
    p50_ms: float
    p99_ms: float
    client_cpu_s: float
    server: Usage


def agent_command(*arguments: str) -> list[str]:
    """The load generator's own agency: quick to start, nothing imported that it does not need."""
    return [sys.executable, "-I", "-S", str(_AGENT), *arguments]


def parker_command(*arguments: str) -> list[str]:
    """The load generator's many connections that wait."""
    return [sys.executable, "-I", "-S", str(_AGENT.with_name("parker.py")), *arguments]


def run_load(
    server: Program,
    port: int,
    payloads: Sequence[Payload],
    *,
    command: Sequence[str],
    arguments: Sequence[str] = (),
    between: Callable[[], object] = lambda: None,
    ask: bool = True,
) -> Load:
    """Has one process for each payload upload it, all at once, and then ask for the winners, all at once.

    Args:
        server: whose use is read.
        port: of the server, on loopback.
        command: of an agency; `agent_command()` or one that speaks the same lines.
        arguments: more of them.
        between: called after the upload, before the winners are asked for.
        ask: whether the winners are asked for.

    Raises:
        RuntimeError: an agency failed; with what it said.
    """
    base = [*command, "--server", f"127.0.0.1:{port}", *arguments]
    with contextlib.ExitStack() as stack:
        agents = [
            stack.enter_context(
                converse(
                    [*base, "--payload", str(payload.path), "--agency", str(payload.agency)],
                    server.log.with_name(f"agent-{payload.agency}.log"),
                    server,
                )
            )
            for payload in payloads
        ]
        for agent in agents:
            agent.expect_ready()
        before = server.usage()
        uploads = _all_do("upload", agents)
        after = server.usage()
        between()
        winners = _all_do("winners", agents) if ask else []
    latencies = sorted(latency for result in uploads for latency in result["latencies_s"])
    return Load(
        upload_s=_span(uploads),
        winners_s=_span(winners) if winners else 0.0,
        winners=sum(result["winners"] for result in winners),
        batches=sum(result["batches"] for result in uploads),
        p50_ms=1000 * quantile(latencies, 0.5),
        p99_ms=1000 * quantile(latencies, 0.99),
        client_cpu_s=sum(result["cpu_s"] for result in uploads),
        server=attrs.evolve(after, cpu_s=after.cpu_s - before.cpu_s),
    )


class Conversation:
    """With a process of the load generator: a line to it for each step, a line of JSON from it when that is done."""

    def __init__(self, process: subprocess.Popen[str], errors: Path, server: Program) -> None:
        self._process = process
        self._server = server
        self._errors = errors

    def expect_ready(self) -> None:
        """Waits for its first line."""
        if self._line() != "ready":
            raise RuntimeError(f"a load generator did not start: {self._said()}")

    def begin(self, step: str) -> None:
        """Has it begin a step."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{step}\n")
            self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Waits until it has done the step.

        Raises:
            RuntimeError: it failed; with what it and the server have printed.
        """
        line = self._line()
        if not line:
            raise RuntimeError(f"a load generator failed: {self._said()}\nThe server said: {self._server.printed()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def do(self, step: str) -> dict[str, Any]:
        """Has it do a step and waits for the result."""
        (result,) = _all_do(step, [self])
        return result

    def fileno(self) -> int:
        """What becomes readable when a step is done."""
        return -1 if self._process.stdout is None else self._process.stdout.fileno()

    def _line(self) -> str:
        return "" if self._process.stdout is None else self._process.stdout.readline().strip()

    def _said(self) -> str:
        return self._errors.read_text(encoding="utf-8", errors="replace")[-2000:]


@contextlib.contextmanager
def converse(command: Sequence[str], errors: Path, server: Program) -> Iterator[Conversation]:
    """Runs a process of the load generator; what it says on its standard error goes to the file `errors`."""
    with errors.open("w") as output:
        process = subprocess.Popen(
            _tied(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
            env=_environment(),
        )
    try:
        yield Conversation(process, errors, server)
    finally:
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        _end(process)


def _all_do(step: str, agents: Sequence[Conversation]) -> list[dict[str, Any]]:
    """Has all do a step at the same time; the first that fails, or the deadline, ends it for all."""
    results: dict[Conversation, dict[str, Any]] = {}
    deadline = time.monotonic() + DEADLINE_S
    with selectors.DefaultSelector() as selector:
        for agent in agents:
            selector.register(agent, selectors.EVENT_READ, agent)
        for agent in agents:
            agent.begin(step)
        while len(results) < len(agents):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise RuntimeError(f"the load generator's {step!r} took longer than {DEADLINE_S:g} s")
            for key, _ in ready:
                results[key.data] = key.data.result()
                selector.unregister(key.fileobj)
    return [results[agent] for agent in agents]


def _span(results: Sequence[dict[str, Any]]) -> float:
    """From the first one's start to the last one's end, in seconds."""
    span: float = max(result["end"] for result in results) - min(result["start"] for result in results)
    return span


# -- /proc


def _cpu_s(pid: int) -> float:
    """CPU of a process and of its children that have ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _status(pid: int) -> tuple[float, float]:
    """Resident memory now and at most, in MiB."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        text = Path(f"/proc/{pid}/status").read_text()
        found = [re.search(rf"{name}:\s+(\d+) kB", text) for name in ("VmRSS", "VmHWM")]
        now, most = (int(match[1]) / 1024 if match else 0.0 for match in found)
        return now, most
    return 0.0, 0.0


def _proportional_mib(pid: int) -> float:
    """Resident memory in which a page that several processes share counts as its share, in MiB."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started and that still run, and theirs."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found
