"""Fixtures of the server's tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bets_protocol.transports import TlsFiles
from tests.certificates import Authority, authority, stranger
from tests.e2e.processes import programs
from tests.server.command_line import Run, command_line
from tests.server.serving import serve

__all__ = ["authority", "programs", "serve", "stranger"]

_MEMORY: Final = Path("/dev/shm")
_ROOM_IN_MEMORY: Final = 1 << 30


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """The folder of a test, in memory where there is room for it.

    Opening a store waits for the disk some twenty times. What a disk does is tried elsewhere (`tests/e2e`, `nox -s
    faults`); these tests, hundreds of which open a store, would only wait.
    """
    with tempfile.TemporaryDirectory(prefix="bets-server-", dir=_folder()) as name:
        yield Path(name)


def _folder() -> Path | None:
    if not _MEMORY.is_dir():
        return None
    found = os.statvfs(_MEMORY)
    return _MEMORY if found.f_bavail * found.f_frsize >= _ROOM_IN_MEMORY else None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of `bets-server` in the test's folder, in this process, without settings of the environment."""
    return command_line(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def agency(authority: Authority) -> TlsFiles:
    """What agency 5 proves itself with."""
    return authority.agency(5)
