"""The legacy `bets.csv`: one line for each bet, agency, first name, last name, document, birthdate, number.

It is written as the legacy server wrote it, byte for byte: UTF-8, CRLF, quotes only where a name needs them, no header.
It is read strictly, because other programs write it too: every line must be a bet that the protocol allows. LF alone is
accepted as the end of a line. No name holds a control character, so a line of the file is always one bet.

A name that a spreadsheet would take for a formula is written unchanged, because programs read the file back.
"""

from __future__ import annotations

import csv
import io
import operator
from collections.abc import Iterable
from typing import Final

import attrs

from bets_protocol import Bet, InvalidMessage, StorageError

_MAX_DIGITS: Final = 4

_FIELDS: Final = ("agency", "first_name", "last_name", "document", "birthdate", "number")


def lines_of(bets: Iterable[Bet]) -> bytes:
    """The lines for some bets, with their line ends."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_MINIMAL).writerows(
        (bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate, bet.number) for bet in bets
    )
    return text.getvalue().encode()


def bet_of(line: bytes, where: str) -> Bet:
    """The bet in a line.

    Args:
        line: with its line end or without.
        where: ``file:line``, for messages.

    Raises:
        StorageError: the line is not a bet; says where and which field.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise StorageError(f"{where}: not UTF-8 at byte {error.start} of the line") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if "\r" in text:  # csv would skip several at the end, where other readers see a line without fields
        raise StorageError(f"{where}: a carriage return that does not end the line")
    try:
        values = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise StorageError(f"{where}: not a line of CSV: {error}") from error
    if len(values) != len(_FIELDS):
        raise StorageError(f"{where}: {len(values)} fields, expected {len(_FIELDS)}: {', '.join(_FIELDS)}")
    agency, first_name, last_name, document, birthdate, number = values
    try:
        return Bet(
            agency=_integer(agency, "agency", where),
            first_name=first_name,
            last_name=last_name,
            document=document,
            birthdate=birthdate,
            number=_integer(number, "number", where),
        )
    except InvalidMessage as error:
        raise StorageError(f"{where}: {error}") from error


def equal_fields(one: bytes, other: bytes) -> int:
    """How many fields two lines have in common, whether they are bets or not."""
    try:
        found, expected = (next(csv.reader([line.decode(errors="replace")]), []) for line in (one, other))
    except csv.Error:
        return 0
    return sum(map(operator.eq, found, expected))


def difference(line: bytes, bet: Bet, *, where: str, same: bool) -> str:
    """What is wrong with a line that should be `bet`, or "". With `same` the same values in other bytes are enough."""
    if not line:
        return f"{where}: the file ends before this line"
    try:
        found = bet_of(line, where)
    except StorageError as error:
        return f"{error}; another line was written"
    for field in (name for name in attrs.fields_dict(Bet) if getattr(found, name) != getattr(bet, name)):
        if field in {"agency", "number"}:
            return f"{where}: {field} is {getattr(found, field)}, and {getattr(bet, field)} was written"
        return f"{where}: {field} is not the one that was written"  # the log must not have names and documents
    return "" if same else f"{where}: is not, byte for byte, the line that was written"


def _integer(text: str, field: str, where: str) -> int:
    # int() alone would take " 1_0 " and the digits of every script, and refuse very long texts its own way.
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise StorageError(f"{where}: {field}: {text!r} is not a number of at most {_MAX_DIGITS} digits")
    return int(text)
