"""A strict reader of the log lines, such as other people's programs may have: docs/operations.md, "Log lines"."""

from __future__ import annotations

import datetime
import re

import attrs

_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?P<level>DEBUG   |INFO    |WARNING |ERROR   |CRITICAL) "
    r"action: (?P<action>[a-z]+(_[a-z]+)*) \| result: (?P<result>success|fail|in_progress)(?P<fields>( \| .*)?)"
)
_FIELD = re.compile(
    r"(?P<key>[a-z]+(_[a-z]+)*): (?P<value>[^|\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*)"
)

_LIKE_A_LOG_LINE = re.compile(r"action:|result:|^\d{4}-\d\d-\d\d[ T]\d\d:")


@attrs.frozen
class LogLine:
    """One event."""

    level: str
    action: str
    result: str
    fields: dict[str, str]


def read_line(line: str) -> LogLine:
    """Takes a line apart.

    Raises:
        AssertionError: it is not exactly as documented.
    """
    found = _LINE.fullmatch(line)
    assert found, f"no log line: {line!r}"
    datetime.datetime.strptime(found["time"], "%Y-%m-%d %H:%M:%S")
    fields: dict[str, str] = {}
    for part in found["fields"].split(" | ")[1:]:
        field = _FIELD.fullmatch(part)
        assert field, f"no field: {part!r} in {line!r}"
        assert field["key"] not in {*fields, "action", "result"}, f"{field['key']} twice in {line!r}"
        fields[field["key"]] = field["value"]
    return LogLine(found["level"].strip(), found["action"], found["result"], fields)


def read_log(text: str) -> list[LogLine]:
    """All lines of a log, each ended by a line feed.

    Raises:
        AssertionError: one is not as documented.
    """
    assert not text or text.endswith("\n")
    return [read_line(line) for line in text.split("\n")[:-1]]


def read_output(text: str) -> list[LogLine]:
    """The log lines of a program that also prints results, which must not look like log lines.

    Raises:
        AssertionError: a line that has `action:` or begins with a time is not as documented.
    """
    return [read_line(line) for line in text.split("\n") if _LIKE_A_LOG_LINE.search(line)]


def read_answers(text: str) -> list[LogLine]:
    """The log lines of a client that also prints winners, one document a line, or one JSON object.

    Raises:
        AssertionError: a line is none of these: a value that broke its line would leave such a rest.
    """
    strange = [
        line
        for line in text.split("\n")
        if not (_LIKE_A_LOG_LINE.search(line) or re.fullmatch(r"([0-9]{8})?|\{.*\}", line))
    ]
    assert strange == []
    return read_output(text)
