"""`bets-server`: the command line of the server.

Besides `serve` and `health` these are an operator's commands, which ask the running server, or else the store. A
command imports what it needs when it runs, so that `--help` stays quick.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import click

from bets_protocol.cli.command_group import ProgramGroup
from bets_protocol.cli.settings import FILE, click_options
from bets_protocol.cli.version_option import version_option
from bets_server.cli.certs import certs
from bets_server.cli.conform import conform
from bets_server.cli.options import command_options, command_settings
from bets_server.config import CONFIG, OPTIONS, load_settings

_PLACE = ("store", "draw", "control")


@click.group(
    name="bets-server",
    cls=ProgramGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@version_option("bets-server")
def main() -> None:
    """The central of a lottery's bet intake."""


@main.command(params=click_options([CONFIG, *OPTIONS]))
def serve(**options: Any) -> int:
    """Take bets, store them, draw, tell the winners."""
    from bets_protocol.cli.log_format import EventLog, setup_logging
    from bets_server.app import serve as run
    from bets_server.logs import ServerLog

    if options["config"] is None:
        options["config"] = os.environ.get("BETS_CONFIG") or None
    settings = load_settings(options, os.environ)
    return run(settings, ServerLog(EventLog(setup_logging(settings.log_level))))


@main.command(params=command_options("timeout", "tls_cert", "tls_key", "tls_ca", "tls_min"))
@click.argument("url")
def health(url: str, **options: Any) -> int:
    """Exit with 0 if the server at URL answers, else with 1.

    For a tls:// URL it shows a certificate; that of the server itself will do.
    """
    from bets_protocol.cli.command_group import say_error
    from bets_protocol.cli.signals import let_sigterm_kill
    from bets_protocol.cli.tls_options import client_transports
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
    command: str, *needed: str, store: str | None, draw: str | None, control: str | None, **options: str | None
) -> int:
    """Ask the server or the store, and print the answer.

    Args:
        needed: the options that must be given.
        options: as typed; except for `form`, they are the command's arguments.
    """
    from bets_protocol.cli.exit_codes import ExitCode
    from bets_protocol.cli.signals import let_sigterm_kill
    from bets_protocol.cli.stdio import write_result
    from bets_server.operator.client import asked, place_of
    from bets_server.operator.reports import report

    let_sigterm_kill()
    arguments = command_settings(options, os.environ, needed=needed)
    form = arguments.pop("form")
    with asked(place_of(store, draw, control), command, **arguments) as rows:
        text = report(command, form, rows)
    write_result(text, confirms=form == "text" and command in ("void", "close"))
    return ExitCode.DONE


@main.command(params=command_options(*_PLACE, "form"))
def status(**options: Any) -> int:
    """Show what has come from each agency, and how the draw stands."""
    return _answer("status", **options)


@main.command(params=command_options(*_PLACE, "form"))
def uploads(**options: Any) -> int:
    """List the uploads, each with the number that `void` takes."""
    return _answer("uploads", **options)


@main.command(params=command_options("reason", *_PLACE, "form"))
@click.argument("number", metavar="NUMBER")
def void(**options: Any) -> int:
    """Take the bets of an upload out of the draw, before it takes place: an anonymous or an unfinished upload.

    They stay in the store as evidence. If its agency had finished, it has to do so again.
    """
    return _answer("void", "reason", **options)


@main.command(params=command_options("without", "reason", *_PLACE, "form"))
def close(**options: Any) -> int:
    """Go on without an agency that does not finish: a running server takes no more bets of it.

    What was acknowledged to it stays in. If it was the last one missing, the draw takes place.
    """
    return _answer("close", "without", **options)


@main.command(params=command_options(*_PLACE, "form"))
def audit(**options: Any) -> int:
    """List what has happened to uploads, agencies and draws."""
    return _answer("audit", **options)


@main.command(params=command_options(*_PLACE, "agency", "form"))
def winners(**options: Any) -> int:
    """Print the winners: agency,document."""
    return _answer("winners", **options)


@main.command(params=command_options(*_PLACE, "agency", "raw"))
@click.argument("file", shell_complete=FILE.shell_complete)
def export(file: str, store: str | None, draw: str | None, control: str | None, **options: Any) -> None:
    """Write the bets to FILE: CSV, or SQLite where FILE ends in .db or .sqlite; - is standard output.

    The columns are agency, first name, last name, document, birth date and number.
    """
    from pathlib import Path

    from bets_protocol.cli.signals import Stopped, deferred_stops, let_sigterm_kill
    from bets_protocol.cli.stdio import write_result
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
