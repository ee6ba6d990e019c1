"""Log lines: exact, one line each, parseable whatever a value holds, written at once, never in the way."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol.cli.log_format import (
    LOGGER_NAME,
    SILENT,
    EventLog,
    escape,
    line_handler,
    log_line,
    one_line,
    setup_logging,
)


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    yield
    logger = logging.getLogger(LOGGER_NAME)
    while (handler := line_handler(logger)) is not None:
        logger.removeHandler(handler)


def parsed(line: str) -> dict[str, str]:
    """A line as programs of others take it apart."""
    return dict(part.split(": ", 1) for part in line.split(" | "))


def test_a_line_reads_as_the_contract_has_it() -> None:
    """Action, result and fields are separated by ` | `."""
    assert (
        log_line("apuesta_almacenada", "success", dni="30904465", numero=7574)
        == "action: apuesta_almacenada | result: success | dni: 30904465 | numero: 7574"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", r"a\x0ab"),
        ("a\r\nb", r"a\x0d\x0ab"),
        ("\x00\x1b[31m", r"\x00\x1b[31m"),
        ("\x7f\x85\x9f", r"\x7f\x85\x9f"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\udcff", r"\udcff"),
        ("x | result: fail", r"x \x7c result: fail"),
        ("Ñandú N°1 €", "Ñandú N°1 €"),
        ("back\\slash", "back\\slash"),
        (True, "true"),
        (False, "false"),
        (None, "none"),
        (0.5, "0.5"),
        (b"caf\xc3\xa9\xff", "café\\xff"),
        (ValueError("no\tgood"), r"no\x09good"),
    ],
)
def test_a_value_is_escaped(value: object, shown: str) -> None:
    """Control characters, line ends, direction marks and the separator cannot break a line."""
    assert escape(value) == shown


@given(st.lists(st.text()))
def test_any_values_give_one_line_that_comes_apart_again(values: list[str]) -> None:
    """Whatever the values, the line can be parsed."""
    fields = {f"key{number}": value for number, value in enumerate(values)}
    line = log_line("name", "success", **fields)
    assert len(line.splitlines()) == 1
    assert line.encode()
    assert list(parsed(line)) == ["action", "result", *fields]
    assert all(parsed(line)[key] == escape(value) for key, value in fields.items())


def test_one_line_leaves_the_separator_alone() -> None:
    """Only line ends are escaped outside of fields."""
    assert one_line("a | b\n") == "a | b\\x0a"


def test_a_record_has_time_padded_level_and_message() -> None:
    """Each line begins with date, time and level."""
    stream = io.StringIO()
    log = EventLog(setup_logging("DEBUG", stream))
    log.success("one")
    log.fail("two", error="no")
    log.progress("three", level=logging.DEBUG)
    stamp = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
    expected = [
        rf"{stamp} INFO     action: one \| result: success",
        rf"{stamp} ERROR    action: two \| result: fail \| error: no",
        rf"{stamp} DEBUG    action: three \| result: in_progress",
    ]
    lines = stream.getvalue().splitlines()
    assert [bool(re.fullmatch(pattern, line)) for pattern, line in zip(expected, lines, strict=True)] == [True] * 3


class Held(io.StringIO):
    """A stream of another kind, which says when it is flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[int] = []

    def flush(self) -> None:
        self.flushed.append(self.getvalue().count("\n"))


def test_every_line_is_flushed_whatever_the_stream() -> None:
    """A buffered stream is flushed after each line."""
    stream = Held()
    log = EventLog(setup_logging("INFO", stream))
    log.success("one")
    log.success("two")
    assert stream.flushed == [1, 2]


def test_lines_below_the_level_are_left_out() -> None:
    """The level is a bound."""
    stream = io.StringIO()
    log = EventLog(setup_logging("WARNING", stream))
    log.success("quiet")
    log.fail("loud")
    assert [line.split()[3] for line in stream.getvalue().splitlines()] == ["action:"]
    assert "loud" in stream.getvalue()


def test_silent_lets_no_line_through() -> None:
    """At the level SILENT critical lines are left out too."""
    stream = io.StringIO()
    EventLog(setup_logging(SILENT, stream)).fail("loud", level=logging.CRITICAL)
    assert stream.getvalue() == ""


def test_set_up_again_replaces_the_handler() -> None:
    """Setting up twice writes each line once."""
    first, second = io.StringIO(), io.StringIO()
    setup_logging("INFO", first)
    EventLog(setup_logging("INFO", second)).success("once")
    assert (first.getvalue(), second.getvalue().count("\n")) == ("", 1)


def test_a_traceback_and_a_message_of_several_lines_stay_one_line() -> None:
    """A traceback is escaped to one line."""
    stream = io.StringIO()
    logger = setup_logging("INFO", stream)
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("first\nsecond %s", "x")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("first\\x0asecond x\n")


def test_what_stands_on_the_terminal_is_cleared_before_each_line() -> None:
    """The hook of the progress bar runs before a line is written."""
    stream = io.StringIO()
    logger = setup_logging("INFO", stream)
    handler = line_handler(logger)
    assert handler is not None
    wiped: list[str] = []
    handler.before_line = lambda: wiped.append(stream.getvalue())
    EventLog(logger).success("one")
    EventLog(logger).success("two")
    assert [text.count("\n") for text in wiped] == [0, 1]


def test_a_logger_that_was_never_set_up_has_no_line_handler() -> None:
    """Another logger gives None."""
    assert line_handler(logging.getLogger("bets.nothing")) is None


def test_a_closed_stream_costs_nothing() -> None:
    """A line for a closed stream is dropped without an error."""
    stream = io.StringIO()
    log = EventLog(setup_logging("INFO", stream))
    stream.close()
    log.success("unseen")


def test_no_standard_output_at_all_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard output can log."""
    monkeypatch.setattr(sys, "stdout", None)
    EventLog(setup_logging("INFO")).success("unseen")


LOG_THEN_WAIT = """
import sys, time
from bets_protocol.cli.log_format import EventLog, setup_logging
log = EventLog(setup_logging("INFO"))
log.success("first")
sys.stdin.readline()
for number in range(3):
    log.success("later", number=number)
print("on standard error", file=sys.stderr)
"""


def test_a_line_is_in_the_pipe_at_once_and_a_reader_that_leaves_is_no_error() -> None:
    """A closed pipe does not end the program."""
    with subprocess.Popen(
        [sys.executable, "-c", LOG_THEN_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"action: first" in process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b"on standard error\n"
        assert process.wait(20) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """The program goes on when its log cannot be written."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", LOG_THEN_WAIT],
            input=b"\n",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    # The interpreter's own last flush of standard output may complain; the guard of the programs sees to that.
    assert done.stderr.startswith(b"on standard error\n")


def test_a_character_that_the_encoding_lacks_is_escaped() -> None:
    """An ASCII stream gets escapes and no error."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from bets_protocol.cli.log_format import EventLog, setup_logging\n"
            "EventLog(setup_logging('INFO')).success('probe', msg='N°1')",
        ],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.endswith(rb"msg: N\xb01" + b"\n")


def test_the_time_is_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stamp follows TZ."""
    stream = io.StringIO()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # what logging reads from Python 3.13 on
    monkeypatch.setenv("TZ", "UTC-5")
    time.tzset()
    try:
        EventLog(setup_logging("INFO", stream)).success("then")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert stream.getvalue().startswith("1970-01-01 05:00:00 INFO ")
