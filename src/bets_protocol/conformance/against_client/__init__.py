"""Checks a client against the protocol: what `bets-server conform` runs.

Strategy: `peer` is one connection, read and written by the library's own `ServerConnection`; `run` is what a client
has done so far, and checks the rules that hold in every scenario; `scenarios` lists what the server does differently,
run by run; `runner` is the loop. Bets are stored in memory only.
"""

from __future__ import annotations

__all__: list[str] = []
