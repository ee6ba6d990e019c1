"""The one place where exceptions become one line for the user and an exit code: no traceback ever reaches a user.

Strategy: `ProgramGroup` is a click group whose `main` guards every command of a program, so that commands just raise.
It also catches SIGTERM and SIGINT before a command's own modules are imported, and turns them into `Stopped`; a command
that opens nothing calls `loaded` first. An unexpected exception is a bug: one line names it and where it happened; with
BETS_DEBUG=1 the traceback goes to standard error as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import click

from bets_protocol.cli import stdio
from bets_protocol.cli.exit_codes import ExitCode, exit_code_of
from bets_protocol.cli.log_format import LOGGER_NAME, EventLog, line_handler, one_line, setup_logging
from bets_protocol.cli.signals import Stopped, no_more_stops, stop_signals
from bets_protocol.errors import BetsError

DEBUG_VARIABLE = "BETS_DEBUG"


class _BrokenPipe(Exception):
    """A BrokenPipeError (its argument) on its way past click, which would end the process with 1 for any pipe."""


@contextlib.contextmanager
def _broken_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _BrokenPipe(error) from error


class ProgramGroup(click.Group):
    """A click group that ends the process with one of `ExitCode`, whatever happens in its commands."""

    _is_whole_process = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as the whole process: a signal that comes after the work cannot change the exit code any more."""
        self._is_whole_process = True
        return self.main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's, which prints help here."""
        with _broken_pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with _broken_pipes():
            return super().invoke(ctx)

    def main(self, args: Any = None, prog_name: Any = None, *more: Any, **options: Any) -> Any:
        """As click's, but always ends the process."""
        if sys.flags.optimize > 1:
            _restore_help(self)
        if self._is_whole_process:
            stdio.occupy_standard_descriptors()
        for stream in (sys.stdout, sys.stderr):
            stdio.prepare(stream)
        try:
            with stop_signals(loading=True, restore=not self._is_whole_process):
                code = self._guarded(prog_name or self.name or "program", args, prog_name, *more, **options)
        except Stopped as stop:  # pragma: no cover - a signal in the few instructions around `_guarded`
            code = stop.exit_code
        for stream in (sys.stdout, sys.stderr):
            stdio.flush_at_end(stream)
        sys.exit(int(code))

    def _guarded(self, name: str, *args: Any, **options: Any) -> int:
        try:
            try:
                result = super().main(*args, **options | {"standalone_mode": False})
            finally:
                no_more_stops()
        except Stopped as stop:
            say_shutdown()
            return stop.exit_code
        except (click.Abort, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        except click.ClickException as error:
            with contextlib.suppress(OSError, ValueError):
                error.show()
            return ExitCode.USAGE
        except stdio.ReaderLeft as error:
            return error.exit_code
        except BetsError as error:
            say_error(name, str(error))
            return exit_code_of(error)
        except _BrokenPipe as error:
            (cause,) = error.args
            return ExitCode.DONE if _is_of_click(cause) else _bug(name, cause)
        except OSError as error:
            if not _is_of_click(error):
                return _bug(name, error)
            say_error(name, f"cannot write to standard output: {error.strerror}")
            return ExitCode.OUTPUT
        except Exception as error:  # noqa: BLE001 - the top of the program: here a bug gets its line and exit code
            return _bug(name, error)
        return result if isinstance(result, int) else ExitCode.DONE


def _restore_help(command: click.Command) -> None:
    """Give a command and those below it the help that `python -OO` has dropped with the docstrings."""
    from bets_protocol.cli.docstrings import docstring_of

    if command.callback is not None and not command.help:
        command.help = docstring_of(command.callback)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _restore_help(below)


def say_error(name: str, text: str) -> None:
    """Write `text` to standard error, each line with the program's name."""
    stdio.write_remark("".join(f"{name}: {one_line(line)}\n" for line in text.split("\n")))


def say_shutdown() -> None:
    """Log the last line of a program that was stopped."""
    logger = logging.getLogger(LOGGER_NAME)
    if line_handler(logger) is None:  # stopped before its logging was set up
        setup_logging()
    EventLog(logger).success("shutdown")


def _origin(error: Exception) -> TracebackType | None:
    """The innermost step of the traceback."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step


def _is_of_click(error: OSError) -> bool:
    """Whether `error` was raised where click prints, which is only help."""
    step = _origin(error)
    return step is not None and step.tb_frame.f_globals.get("__name__") == click.utils.__name__


def _bug(name: str, error: Exception) -> ExitCode:
    step = _origin(error)
    where = f" at {step.tb_frame.f_code.co_filename}:{step.tb_lineno}" if step is not None else ""
    # An error of the system is rarely a bug: it may have no memory for a thread.
    what = "" if isinstance(error, OSError) else "this is a bug: "
    say_error(name, f"{what}{type(error).__name__}: {error}"[:500] + where)
    if os.environ.get(DEBUG_VARIABLE):
        sys.excepthook(type(error), error, error.__traceback__)
    else:
        say_error(name, f"{DEBUG_VARIABLE}=1 in the environment shows more")
    return ExitCode.BUG
