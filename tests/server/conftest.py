"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Programs
from tests.server.command_line import Run, command_line
from tests.server.serving import Servers


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers: `serve(agencies=2)` gives one that runs in a thread."""
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs, and kills what a test leaves running."""
    programs = Programs(tmp_path)
    try:
        yield programs
    finally:
        programs.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of `bets-server` in the test's folder, in this process, without settings of the environment."""
    return command_line(tmp_path, monkeypatch, capsys)
