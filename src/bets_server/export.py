"""Writes bets as rows: a CSV file, or an SQLite file with a plain table.

The file appears whole or not at all: it is written beside its place and moved there at the end.
"""

from __future__ import annotations

import csv
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from bets_protocol import Bet, BetsError, ConfigError

FIELDS = tuple(field.name for field in attrs.fields(Bet))
"""The columns: those of a bet, in the order of its fields."""

SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")

_FORMULA_STARTS = ("=", "+", "-", "@")


def export_rows(rows: Iterable[Sequence[object]], path: Path, *, raw: bool = False) -> int:
    """Writes `rows` to `path`, SQLite by its suffix and CSV otherwise; returns how many.

    Args:
        rows: bets, as the values of `FIELDS`, in the order in which they are to stand.
        path: replaced if it is there.
        raw: in CSV, leave a name that a spreadsheet would take for a formula as it is, instead of putting an
            apostrophe in front.

    Raises:
        ConfigError: the file cannot be written; what was there before is unchanged. Likewise where `rows` raises.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    write = _write_sqlite if path.suffix in SQLITE_SUFFIXES else _write_csv
    try:
        count = write(rows, partial, raw)
        os.replace(partial, path)
    except BetsError:  # of `rows`; a deadline that passes is an OSError, too
        raise
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be written: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write_csv(rows: Iterable[Sequence[object]], path: Path, raw: bool) -> int:
    count = 0
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for row in rows:
            writer.writerow(row if raw else [_without_formula(value) for value in row])
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def _without_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _write_sqlite(rows: Iterable[Sequence[object]], path: Path, _raw: bool) -> int:
    connection = sqlite3.connect(path)
    try:
        columns = ", ".join(f"{field.name} {_SQL_TYPES[field.type]} NOT NULL" for field in attrs.fields(Bet))
        connection.execute(f"CREATE TABLE bets ({columns}) STRICT")
        holes = ", ".join("?" for _ in FIELDS)
        connection.executemany(f"INSERT INTO bets VALUES ({holes})", rows)
        connection.commit()
        (count,) = connection.execute("SELECT count(*) FROM bets").fetchone()
        return int(count)
    finally:
        connection.close()


_SQL_TYPES = {"int": "INTEGER", "str": "TEXT", int: "INTEGER", str: "TEXT"}
