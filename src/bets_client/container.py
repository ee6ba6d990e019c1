"""The program of an agency's container: `bets-client run`, with the settings in `/config.yaml` if it is mounted."""

from __future__ import annotations

import sys

from bets_client.cli.commands import cli
from bets_protocol.cli.pid1 import take_stops, use_config_file
from bets_protocol.cli.signals import work_begins

CONFIG_FILE = "/config.yaml"

WORK = ("send", "bet", "winners")
"""The commands for which a SIGTERM during the start is not a success."""


def main() -> None:
    """Run `bets-client` with the command line of this process, `run` if it is empty."""
    if sys.argv[1:2] and sys.argv[1] in WORK:
        work_begins()  # until the command group calls it, too
    take_stops()
    use_config_file(CONFIG_FILE)
    cli(args=sys.argv[1:] or ["run"], prog_name="bets-client")


if __name__ == "__main__":
    main()
