"""Frames written field by field, so that a test can get any of them wrong."""

from __future__ import annotations

from bets_protocol import Bet

ANA = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=7574)
JOSE = Bet(
    agency=5, first_name="José María", last_name="Núñez", document="21689196", birthdate="2000-02-29", number=9999
)

AGENCY, FIRST_NAME, LAST_NAME, DOCUMENT, BIRTHDATE, NUMBER = 2, 4, 8, 11, 19, 29
"""Where the fields of `bet()` start, counted from its length; the length bytes of the names stand before them."""


def bet(
    *,
    agency: int = 1,
    first_name: bytes = b"Ana",
    last_name: bytes = b"Paz",
    document: bytes = b"30904465",
    birthdate: bytes = b"1999-03-17",
    number: int = 7574,
    length: int | None = None,
    first_length: int | None = None,
    last_length: int | None = None,
) -> bytes:
    """A bet with its length in front; each length is the true one unless given."""
    first = bytes([len(first_name) if first_length is None else first_length]) + first_name
    last = bytes([len(last_name) if last_length is None else last_length]) + last_name
    body = bytes([agency]) + first + last + document + birthdate + number.to_bytes(2, "big")
    return (len(body) if length is None else length).to_bytes(2, "big") + body


def batch(*bets: bytes, count: int | None = None, kind: int = 1) -> bytes:
    """A batch of revision 7 and later; its count is the true one unless given."""
    return bytes([kind, len(bets) if count is None else count]) + b"".join(bets)


def sized_bet(size: int) -> bytes:
    """A good bet that takes `size` bytes, its length included: 27 to 535."""
    names = size - 25
    first = min(255, names - 1)
    return bet(first_name=b"a" * first, last_name=b"b" * (names - first))
