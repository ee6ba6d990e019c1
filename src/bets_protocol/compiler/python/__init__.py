"""Emits Python: the codec of a layout, the checks of its messages."""

from __future__ import annotations

__all__: list[str] = []
