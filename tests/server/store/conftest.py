"""Where a CSV store lives in a test; the tests of other stores have places of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test lives."""
    return tmp_path / "bets.csv"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"csv:///{path}"


@pytest.fixture
def ledger(path: Path) -> Path:
    """What lies beside it."""
    return path.with_name("bets.csv.ledger")
