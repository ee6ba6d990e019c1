"""`bets-server conform`: a server that checks a client in whatever language against the protocol, rule by rule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from bets_protocol.cli.exit_codes import ExitCode

F = TypeVar("F", bound=Callable[..., Any])


def _tls_options(command: F) -> F:
    """Those of `serve` by which a tls:// listener is made; who may speak for whom is not looked at here."""
    for name, default, metavar, text in (
        ("min", "1.3", "{1.2,1.3}", "The oldest TLS that is spoken (default 1.3)"),
        ("ca", "", "FILE", "The CA that signs the agencies' certificates, in PEM"),
        ("key", "", "FILE", "The key of --tls-cert, in PEM"),
        ("cert", "", "FILE", "The server's certificate for a tls:// listener, in PEM, with its chain"),
    ):
        variable = f"BETS_TLS_{name.upper()}"
        command = click.option(
            f"--tls-{name}",
            metavar=metavar,
            default=default,
            envvar=variable,
            type=click.Choice(["1.2", "1.3"]) if name == "min" else str,
            help=f"{text}. Environment: {variable}.",
        )(command)
    return command


@click.command()
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option(
    "--listen",
    default="tcp://127.0.0.1:12345",
    envvar="BETS_LISTEN",
    metavar="URL",
    help="Where the client comes to: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH (default tcp://127.0.0.1:12345). "
    "Environment: BETS_LISTEN.",
)
@click.option(
    "--revision",
    type=click.IntRange(5, 9),
    default=9,
    envvar="BETS_REVISION",
    metavar="5..9",
    help="What the client speaks (default 9). Environment: BETS_REVISION.",
)
@click.option(
    "--scenario",
    "names",
    multiple=True,
    envvar="BETS_SCENARIO",
    metavar="NAME",
    help="Play these, and the usual one before them; may be repeated (default all). Environment: BETS_SCENARIO.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 1000),
    envvar="BETS_CLIENTS",
    metavar="N",
    help="End after so many runs of the client (default: as many as there are scenarios). Environment: BETS_CLIENTS.",
)
@click.option(
    "--quiet-for",
    type=click.FloatRange(0.01, 3600),
    default=2.0,
    envvar="BETS_QUIET_FOR",
    metavar="SECONDS",
    help="Without COMMAND: silence that ends a run (default 2). Environment: BETS_QUIET_FOR.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    envvar="BETS_TIMEOUT",
    metavar="SECONDS",
    help="Silence after which a run is given up (default 30). Environment: BETS_TIMEOUT.",
)
@_tls_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    metavar="{text,json}",
    envvar="BETS_FORMAT",
    help="A table (the default), or one JSON object. Environment: BETS_FORMAT.",
)
def conform(command: tuple[str, ...], **options: Any) -> ExitCode:
    """Be a server that checks a client against the protocol.

    The client does its whole job once for each scenario: hand the same bets in, ask for the winners. COMMAND starts it
    ({url}, {host} and {port} say where to); without one, start it yourself each time that a scenario is announced.
    At the end, also on SIGTERM, the rules of docs/protocol.md that it has kept and broken are printed; the exit code
    is 5 if one was broken. Nothing is stored.
    """
    return run(command, **options)


def run(
    command: tuple[str, ...],
    *,
    listen: str,
    revision: int,
    names: tuple[str, ...],
    clients: int | None,
    quiet_for: float,
    timeout: float,
    tls_cert: str,
    tls_key: str,
    tls_ca: str,
    tls_min: str,
    form: str,
) -> ExitCode:
    """Check a client and print the findings.

    Raises:
        ConfigError: there is no such scenario, a file of TLS cannot be used, or the command cannot be started.
        ConnectError: nobody can listen there.
    """
    # Only now: help and typing errors are answered without loading the protocol.
    from bets_protocol.cli.command_group import say_error
    from bets_protocol.cli.signals import Stopped, deferred_stops
    from bets_protocol.cli.stdio import write_result
    from bets_protocol.cli.tls_options import server_transports
    from bets_protocol.conformance.against_client.runner import Host, placeholders, program, unknown_placeholders
    from bets_protocol.conformance.against_client.scenarios import SCENARIO_NAMES, scenarios_of
    from bets_protocol.conformance.report import exit_code_for, report
    from bets_protocol.transports import listen as listen_at

    for name in names:
        if name not in SCENARIO_NAMES:
            raise click.BadParameter(f"{name!r}: expected one of {', '.join(SCENARIO_NAMES)}", param_hint="--scenario")
    if unknown := unknown_placeholders(command, listen):
        known = ", ".join(f"{{{place}}}" for place in placeholders(listen))
        places = ", ".join(f"{{{place}}}" for place in dict.fromkeys(unknown))
        raise click.BadParameter(f"{places}: expected one of {known}, which {listen} has", param_hint="COMMAND")
    transports = server_transports([listen], cert=tls_cert, key=tls_key, ca=tls_ca, minimum=tls_min)
    with deferred_stops(), listen_at(listen, transports=transports) as listener:
        host = Host(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision, names)[:clients],
            start=(lambda: program(command, listener)) if command else None,
            quiet_s=quiet_for,
            limit_s=timeout,
            say=lambda text: say_error("conform", text),
        )
        say_error("conform", f"a server of revision {revision} at {listener.url}")
        with contextlib.suppress(Stopped):  # asked to end: what is known by now is the answer
            host.play()
    findings = host.findings()
    write_result(report(findings, form, command="conform", listen=listener.url, revision=revision))
    return exit_code_for(findings)
