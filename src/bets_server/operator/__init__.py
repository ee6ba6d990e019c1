"""What an operator may ask, of a running server by its control socket or of a store that no server has open."""

from __future__ import annotations

__all__: list[str] = []
