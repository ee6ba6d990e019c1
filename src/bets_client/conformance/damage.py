"""Messages that break one rule each, made by damaging the bytes of sound ones.

Nothing here knows a layout: what is replaced are values that stand in the encoded message as they are, and where a
field lies is found by encoding two messages that differ in it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import Bet, encode

_BET_REVISION = 5
"""The revision that has a bet as a frame of its own."""


def encoded_bet(bet: Bet) -> bytes:
    """The bytes of a bet, the same in every revision."""
    return encode(bet, revision=_BET_REVISION)


def _first_difference(one: bytes, other: bytes) -> int:
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _with_field_of(bet: Bet, at: int, byte: int) -> bytes:
    data = bytearray(encoded_bet(bet))
    data[at] = byte
    return bytes(data)


def _length_off(by: int) -> Callable[[Bet], bytes]:
    """The bet with another length than it has."""

    def damage(bet: Bet) -> bytes:
        data = encoded_bet(bet)
        # Only the length differs in front of the name, where the name is one byte longer and begins alike.
        at = _first_difference(data, encoded_bet(attrs.evolve(bet, last_name=bet.last_name + "x")))
        return _with_field_of(bet, at, data[at] + by)

    return damage


def _name_past_the_end(bet: Bet) -> bytes:
    """The bet with a first name that is said to be longer than the whole bet."""
    longer = attrs.evolve(bet, first_name="x" + bet.first_name, last_name=bet.last_name[:-1])
    return _with_field_of(bet, _first_difference(encoded_bet(bet), encoded_bet(longer)), 255)


def _agency_0(bet: Bet) -> bytes:
    other = attrs.evolve(bet, agency=bet.agency % 255 + 1)
    return _with_field_of(bet, _first_difference(encoded_bet(bet), encoded_bet(other)), 0)


def _number_too_large(bet: Bet) -> bytes:
    none, one, most = (attrs.evolve(bet, number=number) for number in (0, 1, 9999))
    # Where a number's ones stand: one more there makes 10000 of 9999, without a carry.
    at = _first_difference(encoded_bet(none), encoded_bet(one))
    return _with_field_of(most, at, encoded_bet(most)[at] + 1)


def _replaced(old: Callable[[Bet], str], new: bytes) -> Callable[[Bet], bytes]:
    """The bet with the end of a value replaced by as many bytes."""

    def damage(bet: Bet) -> bytes:
        sound = old(bet).encode()
        return encoded_bet(bet).replace(sound, sound[: -len(new)] + new)

    return damage


def _no_first_name(bet: Bet) -> bytes:
    """The bet with an empty name; the one behind it is as much longer, so that all lengths are right."""
    at = _first_difference(
        encoded_bet(bet),
        encoded_bet(attrs.evolve(bet, first_name="x" + bet.first_name, last_name=bet.last_name[:-1])),
    )
    data = encoded_bet(bet)
    end = at + 1 + len(bet.first_name.encode())
    last_name = bet.first_name.encode() + bet.last_name.encode()
    behind = data[end + 1 + len(bet.last_name.encode()) :]
    return data[:at] + bytes([0, len(last_name)]) + last_name + behind


VALUES: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "agency-0": ("agency 0", _agency_0),
    "name-empty": ("an empty name", _no_first_name),
    "name-control-character": ("a line feed in a name", _replaced(lambda bet: bet.last_name, b"\n")),
    "name-c1-control-character": ("U+0085 in a name", _replaced(lambda bet: bet.last_name, b"\xc2\x85")),
    "name-not-utf8": ("a name that is no UTF-8", _replaced(lambda bet: bet.last_name, b"\xc3")),
    "document-letter": ("a letter in a document", _replaced(lambda bet: bet.document, b"x")),
    "birthdate-30-february": ("30 February", _replaced(lambda bet: bet.birthdate, b"02-30")),
    "birthdate-week": ("a week date of ISO 8601", _replaced(lambda bet: bet.birthdate, b"-W01-1")),
    "number-10000": ("number 10000", _number_too_large),
}
"""Value errors by their name: what it is, and how a bet gets it. The layout stays sound."""

LAYOUTS: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "length-one-short": ("a length one less than what follows", _length_off(-1)),
    "length-one-long": ("a length one more than what follows", _length_off(1)),
    "name-past-the-end": ("a name that ends behind its bet", _name_past_the_end),
}
"""Framing errors of a bet, likewise."""
