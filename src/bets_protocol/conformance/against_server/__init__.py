"""Checks a server against the protocol: what `bets-client conform` runs.

Strategy: `wire_client` is one connection, `target` is what is known of the server, and each rule is a small function
that raises where the server deviates from docs/protocol.md; `runner` tries all of them. Nothing of the wire is
written here again: valid bytes come from the library's encoder, invalid ones are made from those by `mutations`, and
the library's own connection checks every answer.
"""

from __future__ import annotations

__all__: list[str] = []
