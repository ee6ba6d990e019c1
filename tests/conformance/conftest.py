"""Fixtures of the conformance kits' tests."""

from __future__ import annotations

from tests.certificates import authority, stranger
from tests.e2e.processes import programs
from tests.server.serving import serve

__all__ = ["authority", "programs", "serve", "stranger"]
