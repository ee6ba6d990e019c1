"""Seeded bugs, each of which the tests must catch; `python -m tests.faults.mutants` tries them."""

from __future__ import annotations
