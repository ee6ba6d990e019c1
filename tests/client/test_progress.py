"""Progress: a bar on a terminal, a plain line now and then elsewhere, and never in the way."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
from collections.abc import Callable, Iterator

import pytest

from bets_client import progress as module
from bets_client.progress import Progress
from bets_protocol.cli.log_format import EventLog, setup_logging

END = "<end>"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "now", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[io.TextIOWrapper, Callable[[], str]]]:
    """A terminal's stream, and a function: what was written to it so far."""
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    stream = open(theirs, "w", encoding="utf-8")  # noqa: SIM115 - closed below

    def written() -> str:
        stream.write(END)  # a terminal passes on what it got in its own time, but in order
        stream.flush()
        data = ""
        while not data.endswith(END):
            data += os.read(ours, 65536).decode()
        return data.removesuffix(END)

    yield stream, written
    stream.close()
    os.close(ours)


def test_a_terminal_that_knows_no_escapes_gets_plain_lines(
    clock: Clock, terminal: tuple[io.TextIOWrapper, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TERM=dumb no escape sequence is written."""
    monkeypatch.setenv("TERM", "dumb")
    stream, written = terminal
    progress = Progress(stream, logging.getLogger("bets"))
    progress.start("sending", 100)
    clock.seconds += 10
    progress.acknowledged(50)
    progress.finish()
    assert written() == "sending: 50 of 100 bets acknowledged (50 %), 10 s\r\n"


def test_without_a_terminal_there_is_a_plain_line_every_10_s(clock: Clock) -> None:
    """Each line has the count, the share and the time."""
    stream = io.StringIO()
    progress = Progress(stream, logging.getLogger("bets"))
    progress.start("sending", 26_936)
    for _ in range(25):
        clock.seconds += 1
        progress.acknowledged(100)
    progress.finish()
    assert stream.getvalue() == (
        "sending: 1,000 of 26,936 bets acknowledged (3 %), 10 s\n"
        "sending: 2,000 of 26,936 bets acknowledged (7 %), 20 s\n"
    )


def test_a_wait_has_no_number_of_bets(clock: Clock) -> None:
    """While the client waits, the line has a title and the time."""
    stream = io.StringIO()
    progress = Progress(stream, logging.getLogger("bets"))
    progress.waiting("waiting for\nthe draw")
    clock.seconds += 10
    progress.tick()
    assert stream.getvalue() == "waiting for\\x0athe draw: 10 s\n"


def test_on_a_terminal_a_bar_is_drawn_in_place(
    clock: Clock, terminal: tuple[io.TextIOWrapper, Callable[[], str]]
) -> None:
    """The bar is redrawn on its line, and is gone at the end."""
    stream, written = terminal
    progress = Progress(stream, logging.getLogger("bets"))
    progress.start("sending", 200)
    progress.acknowledged(50)  # too soon to be shown
    clock.seconds += 1
    progress.acknowledged(50)
    clock.seconds += 1
    progress.acknowledged(100)
    progress.finish()
    bars = re.findall(r"\[([#.]+)\]", written())
    assert bars == ["." * 16, "#" * 8 + "." * 8, "#" * 16, "#" * 16]


def test_a_log_line_wipes_the_bar_first(clock: Clock, terminal: tuple[io.TextIOWrapper, Callable[[], str]]) -> None:
    """No log line begins behind the bar."""
    stream, written = terminal
    log = EventLog(setup_logging("INFO", stream))
    progress = Progress(stream, log.logger)
    progress.start("sending", 200)
    written()
    log.success("one")
    log.success("two")
    lines = written().split("\r\n")
    assert lines[0].startswith("\r\x1b[K2")
    assert lines[1].startswith("2")
    clock.seconds += 1
    progress.tick()
    progress.finish()
    assert written().endswith("\r\n")
    log.success("three")
    assert written().startswith("2")


def test_a_bar_is_cut_at_the_terminals_width(
    clock: Clock, terminal: tuple[io.TextIOWrapper, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar never takes more than one line."""
    stream, written = terminal
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 5)))
    progress = Progress(stream, logging.getLogger("bets"))
    progress.start("sending", clock.seconds.__int__())
    assert written() == "\r\x1b[K[" + "." * 16 + "] "


class Screen(io.StringIO):
    """A terminal that has no descriptor."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_of_unknown_width_has_80_columns(clock: Clock) -> None:
    """Without a known width 79 columns are written."""
    stream = Screen()
    Progress(stream, logging.getLogger("bets")).start("x" * 200, int(clock.seconds))
    assert len(stream.getvalue().removeprefix("\r\x1b[K")) == 79


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_stream_that_is_gone_costs_nothing(clock: Clock, stream: str | None) -> None:
    """A missing or closed stream is no error."""
    target = io.StringIO() if stream else None
    progress = Progress(target, logging.getLogger("bets"))
    if target is not None:
        target.close()
    progress.start("sending", 10)
    clock.seconds += 20
    progress.acknowledged(5)
    clock.seconds += 20
    progress.acknowledged(5)
    progress.finish()


def test_before_the_start_and_after_the_end_nothing_is_shown(clock: Clock) -> None:
    """Time that passes outside a task writes nothing."""
    stream = io.StringIO()
    progress = Progress(stream, logging.getLogger("bets"))
    clock.seconds += 100
    progress.tick()
    progress.start("sending", 1)
    progress.finish()
    clock.seconds += 100
    progress.tick()
    assert stream.getvalue() == ""
