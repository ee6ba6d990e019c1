"""Messages that break one rule each, made by changing the bytes of valid ones.

Nothing here knows a layout. Text is found in the encoded message as it is, and the place of any other field by encoding
two messages that differ in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from bets_protocol import Bet, OpenUpload, RemoteProtocolError, ServerConnection, WinnersRequest, encode

_BET_REVISION = 5
"""The revision in which a bet is a frame of its own."""

_UPLOAD_REVISION = 9


def encoded_bet(bet: Bet) -> bytes:
    """The bytes of a bet, which are the same in every revision."""
    return encode(bet, revision=_BET_REVISION)


def _first_difference(one: bytes, other: bytes) -> int:
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _with_field_of(bet: Bet, at: int, byte: int) -> bytes:
    data = bytearray(encoded_bet(bet))
    data[at] = byte
    return bytes(data)


def _length_off(by: int) -> Callable[[Bet], bytes]:
    """The bet with a length that is wrong by `by`."""

    def mutate(bet: Bet) -> bytes:
        data = encoded_bet(bet)
        # Before a name that begins with the same bytes and is one byte longer, only the length differs.
        at = _first_difference(data, encoded_bet(attrs.evolve(bet, last_name=bet.last_name + "x")))
        return _with_field_of(bet, at, data[at] + by)

    return mutate


def _name_past_the_end(bet: Bet) -> bytes:
    """The bet with a first name whose length is more than that of the whole bet."""
    longer = attrs.evolve(bet, first_name="x" + bet.first_name, last_name=bet.last_name[:-1])
    return _with_field_of(bet, _first_difference(encoded_bet(bet), encoded_bet(longer)), 255)


def _agency_0(bet: Bet) -> bytes:
    other = attrs.evolve(bet, agency=bet.agency % 255 + 1)
    return _with_field_of(bet, _first_difference(encoded_bet(bet), encoded_bet(other)), 0)


def _number_too_large(bet: Bet) -> bytes:
    none, one, most = (attrs.evolve(bet, number=number) for number in (0, 1, 9999))
    # The last byte of the number: adding 1 there turns 9999 into 10000 without a carry.
    at = _first_difference(encoded_bet(none), encoded_bet(one))
    return _with_field_of(most, at, encoded_bet(most)[at] + 1)


def _replaced(old: Callable[[Bet], str], new: bytes) -> Callable[[Bet], bytes]:
    """The bet with the end of a value replaced by the same number of bytes."""

    def mutate(bet: Bet) -> bytes:
        sound = old(bet).encode()
        return encoded_bet(bet).replace(sound, sound[: -len(new)] + new)

    return mutate


def _empty(field: str, other: str) -> Callable[[Bet], bytes]:
    """The bet with an empty name; all lengths are right.

    Args:
        other: a field of text that ends in a character of one byte.
    """

    def with_text(bet: Bet, name: str, text: str) -> Bet:
        changes: dict[str, Any] = {name: text}
        return attrs.evolve(bet, **changes)

    def mutate(bet: Bet) -> bytes:
        one = with_text(bet, field, "x")
        data = encoded_bet(one)
        # After the length of the bet, which becomes that of a bet one byte shorter,
        head = _first_difference(data, encoded_bet(attrs.evolve(one, agency=one.agency % 255 + 1)))
        shorter = encoded_bet(with_text(one, other, getattr(one, other)[:-1]))
        # comes the length of the name, and then its only byte.
        at = head + _first_difference(data[head:], encoded_bet(with_text(one, field, "xx"))[head:])
        name = _first_difference(data, encoded_bet(with_text(one, field, "z")))
        return shorter[:head] + data[head:at] + bytes(name - at) + data[name + 1 :]

    return mutate


def _length_too_large(bet: Bet) -> bytes:
    """The bet with a length that no bet can have."""
    short, long = (attrs.evolve(bet, first_name="x" * size, last_name="x") for size in (1, 255))
    return _with_field_of(bet, _first_difference(encoded_bet(short), encoded_bet(long)), 255)


def no_bets(one: bytes, two: bytes) -> bytes:
    """A batch without bets, made from a batch of one bet and one that has the same bet twice.

    The first byte that differs is the count.
    """
    data = bytearray(one[: len(one) - (len(two) - len(one))])
    data[_first_difference(one, two)] = 0
    return bytes(data)


def agency_0(message: WinnersRequest | OpenUpload, revision: int) -> bytes:
    """The message with agency 0, which does not exist."""
    data = bytearray(encode(message, revision=revision))
    data[_agency_of(message, revision)] = 0
    return bytes(data)


def other_version(message: OpenUpload) -> bytes:
    """The message with the next version, which does not exist yet. The version is right before the agency."""
    data = bytearray(encode(message, revision=_UPLOAD_REVISION))
    data[_agency_of(message, _UPLOAD_REVISION) - 1] += 1
    return bytes(data)


def _agency_of(message: WinnersRequest | OpenUpload, revision: int) -> int:
    other = attrs.evolve(message, agency=message.agency % 255 + 1)
    return _first_difference(encode(message, revision=revision), encode(other, revision=revision))


def unknown_types() -> list[bytes]:
    """First bytes that begin no message: 0 and 255, and those next to one that begins a message."""
    known = [_begins_a_message(bytes([byte])) for byte in range(256)]
    beside = [any(known[max(byte - 1, 0) : byte + 2]) or byte in (0, 255) for byte in range(256)]
    return [bytes([byte]) for byte in range(256) if beside[byte] and not known[byte]]


def _begins_a_message(first: bytes) -> bool:
    connection = ServerConnection()
    connection.receive_data(first)
    try:
        connection.next_event()
    except RemoteProtocolError:
        return False
    return True


VALUES: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "agency-0": ("agency 0", _agency_0),
    "name-empty": ("an empty first name", _empty("first_name", "last_name")),
    "last-name-empty": ("an empty last name", _empty("last_name", "first_name")),
    "name-control-character": ("a line feed in a name", _replaced(lambda bet: bet.last_name, b"\n")),
    "name-delete": ("U+007F in a name", _replaced(lambda bet: bet.last_name, b"\x7f")),
    "name-c1-control-character": ("U+0085 in a name", _replaced(lambda bet: bet.last_name, b"\xc2\x85")),
    "name-not-utf8": ("a name that is no UTF-8", _replaced(lambda bet: bet.last_name, b"\xc3")),
    "document-letter": ("a letter in a document", _replaced(lambda bet: bet.document, b"x")),
    "document-other-digits": (
        "digits that are not ASCII",
        _replaced(lambda bet: bet.document, "\u0661\u0662".encode()),
    ),
    "birthdate-30-february": ("30 February", _replaced(lambda bet: bet.birthdate, b"02-30")),
    "birthdate-29-february": ("29 February 1900", _replaced(lambda bet: bet.birthdate, b"1900-02-29")),
    "birthdate-year-0": ("the year 0000", _replaced(lambda bet: bet.birthdate, b"0000-03-17")),
    "birthdate-week": ("a week date of ISO 8601", _replaced(lambda bet: bet.birthdate, b"-W01-1")),
    "number-10000": ("number 10000", _number_too_large),
}
"""Value errors by name: what is wrong, and the mutation that makes it. The layout stays valid."""

LAYOUTS: dict[str, tuple[str, Callable[[Bet], bytes]]] = {
    "length-one-short": ("a length one less than what follows", _length_off(-1)),
    "length-one-long": ("a length one more than what follows", _length_off(1)),
    "length-too-large": ("a length of more than 533", _length_too_large),
    "name-past-the-end": ("a name that ends behind its bet", _name_past_the_end),
}
"""Framing errors inside a bet, by name: what is wrong, and the mutation that makes it."""
