"""The rules of the draw: who must have asked, when it may take place, and who wins it.

Pure functions over values that the caller holds. Nothing in here reads a clock, a store or a socket, and nothing
chooses the number: a store calls these functions inside the transaction that seals the last agency, so that the
barrier, the draw and its winners become durable together or not at all.
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
    """The agency itself, once it is known to be one.

    Raises:
        InvalidMessage: it is outside 1 to 255.
    """
    if not 1 <= agency <= limits.MAX_AGENCY:
        raise InvalidMessage(f"{agency} is not in 1 to {limits.MAX_AGENCY}", path="agency")
    return agency


def missing_agencies(sealed: Collection[int], expected: int) -> tuple[int, ...]:
    """The expected agencies that have not been sealed yet, in order; none of them: the draw may take place.

    An agency outside 1 to `expected` may be sealed too; it neither helps nor hinders the draw.
    """
    return tuple(agency for agency in expected_agencies(expected) if agency not in sealed)


def checked_number(number: int) -> int:
    """The winning number itself, once it is known to be one that can be bet on.

    Raises:
        ConfigError: it is outside 0 to 9999.
    """
    if not 0 <= number <= limits.MAX_BETTING_NUMBER:
        raise ConfigError(f"the winning number is {number}, and must be 0 to {limits.MAX_BETTING_NUMBER}")
    return number
