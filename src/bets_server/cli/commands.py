"""`bets-server`: the command line of the central.

Besides `serve` and `health` these are an operator's commands: they ask the server that runs, or else the store.
Commands import what they run when they run it, so that `--help` stays quick.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bets_protocol.cli.command_group import ProgramGroup
from bets_protocol.cli.version_option import version_option
from bets_server.cli.certs import certs
from bets_server.cli.conform import conform
from bets_server.limits import LIMIT_OPTIONS, LimitOption

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    name="bets-server",
    cls=ProgramGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@version_option("bets-server")
def main() -> None:
    """The central of a lottery's bet intake."""


def _store_options(command: F) -> F:
    for option in (
        click.option(
            "--control",
            metavar="PATH",
            help="The socket at which operators ask a running server (default: beside the store, the name of its file "
            "and .control), or 'none'. Environment: BETS_CONTROL.",
        ),
        click.option("--draw", metavar="ID", help="Which draw (default 1). Environment: BETS_DRAW."),
        click.option(
            "--store",
            metavar="URL",
            help="sqlite:///PATH or csv:///PATH (default sqlite:///bets.db). Environment: BETS_STORE.",
        ),
    ):
        command = option(command)
    return command


_format_option = click.option(
    "--format",
    "form",
    metavar="{text,json}",
    help="Text for people (the default), or one JSON object a line. Environment: BETS_FORMAT.",
)

_agency_option = click.option(
    "--agency",
    metavar="N",
    help="Only this agency. Environment: BETS_AGENCY.",
)


def _limit_options(command: F) -> F:
    for limit in reversed(LIMIT_OPTIONS):
        flag = limit.name.replace("_", "-")
        command = click.option(
            f"--{flag}",
            metavar="N" if limit.whole else "SECONDS",
            help=f"{_bound_of(limit)} {limit.text} (default {limit.default:g}). "
            f"Environment: BETS_{limit.name.upper()}.",
        )(command)
    return command


def _bound_of(limit: LimitOption) -> str:
    if not limit.whole:
        return "Seconds"
    return "At least so many" if limit.name == "min_rate" else "At most so many"


def _tls_options(command: F) -> F:
    return _with_tls_options(
        command,
        ("pins", "FILE", "The certificates that may speak for an agency (default: all that the CA has signed)"),
        ("min", "{1.2,1.3}", "The oldest TLS that is spoken (default 1.3)"),
        ("ca", "FILE", "The CA that signs the agencies' certificates, in PEM"),
        ("key", "FILE", "The key of --tls-cert, in PEM"),
        ("cert", "FILE", "The server's certificate for tls:// listeners, in PEM, with its chain"),
    )


def _with_tls_options(command: F, *options: tuple[str, str, str]) -> F:
    for name, metavar, text in options:
        command = click.option(f"--tls-{name}", metavar=metavar, help=f"{text}. Environment: BETS_TLS_{name.upper()}.")(
            command
        )
    return command


@main.command()
@click.option(
    "--listen",
    metavar="URL",
    multiple=True,
    help="Where to listen: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH; may be repeated "
    "(default tcp://127.0.0.1:12345, the port from SERVER_PORT). Environment: BETS_LISTEN.",
)
@_store_options
@click.option(
    "--agencies",
    metavar="N",
    help="How many agencies must ask before the draw: 1 to N (default 5). Environment: EXPECTED_CLIENTS.",
)
@click.option(
    "--winning-number",
    metavar="N",
    help="0 to 9999, or 'random' to draw one after the last agency (default 7574). Environment: BETS_WINNING_NUMBER.",
)
@click.option("--workers", metavar="N", help="Threads of the pool (default 4). Environment: BETS_WORKERS.")
@click.option("--backlog", metavar="N", help="Connections that the system queues. Environment: SERVER_LISTEN_BACKLOG.")
@click.option(
    "--revision",
    metavar="{5,6,9}",
    help="Revision of the wire (default 9, which speaks 7 and 8 too). Environment: BETS_REVISION.",
)
@click.option("--config", metavar="FILE", help="An INI file. Environment: BETS_CONFIG.")
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR. Environment: LOGGING_LEVEL.")
@click.option("--grace", metavar="SECONDS", help="How long a stop may take (default 8). Environment: BETS_GRACE.")
@click.option(
    "--exit-after-draw",
    is_flag=True,
    default=None,
    help="Stop once the draw was made and everyone was answered; started after the draw, once all agencies have asked "
    "or --after-draw-timeout has passed. Environment: BETS_EXIT_AFTER_DRAW.",
)
@_tls_options
@_limit_options
def serve(**options: Any) -> int:
    """Take bets, store them, draw, tell the winners."""
    from bets_protocol.cli.log_format import EventLog, setup_logging
    from bets_server.app import serve as run
    from bets_server.config import load_settings
    from bets_server.logs import ServerLog

    if options["config"] is None:
        options["config"] = os.environ.get("BETS_CONFIG") or None
    settings = load_settings(options, os.environ)
    return run(settings, ServerLog(EventLog(setup_logging(settings.log_level))))


def _health_tls_options(command: F) -> F:
    return _with_tls_options(
        command,
        ("min", "{1.2,1.3}", "The oldest TLS that is spoken (default 1.3)"),
        ("ca", "FILE", "The CA that signs the server's certificate, in PEM"),
        ("key", "FILE", "The key of --tls-cert, in PEM"),
        ("cert", "FILE", "The certificate to show to a tls:// server, in PEM"),
    )


