"""Whatever happens in a command: one line for the user, the right exit code, never a traceback."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import click
import pytest
from click.testing import CliRunner, Result

from bets_protocol import ConfigError, ConnectError, LocalProtocolError
from bets_protocol.cli.command_group import ProgramGroup, say_error
from bets_protocol.cli.log_format import LOGGER_NAME, line_handler
from bets_protocol.cli.signals import loaded
from bets_protocol.cli.stdio import OutputError, write_result


class _Impatient(click.ClickException):
    """While it is shown, somebody stops the program."""

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click's signature
        signal.raise_signal(signal.SIGTERM)


@click.group(name="program", cls=ProgramGroup)
def program() -> None:
    """A program."""


@program.command()
@click.argument("what")
def do(what: str) -> int | None:
    """Do it."""
    if what == "already done":
        signal.raise_signal(signal.SIGTERM)
        return 7
    loaded()
    if what == "config":
        raise ConfigError("x.ini: PORT: '0': expected more")
    if what == "connect":
        raise ConnectError("nobody at\nh\x1b[31m")
    if what == "local":
        raise LocalProtocolError("nonsense")
    if what == "output":
        raise OutputError("cannot write")
    if what == "bug":
        return 1 // 0
    if what == "system":
        raise OSError(24, "too many")
    if what == "term":
        signal.raise_signal(signal.SIGTERM)
    if what == "int":
        signal.raise_signal(signal.SIGINT)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "abort":
        raise click.Abort
    if what == "pipe":
        raise BrokenPipeError
    if what == "stop while failing":
        raise _Impatient("x")
    if what == "seven":
        return 7
    write_result(f"{what}\n")
    return None


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(program, arguments, env={"BETS_DEBUG": "", **(env or {})})


@pytest.mark.parametrize(
    ("what", "code", "stderr"),
    [
        ("config", 2, "program: x.ini: PORT: '0': expected more\n"),
        ("connect", 4, "program: nobody at\nprogram: h\\x1b[31m\n"),
        ("local", 1, "program: nonsense\n"),
        ("output", 9, "program: cannot write\n"),
        ("interrupt", 130, "\n"),
        ("abort", 130, ""),
        ("seven", 7, ""),
        ("stop while failing", 2, ""),  # never 0: what was asked for has not been done
        ("fine", 0, ""),
    ],
)
def test_an_exception_is_a_line_and_an_exit_code(what: str, code: int, stderr: str) -> None:
    """Each kind of error ends with its code and its lines on standard error."""
    result = invoke("do", what)
    assert (result.exit_code, result.stderr) == (code, stderr)


def test_a_result_goes_to_standard_output() -> None:
    """What a command prints as its result is on standard output."""
    assert invoke("do", "fine").stdout == "fine\n"


def test_a_bug_is_named_with_its_place_and_without_a_traceback() -> None:
    """An unexpected error has its type, file and line."""
    result = invoke("do", "bug")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(
        f"program: this is a bug: ZeroDivisionError: integer division or modulo by zero at {__file__}:"
    )
    assert second == "program: BETS_DEBUG=1 in the environment shows more"


def test_the_traceback_of_a_bug_is_there_for_who_asks() -> None:
    """BETS_DEBUG=1 shows the traceback."""
    result = invoke("do", "bug", env={"BETS_DEBUG": "1"})
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "shows more" not in result.stderr


@pytest.fixture
def _no_logging_yet() -> None:
    logger = logging.getLogger(LOGGER_NAME)
    while (handler := line_handler(logger)) is not None:
        logger.removeHandler(handler)


@pytest.mark.usefixtures("_no_logging_yet")
@pytest.mark.parametrize(("what", "code"), [("term", 0), ("int", 130)])
def test_a_signal_ends_with_the_shutdown_line(what: str, code: int) -> None:
    """The last line of the log says that the program was stopped."""
    result = invoke("do", what)
    assert result.exit_code == code
    assert result.stdout.endswith("INFO     action: shutdown | result: success\n")
    assert result.stderr == ""


def test_a_signal_does_not_change_the_answer_of_a_command_that_needs_no_time() -> None:
    """It came while modules were loaded, and all was done before anything looked."""
    result = invoke("do", "already done")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "", "")


def test_a_usage_error_is_clicks_own_text_and_exit_2() -> None:
    """An unknown command is explained by click."""
    result = invoke("nothing")
    assert result.exit_code == 2
    assert "No such command 'nothing'" in result.stderr


def test_help_ends_with_0() -> None:
    """`--help` is a success."""
    result = invoke("--help")
    assert (result.exit_code, "A program." in result.stdout) == (0, True)


def test_an_error_is_shown_on_one_line_for_each_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are escaped, line feeds begin a line."""
    say_error("p", "one\ntwo\r\x00")
    assert capsys.readouterr().err == "p: one\np: two\\x0d\\x00\n"


