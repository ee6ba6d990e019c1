"""Emits C: the same functions as `compiler.python`, and those that search many records at once."""

from __future__ import annotations

__all__: list[str] = []
