"""The loop that owns every connection, and what belongs to one: its session, its answers, its deadlines."""

from __future__ import annotations

__all__: list[str] = []