def test_without_standard_output_and_error_nothing_but_a_result_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing standard error changes no exit code."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as caught:
        program.main(["do", "config"])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        program.main(["do", "fine"])
    assert caught.value.code == 9


def run(*arguments: str, stdout: int | None = subprocess.PIPE, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    """The program above as a process; `shell` is put behind it."""
    command = f"exec {sys.executable} -m tests.cli.test_command_group {' '.join(arguments)} {shell}"
    return subprocess.run(
        ["sh", "-c", command],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "BETS_DEBUG": ""},
        timeout=20,
        check=False,
    )


def test_a_result_whose_reader_has_left_is_quietly_no_success() -> None:
    """A closed pipe ends with 9 and no message."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("do", "fine", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (9, b"")


def test_clicks_own_output_without_a_reader_is_no_traceback() -> None:
    """Help whose reader has left ends with 0."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("--help", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_broken_pipe_inside_a_command_is_no_traceback() -> None:
    """It is not standard output's, and so a bug: click would end with 1 and without a word."""
    done = run("do", "pipe")
    assert done.returncode == 1
    assert done.stderr.startswith(b"program: BrokenPipeError: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
def test_a_full_disk_is_not_called_a_bug() -> None:
    """Help that cannot be written ends with 9 and says why."""
    done = run("--help", shell="> /dev/full")
    said = b"program: cannot write to standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (9, said)


def test_an_error_of_the_system_inside_a_command_keeps_its_place() -> None:
    """An OSError of a command is reported as a bug with its line."""
    first, second = invoke("do", "system").stderr.splitlines()
    assert first.startswith(f"program: OSError: [Errno 24] too many at {__file__}:")
    assert second == "program: BETS_DEBUG=1 in the environment shows more"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
def test_a_result_that_cannot_be_written_is_no_success() -> None:
    """A full disk ends with 9 and the reason."""
    done = run("do", "fine", shell="> /dev/full")
    assert done.returncode == 9
    assert done.stderr == b"program: cannot write to standard output: No space left on device\n"


def test_closed_output_is_no_traceback() -> None:
    """A process whose standard streams are closed keeps its exit code."""
    done = run("do", "config", shell=">&- 2>&-")
    assert (done.returncode, done.stderr) == (2, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
@pytest.mark.parametrize("arguments", [("do", "config"), ("nothing",), ("do", "bug")])
def test_an_error_that_cannot_be_shown_keeps_its_exit_code(arguments: tuple[str, ...]) -> None:
    """A full standard error changes no exit code."""
    done = run(*arguments, shell="2> /dev/full")
    assert done.returncode == (1 if "bug" in arguments else 2)


def test_a_signal_after_the_work_does_not_change_the_exit_code() -> None:
    """SIGTERM after the end of a command is ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as caught:
            program(["do", "seven"])
        signal.raise_signal(signal.SIGTERM)
    finally:
        program._is_whole_process = False
        for number, handler in before.items():
            signal.signal(number, handler)
    assert caught.value.code == 7


if __name__ == "__main__":
    program(prog_name="program")
