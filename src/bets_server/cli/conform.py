"""`bets-server conform`: a server that checks a client in any language against the protocol, rule by rule."""

from __future__ import annotations

from typing import Any

import click

from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.conformance.options import option, tls_options


@click.command()
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@option(
    "--listen",
    text="Where the client comes to: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH (default tcp://127.0.0.1:12345). "
    "Environment: {}.",
    default="tcp://127.0.0.1:12345",
    metavar="URL",
)
@option("--revision", text="What the client speaks (default 9). Environment: {}.")
@option(
    "--scenario",
    "names",
    text="Play these, and the usual one before them; may be repeated (default all). Environment: {}.",
    multiple=True,
    metavar="NAME",
)
@option(
    "--clients",
    text="End after so many runs of the client (default: as many as there are scenarios). Environment: {}.",
    type=click.IntRange(1, 1000),
    metavar="N",
)
@option(
    "--quiet-for",
    "quiet_s",
    text="Without COMMAND: silence that ends a run (default 2). Environment: {}.",
    type=click.FloatRange(0.01, 3600),
    default=2.0,
    metavar="SECONDS",
)
@option(
    "--timeout", "limit_s", text="Silence after which a run is given up (default 30). Environment: {}.", default=30.0
)
@tls_options(
    "The server's certificate for a tls:// listener, in PEM, with its chain. Environment: {}.",
    "The key of --tls-cert, in PEM. Environment: {}.",
    "The CA that signs the agencies' certificates, in PEM. Environment: {}.",
    "The oldest TLS that is spoken (default 1.3). Environment: {}.",
    versions="{1.2,1.3}",
)
@option("--format", "form", text="A table (the default), or one JSON object. Environment: {}.", metavar="{text,json}")
def conform(command: tuple[str, ...], **options: Any) -> ExitCode:
    """Be a server that checks a client against the protocol.

    The client does its whole job once for each scenario: hand the same bets in, ask for the winners. COMMAND starts it
    ({url}, {host} and {port} say where to); without one, start it yourself each time that a scenario is announced.
    At the end, also on SIGTERM, the rules of docs/protocol.md that it has kept and broken are printed; the exit code
    is 5 if one was broken. Nothing is stored.
    """
    # Only now: help and usage errors are answered without loading the checks.
    from bets_protocol.conformance.command import check_client

    return check_client(command, **options)
