"""The rules of the draw, which need nothing but values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol import ConfigError, InvalidMessage
from bets_server.store.draw import (
    checked_agency,
    checked_number,
    expected_agencies,
    missing_agencies,
)


def test_expected_are_the_agencies_from_one_on() -> None:
    """1 to N, N included, up to what a byte can name."""
    assert list(expected_agencies(3)) == [1, 2, 3]
    assert len(expected_agencies(255)) == 255


@pytest.mark.parametrize("expected", [-5, 0, 256])
def test_a_number_of_agencies_that_cannot_be_is_an_error(expected: int) -> None:
    """And says which range is allowed."""
    with pytest.raises(ConfigError, match=f"{expected}, and must be 1 to 255"):
        expected_agencies(expected)
    with pytest.raises(ConfigError):
        missing_agencies({1}, expected)


@given(st.sets(st.integers(1, 255)), st.integers(1, 255))
def test_missing_are_the_expected_that_are_not_sealed(sealed: set[int], expected: int) -> None:
    """In order; agencies beyond the expected ones make no difference."""
    missing = missing_agencies(sealed, expected)
    assert missing == tuple(sorted(set(range(1, expected + 1)) - sealed))
    assert missing == missing_agencies({agency for agency in sealed if agency <= expected}, expected)


def test_numbers_and_agencies_at_their_bounds() -> None:
    """What can be is given back, what cannot be is an error that names it."""
    assert [checked_number(number) for number in (0, 9999)] == [0, 9999]
    assert [checked_agency(agency) for agency in (1, 255)] == [1, 255]
    for number in (-1, 10_000):
        with pytest.raises(ConfigError, match=f"{number}, and must be 0 to 9999"):
            checked_number(number)
    for agency in (0, 256):
        with pytest.raises(InvalidMessage, match=f"agency: {agency} is not in 1 to 255"):
            checked_agency(agency)
