"""Fixtures of the server's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bets_protocol.transports import TlsFiles
from tests.certificates import Authority
from tests.server.command_line import Run, command_line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of `bets-server` in the test's folder, in this process, without settings of the environment."""
    return command_line(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def agency(authority: Authority) -> TlsFiles:
    """What agency 5 proves itself with."""
    return authority.agency(5)