@main.command()
@click.argument("url")
@click.option(
    "--timeout",
    metavar="SECONDS",
    help="How long to wait for the answer (default 5). Environment: BETS_TIMEOUT.",
)
@_health_tls_options
def health(url: str, **options: Any) -> int:
    """Exit with 0 if the server at URL answers, else with 1.

    For a tls:// URL it shows a certificate; that of the server itself will do.
    """
    from bets_protocol.cli.command_group import say_error
    from bets_protocol.cli.signals import let_sigterm_kill
    from bets_protocol.cli.tls_options import client_transports
    from bets_server.config import command_settings
    from bets_server.health import is_healthy

    let_sigterm_kill()
    values = command_settings(options, os.environ)
    minimum, timeout_s = values.pop("tls_min"), values.pop("timeout")
    files = {name.removeprefix("tls_"): value for name, value in values.items()}
    healthy, reason = is_healthy(url, timeout_s=timeout_s, transports=client_transports(url, minimum=minimum, **files))
    if not healthy:
        say_error(url, reason)
    return 0 if healthy else 1


def _answer(
    command: str,
    *needed: str,
    store: str | None,
    draw: str | None,
    control: str | None,
    **options: str | None,
) -> int:
    """Ask, and print the answer.

    Args:
        command: its name.
        needed: which of the options it cannot do without.
        store: where to ask, as it was typed; likewise draw and control.
        options: likewise; what is left of them when `form` is taken out are the command's arguments.

    Raises:
        ConfigError: an option cannot be used, or is missing.
        OutputError: the answer could not be written; what a command was to change has changed.
    """
    from bets_protocol.cli.exit_codes import ExitCode
    from bets_protocol.cli.signals import let_sigterm_kill
    from bets_protocol.cli.stdio import write_result
    from bets_server.config import command_settings
    from bets_server.operator.client import asked, place_of
    from bets_server.operator.reports import report

    let_sigterm_kill()
    arguments = command_settings(options, os.environ, needed=needed)
    form = arguments.pop("form")
    with asked(place_of(store, draw, control), command, **arguments) as rows:
        text = report(command, form, rows)
    write_result(text, confirms=form == "text" and command in ("void", "close"))
    return ExitCode.DONE


@main.command()
@_store_options
@_format_option
def status(**options: Any) -> int:
    """Show what has come from each agency, and how the draw stands."""
    return _answer("status", **options)


@main.command()
@_store_options
@_format_option
def uploads(**options: Any) -> int:
    """List the uploads, each with the number that `void` takes."""
    return _answer("uploads", **options)


@main.command()
@click.argument("number", metavar="NUMBER")
@click.option("--reason", metavar="TEXT", help="Why; it is written down, and must be given. Environment: BETS_REASON.")
@_store_options
@_format_option
def void(**options: Any) -> int:
    """Take the bets of an upload out of the draw, before it takes place: an anonymous or an unfinished upload.

    They stay in the store as evidence. If its agency had finished, it has to do so again.
    """
    return _answer("void", "reason", **options)


@main.command()
@click.option(
    "--without",
    metavar="N",
    help="The agency that is missing; must be given. Environment: BETS_WITHOUT.",
)
@click.option("--reason", metavar="TEXT", help="Why; it is written down. Environment: BETS_REASON.")
@_store_options
@_format_option
def close(**options: Any) -> int:
    """Go on without an agency that does not finish: a running server takes no more bets of it.

    What was acknowledged to it stays in. If it was the last one missing, the draw takes place.
    """
    return _answer("close", "without", **options)


@main.command()
@_store_options
@_format_option
def audit(**options: Any) -> int:
    """List what has happened to uploads, agencies and draws."""
    return _answer("audit", **options)


@main.command()
@_store_options
@_agency_option
@_format_option
def winners(**options: Any) -> int:
    """Print the winners: agency,document."""
    return _answer("winners", **options)


@main.command()
@click.argument("file")
@_store_options
@_agency_option
@click.option(
    "--raw",
    is_flag=True,
    default=None,
    help="Leave names that a spreadsheet would take for formulas as they are. Environment: BETS_RAW.",
)
def export(file: str, store: str | None, draw: str | None, control: str | None, **options: Any) -> None:
    """Write the bets to FILE: CSV, or SQLite where FILE ends in .db or .sqlite; - is standard output.

    The columns are agency, first name, last name, document, birth date and number.
    """
    from bets_protocol.cli.signals import Stopped, deferred_stops, let_sigterm_kill
    from bets_protocol.cli.stdio import write_result
    from bets_server.config import command_settings
    from bets_server.operator.client import asked, place_of
    from bets_server.operator.export import export_rows, print_rows

    values = command_settings(options, os.environ)
    place = place_of(store, draw, control)
    said = ""
    try:
        with deferred_stops(), asked(place, "export", agency=values["agency"]) as rows:
            if file == "-":
                print_rows(rows, raw=values["raw"])
            else:
                count = export_rows(rows, Path(file), raw=values["raw"], kept=place.files)
                said = f"{count} bets written to {file}\n"
    except Stopped as stop:
        # Ending with 0, as a service does, would say that the file is there.
        if stop.signal is signal.SIGTERM:  # pragma: no cover - it kills the process, and what was measured with it
            let_sigterm_kill()
            signal.raise_signal(signal.SIGTERM)
        raise
    write_result(said, confirms=True)


main.add_command(certs)
main.add_command(conform)
