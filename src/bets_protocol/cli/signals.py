"""SIGTERM and SIGINT as an exception in the main thread, for a program that does one thing after the other.

Strategy: `stop_signals` makes a signal raise `Stopped` at once, wherever the program is. That is right as long as it
holds nothing that needs closing: the exception may come up inside other people's code, between the taking of a lock
and its release, or in a finaliser, where it is lost. So while modules are still imported, of which finalisers are a
part, it waits for `loaded`; and where there is something to close, `deferred_stops` lets it come up only where the
program is ready for it: in a block marked `interruptible`, which every wait is (select, connect, reading a pipe), or at
a call of `raise_if_stopped`, which long computations make at every turn. Where one is lost all the same, a second
SIGTERM raises again. And whatever hangs, such as a write to a pipe that nobody reads: a process that was asked to stop
ends, see `end_at_last`.
`Stopped` is a BaseException: no `except Exception` on its way swallows it. It comes once; what is closed because of
it is closed in peace.
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
"""Those that ask for nothing and would kill; so would the real-time signals. Python itself ignores SIGPIPE and SIGXFSZ,
which come as errors of the call then. What is left are SIGHUP and SIGQUIT, which end a program on purpose, SIGKILL, and
the signals of a crash."""

CLOSING_S = 4.0
"""How long a program may close things; a server begins with that when its grace time is over."""


class Stopped(BaseException):
    """Somebody asked the program to stop: no error, just as KeyboardInterrupt is none.

    Attributes:
        signal: which signal it was.
    """

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
    """What the handlers and the main thread's code share; both run in the main thread, one at a time.

    Attributes:
        asked: the first signal that came; None: none.
        due: whether its `Stopped` has still to be raised.
        interruptible: whether the handler may raise it at once.
        whole_process: whether there is nothing in the process but the program.
        unfinished: whether a stop leaves undone what the program was started for.
    """

    asked: int | None = None
    due: bool = False
    interruptible: bool = True
    whole_process: bool = False
    unfinished: bool = False


_state = _State()


def raise_if_stopped() -> None:
    """Raise the stop that was asked for, if it has not come through yet.

    Raises:
        Stopped: it was asked for.
    """
    if _state.due and _state.asked is not None:
        _state.due = False
        raise Stopped(_state.asked)


def loaded() -> None:
    """Say that all modules of a command are there: from now on a stop comes up at once.

    Without effect where stops are not caught, or did not wait for this.

    Raises:
        Stopped: it was asked for meanwhile.
    """
    _state.interruptible = True
    raise_if_stopped()


def work_begins() -> None:
    """Say that the program has something to finish: ended by SIGTERM before `work_is_done`, it does not end with 0."""
    _state.unfinished = True


def work_is_done() -> None:
    """Say that everything that was asked for is done, and the answer is out."""
    _state.unfinished = False


def stop_asked() -> int | None:
    """The signal that has asked for a stop, for whoever takes signals over from `stop_signals`."""
    return _state.asked


@contextlib.contextmanager
def deferred_stops() -> Iterator[None]:
    """Mark a block in which a stop comes up at its waits and looks only, or else at its end. Not to be nested.

    Raises:
        Stopped: it was asked for, before the block or in it.
    """
    _state.interruptible = False
    raise_if_stopped()
    try:
        yield
    finally:
        _state.interruptible = True
    raise_if_stopped()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Mark a block inside `deferred_stops` in which a stop may come up at any instruction: one that waits.

    Raises:
        Stopped: it was asked for, before the block or in it.
    """
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
        # Who presses Ctrl-C again does not want to wait, whatever hangs.
        os._exit(ExitCode.INTERRUPTED)  # pragma: no cover - it ends the process, and what was measured with it
    elif not isinstance(sys.exception(), Stopped):
        _state.due = True  # nothing is being closed because of the first one: somebody has swallowed it
    if _state.interruptible:
        raise_if_stopped()


@contextlib.contextmanager
def stop_signals(*, loading: bool = False, restore: bool = True) -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT that comes in the block into `Stopped`.

    Args:
        loading: modules will still be imported; a stop waits for `loaded`, `deferred_stops` or `interruptible`.
        restore: put the handlers that were there back at the end. Else both signals are ignored from then on, which
            is right for a process that has only its exit before it: a late signal must not change its exit code.

    Thread: main; in another thread signals cannot be caught, and the block runs without them.
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
    """Have no signal end the process that means no stop: a log rotation that hits the wrong program, a timer.

    Ignored and not handled: a handler would interrupt the calls that write to the disk. Programs that are started from
    here on would ignore them, too.

    Without effect where `stop_signals` has not the whole process, and in other threads than the main one.
    """
    if _state.whole_process and threading.current_thread() is threading.main_thread():
        named = [number for name in _STRAYS if (number := getattr(signal, name, None)) is not None]
        for number in (*named, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)


def end_at_last(number: int, after_s: float) -> None:
    """End the process in `after_s` seconds as signal `number` has it end, if it has not ended by then.

    Without effect where `stop_signals` has not the whole process. Thread: main.
    """
    if _state.whole_process:
        code = Stopped(number).exit_code

        def end(_number: int, _frame: FrameType | None) -> None:
            if not signal.getitimer(signal.ITIMER_REAL)[0]:  # else it is a stray one, and the time is not over
                os._exit(code)

        # No thread: the handler that calls this may have come in the middle of whatever threads need to start.
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, after_s)


def no_more_stops() -> None:
    """From now on no signal raises: how the program ends is decided, and being told of it must not change it.

    Without effect once the block of `stop_signals` has ended.
    """
    _state.interruptible = False


def let_sigterm_kill() -> None:
    """Give SIGTERM back to the system, for a command whose exit code 0 would be a lie when it was cut short.

    What has come before counts as well; all modules are `loaded`.

    Thread: main; elsewhere it does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if _state.asked == signal.SIGTERM:  # pragma: no cover - it ends the process, and what was measured with it
            signal.raise_signal(signal.SIGTERM)
        loaded()
