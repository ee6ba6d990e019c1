"""`bets-client conform`: checks a server in any language against the protocol, rule by rule."""

from __future__ import annotations

from typing import Any

import click

from bets_protocol import limits
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.conformance.options import option, tls_options


@click.command()
@click.argument("url")
@option("--revision", text="Default 9. [{}]")
@option(
    "--agencies",
    text="How many the server waits for, default 5. [{}]",
    type=click.IntRange(1, limits.MAX_AGENCY),
    default=5,
    metavar="N",
)
@option("--draw-too", text="Bring the draw about. [{}]", is_flag=True)
@option(
    "--draw",
    "draw_id",
    text="Which draw the server takes uploads for, default 1. [{}]",
    type=click.IntRange(0, limits.MAX_DRAW_ID - 1),
    default=1,
    metavar="ID",
)
@option(
    "--winning-number",
    text="What it draws, default 7574. [{}]",
    type=click.IntRange(0, limits.MAX_BETTING_NUMBER),
    default=7574,
    metavar="N",
)
@option("--timeout", "timeout_s", text="For each answer, default 5. [{}]", default=5.0)
@tls_options("[{}]", "[{}]", "[{}]", "1.2 or 1.3, the default. [{}]", versions="VERSION")
@option("--format", "form", text="A table, or one JSON object. [{}]", metavar="text|json")
def conform(url: str, **options: Any) -> ExitCode:
    """Check a server against the protocol.

    Tries the rules of docs/protocol.md and prints which were kept; the exit code is 5 if one was broken, 4 if nobody
    is there.

    It stores bets of agency 1 at the server, so give it a fresh one of a test. With --draw-too it speaks for agencies 1
    to --agencies, brings the draw about, and leaves a server whose draw is over.
    """
    # Only now: help and usage errors are answered without loading the checks.
    from bets_protocol.conformance.command import check_server

    return check_server(url, **options)
