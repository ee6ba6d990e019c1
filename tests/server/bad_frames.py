"""What a server must refuse: batches that break the layout, and bets that break the rule of a value."""

from __future__ import annotations

import struct

from tests.server.wire import batch, bet

GOOD = bet(1)


def with_length(length: int, body: bytes) -> bytes:
    """A bet whose length field says `length`."""
    return struct.pack(">H", length) + body


def lied(change: int) -> bytes:
    """A sound bet whose length field says more or less."""
    return with_length(len(GOOD) - 2 + change, GOOD[2:])


SIXTEEN_LONG = [bet(row, first_name=b"x" * 255, last_name=b"y" * 255) for row in range(16)]

FRAMING = {
    "type 0": b"\x00" + batch(GOOD),
    "type 5": b"\x05" + batch(GOOD),
    "type 4": b"\x04" + batch(GOOD),
    "type 127": b"\x7f" + batch(GOOD),
    "type 131": b"\x83" + batch(GOOD),
    "type 255": b"\xff" + batch(GOOD),
    "count 0": b"\x01\x00" + GOOD,
    "bet of length 0": batch(GOOD, with_length(0, b"")),
    "bet of length 1": batch(GOOD, with_length(1, b"\x01")),
    "bet of length 22": batch(GOOD, with_length(22, GOOD[2:24])),
    "bet of length 24": batch(GOOD, with_length(24, GOOD[2:26])),
    "bet of length 534": batch(GOOD, with_length(534, GOOD[2:] + b"x" * 600)),
    "bet of length 65535": batch(GOOD, with_length(65535, GOOD[2:] + b"x" * 9000)),
    "length one short": batch(GOOD, lied(-1)),
    "length one long": batch(GOOD, lied(1) + b"x"),
    "first name beyond its bet": batch(GOOD, with_length(len(GOOD) - 2, GOOD[2:3] + b"\xff" + GOOD[4:])),
    "last name beyond its bet": batch(GOOD, with_length(34, b"\x01\x01A\xfa" + b"x" * 30)),
    "sum over 8192": batch(*SIXTEEN_LONG),
    "a batch cut short": batch(GOOD, bet(2))[:-1],
    "a question cut short": b"\x02",
    "a type and nothing else": b"\x01",
}
"""Bytes that break the layout on revisions 7 and 8."""

VALUES = {
    "agency 0": bet(agency=0),
    "empty first name": bet(first_name=b""),
    "empty last name": bet(last_name=b""),
    "NUL in a name": bet(first_name=b"A\x00na"),
    "LF in a name": bet(last_name=b"Paz\n"),
    "ESC in a name": bet(first_name=b"\x1b[31m"),
    "DEL in a name": bet(first_name=b"An\x7fa"),
    "C1 in a name": bet(first_name="An\x85a".encode()),
    "bad UTF-8": bet(first_name=b"An\xffa"),
    "UTF-8 cut short": bet(last_name="Peña".encode()[:3]),
    "overlong UTF-8": bet(last_name=b"\xc0\xaf"),
    "a surrogate": bet(last_name=b"\xed\xa0\x80"),
    "document with a letter": bet(document_bytes=b"3090446x"),
    "document with a blank": bet(document_bytes=b" 0904465"),
    "document of Arabic digits": bet(document_bytes="٣٣٣٣".encode()),
    "30 February": bet(birthdate=b"2000-02-30"),
    "29 February of no leap year": bet(birthdate=b"1900-02-29"),
    "a date by weeks": bet(birthdate=b"2020-W01-1"),
    "month 13": bet(birthdate=b"2000-13-01"),
    "year 0": bet(birthdate=b"0000-01-01"),
    "a date with slashes": bet(birthdate=b"2000/01/01"),
    "number 10000": bet(number=10_000),
    "number 65535": bet(number=65_535),
}
"""Sound bets that break the rule of a value."""
