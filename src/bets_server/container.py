"""What the server's container runs: `bets-server`, with an address that the other containers can reach.

Strategy: the settings stay those of `bets-server serve`, and `/config.ini` is their file where it is mounted, as in
the legacy container. Only the default address differs: a container's loopback is of no use to anybody else, so the
server listens at every address, at the port that the settings say; `health` without a URL asks at that port.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from bets_protocol import ConfigError
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.programs.first_process import CONFIG_VARIABLE, take_stops, use_config_file
from bets_protocol.programs.guard import say_error
from bets_protocol.transports import parse_url
from bets_server import cli
from bets_server.config import load_settings

CONFIG_FILE = "/config.ini"

_EVERY_ADDRESS = "0.0.0.0"
_LOOPBACK = "127.0.0.1"


def main() -> None:
    """Run `bets-server` with the command line of this process, `serve` if it is empty."""
    take_stops()
    use_config_file(CONFIG_FILE)
    try:
        arguments = command_line(sys.argv[1:] or ["serve"], os.environ)
    except ConfigError as error:
        say_error("bets-server", str(error))
        sys.exit(ExitCode.USAGE)
    cli.main(args=arguments, prog_name="bets-server")


def command_line(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """`arguments`, with the addresses added to a `serve` or `health` that stands alone.

    Raises:
        ConfigError: as `load_settings`.
    """
    if list(arguments) == ["serve"]:
        urls = _listening(environ, lambda host: _EVERY_ADDRESS if host == _LOOPBACK else host)
        return ["serve", *(part for url in urls for part in ("--listen", url))]
    if list(arguments) == ["health"]:
        return ["health", _listening(environ, lambda host: _LOOPBACK if host == _EVERY_ADDRESS else host)[0]]
    return list(arguments)


def _listening(environ: Mapping[str, str], host: Callable[[str], str]) -> list[str]:
    """Where the settings say to listen, each host replaced by what `host` gives for it."""
    settings = load_settings({"config": environ.get(CONFIG_VARIABLE)}, environ)
    return [_with_host(url, host) for url in settings.listen]


def _with_host(url: str, host: Callable[[str], str]) -> str:
    parsed = parse_url(url)
    if parsed.host not in (_LOOPBACK, _EVERY_ADDRESS):
        return url
    return f"{parsed.scheme}://{host(parsed.host)}:{parsed.port}"


if __name__ == "__main__":
    main()
