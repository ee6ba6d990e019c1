"""Standard output and error that stay usable when their reader has left.

Strategy: a program's work never depends on somebody reading its lines. A stream whose reader closed the pipe (EPIPE)
is pointed at the null device, once, so that neither the next line nor the interpreter's own flush at the end fails.
Any other failure to write a *result* (a full disk) is an `OutputError`: a result that nobody got is no success.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from bets_protocol.programs.exit_codes import ExitCode, ProgramError


class OutputError(ProgramError):
    """A result could not be written; the work that it reports has been done all the same."""

    exit_code = ExitCode.BUG


def prepare(stream: TextIO | None) -> None:
    """Make `stream` flush every line and never fail for a character that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)


def forsake(stream: TextIO) -> None:
    """Send what `stream` still holds, and all that follows, to the null device.

    The bytes that could not be written stay in the buffers of the stream, so closing it is no way out: that would
    try to write them again.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # not a real file (a test's buffer), or closed: nothing to redirect
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)


def write_result(text: str) -> None:
    """Write `text` to standard output, whole and at once.

    Raises:
        OutputError: it could not be written, for another reason than that nobody reads any more.
    """
    stream = sys.stdout
    if stream is None:  # started with standard output closed
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        forsake(stream)
    except (OSError, ValueError) as error:
        forsake(stream)
        raise OutputError(f"cannot write to standard output: {_reason(error)}") from error


def flush_at_end(stream: TextIO | None) -> None:
    """Flush `stream` for the last time; what cannot be written is dropped without a word."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        forsake(stream)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
