"""The command line: `commands` declares it, and the other modules do the work of one command each.

They are imported when their command runs, so that `bets-client --help` loads neither the protocol nor its sockets.
"""

from __future__ import annotations

from bets_client.cli.commands import main

__all__ = ["main"]
