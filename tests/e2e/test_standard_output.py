"""What standard output is worth: a result that nobody got is exit code 9, a log that nobody got is not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.processes import DEADLINE_S, PROGRAMS, Programs, clean_environment

BET = "--first-name Ana --last-name Paz --document 30904465 --birthdate 1999-03-17 --number 7574".split()
FULL = "cannot write to standard output: No space left on device\n"
CLOSED = "cannot write to standard output: it is closed\n"

RESULT = {"left": (9, ""), "full": (9, FULL), "closed": (9, CLOSED)}
"""Standard output is what the command is for."""

CONFIRMATION = {"left": (0, ""), "full": (9, FULL), "closed": (0, "")}
"""The work is done, and standard output only says so."""

NOTHING = {"left": (0, ""), "full": (0, ""), "closed": (0, "")}
"""Nothing goes to standard output."""

COMMANDS = (
    # In this order: after the first three the draw has taken place.
    ("bets-client bet --server URL --agency 1", CONFIRMATION),
    ("bets-client bet --server URL --agency 1 --format json", RESULT),
    ("bets-client send agency-1.csv --server URL", CONFIRMATION),
    ("bets-client send agency-1.csv --server URL -q", RESULT),
    ("bets-client send agency-1.csv --server URL --format json", RESULT),
    ("bets-client run --server URL --agency 1 --file agency-1.csv", CONFIRMATION),
    ("bets-client winners --server URL --agency 1", RESULT),
    ("bets-client probe --server URL", CONFIRMATION),
    ("bets-client probe --server URL --format json", RESULT),
    ("bets-client check bad.csv", RESULT),
    ("bets-client check agency-1.csv", NOTHING),
    ("bets-client sample samples --agencies 1 --bets 1", CONFIRMATION),
    ("bets-client send --help", CONFIRMATION),
    ("bets-server --version", CONFIRMATION),
    ("bets-server health URL", NOTHING),
    ("bets-server status", RESULT),
    ("bets-server uploads", RESULT),
    ("bets-server audit --format json", RESULT),
    ("bets-server winners", RESULT),
    ("bets-server close --without 1", CONFIRMATION),
    ("bets-server close --without 1 --format json", RESULT),
    ("bets-server export bets.csv", CONFIRMATION),
    ("bets-server export -", RESULT),
    ("bets-server conform --listen unix:///c.sock --scenario usual -- true", RESULT),
)
"""Each with the exit code and the last line of standard error for each `_Output`."""


@pytest.fixture
def url(programs: Programs) -> str:
    """A server that draws as soon as agency 1 has sent what it has."""
    programs.run("bets-client", "sample", ".", "--agencies", "1", "--bets", "2000")
    with (programs.folder / "agency-1.csv").open("a") as file:
        file.write("Ana,Paz,30904465,1999-03-17,7574\r\n")
    (programs.folder / "bad.csv").write_text("bad\n" * 50)
    return programs.server("--agencies", "1").url


def _run(folder: Path, words: Sequence[str], redirect: str, stdout: int | None = None) -> tuple[int, str]:
    """Exit code and standard error of a command behind which the shell's `redirect` stands."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", str(PROGRAMS / words[0]), *words[1:]],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=False,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("way", ["left", "closed", "full"])
def test_a_result_that_nobody_got_is_exit_code_9(programs: Programs, url: str, way: str) -> None:
    """Every command of both programs; where the reader has left, without a word of it."""
    if way == "full" and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, the disk that is always full")
    reader, writer = os.pipe()
    os.close(reader)
    redirect = {"left": "", "full": "> /dev/full", "closed": ">&-"}[way]
    try:
        for command, expected in COMMANDS:
            words = command.replace("URL", url).split() + (BET if " bet " in command else [])
            code, said = _run(programs.folder, words, redirect, writer)
            assert (code, "Traceback" in said, "Exception ignored" in said) == (expected[way][0], False, False), command
            found = [line for line in said.splitlines(keepends=True) if "cannot write to standard output" in line]
            assert "".join(found).partition(": ")[2] == expected[way][1], command
    finally:
        os.close(writer)
    assert (programs.folder / "bets.csv").exists()


@pytest.mark.parametrize("redirect", ["2> /dev/full", "2>&-"])
def test_standard_error_does_not_change_the_exit_code(programs: Programs, url: str, redirect: str) -> None:
    """Full or closed, whatever the exit code is."""
    if "full" in redirect and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, the disk that is always full")
    for code, command in (
        (0, f"bets-client send agency-1.csv --server {url} --format json"),
        (3, "bets-client check bad.csv"),
        (1, "bets-server health tcp://127.0.0.1:1"),
        (0, "bets-server certs init authority"),
        (2, "bets-server certs init authority"),
        (2, "bets-server nothing"),
        (5, "bets-server conform --listen unix:///d.sock --scenario usual -- true"),
    ):
        assert (code, "") == _run(programs.folder, command.split(), redirect, subprocess.DEVNULL), command


def test_an_error_keeps_its_exit_code_where_its_report_cannot_be_written(programs: Programs, url: str) -> None:
    """The code says what became of the bets, which is worth more."""
    assert url
    words = "bets-client send agency-1.csv --server tcp://127.0.0.1:1 --retry-for 0.1 --format json".split()
    code, said = _run(programs.folder, words, ">&-")
    assert (code, f"bets-client: {CLOSED}" in said) == (4, True)
    assert "no answer from tcp://127.0.0.1:1" in said.splitlines()[-2]


@pytest.mark.parametrize(
    ("taken", "code"), [(100, 9), (None, 0)], ids=["part of it", "all of it, but not the end of the stream"]
)
def test_an_export_whose_reader_leaves(programs: Programs, taken: int | None, code: int) -> None:
    """`bets-server export - | head -c 100` is cut short, and quietly no success."""
    server = programs.server("--agencies", "1")
    programs.run("bets-client", "sample", ".", "--agencies", "1", "--bets", "20000")
    programs.run("bets-client", "send", "agency-1.csv", "--server", server.url, "--no-winners")
    programs.run("bets-server", "export", "whole.csv")
    whole = (programs.folder / "whole.csv").read_bytes()
    with subprocess.Popen(
        [PROGRAMS / "bets-server", "export", "-"],
        cwd=programs.folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        found = export.stdout.read(len(whole) if taken is None else taken)
        export.stdout.close()
        assert export.stderr.read() == b""
        assert export.wait(DEADLINE_S) == code
    assert found == whole[:taken]
    server.stop()


@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-"])
def test_the_log_of_a_server_is_no_result(programs: Programs, redirect: str) -> None:
    """It serves and ends with 0, whether or not its log can be written."""
    if "full" in redirect and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, the disk that is always full")
    place = f"unix://{programs.folder}/s.sock"
    script = (
        f"bets-server serve --listen {place} {redirect} & "
        f"until bets-server health {place} 2>/dev/null; do :; done; kill $!; wait $!"
    )
    code, said = _run(programs.folder, ["python", "-c", _SHELL, script], "")
    assert (code, said) == (0, "")


_SHELL = (
    "import os, subprocess, sys\n"
    f"path = {str(PROGRAMS)!r} + os.pathsep + os.environ['PATH']\n"
    "sys.exit(subprocess.call(['sh', '-c', sys.argv[1]], env={**os.environ, 'PATH': path}))"
)
