"""What an agency's container runs: `bets-client run`, with `/config.yaml` as its settings where it is mounted."""

from __future__ import annotations

import sys

from bets_client.cli import cli
from bets_protocol.programs.first_process import take_stops, use_config_file

CONFIG_FILE = "/config.yaml"


def main() -> None:
    """Run `bets-client` with the command line of this process, `run` if it is empty."""
    take_stops()
    use_config_file(CONFIG_FILE)
    cli(args=sys.argv[1:] or ["run"], prog_name="bets-client")


if __name__ == "__main__":
    main()
