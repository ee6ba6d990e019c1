"""What the suite stores and asks for: bets that tell by their document which one they are, and sources of numbers."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from bets_protocol import Bet, Lot, encode_bets
from bets_server.store import SealOutcome

WINNING = 7574
"""The number that these tests draw."""

JUST_SEALED = SealOutcome(newly_sealed=True, drawn=False, drawn_now=False)
NOTHING_NEW = SealOutcome(newly_sealed=False, drawn=False, drawn_now=False)
DRAWN_NOW = SealOutcome(newly_sealed=True, drawn=True, drawn_now=True)
DRAWN_BEFORE = SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)


class NoPickError(Exception):
    """A draw asked for its number when it should not have, or the source of numbers was told to fail."""


def no_pick() -> int:
    """A source of winning numbers for asks that must not draw."""
    raise NoPickError


def winning() -> int:
    """The source of winning numbers of most tests."""
    return WINNING


def sample_bet(row: int, *, agency: int = 1, number: int = 1) -> Bet:
    """A bet that tells by its document which one it is."""
    return Bet(
        agency=agency,
        first_name="Tomás Agustín",
        last_name='O"Higgins, hijo',
        document=f"{row:08d}",
        birthdate="1999-03-17",
        number=number,
    )


def batch_of(bets: Iterable[Bet]) -> tuple[Lot, ...]:
    """A batch as a store gets it: one lot for each run of bets of the same agency."""
    runs = [(agency, list(run)) for agency, run in itertools.groupby(bets, key=lambda bet: bet.agency)]
    return tuple(Lot(agency=agency, count=len(run), encoded=encode_bets(run)) for agency, run in runs)


def sample_batch(rows: Iterable[int], *, agency: int = 1, number: int = 1) -> tuple[Lot, ...]:
    """A batch of sample bets of one agency."""
    return batch_of(sample_bet(row, agency=agency, number=number) for row in rows)


def documents(bets: Iterable[Bet]) -> list[str]:
    """What tells sample bets apart."""
    return [bet.document for bet in bets]


def rows_of(*rows: int) -> list[str]:
    """The documents of the sample bets of some rows."""
    return [f"{row:08d}" for row in rows]


class Suite(abc.ABC):
    """Where the store of a test lives: what every part of the suite stands on."""

    @abc.abstractmethod
    def new_store_url(self, folder: Path) -> str:
        """The URL of a store that does not exist yet.

        Args:
            folder: empty, and gone when the test is over.
        """

    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        """Where the store of a test lives."""
        return self.new_store_url(tmp_path)
