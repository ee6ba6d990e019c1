"""What is installed is whole: types, version, commands; and the commands start light."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import subprocess
import sys
from pathlib import Path

import pytest

from bets_protocol import version

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = {"bets-server": "bets_server.__main__", "bets-client": "bets_client.__main__"}

# What `--help` has no use for: each costs start-up time, and construct alone half of what is allowed.
HEAVY = ("construct", "yaml", "sqlite3", "ssl")

HELP = """
import importlib, sys
before = set(sys.modules)
sys.argv = [{program!r}, "--help"]
try:
    importlib.import_module({module!r}).main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
"""


ALL_HELP = """
import sys
from bets_client.cli.commands import cli
from bets_protocol.conformance.against_server.runner import RULES
from bets_server.cli import main

def show(group, command, *path):
    try:
        group.main(args=[*path, "--help"], prog_name=group.name)
    except SystemExit as end:
        if end.code:
            raise
    for name, below in getattr(command, "commands", {}).items():
        show(group, below, *path, name)

show(cli, cli)
show(main, main)
for rule in RULES:
    print(rule.name, rule.expected)
"""


@pytest.mark.parametrize("package", ["bets_protocol", "bets_server", "bets_client"])
def test_package_is_marked_as_typed(package: str) -> None:
    """Each package carries `py.typed`, so type checkers of its users read its annotations."""
    assert importlib.resources.files(package).joinpath("py.typed").is_file()


def test_version_is_written_once() -> None:
    """The installed metadata gives the version that stands in the source."""
    assert importlib.metadata.version("bets-protocol") == version.__version__


def test_commands_are_installed() -> None:
    """The distribution declares the two commands, and each leads to a function."""
    points = importlib.metadata.distribution("bets-protocol").entry_points.select(group="console_scripts")
    assert {point.name: point.module for point in points} == PROGRAMS
    assert all(callable(point.load()) for point in points)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_imports_nothing_heavy(program: str) -> None:
    """`--help` answers without the parser library, YAML, the database or TLS."""
    code = HELP.format(program=program, module=PROGRAMS[program])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "Usage:" in run.stdout
    assert [name for name in run.stderr.split() if name in HEAVY] == []


def test_help_survives_an_optimised_python() -> None:
    """`python -OO` drops docstrings, and users read some of them: the help of commands, and the rules of `conform`."""

    def said(*options: str) -> str:
        run = subprocess.run(
            [sys.executable, *options, "-c", ALL_HELP], capture_output=True, text=True, timeout=60, check=False
        )
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout

    usual = said()
    assert usual.count("Usage: ") > 20
    assert [said("-O"), said("-OO")] == [usual, usual]


@pytest.mark.skipif(not (PROJECT / ".ci").is_dir(), reason="not a checkout: .ci/ is not part of the distribution")
def test_ci_runs_the_command_that_the_readme_gives() -> None:
    """The README's command for the tests and that of `.ci/run` are the same line."""

    def commands(name: str) -> list[str]:
        lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.endswith("nox -s tests")]

    assert len(commands("README.md")) == 1
    assert commands("README.md") == commands(".ci/run")


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a checkout")
def test_a_checkout_has_the_bytes_that_were_committed(tmp_path: Path) -> None:
    """No setting of git's changes an end of line: not in scripts, nor in golden files, corpora and CSV files."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode and "dubious ownership" in done.stderr:
            pytest.skip("the checkout belongs to somebody else")
        assert done.returncode == 0, done.stderr
        return done.stdout

    git("-c", "core.autocrlf=true", "-c", "core.eol=crlf", "clone", "-q", str(PROJECT), str(tmp_path / "clone"))
    ends = [line.split()[:2] for line in git("-C", str(tmp_path / "clone"), "ls-files", "--eol").splitlines()]
    assert [end for end in ends if end[0].removeprefix("i/") != end[1].removeprefix("w/")] == []
    assert len(ends) > 100
