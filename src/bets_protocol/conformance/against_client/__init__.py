"""Checks a client against the protocol: what `bets-server conform` runs.

The library's own `ServerConnection` reads and writes; bets are stored in memory only.
"""

from __future__ import annotations

__all__: list[str] = []
