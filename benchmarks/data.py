"""The bets that benchmarks work on: the real ones where they are, else made-up ones of the same shape."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bets_protocol import Bet

PROJECT = Path(__file__).resolve().parent.parent


def real_data() -> Path | None:
    """The folder of the real files, from BETS_DATA or beside the project."""
    folder = Path(os.environ.get("BETS_DATA") or PROJECT.parent / "shared" / "data")
    return folder if (folder / "agency-1.csv").is_file() else None


def bets_for_benchmarks(count: int) -> tuple[list[Bet], str]:
    """`count` bets of agency 1, and in words what they are."""
    folder = real_data()
    if folder is not None:
        return _read(folder / "agency-1.csv", count), "real bets"
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "bets_client", "sample", name, "--agencies", "1", "--bets", str(count)]
        subprocess.run(command, check=True, capture_output=True)
        return _read(Path(name) / "agency-1.csv", count), "made-up bets"


def _read(path: Path, count: int) -> list[Bet]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.reader(file), range(count), strict=False)]
    return [
        Bet(agency=1, first_name=row[0], last_name=row[1], document=row[2], birthdate=row[3], number=int(row[4]))
        for row in rows
    ]
