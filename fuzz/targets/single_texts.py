"""Single texts that users write and that peers bring into the log: URLs, durations, values of log lines."""

from __future__ import annotations

import io
import logging
import math
import unicodedata

from bets_protocol import ConfigError
from bets_protocol.cli.durations import format_duration, parse_duration
from bets_protocol.cli.log_format import LineHandler, escape, log_line, one_line
from bets_protocol.transports import parse_url

_DIRECTIONS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def texts(data: bytes) -> None:
    """A text is a URL or a duration, or is refused in words; whatever it is, it stays one field of one log line."""
    text = data.decode("utf-8", "surrogateescape")
    _url(text)
    _duration(text)
    for value in (text, data):
        _log_value(value)


def _url(text: str) -> None:
    url, refusal = None, ""
    try:
        url = parse_url(text)
    except ConfigError as error:
        refusal = str(error)
    if url is None:
        assert repr(text) in refusal, "the error does not show the url"
        return
    # The scheme alone is folded; a bare host:port is the same with its scheme written down.
    assert url == parse_url(str(url))
    assert url.port is None or 0 <= url.port <= 65_535
    assert url.host in text, "the host was changed"
    assert text.endswith(url.path), "the path was changed"
    assert not any(unicodedata.category(character) == "Cc" for character in str(url))


def _duration(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert math.isfinite(seconds), "an endless duration"
    assert seconds >= 0, "a negative duration"
    shown = format_duration(seconds)
    assert math.isclose(parse_duration(shown), seconds, rel_tol=1e-9, abs_tol=1e-9), f"{seconds} is shown as {shown}"


def _log_value(value: str | bytes) -> None:
    shown = escape(value)
    _require_harmless(shown)
    assert "|" not in shown
    line = log_line("fuzz", "success", first=value, second=value)
    # What a reader of the log does.
    assert [part.partition(": ")[::2] for part in line.split(" | ")] == [
        *(("action", "fuzz"), ("result", "success")),
        *(("first", shown), ("second", shown)),
    ]
    # Also what nobody has escaped.
    text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
    for message in (line, text):
        log = io.StringIO()
        LineHandler(log).emit(logging.LogRecord("fuzz", logging.INFO, "", 0, "%s", (message,), None))
        _require_harmless(log.getvalue().removesuffix("\n"))
    assert one_line(line) == line


def _require_harmless(line: str) -> None:
    """One line, in the order in which it was written, that every encoding takes."""
    assert len(line.splitlines()) <= 1, "two lines"
    line.encode("utf-8")
    for character in line:
        assert unicodedata.category(character) not in {"Cc", "Zl", "Zp", "Cs"}, f"{character!r} is not escaped"
        assert unicodedata.bidirectional(character) not in _DIRECTIONS, f"{character!r} turns the direction"
