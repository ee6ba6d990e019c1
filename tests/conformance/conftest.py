"""Fixtures of the tests of the conformance kit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Programs
from tests.server.serving import Servers


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers of ours in threads."""
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
