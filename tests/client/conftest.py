"""The client's tests see no setting but their own, and share the file that most of them send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_client.config import SETTINGS
from bets_protocol.cli.log_format import line_handler, setup_logging
from tests.certificates import authority, stranger
from tests.client.wire import row

__all__ = ["authority", "stranger"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        for variable in setting.env:
            monkeypatch.delenv(variable, raising=False)
    for variable in ("BETS_CONFIG", "BETS_DEBUG"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def _no_handler_stays() -> Iterator[None]:
    yield
    logger = setup_logging()
    handler = line_handler(logger)
    assert handler is not None
    logger.removeHandler(handler)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of agency 1 with 20 rows, whose bets are `BETS`."""
    path = tmp_path / "agency-1.csv"
    path.write_text("".join(row(number) for number in range(1, 21)))
    return path
