"""Seeded bugs, each of which the tests must catch; `python -m tests.campaigns.faults.mutants` tries them."""

from __future__ import annotations
