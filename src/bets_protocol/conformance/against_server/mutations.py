"""Messages that break one rule each, made by changing the bytes of valid ones.

Text is found in the encoded message as it is, and any other field by encoding two messages that differ in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from bets_protocol import Bet, OpenUpload, WinnersRequest, encode
from bets_protocol.conformance.partial import LENGTH_BYTES

_BET_REVISION = 5  # a bet is a frame of its own


def encoded_bet(bet: Bet) -> bytes:
    """The bytes of a bet, which are the same in every revision."""
    return encode(bet, revision=_BET_REVISION)


def _first_difference(one: bytes, other: bytes) -> int:
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _changed(
    message: Bet | WinnersRequest | OpenUpload,
    value: Callable[[int], int],
    *,
    revision: int = _BET_REVISION,
    before: int = 0,
    **changes: Any,
) -> bytes:
    """The message with another value in one byte: the first one that would differ if its fields had `changes`.

    Args:
        value: the new value of the byte, from the old one.
        before: how many bytes before that one the byte is.
    """
    data = encode(message, revision=revision)
    at = _first_difference(data, encode(attrs.evolve(message, **changes), revision=revision)) - before
    return data[:at] + bytes([value(data[at])]) + data[at + 1 :]


def _length_off(by: int) -> Callable[[Bet], bytes]:
    """The bet with a length that is wrong by `by`."""
    return lambda bet: _changed(bet, lambda length: length + by, last_name=bet.last_name + "x")


def _length_too_large(bet: Bet) -> bytes:
    """The bet with a length that no bet can have: the high byte is 255."""
    return _changed(bet, lambda _: 255, first_name="x" * 255)


def _name_past_the_end(bet: Bet) -> bytes:
    """The bet with a first name whose length is more than that of the whole bet."""
    return _changed(bet, lambda _: 255, first_name="x" + bet.first_name, last_name=bet.last_name[:-1])


def _number_too_large(bet: Bet) -> bytes:
    # 9998 differs in the last byte of the number only; adding 1 there to 9999 needs no carry.
    return _changed(attrs.evolve(bet, number=9999), lambda low: low + 1, number=9998)


def _replaced(old: Callable[[Bet], str], new: bytes) -> Callable[[Bet], bytes]:
    """The bet with the end of a value replaced by the same number of bytes."""

    def mutate(bet: Bet) -> bytes:
        sound = old(bet).encode()
        return encoded_bet(bet).replace(sound, sound[: -len(new)] + new)

    return mutate


def _empty(field: str) -> Callable[[Bet], bytes]:
    """The bet with an empty name; all lengths are right."""

    def mutate(bet: Bet) -> bytes:
        names: list[dict[str, Any]] = [{field: "x"}, {field: "z"}]
        one, other = (encoded_bet(attrs.evolve(bet, **name)) for name in names)
        at = _first_difference(one, other)
        # The length of a name is one byte before it, that of the bet its first two bytes.
        body = one[LENGTH_BYTES : at - 1] + bytes(1) + one[at + 1 :]
        return len(body).to_bytes(LENGTH_BYTES, "big") + body

    return mutate


def agency_0(message: Bet | WinnersRequest | OpenUpload, revision: int = _BET_REVISION) -> bytes:
    """The message with agency 0, which does not exist."""
    return _changed(message, lambda _: 0, revision=revision, agency=message.agency % 255 + 1)


def other_version(message: OpenUpload) -> bytes:
    """The message with the next version, which does not exist yet. The version is the byte before the agency."""
    return _changed(message, lambda version: version + 1, revision=9, before=1, agency=message.agency % 255 + 1)


VALUES: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "agency-0": ("agency 0", agency_0),
    "name-empty": ("an empty first name", _empty("first_name")),
    "last-name-empty": ("an empty last name", _empty("last_name")),
    "name-control-character": ("a line feed in a name", _replaced(lambda bet: bet.last_name, b"\n")),
    "name-delete": ("U+007F in a name", _replaced(lambda bet: bet.last_name, b"\x7f")),
    "name-c1-control-character": ("U+0085 in a name", _replaced(lambda bet: bet.last_name, b"\xc2\x85")),
    "name-not-utf8": ("a name that is not UTF-8", _replaced(lambda bet: bet.last_name, b"\xc3")),
    "document-letter": ("a letter in a document", _replaced(lambda bet: bet.document, b"x")),
    "document-other-digits": (
        "a document in digits that are not ASCII",
        _replaced(lambda bet: bet.document, "\u0661\u0662".encode()),
    ),
    "birthdate-30-february": ("the birthdate 30 February", _replaced(lambda bet: bet.birthdate, b"02-30")),
    "birthdate-29-february": ("the birthdate 29 February 1900", _replaced(lambda bet: bet.birthdate, b"1900-02-29")),
    "birthdate-year-0": ("a birthdate in the year 0000", _replaced(lambda bet: bet.birthdate, b"0000-03-17")),
    "birthdate-week": ("a week date as its birthdate", _replaced(lambda bet: bet.birthdate, b"-W01-1")),
    "number-10000": ("the number 10000", _number_too_large),
}
"""Value errors by name: what is wrong, and the mutation that makes it. The layout stays valid."""

LAYOUTS: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "length-one-short": ("a length that is one too small", _length_off(-1)),
    "length-one-long": ("a length that is one too large", _length_off(1)),
    "length-too-large": ("a length of more than 533 bytes", _length_too_large),
    "name-past-the-end": ("a name that ends after the end of the bet", _name_past_the_end),
}
"""Framing errors inside a bet, by name: what is wrong, and the mutation that makes it."""
