"""`python -m bets_server` is `bets-server`."""

from __future__ import annotations

from bets_server.cli import main

if __name__ == "__main__":
    main()
