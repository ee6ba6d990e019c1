"""Drives the targets: ``python -m fuzz --seconds N [--target T] [--seed S]``.

Each target runs in a process of its own, as many at a time as there are cores. An input that breaks an invariant is
made small and written into the corpus, where the tests find it from then on; the exit code is 1. The first line says
which engine makes the inputs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from fuzz.engines import ENGINES, Said, described, installed_engine, read_output
from fuzz.inputs import CORPUS, keep

_PROJECT: Final = Path(__file__).resolve().parent.parent
_STARTING_S: Final = 120.0
"""Seconds that a worker may take beside those that it fuzzes."""

_MEMORY_FOLDER: Final = "/dev/shm"
"""Where the targets' files lie, if there is such a place: a disk would be what takes the time."""

FOUND, CANNOT_RUN = 1, 2
"""Exit codes: an invariant is broken; a target could not be run."""


@attrs.define
class Run:
    """A worker at work."""

    target: str
    folder: Path
    process: subprocess.Popen[bytes]
    started: float
    deadline: float

    @property
    def said(self) -> str:
        """What it has printed."""
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")


class Campaign:
    """Targets, run in processes.

    Args:
        options: of the command line.
        folder: for the workers' files.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        module = importlib.import_module(options.targets_from)
        self._options = options
        self._folder = folder
        self._native: frozenset[str] = getattr(module, "NATIVE", frozenset())
        self._seeds: Mapping[str, Sequence[str]] = getattr(module, "SEEDS", {})
        self._waiting: list[str] = list(options.target or module.TARGETS)
        self._running: list[Run] = []
        self.inputs = 0
        self.exit_code = 0

    def run(self) -> int:
        """Runs all of them; gives the exit code."""
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < self._options.jobs:
                    self._running.append(self._start(self._waiting.pop(0)))
                time.sleep(0.02)
                for run in [run for run in self._running if self._is_over(run)]:
                    self._running.remove(run)
                    self._report(run)
        finally:
            for run in self._running:
                run.process.kill()
                run.process.wait()
        return self.exit_code

    def _start(self, target: str) -> Run:
        folder = self._folder / target
        folder.mkdir()
        options, now = self._options, time.monotonic()
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                self._command(target, "--seconds", str(options.seconds), "--max-inputs", str(options.max_inputs)),
                env=self._environment(target, folder),
                cwd=_PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Run(target, folder, process, now, now + options.seconds + _STARTING_S)

    def _command(self, target: str, *more: str) -> list[str]:
        options = self._options
        seeds = ("--seeds", target, *self._seeds.get(target, ()))
        where = ("--corpus", str(options.corpus), "--folder", str(self._folder / target), *seeds)
        what = ("--module", options.targets_from, "--target", target, "--seed", str(options.seed))
        return [sys.executable, "-m", "fuzz.worker", *what, "--engine", options.engine, *where, *more]

    def _environment(self, target: str, folder: Path) -> dict[str, str]:
        # The same inputs for the same seed: no hash of a text may decide anything.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": str(folder)}
        environment.pop("BETS_PURE", None)
        return environment if target in self._native else {**environment, "BETS_PURE": "1"}

    def _is_over(self, run: Run) -> bool:
        if run.process.poll() is not None:
            return True
        if time.monotonic() < run.deadline:
            return False
        run.process.kill()
        run.process.wait()
        return True

    def _report(self, run: Run) -> None:
        said = read_output(run.said)
        spent = time.monotonic() - run.started
        self.inputs += said.inputs
        edges = f", {said.edges} branches" if said.edges else ""
        tried = f"{run.target}: {said.inputs} inputs in {spent:.1f} s{edges}"
        findings = [path for kind in ("crash", "timeout", "oom") for path in sorted(run.folder.glob(f"{kind}-*"))]
        for finding in findings:
            self._keep(run, finding, said)
        if run.process.returncode == 0 and not findings:
            print(f"{tried}, nothing found", flush=True)
        elif not findings:
            self.exit_code = self.exit_code or CANNOT_RUN
            print(f"{run.said[-4000:]}\n{run.target}: could not be run, code {run.process.returncode}", flush=True)
        if self._options.keep_new:
            for path in sorted((run.folder / "new").glob("*")):
                keep(run.target, path.read_bytes(), self._options.keep_new, prefix="")

    def _keep(self, run: Run, finding: Path, said: Said) -> None:
        self.exit_code = FOUND
        if finding.name.startswith("crash-"):
            subprocess.run(
                self._command(run.target, "--seconds", "0", "--shrink", str(finding)),
                env=self._environment(run.target, run.folder),
                cwd=_PROJECT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_STARTING_S,
                check=False,
            )
        data = finding.read_bytes()
        path = keep(run.target, data, self._options.corpus)
        how = said.trace or finding.name.partition("-")[0]
        tried = f"{run.target}: broken after {said.inputs} inputs"
        print(f"{how}\n{tried} by {data!r}, kept as {path} (seed {self._options.seed})", flush=True)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Runs from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz what reads bytes that others wrote.")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long for each target")
    parser.add_argument("--target", action="append", help="only this one; repeatable")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="makes the same inputs again")
    parser.add_argument("--max-inputs", type=int, default=0, help="end earlier, after so many for each target")
    parser.add_argument("--jobs", type=_positive, default=os.cpu_count() or 1, help="targets that run at a time")
    parser.add_argument("--engine", choices=ENGINES, default=installed_engine())
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where inputs come from and findings go to")
    parser.add_argument("--keep-new", type=Path, help="a folder for inputs that took new branches, for fuzz.minimise")
    parser.add_argument("--targets-from", default="fuzz.targets", help="the module that has TARGETS")
    options = parser.parse_args(arguments)
    known = importlib.import_module(options.targets_from).TARGETS
    if unknown := [name for name in options.target or () if name not in known]:
        parser.error(f"no target {unknown[0]!r}; expected one of {', '.join(known)}")
    count = len(options.target or known)
    print(
        f"engine: {described(options.engine)}; seed {options.seed}, {count} targets of {options.seconds:g} s each, "
        f"{options.jobs} at a time, corpus {options.corpus}",
        flush=True,
    )
    where = _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-", dir=where) as folder:
        campaign = Campaign(options, Path(folder))
        code = campaign.run()
    what = {0: "nothing found", FOUND: "an invariant is broken", CANNOT_RUN: "not all targets could be run"}[code]
    print(f"{campaign.inputs} inputs in all: {what}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
