"""Files that users write: rows of bets, and configuration files."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping

from bets_client import config as client_config
from bets_protocol import Bet, ConfigError
from bets_protocol.cli.settings import Setting
from bets_protocol.client.csv_file import FIELDS, CsvFile
from bets_protocol.errors import BadRow, InputError
from bets_server import config as server_config

_AGENCY = 7
_BIRTHDATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@contextlib.contextmanager
def written(data: bytes, name: str) -> Iterator[str]:
    """The path of a file that holds `data`."""
    with tempfile.TemporaryDirectory(prefix="bets-fuzz-") as folder:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(data)
        yield path


# -- rows of bets


def rows(data: bytes) -> None:
    """Each line of a file is a bet or an error that says line and field, as an independent reading has it."""
    with written(data, "bets.csv") as path, contextlib.closing(CsvFile(path, _AGENCY)) as source:
        found = list(source.rows())
        assert source.digest == hashlib.sha256(data).digest()
        expected = dict(_read_independently(data))
        assert [expected[line] for line in sorted(expected)] == [_values(row) for row in found]
        for row in found:
            if isinstance(row, BadRow):
                assert row.line in expected
                assert row.field in (*FIELDS, "row"), f"no field {row.field}"
                assert str(row).startswith(f"{path}:{row.line}: {row.field}: ")
                assert str(row).isprintable(), f"{row} breaks a line"
        _bets_of(source, found)


def _bets_of(source: CsvFile, found: list[Bet | BadRow]) -> None:
    """A second reading gives the same up to the first bad row, and says which one that is."""
    bets: list[Bet | BadRow] = []
    first_bad = next((row for row in found if isinstance(row, BadRow)), None)
    refusal = ""
    try:
        for bet in source.bets():
            bets.append(bet)
    except InputError as error:
        refusal = str(error)
    assert bets == (found if first_bad is None else found[: found.index(first_bad)])
    assert refusal == ("" if bets and first_bad is None else str(first_bad or source.empty()))


def _values(row: Bet | BadRow) -> tuple[object, ...] | None:
    return None if isinstance(row, BadRow) else tuple(getattr(row, field) for field in FIELDS)


def _read_independently(data: bytes) -> Iterator[tuple[int, tuple[object, ...] | None]]:
    """Line numbers and the five values, or None where the line is no bet; written again on purpose."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    unended = len(lines)  # the last one: there a CR is not the end of a line
    rows = [(number, line) for number, line in enumerate(lines, start=1)]
    while rows and (rows[-1][1] == b"" or (rows[-1][1] == b"\r" and rows[-1][0] != unended)):
        rows.pop()
    for number, line in rows:
        yield number, _bet_in(line)


def _bet_in(line: bytes) -> tuple[object, ...] | None:
    if len(line) > 2000:  # the longest bet has names of 255 quotes each, and each is doubled
        return None
    try:
        fields = _fields_in(line.removesuffix(b"\r").decode())
    except ValueError:
        return None
    if len(fields) != len(FIELDS):
        return None
    *names, document, birthdate, number = fields
    for name in names:
        if not 1 <= len(name.encode()) <= 255 or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
            return None
    if re.fullmatch("[0-9]{8}", document) is None or _BIRTHDATE.fullmatch(birthdate) is None:
        return None
    if re.fullmatch("[0-9]{1,9}", number) is None or int(number) > 9999:
        return None
    try:
        datetime.date(*map(int, birthdate.split("-")))
    except ValueError:
        return None
    return (*names, document, birthdate, int(number))


def _fields_in(line: str) -> list[str]:
    """The fields of a line of CSV.

    Raises:
        ValueError: a quotation is not ended, or something other than a comma follows it.
    """
    fields, rest = [], line
    while True:
        if rest.startswith('"'):
            quoted = re.match('"((?:[^"]|"")*)"(?=,|$)', rest, re.DOTALL)
            if quoted is None or (quoted.end() < len(rest) and rest[quoted.end()] != ","):
                raise ValueError(line)
            fields.append(quoted[1].replace('""', '"'))
            rest = rest[quoted.end() :]
        else:
            size = rest.find(",") if "," in rest else len(rest)
            fields.append(rest[:size])
            rest = rest[size:]
        if not rest:
            return fields
        rest = rest[1:]


# -- configuration files


def settings(data: bytes) -> None:
    """A configuration file or an environment gives settings or a ConfigError of one line, on both sides."""
    with written(data, "config") as path:
        with _refused_in_words(path):
            server_config.load_settings({"config": path}, {})
        with _refused_in_words(path):
            client_config.load_settings({"config": path}, {})
    for table, load in (
        (server_config.SETTINGS, server_config.load_settings),
        (client_config.SETTINGS, client_config.load_settings),
    ):
        environ = _environment(data, table)
        with _refused_in_words("environment "):
            load({}, environ)


def _environment(data: bytes, table: tuple[Setting, ...]) -> Mapping[str, str]:
    """One variable: which one, says the first byte."""
    names = [name for setting in table for name in setting.env]
    value = data[1:].decode("utf-8", "surrogateescape").replace("\0", "")
    return {names[data[0] % len(names)]: value} if data else {}


@contextlib.contextmanager
def _refused_in_words(where: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        said = str(error)
        assert where in said, f"{said!r} does not say where"
        assert "\n" not in said, f"{said!r} is not one line"  # other control characters are escaped where it is shown
