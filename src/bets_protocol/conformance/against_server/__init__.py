"""Checks a server against the protocol: what `bets-client conform` runs.

Valid bytes come from the library's encoder, invalid ones are made from those, and the library's own connection checks
every answer, so nothing of the wire is written here again.
"""

from __future__ import annotations

__all__: list[str] = []
