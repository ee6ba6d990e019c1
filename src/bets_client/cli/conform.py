"""`bets-client conform`: checks a server in whatever language against the protocol, rule by rule."""

from __future__ import annotations

from typing import Any

import click

from bets_protocol import limits
from bets_protocol.cli.exit_codes import ExitCode


@click.command()
@click.argument("url")
@click.option(
    "--revision",
    type=click.IntRange(5, 9),
    default=9,
    envvar="BETS_REVISION",
    metavar="5..9",
    help="Default 9. [BETS_REVISION]",
)
@click.option(
    "--agencies",
    type=click.IntRange(1, limits.MAX_AGENCY),
    default=5,
    envvar="BETS_AGENCIES",
    metavar="N",
    help="How many the server waits for, default 5. [BETS_AGENCIES]",
)
@click.option("--draw-too", is_flag=True, envvar="BETS_DRAW_TOO", help="Bring the draw about. [BETS_DRAW_TOO]")
@click.option(
    "--draw",
    type=click.IntRange(0, 2**32 - 2),
    default=1,
    envvar="BETS_DRAW",
    metavar="ID",
    help="Which draw the server takes uploads for, default 1. [BETS_DRAW]",
)
@click.option(
    "--winning-number",
    type=click.IntRange(0, limits.MAX_BETTING_NUMBER),
    default=7574,
    envvar="BETS_WINNING_NUMBER",
    metavar="N",
    help="What it draws, default 7574. [BETS_WINNING_NUMBER]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=5.0,
    envvar="BETS_TIMEOUT",
    metavar="SECONDS",
    help="For each answer, default 5. [BETS_TIMEOUT]",
)
@click.option("--tls-cert", default="", envvar="BETS_TLS_CERT", metavar="FILE", help="[BETS_TLS_CERT]")
@click.option("--tls-key", default="", envvar="BETS_TLS_KEY", metavar="FILE", help="[BETS_TLS_KEY]")
@click.option("--tls-ca", default="", envvar="BETS_TLS_CA", metavar="FILE", help="[BETS_TLS_CA]")
@click.option(
    "--tls-min",
    type=click.Choice(["1.2", "1.3"]),
    default="1.3",
    envvar="BETS_TLS_MIN",
    metavar="VERSION",
    help="1.2 or 1.3, the default. [BETS_TLS_MIN]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="BETS_FORMAT",
    metavar="text|json",
    help="A table, or one JSON object. [BETS_FORMAT]",
)
def conform(url: str, **options: Any) -> ExitCode:
    """Check a server against the protocol.

    Tries the rules of docs/protocol.md and prints which were kept; the exit code is 5 if one was broken, 4 if nobody
    is there.

    It stores bets of agency 1 at the server, so give it a fresh one of a test. With --draw-too it speaks for agencies 1
    to --agencies, brings the draw about, and leaves a server whose draw is over.
    """
    return run(url, **options)


def run(
    url: str,
    *,
    revision: int,
    agencies: int,
    draw_too: bool,
    draw: int,
    winning_number: int,
    timeout: float,
    tls_cert: str,
    tls_key: str,
    tls_ca: str,
    tls_min: str,
    form: str,
) -> ExitCode:
    """Check the server at `url` and print the findings.

    Raises:
        ConfigError: the certificates do not go with the url.
        ConnectError: no server is there.
    """
    # Only now: help and typing errors are answered without loading the protocol.
    from bets_protocol.cli.signals import deferred_stops, let_sigterm_kill
    from bets_protocol.cli.stdio import write_result
    from bets_protocol.cli.tls_options import client_transports
    from bets_protocol.conformance.against_server.runner import examine
    from bets_protocol.conformance.against_server.target import Bench
    from bets_protocol.conformance.report import exit_code_for, report

    given = [f"--tls-{name}" for name, path in (("cert", tls_cert), ("key", tls_key), ("ca", tls_ca)) if path]
    let_sigterm_kill()  # 0 would say that the server keeps every rule
    bench = Bench(
        url=url,
        revision=revision,
        agencies=agencies,
        draw_id=draw,
        winning_number=winning_number,
        timeout_s=timeout,
        transports=client_transports(
            url, cert=tls_cert, key=tls_key, ca=tls_ca, minimum=tls_min, given_by=given[0] if given else None
        ),
    )
    with deferred_stops():
        findings = list(examine(bench, draw_too=draw_too))
    write_result(report(findings, form, command="conform", server=url, revision=revision))
    return exit_code_for(findings)
