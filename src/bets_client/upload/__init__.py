"""How bets reach the server: connections, waiting and trying again, uploads of each revision, and the winners."""

from __future__ import annotations

__all__: list[str] = []
