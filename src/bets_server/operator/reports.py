"""Prints answers to operators: tables and sentences for people, one JSON object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bets_protocol.cli.log_format import one_line
from bets_server.operator.commands import Row


def _uploads(rows: Iterable[Row]) -> str:
    columns = ("number", "agency", "stored", "total", "crc32", "epoch")
    return _table(
        ("NUMBER", "AGENCY", "STORED", "TOTAL", "CRC-32", "EPOCH", "STATE", "UPLOAD"),
        [[*(row[name] for name in columns), _upload_state(row), row["upload_id"] or "anonymous"] for row in rows],
    )


def _upload_state(row: Row) -> str | None:
    if row["voided"]:
        return "void"
    if row["upload_id"] is None:
        return None
    return "finished" if row["finished"] else "unfinished"


def _audit(rows: Iterable[Row]) -> str:
    columns = ("seq", "at", "draw", "event", "agency", "detail")
    return _table([name.upper() for name in columns], [[row[name] for name in columns] for row in rows])


def _status(row: Row) -> Iterator[str]:
    """A few lines about the draw, and a table of the agencies."""
    drawn = f"drawn, the winning number is {row['winning_number']}" if row["drawn"] else "not drawn"
    missing = ", ".join(map(str, row["missing"])) or "none"
    waits = "" if row["drawn"] or not row["server"] else f"; waits for agencies 1 to {row['agencies']}"
    yield f"server: {'running' if row['server'] else 'not running'}\n"
    yield f"draw {row['draw']}: {drawn}{waits}\n"
    if row["server"]:
        yield f"missing agencies: {missing}\n"
        unknown = row.get("unknown_connections")  # an older server does not tell
        of_nobody = f", {unknown} of no known agency" if unknown else ""
        yield f"connections: {row['connections']}{of_nobody}\n"
    yield f"bets: {row['bets']}\n"
    if row["digest"]:
        yield f"digest: {row['digest']}\n"
    headings = ("AGENCY", "MODE", "BETS", "FINISHED", "SEALED", "CONNECTED", "LAST SEEN")
    columns = ("agency", "mode", "bets", "finished", "sealed", "connections")
    agencies = [
        [*(each[name] for name in columns), None if each["silent_s"] is None else f"{_span(each['silent_s'])} ago"]
        for each in row["by_agency"]
    ]
    if agencies:
        yield "\n" + _table(headings, agencies)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _close(row: Row) -> str:
    sealed = " is sealed by force" if row["newly_sealed"] else ": nothing to do"
    drawn = "the draw has taken place before" if row["drawn"] else "others are still missing"
    if row["drawn_now"]:
        drawn = "it was the last one missing: the draw has taken place"
    return f"agency {row['agency']}{sealed}; {drawn}\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns, with numbers to the right; control characters in a cell are escaped."""
    lines = [list(row) for row in rows]
    columns = []
    for heading, *values in zip(headings, *lines, strict=True):
        cells = [heading, *(one_line(_cell(value)) for value in values)]
        width = max(map(len, cells))
        to_the_right = any(isinstance(value, int) and not isinstance(value, bool) for value in values)
        columns.append([cell.rjust(width) if to_the_right else cell.ljust(width) for cell in cells])
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*columns, strict=True))


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


_TABLES: Mapping[str, Callable[[Iterable[Row]], str]] = {"uploads": _uploads, "audit": _audit}

_TEXTS: Mapping[str, Callable[[Row], str]] = {
    "status": lambda row: "".join(_status(row)),
    "void": "upload {0[number]} of agency {0[agency]} is void: its {0[stored]} bets count no more\n".format,
    "close": _close,
    "winners": "{0[agency]},{0[document]}\n".format,
}


def report(command: str, form: str, rows: Iterable[Row]) -> str:
    """The answer to `command` as text, or as a JSON object a row if `form` is ``json``."""
    if form == "json":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if command in _TABLES:
        return _TABLES[command](rows)
    return "".join(map(_TEXTS[command], rows))
