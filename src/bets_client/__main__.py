"""`python -m bets_client` is `bets-client`."""

from __future__ import annotations

from bets_client.cli import main

if __name__ == "__main__":
    main()
