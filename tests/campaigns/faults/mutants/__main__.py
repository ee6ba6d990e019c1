"""Tests the tests: seeded bugs, one patch each, and whether what should catch them does, for the right reason.

A patch begins with lines of ``key: value`` (more of the same key go on):

- ``breaks``: what is wrong with it;
- ``catch``: the command that must fail with it, and must pass without it;
- ``says``: a regular expression that must be found in what the failing command prints, so that an import error or a
  patch that breaks everything catches nothing.

The tree's `src` and `tests` are copied, so the sources under work never change; what runs, in child processes too, is
the copy.

Usage: ``python -m tests.campaigns.faults.mutants [NAME...]``
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[3]
DEADLINE_S = 240.0
_COPIED = ("src", "tests", "fuzz", "pyproject.toml")
_HEADER = re.compile(r"(breaks|catch|says): (.*)")


class MutantError(Exception):
    """A mutant cannot be tried."""


@attrs.frozen
class Mutant:
    """One seeded bug."""

    path: Path
    breaks: str
    catch: str
    says: str

    @property
    def name(self) -> str:
        """As on the command line."""
        return self.path.stem


@attrs.frozen
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    caught: bool
    seconds: float
    why: str


def read_mutant(path: Path) -> Mutant:
    """The mutant in a patch.

    Raises:
        MutantError: its header lacks something.
    """
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("--- "):
            break
        if header := _HEADER.fullmatch(line):
            found.setdefault(header[1], []).append(header[2])
    if found.keys() != {"breaks", "catch", "says"}:
        raise MutantError(f"{path.name}: its header has {sorted(found)}, and must have breaks, catch and says")
    return Mutant(path, *(" ".join(found[key]) for key in ("breaks", "catch", "says")))


def copy_tree(target: Path) -> None:
    """Copies what the commands need."""
    for name in _COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy(source, target / name)


def apply(patch: Path, tree: Path) -> None:
    """Applies a patch.

    Raises:
        MutantError: the sources have moved on, and the patch has not.
    """
    tool = ["git", "apply", "-p1", str(patch)] if shutil.which("git") else ["patch", "-p1", "-s", "-i", str(patch)]
    # Outside a repository, wherever the temporary folder is: inside one git would skip what is not its own.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(tool, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MutantError(f"{patch.name} no longer applies:\n{done.stdout}{done.stderr}")


def run(command: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """Runs a catching command on the sources of `tree`.

    Raises:
        MutantError: it does not end.
    """
    program, *arguments = shlex.split(command)
    if program != "python":
        raise MutantError(f"a catching command begins with python, not {program}")
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        raise MutantError(f"{command} did not end in {DEADLINE_S:g} s") from None


def try_mutant(mutant: Mutant) -> Verdict:
    """Whether the mutant's command catches it.

    Raises:
        MutantError: it cannot be tried; the command fails without it, too.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bets-mutant-") as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        copy_tree(tree)
        sound = run(mutant.catch, tree)
        if sound.returncode:
            raise MutantError(
                f"without the bug, {mutant.catch} fails, too:\n{sound.stdout[-3000:]}{sound.stderr[-3000:]}"
            )
        apply(mutant.path, tree)
        broken = run(mutant.catch, tree)
    said = broken.stdout + broken.stderr
    if broken.returncode == 0:
        why = "the command passes with it"
    elif not re.search(mutant.says, said):
        why = f"the command fails, but nothing says {mutant.says!r}:\n{said[-3000:]}"
    else:
        why = ""
    return Verdict(mutant, not why, time.monotonic() - began, why)


def main(names: Iterable[str]) -> int:
    """The program; gives its exit code."""
    wanted = set(names)
    paths = [path for path in sorted(HERE.glob("*.patch")) if not wanted or path.stem in wanted]
    if unknown := wanted - {path.stem for path in paths}:
        print(f"no such mutants: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    caught = 0
    for path in paths:
        try:
            verdict = try_mutant(read_mutant(path))
        except MutantError as error:
            print(f"{path.stem:<22} ERROR   {error}", flush=True)
            continue
        caught += verdict.caught
        word = "caught " if verdict.caught else "MISSED "
        print(f"{path.stem:<22} {word} {verdict.seconds:5.1f} s  {verdict.mutant.breaks} {verdict.why}", flush=True)
    print(f"{caught}/{len(paths)} caught")
    return 0 if caught == len(paths) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
