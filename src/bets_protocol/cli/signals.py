"""SIGTERM and SIGINT as an exception in the main thread, for a program that does one thing after the other.

Strategy: `stop_signals` makes a signal raise `Stopped` at once, wherever the program is. That is right only while the
program has nothing open: the exception may be raised in foreign code, between taking a lock and releasing it, or in a
finaliser, where it is lost. So:

1. While modules are imported, which runs finalisers, it waits for `loaded`.
2. In a block of `deferred_stops` it is raised only in a block marked `interruptible`, as every wait is (select,
   connect, reading a pipe), or by `raise_if_stopped`, which long computations call in their loops.
3. It is raised once, so that clean-up is not interrupted. If it was lost all the same, a second SIGTERM raises again.
4. A program that hangs after a stop, such as in a write to a pipe that nobody reads, is ended by `end_at_last`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import attrs

from bets_protocol.cli.exit_codes import ExitCode

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_STRAYS = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGXCPU")
"""They would kill the program, as the real-time signals would, though they do not mean a stop. Python itself ignores
SIGPIPE and SIGXFSZ: the call fails. SIGHUP and SIGQUIT end a program on purpose."""

CLOSING_S = 4.0
"""Seconds for clean-up; a server's begin when its grace time is over."""


class Stopped(BaseException):
    """The program was asked to stop. A BaseException, so that no `except Exception` swallows it."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self.signal),), vars(self)  # made from the number, though `args` is the name

    @property
    def exit_code(self) -> ExitCode:
        """130 after SIGINT; after SIGTERM 0, the way to end a service, or 143 where `work_begins` says so."""
        if self.signal is signal.SIGINT:
            return ExitCode.INTERRUPTED
        return ExitCode.TERMINATED if _state.unfinished else ExitCode.DONE


@attrs.define
class _State:
    """What the handlers and the main thread's code share; both run in the main thread, one at a time."""

    asked: int | None = None  # the first signal that came
    due: bool = False  # whether its `Stopped` is still to be raised
    interruptible: bool = True  # whether the handler may raise it at once
    whole_process: bool = False  # whether the process runs nothing but the program
    unfinished: bool = False  # whether a stop leaves the program's work undone


_state = _State()


def raise_if_stopped() -> None:
    """Raise `Stopped` if a stop was asked for and has not been raised yet."""
    if _state.due and _state.asked is not None:
        _state.due = False
        raise Stopped(_state.asked)


def loaded() -> None:
    """Say that all modules of a command are loaded: from now on a stop is raised, also one that came earlier."""
    _state.interruptible = True
    raise_if_stopped()


def work_begins() -> None:
    """Say that the program has work to finish: a SIGTERM before `work_is_done` does not end it with 0."""
    _state.unfinished = True


def work_is_done() -> None:
    """Say that the work is done and its result was written."""
    _state.unfinished = False


def stop_asked() -> int | None:
    """The signal that has asked for a stop, for code that replaces the handlers of `stop_signals`."""
    return _state.asked


@contextlib.contextmanager
def deferred_stops() -> Iterator[None]:
    """Raise `Stopped` only by `interruptible` and `raise_if_stopped`, or else at the block's end. Not to be nested."""
    _state.interruptible = False
    raise_if_stopped()
    try:
        yield
    finally:
        _state.interruptible = True
    raise_if_stopped()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Mark a block inside `deferred_stops` in which `Stopped` may be raised at any instruction: one that waits."""
    before, _state.interruptible = _state.interruptible, True
    try:
        raise_if_stopped()  # only now, or a signal between the two would be waited out
        yield
    finally:
        _state.interruptible = before


def _handle(number: int, _frame: FrameType | None) -> None:
    if _state.asked is None:
        _state.asked, _state.due = number, True
        end_at_last(number, CLOSING_S)
    elif number == signal.SIGINT:
        # A user who presses Ctrl-C again does not want to wait.
        os._exit(ExitCode.INTERRUPTED)  # pragma: no cover - it ends the process, and what was measured with it
    elif not isinstance(sys.exception(), Stopped):
        _state.due = True  # no clean-up runs, so the first `Stopped` was swallowed
    if _state.interruptible:
        raise_if_stopped()


@contextlib.contextmanager
def stop_signals(*, loading: bool = False, restore: bool = True) -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT that comes in the block into `Stopped`.

    Args:
        loading: modules will still be imported; a stop waits for `loaded`, `deferred_stops` or `interruptible`.
        restore: set the earlier handlers again at the end. Otherwise both signals are ignored from then on, for a
            process that is about to exit: a late signal must not change its exit code.

    Thread: main; in other threads signals cannot be caught, and this has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.asked, _state.due, _state.interruptible = None, False, not loading
    _state.whole_process, _state.unfinished = not restore, False
    before = {number: signal.signal(number, _handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if restore else signal.SIG_IGN)
        _state.asked, _state.due, _state.whole_process = None, False, False


def ignore_strays() -> None:
    """Ignore the signals that do not mean a stop, such as one of a log rotation for another program.

    They are not handled, since a handler would interrupt calls that write to the disk. Programs started later ignore
    them, too. Has no effect if the program is not the whole process, or in other threads than the main one.
    """
    if _state.whole_process and threading.current_thread() is threading.main_thread():
        named = [number for name in _STRAYS if (number := getattr(signal, name, None)) is not None]
        for number in (*named, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)


def end_at_last(number: int, after_s: float) -> None:
    """End the process in `after_s` seconds, with the exit code for signal `number`, if it still runs then.

    Has no effect if the program is not the whole process. Thread: main.
    """
    if _state.whole_process:
        code = Stopped(number).exit_code

        def end(_number: int, _frame: FrameType | None) -> None:
            if not signal.getitimer(signal.ITIMER_REAL)[0]:  # a SIGALRM of another process may come earlier
                os._exit(code)

        # No thread: the handler that calls this may have interrupted the start of another one, which holds locks.
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, after_s)


def no_more_stops() -> None:
    """Raise `Stopped` no more: how the program ends is decided."""
    _state.interruptible = False


def let_sigterm_kill() -> None:
    """Let SIGTERM kill the process, for a command that must not exit with 0 when it was cut short; also an earlier one.

    Thread: main, when all modules are loaded; no effect in others.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if _state.asked == signal.SIGTERM:  # pragma: no cover - it ends the process, and what was measured with it
            signal.raise_signal(signal.SIGTERM)
        loaded()
