"""Writes bets as rows: a CSV file, an SQLite file with a plain table, or CSV on standard output.

A file is written under another name and moved to its place when it is complete, readable by its owner only, as the
store is. Only an ordinary file is replaced, and never a part of a store: a typing error must not cost the bets.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import attrs

from bets_protocol import Bet, BetsError, ConfigError
from bets_protocol.cli.signals import Stopped, interruptible
from bets_protocol.cli.stdio import forsake, write_result
from bets_server.store import store_of

FIELDS = tuple(field.name for field in attrs.fields(Bet))
"""The columns: those of a bet, in the order of its fields."""

SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")

_FORMULA_STARTS = ("=", "+", "-", "@")

_ROWS_PER_PIECE = 256
"""Written to standard output at a time: some 20 KB."""


def export_rows(rows: Iterable[Sequence[object]], path: Path, *, raw: bool = False, kept: Iterable[Path] = ()) -> int:
    """Writes `rows` to `path`, SQLite by its suffix and CSV otherwise; returns how many.

    Args:
        rows: bets, as the values of `FIELDS`, in the order of the file.
        path: an ordinary file there is replaced; through a symbolic link, the file that it leads to.
        raw: in CSV, leave a name that a spreadsheet would take for a formula as it is, instead of putting an
            apostrophe in front.
        kept: files that are not replaced, under any of their names: those where the rows come from.

    Raises:
        ConfigError: the file cannot or must not be written; what was there before is unchanged, as it is if `rows`
            raises an error.
    """
    try:
        target = Path(os.path.realpath(path))
        _require_replaceable(path, target, kept)
        with _replacing(target) as partial:
            return _write_sqlite(rows, partial) if path.suffix in SQLITE_SUFFIXES else _write_csv(rows, partial, raw)
    except BetsError:  # of the rows, too; a `TransportTimeout` is also an OSError
        raise
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be written: {reason}") from error


def _require_replaceable(path: Path, target: Path, kept: Iterable[Path]) -> None:
    for one in kept:
        same = target == Path(os.path.realpath(one))
        with contextlib.suppress(OSError):  # one of them does not exist
            same = same or target.samefile(one)
        if same:
            raise ConfigError(f"{path}: cannot be written: the bets come from there")
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()  # not of `target`: that of a pipe leads nowhere
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # A standard stream that goes there, as with `/dev/stdout`, would keep the old file.
        ordinary = stat.S_ISREG(found.st_mode)
        for descriptor in range(3):
            with contextlib.suppress(OSError):  # closed
                ordinary = ordinary and not os.path.samestat(found, os.fstat(descriptor))
        if not ordinary:
            raise ConfigError(f"{path}: cannot be written: it is no ordinary file; - stands for standard output")
    if (store := store_of(target) or store_of(path)) is not None:
        raise ConfigError(f"{path}: cannot be written: it belongs to the store {store}")


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """An empty file, mode 0600, that replaces `target` if the block ends without an error."""
    descriptor, partial = tempfile.mkstemp(prefix=".export-", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(partial)
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise


def print_rows(rows: Iterable[Sequence[object]], *, raw: bool = False) -> None:
    """Writes `rows` to standard output as CSV in UTF-8, as they come; the arguments are those of `export_rows`.

    Raises:
        OutputError: it cannot be written.
        Stopped: a stop was asked for; nothing more goes to standard output, not even the log, which would land in the
            middle of the CSV.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    rest = iter(rows)
    try:
        while some := list(islice(rest, _ROWS_PER_PIECE)):
            text = io.StringIO(newline="")
            _write_lines(some, text, raw)
            with interruptible():  # the reader of a pipe may be slow
                write_result(text.getvalue())
    except Stopped:
        if sys.stdout is not None:
            forsake(sys.stdout)
        raise


def _write_csv(rows: Iterable[Sequence[object]], path: Path, raw: bool) -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        count = _write_lines(rows, file, raw)
        file.flush()
        os.fsync(file.fileno())
    return count


def _write_lines(rows: Iterable[Sequence[object]], file: TextIO, raw: bool) -> int:
    count = 0
    writer = csv.writer(file)
    for row in rows:
        writer.writerow(row if raw else [_without_formula(value) for value in row])
        count += 1
    return count


def _without_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _write_sqlite(rows: Iterable[Sequence[object]], path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f"{field.name} {_SQL_TYPES[field.type]} NOT NULL" for field in attrs.fields(Bet))
        connection.execute(f"CREATE TABLE bets ({columns}) STRICT")
        connection.executemany(f"INSERT INTO bets VALUES ({', '.join('?' * len(FIELDS))})", rows)
        connection.commit()
        return connection.total_changes


_SQL_TYPES = {"int": "INTEGER", "str": "TEXT", int: "INTEGER", str: "TEXT"}
