"""The rules of the draw: which agencies must be sealed before it, and which values are allowed.

These are pure functions: they read no clock, store or socket, and do not choose the number. A store calls them inside
the transaction that seals the last agency, so that the seal, the draw and its winners become durable together.
"""

from __future__ import annotations

from collections.abc import Collection

from bets_protocol import ConfigError, InvalidMessage, limits


def expected_agencies(expected: int) -> range:
    """The agencies that must be sealed before the draw: 1 to `expected`.

    Args:
        expected: how many agencies take part, 1 to 255.

    Raises:
        ConfigError: `expected` is outside that range.
    """
    if not 1 <= expected <= limits.MAX_AGENCY:
        raise ConfigError(f"the number of expected agencies is {expected}, and must be 1 to {limits.MAX_AGENCY}")
    return range(1, expected + 1)


def checked_agency(agency: int) -> int:
    """Return the agency.

    Raises:
        InvalidMessage: it is outside 1 to 255.
    """
    if not 1 <= agency <= limits.MAX_AGENCY:
        raise InvalidMessage(f"{agency} is not in 1 to {limits.MAX_AGENCY}", path="agency")
    return agency


def missing_agencies(sealed: Collection[int], expected: int) -> tuple[int, ...]:
    """The expected agencies that are not sealed yet, in order. The draw may take place when there are none.

    Other agencies may be sealed too; that has no effect on the draw.
    """
    return tuple(agency for agency in expected_agencies(expected) if agency not in sealed)


def checked_number(number: int) -> int:
    """Return the winning number.

    Raises:
        ConfigError: it is outside 0 to 9999.
    """
    if not 0 <= number <= limits.MAX_BETTING_NUMBER:
        raise ConfigError(f"the winning number is {number}, and must be 0 to {limits.MAX_BETTING_NUMBER}")
    return number
