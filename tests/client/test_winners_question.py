"""`bets-client winners` at a terminal: it says what asking means, and asks for confirmation before it connects."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.client.scripted_server import DEADLINE_S, Central, ScriptedServer
from tests.client.wire import ROW
from tests.e2e.processes import PROGRAMS, clean_environment

QUESTION = "Ask for the winners of agency 1? [y/N] "
MEANS = "asking before the draw means that agency 1 has sent everything: it is sealed, and later bets of it are refused"

# Makes the terminal that of its own session, as a shell's is.
_WITH_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def at_terminal(typed: str, folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """The exit code of a client, its standard output, and what its terminal shows; `typed` answers a question."""
    master, terminal = pty.openpty()
    shown, answered = b"", False
    with os.fdopen(master, "r+b", buffering=0) as screen, (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, str(PROGRAMS / "bets-client"), *arguments],
            stdin=terminal,
            stdout=out,
            stderr=terminal,
            env=clean_environment(**environment),
            cwd=folder,
            start_new_session=True,
        )
        os.close(terminal)
        deadline = time.monotonic() + 2 * DEADLINE_S
        with contextlib.suppress(OSError):  # the end of a terminal that nobody has open any more
            while time.monotonic() < deadline:
                if not select.select([screen], [], [], 0.1)[0]:
                    continue
                data = screen.read(4096)
                if not data:
                    break
                shown += data
                if QUESTION.encode() in shown and not answered:
                    answered = True
                    screen.write(typed.encode())
        try:
            code = process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()
    return code, (folder / "out").read_text(), shown.decode()


def ask(folder: Path, typed: str, *more: str, **environment: str) -> tuple[int, str, str, Sequence[int]]:
    central = Central(1, {1: ["30904465"]})
    with ScriptedServer(central) as server:
        found = at_terminal(typed, folder, "winners", "--agency", "1", "--server", server.url, *more, **environment)
        if found[0]:
            assert server.accepted == 0
    return *found, central.asked


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_yes_goes_on(tmp_path: Path, answer: str) -> None:
    """`y` and `YES` ask the server, after the warning was shown."""
    code, out, shown, asked = ask(tmp_path, answer, "-q")
    assert (code, out, asked) == (0, "30904465\n", [1])
    assert MEANS in shown


@pytest.mark.parametrize(
    "answer", ["n\n", "\n", "why\n", "\x04", "\x03"], ids=["no", "Enter", "why", "Ctrl-D", "Ctrl-C"]
)
def test_anything_else_asks_nobody(tmp_path: Path, answer: str) -> None:
    """Every other answer, Ctrl-C and Ctrl-D end with 130 and no connection."""
    code, _, shown, asked = ask(tmp_path, answer)
    assert (code, asked) == (130, [])
    assert QUESTION in shown
    assert "Traceback" not in shown


def test_no_in_json(tmp_path: Path) -> None:
    """In JSON the result of a refused question is `stopped`."""
    code, out, _, _ = ask(tmp_path, "n\n", "--format", "json")
    assert code == 130
    assert '"result": "stopped", "exit_code": 130' in out


@pytest.mark.parametrize(("options", "environment"), [(["--yes"], {}), ([], {"BETS_YES": "1"})])
def test_an_answer_beforehand_is_enough(tmp_path: Path, options: list[str], environment: dict[str, str]) -> None:
    """`--yes` or BETS_YES leaves the question out."""
    code, out, shown, asked = ask(tmp_path, "", "-q", *options, **environment)
    assert (code, out, asked) == (0, "30904465\n", [1])
    assert "[y/N]" not in shown


def test_send_asks_nothing_back(tmp_path: Path) -> None:
    """`send` asks for the winners without a question."""
    (tmp_path / "agency-1.csv").write_text(ROW, newline="\r\n")
    central = Central(1, {1: ["30904465"]})
    with ScriptedServer(central) as server:
        code, _, shown = at_terminal("", tmp_path, "send", "agency-1.csv", "--server", server.url)
    assert (code, central.asked) == (0, [1])
    assert "[y/N]" not in shown
