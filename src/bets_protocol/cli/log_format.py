"""The log lines that programs of others parse: `action: NAME | result: success | key: value`.

Rules: one event is one line, whatever its values contain; a line with `action:` always has `result:`; every line is
flushed at once, also into a pipe; a log without a reader does not stop the work. In a value, control characters and `|`
are escaped as in Python (a line feed becomes the four characters ``\\x0a``), so splitting a line at `` | `` and each
part at its first ``: `` always gives the fields back.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from bets_protocol.cli import stdio

LOGGER_NAME = "bets"
"""The logger of both programs."""

LEVELS: Mapping[str, int] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "NOTICE": logging.INFO + 5,  # the legacy client's logging library has it
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}
"""The names of log levels that the legacy programs take, and what they mean here."""

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

SILENT = logging.CRITICAL + 10
"""A level above that of every line."""

# C0, DEL and C1; the separators that some readers take for a line's end; the characters that turn the direction of
# what follows, so that a value could show itself as another field; halves of surrogate pairs, which no encoding takes.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_IN_LINE = re.compile(f"[{_UNSAFE}]")
_UNSAFE_IN_VALUE = re.compile(f"[{_UNSAFE}|]")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """`text` with everything escaped that would break a line or turn its direction."""
    return _UNSAFE_IN_LINE.sub(_escaped, text)


def escape(value: object) -> str:
    """`value` as in a log line, without line feeds and `|`: `true`, `false`, `none`, bytes as UTF-8 text."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return _UNSAFE_IN_VALUE.sub(_escaped, str(value))


def log_line(action: str, result: str, /, **fields: object) -> str:
    """One event as text, its fields in the order given."""
    parts = [f"action: {escape(action)}", f"result: {escape(result)}"]
    parts += [f"{key}: {escape(value)}" for key, value in fields.items()]
    return " | ".join(parts)


def _whole_line(when: str, level: int, message: str) -> str:
    return one_line(f"{when} {logging.getLevelName(level):<8} {message}") + "\n"


class LineHandler(logging.Handler):
    """Writes each record as one flushed line, and nothing more once the reader has left.

    Attributes:
        before_line: called before each line if it is set, to remove a progress bar from the terminal.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._failure: Exception | None = None
        self.before_line: Callable[[], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        # The traceback of an exception is left out: an event is one line.
        when = time.strftime(_TIME_FORMAT, time.localtime(record.created))
        self._write(_whole_line(when, record.levelno, record.getMessage()))

    def write_events(self, events: Iterable[tuple[int, str, str, Mapping[str, object]]]) -> None:
        """Writes events (level, action, result, fields) in one piece: each writing lets other threads in between."""
        now = time.strftime(_TIME_FORMAT)
        text = "".join(
            _whole_line(now, level, log_line(action, result, **fields)) for level, action, result, fields in events
        )
        if text:
            with self.lock or contextlib.nullcontext():
                self._write(text)

    def _write(self, text: str) -> None:
        stream = self._stream
        if stream is None:
            return
        if self.before_line is not None:
            self.before_line()
        try:
            stream.write(text)
            stream.flush()
            self._failure = None
        except BrokenPipeError:
            self._stream = None
            stdio.forsake(stream)
        except (OSError, ValueError) as error:  # a full disk may have room again at the next line
            self._failure = error

    def require_written(self) -> None:
        """Check that the last line for standard output was written, for a program whose log is its result.

        Raises:
            OutputError: it was not. A closed standard output or a reader that has left is not an error.
        """
        if self._failure is not None and self._stream is sys.stdout:
            raise stdio.unwritten(self._failure)


def setup_logging(level: int | str = logging.INFO, stream: TextIO | None = None) -> logging.Logger:
    """Give the programs' logger its one `LineHandler`, in place of an earlier one, and return the logger.

    Args:
        level: a number, or a name of `LEVELS`.
        stream: standard output by default.
    """
    logger = logging.getLogger(LOGGER_NAME)
    while (old := line_handler(logger)) is not None:
        logger.removeHandler(old)
    target = sys.stdout if stream is None else stream
    stdio.prepare(target)
    logger.addHandler(LineHandler(target))
    logger.setLevel(LEVELS[level.upper()] if isinstance(level, str) else level)
    logger.propagate = False
    return logger


def line_handler(logger: logging.Logger) -> LineHandler | None:
    """The handler that `setup_logging` gave to `logger`, if it did."""
    return next((handler for handler in logger.handlers if isinstance(handler, LineHandler)), None)


class EventLog:
    """Logs events as lines, one method for each result.

    Thread: any; `hold` and `write_held` one only.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.holding = False
        self._held: list[tuple[int, str, str, Mapping[str, object]]] = []
        self._lock = threading.Lock()  # guards the two above

    def hold(self) -> None:
        """Keep lines back, neither formatted nor written, until `write_held`."""
        self.holding = True

    def write_held(self) -> None:
        """Write the lines that were kept back, in their order; from then on lines are written at once."""
        while self.holding:
            with self._lock:
                held, self._held = self._held, []
                self.holding = bool(held)
            handler = line_handler(self.logger)
            if handler is not None:
                handler.write_events(held)
                continue
            for line in held:
                self._write(*line)

    def success(self, action: str, /, *, level: int = logging.INFO, **fields: object) -> None:
        """Log that `action` is done."""
        self._log(level, action, "success", fields)

    def fail(self, action: str, /, *, level: int = logging.ERROR, **fields: object) -> None:
        """Log that `action` failed."""
        self._log(level, action, "fail", fields)

    def progress(self, action: str, /, *, level: int = logging.INFO, **fields: object) -> None:
        """Log that `action` has begun or goes on."""
        self._log(level, action, "in_progress", fields)

    def _log(self, level: int, action: str, result: str, fields: Mapping[str, object]) -> None:
        if not self.logger.isEnabledFor(level):
            return
        if self.holding:
            with self._lock:
                if self.holding:
                    self._held.append((level, action, result, fields))
                    return
        self._write(level, action, result, fields)

    def _write(self, level: int, action: str, result: str, fields: Mapping[str, object]) -> None:
        self.logger.log(level, "%s", log_line(action, result, **fields))
