"""Fixtures of the tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Programs


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs, and kills what a test leaves running."""
    programs = Programs(tmp_path)
    try:
        yield programs
    finally:
        programs.close()
