"""The command line: `commands` declares it; `certs` and `conform` are groups of their own."""

from __future__ import annotations

from bets_server.cli.commands import main

__all__ = ["main"]
