"""The bets that benchmarks work on: the real ones where they are, else made-up ones of the same shape."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bets_protocol import Bet

PROJECT = Path(__file__).resolve().parent.parent
SIZES = (26_936, 25_518, 16_014, 9_238, 991)
"""Bets of the five real files."""


def real_data() -> Path | None:
    """The folder of the real files, from BETS_DATA or beside the project."""
    folder = Path(os.environ.get("BETS_DATA") or PROJECT.parent / "shared" / "data")
    return folder if (folder / "agency-1.csv").is_file() else None


def agency_files(folder: Path, sizes: Sequence[int] = SIZES) -> tuple[list[Path], str]:
    """One file an agency, and in words what they are: the real ones, else made-up ones of `sizes` bets in `folder`."""
    real = real_data()
    if real is not None and sizes == SIZES:
        return sorted(real.glob("agency-*.csv")), "the five real files"
    files = [sample_file(folder / str(agency), agency, bets) for agency, bets in enumerate(sizes, 1)]
    return files, f"{len(files)} made-up files{' of the real sizes' if sizes == SIZES else ''}"


def sample_file(folder: Path, agency: int, bets: int) -> Path:
    """A made-up file of one agency, of about as many bytes a bet as the real ones."""
    command = [sys.executable, "-m", "bets_client", "sample", str(folder), "--agencies", str(agency)]
    subprocess.run([*command, "--bets", str(bets)], check=True, capture_output=True)
    return folder / f"agency-{agency}.csv"


def read_bets(path: Path, agency: int) -> Iterator[Bet]:
    """The bets of an agency's file."""
    with path.open(encoding="utf-8", newline="") as file:
        for first_name, last_name, document, birthdate, number in csv.reader(file):
            yield Bet(
                agency=agency,
                first_name=first_name,
                last_name=last_name,
                document=document,
                birthdate=birthdate,
                number=int(number),
            )


def bets_for_benchmarks(count: int) -> tuple[list[Bet], str]:
    """`count` bets of agency 1, and in words what they are."""
    folder = real_data()
    if folder is not None:
        return list(islice(read_bets(folder / "agency-1.csv", 1), count)), "real bets"
    with tempfile.TemporaryDirectory() as name:
        return list(read_bets(sample_file(Path(name), 1, count), 1)), "made-up bets"
