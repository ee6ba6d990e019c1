"""The legacy `bets.csv`: one line for each bet, agency, first name, last name, document, birthdate, number.

Written as the legacy server wrote it, byte for byte: UTF-8, CRLF, quotes only where a name needs them, no header.
Read strictly, since other programs write the file too: every line must be a bet that the protocol allows. LF alone
is accepted as the end of a line. No name holds a control character, so a line of the file is always one bet.

A name that a spreadsheet would take for a formula is written as it is: this file is data that programs read back.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

from bets_protocol import Bet, InvalidMessage, StorageError

MAX_LINE_BYTES: Final = 4096
"""Ample for the longest bet: two names of 255 bytes, each byte a quote that is written twice."""

_MAX_DIGITS: Final = 4

_FIELDS: Final = ("agency", "first_name", "last_name", "document", "birthdate", "number")


def lines_of(bets: Iterable[Bet]) -> bytes:
    """The lines for some bets, with their ends."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_MINIMAL).writerows(
        (bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate, bet.number) for bet in bets
    )
    return text.getvalue().encode()


def bet_of(line: bytes, where: str) -> Bet:
    """The bet in a line.

    Args:
        line: without its LF; a CR at its end belongs to the end of the line.
        where: ``file:line``, for messages.

    Raises:
        StorageError: the line is not a bet; says where and which field.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise StorageError(f"{where}: not UTF-8 at byte {error.start} of the line") from error
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


def _integer(text: str, field: str, where: str) -> int:
    # int() alone would take " 1_0 " and the digits of every script, and refuse very long texts its own way.
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise StorageError(f"{where}: {field}: {text!r} is not a number of at most {_MAX_DIGITS} digits")
    return int(text)
