"""Emits documentation: the tables of the frames, and the order of messages as tables and as a diagram."""

from __future__ import annotations

__all__: list[str] = []
