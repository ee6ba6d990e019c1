"""Standard output and error that stay usable when their reader has left.

Strategy: a program's work does not depend on a reader of its lines. A stream whose reader closed the pipe (EPIPE) is
redirected to the null device, so that neither the next line nor the interpreter's own flush at the end fails. A
*result* is different, because a result that nobody got is no success:

1. If it cannot be written (a full disk), that is an `OutputError`.
2. If its reader has left, or standard output was closed from the start, that is an `OutputError`, unless the result
   only confirms work that is done.

What fits into a pipe counts as read: the system does not tell whether it was.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import weakref
from typing import TextIO

from bets_protocol.cli.exit_codes import ExitCode, ProgramError


class OutputError(ProgramError):
    """A result could not be written; the work that it reports has been done all the same."""

    exit_code = ExitCode.OUTPUT


class ReaderLeft(OutputError):
    """The reader of standard output left before the result was written; no message is printed for it."""


_READER_LEFT = (BrokenPipeError, ConnectionResetError)  # of a pipe; of a socket that had unread data

_forsaken: weakref.WeakSet[TextIO] = weakref.WeakSet()


def occupy_standard_descriptors() -> None:
    """Open the null device at each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file or socket, such as a store, would get that number, and with it all that libraries print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free


def prepare(stream: TextIO | None) -> None:
    """Make `stream` flush every line, and escape characters that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)


def forsake(stream: TextIO) -> None:
    """Send what `stream` has buffered, and all that follows, to the null device: closing it would write it again."""
    _forsaken.add(stream)
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # not a real file (a test's buffer), or closed: nothing to redirect
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)
    with contextlib.suppress(OSError, ValueError):
        stream.flush()


def write_result(text: str, *, confirms: bool = False) -> None:
    """Write `text` to standard output, whole and at once.

    Args:
        confirms: it only confirms work that is done, so that a missing reader is no error.

    Raises:
        OutputError: it could not be written.
        ReaderLeft: its reader has left.
    """
    stream = sys.stdout
    if stream is None:  # started with standard output closed
        if text and not confirms:
            raise OutputError("cannot write to standard output: it is closed")
        return
    if stream in _forsaken:  # a line of the log has met the end of the pipe before
        if text and not confirms:
            raise ReaderLeft("the reader of standard output has left")
        return
    try:
        if text:  # an unbuffered stream would pass on an empty write, which fails on a full disk
            stream.write(text)
        stream.flush()
    except _READER_LEFT as error:
        forsake(stream)
        if text and not confirms:
            raise ReaderLeft("the reader of standard output has left") from error
    except (OSError, ValueError) as error:
        forsake(stream)
        raise unwritten(error) from error


def write_remark(text: str) -> None:
    """Write `text` to standard error; that it cannot be written is no error."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        forsake(stream)


def flush_at_end(stream: TextIO | None) -> None:
    """Flush `stream` for the last time; what cannot be written is dropped."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        forsake(stream)


def unwritten(error: Exception) -> OutputError:
    """The error that a failure to write to standard output means."""
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return OutputError(f"cannot write to standard output: {reason}")
