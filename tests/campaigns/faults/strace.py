"""The system calls of a server, watched and made to fail: what `strace` offers, and programs behind another command."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.e2e.processes import DEADLINE_S, PROGRAMS, ServerProgram, clean_environment, wait_until


@functools.cache
def strace_missing() -> str:
    """The obstacle of trials that need it."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            command = ["strace", "-f", "-p", str(process.pid), "-e", "trace=none", "-o", "/dev/null"]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
                said = tracer.stderr.readline() if tracer.stderr is not None else ""
                process.kill()
        finally:
            process.kill()
    return "" if "attached" in said else f"strace may not attach to a process here: {said.strip()}"


@contextlib.contextmanager
def attached(server: ServerProgram, folder: Path, *options: str) -> Iterator[Path]:
    """strace on a server that runs, all its threads; gives its log. Ends with the server, or at the end of the block.

    Its counts (`when=`) are per thread, and start now: give the server one worker to have one count of the store's.
    """
    log, said = folder / "strace.log", folder / "strace.said"
    command = ["strace", "-f", "-p", str(server.pid), "-o", str(log), *options]
    with said.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL) as tracer:
        try:
            wait_until(
                lambda: "attached" in said.read_text() or tracer.poll() is not None,
                "strace to attach",
            )
            assert "attached" in said.read_text(), f"strace: {said.read_text()}"
            yield log
        finally:
            # It ends by itself with the server; told to, it lets a server go that still runs.
            with contextlib.suppress(subprocess.TimeoutExpired):
                tracer.wait(DEADLINE_S if not server.running else 0)
            tracer.terminate()


def injected(log: Path) -> int:
    """How often a fault was injected."""
    return log.read_text(errors="replace").count("(INJECTED)") if log.exists() else 0


class WrappedServer(ServerProgram):
    """`bets-server` behind another command, which must become it: `pid` is the server's.

    Args:
        before: the command.
        arguments: of `bets-server`.
    """

    def __init__(self, folder: Path, before: Sequence[str], arguments: Sequence[str], *, number: int) -> None:
        self.what = f"{before[0]} bets-server {' '.join(arguments)}"[:200]
        self._stdout, self._stderr = (folder / f"{number}-bets-server.{kind}" for kind in ("out", "err"))
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*before, str(PROGRAMS / "bets-server"), *arguments],
                cwd=folder,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.pid = self._process.pid
