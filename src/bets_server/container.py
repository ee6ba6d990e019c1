"""The program of the server's container: `bets-server`, with an address that the other containers can reach.

The settings are those of `bets-server serve`, with `/config.ini` as their file if it is mounted, as in the legacy
container. Only the default address differs: no other container can reach a container's loopback, so by default the
server listens at every address, at the port of the settings. `health` without a URL asks there, and shows the server's
own certificate if the listener is encrypted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from bets_protocol import ConfigError
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.pid1 import CONFIG_VARIABLE, take_stops, use_config_file
from bets_protocol.transports import parse_url
from bets_server.cli import main as run
from bets_server.config import resolve_settings

CONFIG_FILE = "/config.ini"

_EVERY_ADDRESS = "0.0.0.0"
_LOOPBACK = "127.0.0.1"
_HEALTH_SETTINGS = ("tls_cert", "tls_key", "tls_ca", "tls_min")


def main() -> None:
    """Run `bets-server` with the command line of this process, `serve` if it is empty."""
    take_stops()
    use_config_file(CONFIG_FILE)
    try:
        arguments = command_line(sys.argv[1:] or ["serve"], os.environ)
    except ConfigError as error:
        say_error("bets-server", str(error))
        sys.exit(ExitCode.USAGE)
    run(args=arguments, prog_name="bets-server")


def command_line(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """`arguments`, with the addresses added to `serve` or `health` without arguments.

    Raises:
        ConfigError: as `resolve_settings`.
    """
    if list(arguments) not in (["serve"], ["health"]):
        return list(arguments)
    values = resolve_settings({"config": environ.get(CONFIG_VARIABLE) or None}, environ)
    urls = values["listen"] or (f"tcp://{_EVERY_ADDRESS}:{values['port']}",)
    if list(arguments) == ["serve"]:
        return ["serve", *(part for url in urls for part in ("--listen", url))]
    url = _reachable(urls[0])
    # `health` reads the environment and no file, so the certificate of `/config.ini` is passed as options.
    files = [(f"--{name.replace('_', '-')}", values[name]) for name in _HEALTH_SETTINGS if values.origin(name)]
    return ["health", url, *(part for option in files for part in option)]


def _reachable(url: str) -> str:
    """The URL for connecting to a listener at `url`."""
    parsed = parse_url(url)
    return f"{parsed.scheme}://{_LOOPBACK}:{parsed.port}" if parsed.host == _EVERY_ADDRESS else url


if __name__ == "__main__":
    main()
