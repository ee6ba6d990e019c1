"""Standard output and error that stay usable when their reader has left.

Strategy: a program's work never depends on somebody reading its lines. A stream whose reader closed the pipe (EPIPE)
is pointed at the null device, once, so that neither the next line nor the interpreter's own flush at the end fails.
A *result* is different, because a result that nobody got is no success. Two things can go wrong with it:

1. It cannot be written (a full disk): `OutputError`, whatever the result is.
2. Its reader has left, or standard output was closed from the start: `OutputError` where the result is what the command
   is for. Where it only confirms work that is done, nobody wanted the confirmation, and that is no error.

What fits into a pipe counts as read: the system does not tell whether somebody has read it.
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
    """The reader of standard output left before the result was out. It knows that, so the user is told nothing."""


_READER_LEFT = (BrokenPipeError, ConnectionResetError)  # of a pipe; of a socket that had unread data

_forsaken: weakref.WeakSet[TextIO] = weakref.WeakSet()


def occupy_standard_descriptors() -> None:
    """Open the null device at each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file or socket of the program would get that number, and what any library prints to standard
    error, say, would go into it: into the bets of a CSV store, for instance. `sys.stdout` stays None where it was.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free


def prepare(stream: TextIO | None) -> None:
    """Make `stream` flush every line and never fail for a character that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)


def forsake(stream: TextIO) -> None:
    """Send what `stream` still holds, and all that follows, to the null device.

    The bytes that could not be written stay in the buffers of the stream, so closing it is no way out: that would
    try to write them again.
    """
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
        confirms: it only tells of work that is done (of a file that was written, say), so that nothing is lost with it.

    Raises:
        OutputError: it could not be written.
        ReaderLeft: likewise, since its reader has left; not where it only `confirms`.
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
        if text:  # where nothing is buffered, writing nothing would ask the system, and a full disk refuses even that
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
    """Flush `stream` for the last time; what cannot be written is dropped without a word."""
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
