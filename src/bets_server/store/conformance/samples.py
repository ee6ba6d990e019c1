"""The data of the suite: bets that are identified by their documents, and sources of winning numbers."""

from __future__ import annotations

import abc
import itertools
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from bets_protocol import Bet, BetRun, RejectCode, encode_bets
from bets_server.store import BetStore, Parcel, SealOutcome, Ticket, Verdict, open_store

WINNING = 7574
"""The number that these tests draw."""

JUST_SEALED = SealOutcome(newly_sealed=True, drawn=False, drawn_now=False)
NOTHING_NEW = SealOutcome(newly_sealed=False, drawn=False, drawn_now=False)
DRAWN_NOW = SealOutcome(newly_sealed=True, drawn=True, drawn_now=True)
DRAWN_BEFORE = SealOutcome(newly_sealed=False, drawn=True, drawn_now=False)
INCOMPLETE = SealOutcome(newly_sealed=False, drawn=False, drawn_now=False, incomplete=True)


class NoPickError(Exception):
    """A draw asked for its number when it must not."""


def no_pick() -> int:
    """A source of winning numbers for calls that must not draw."""
    raise NoPickError


def winning() -> int:
    """The source of winning numbers of most tests."""
    return WINNING


def sample_bet(row: int, *, agency: int = 1, number: int = 1) -> Bet:
    """A bet whose document is its row."""
    return Bet(
        agency=agency,
        first_name="Tomás Agustín",
        last_name='O"Higgins, hijo',
        document=f"{row:08d}",
        birthdate="1999-03-17",
        number=number,
    )


def batch_of(bets: Iterable[Bet]) -> tuple[BetRun, ...]:
    """A batch as a store gets it: one run for consecutive bets of one agency."""
    runs = [(agency, list(run)) for agency, run in itertools.groupby(bets, key=lambda bet: bet.agency)]
    return tuple(BetRun(agency=agency, count=len(run), encoded=encode_bets(run)) for agency, run in runs)


def append_to(store: BetStore, batches: Sequence[Sequence[BetRun]]) -> list[Verdict]:
    """Store a group of batches without uploads; one verdict for each."""
    return [receipt.verdict for receipt in store.commit([Parcel(runs=tuple(batch)) for batch in batches])]


def sample_batch(rows: Iterable[int], *, agency: int = 1, number: int = 1) -> tuple[BetRun, ...]:
    """A batch of sample bets of one agency."""
    return batch_of(sample_bet(row, agency=agency, number=number) for row in rows)


def upload_id(which: int) -> bytes:
    """The id of an upload."""
    return which.to_bytes(16, "big")


def opened(store: BetStore, *, total: int, agency: int = 1, which: int = 0) -> Ticket:
    """The ticket of an upload that must open."""
    opening = store.open_upload(agency, upload_id(which), total=total)
    if opening.code is not RejectCode.OK or opening.ticket is None:  # pragma: no cover - the store is wrong
        raise AssertionError(f"upload {which} of agency {agency} did not open: {opening}")
    return opening.ticket


def part(ticket: Ticket, rows: Iterable[int], *, number: int = 1) -> Parcel:
    """Some rows of an upload whose file has the sample bets of all rows from 0 on."""
    rows = list(rows)
    batch = sample_batch(rows, agency=ticket.agency, number=number)
    return Parcel(runs=batch, ticket=ticket, first_row=rows[0] if rows else 0)


def crc32_of(rows: Iterable[int], *, agency: int = 1, number: int = 1) -> int:
    """The running CRC-32 over the sample bets of some rows."""
    return zlib.crc32(encode_bets(sample_bet(row, agency=agency, number=number) for row in rows))


def documents(bets: Iterable[Bet]) -> list[str]:
    """The documents of some bets, which identify sample bets."""
    return [bet.document for bet in bets]


def rows_of(*rows: int) -> list[str]:
    """The documents of the sample bets of some rows."""
    return [f"{row:08d}" for row in rows]


class Suite(abc.ABC):
    """The base of every part of the suite: the URL of a test's store."""

    @abc.abstractmethod
    def new_store_url(self, folder: Path) -> str:
        """The URL of a store that does not exist yet.

        Args:
            folder: an empty folder, which is deleted after the test.
        """

    def url_after_crash(self, folder: Path, copy: Path) -> str:
        """The URL of a store as a crash leaves it: with the files on disk while `folder`'s store is open.

        A store with files elsewhere must override it.

        Args:
            folder: the folder given to `new_store_url`, or an earlier `copy`.
            copy: a path that does not exist yet, to which `folder` is copied.
        """
        shutil.copytree(folder, copy)
        return self.new_store_url(copy)

    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        """The URL of a test's store."""
        return self.new_store_url(tmp_path)

    @pytest.fixture
    def store(self, store_url: str) -> Iterator[BetStore]:
        """A new store, open until the test ends."""
        with open_store(store_url) as store:
            yield store
