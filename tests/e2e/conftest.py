"""Fixtures of the tests that start programs."""

from __future__ import annotations

from tests.e2e.processes import programs

__all__ = ["programs"]
