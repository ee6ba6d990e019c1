"""How bets reach the server: connections, retries, the uploads of each revision, and the request for winners."""

from __future__ import annotations

__all__: list[str] = []
