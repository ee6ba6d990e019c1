"""The work of the `conform` commands of both programs: the check, its report and the exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import click

from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.signals import Stopped, deferred_stops, let_sigterm_kill
from bets_protocol.cli.stdio import write_result
from bets_protocol.cli.tls_options import client_transports, server_transports
from bets_protocol.conformance.against_client.runner import Runner, placeholders, program, unknown_placeholders
from bets_protocol.conformance.against_client.scenarios import SCENARIO_NAMES, scenarios_of
from bets_protocol.conformance.against_server.runner import examine
from bets_protocol.conformance.against_server.target import Target
from bets_protocol.conformance.report import Finding, Result, report
from bets_protocol.transports import listen as listen_at


def check_server(
    url: str, *, draw_too: bool, form: str, tls_cert: str, tls_key: str, tls_ca: str, tls_min: str, **about: Any
) -> ExitCode:
    """Checks the server at `url` and prints the report.

    Args:
        about: attributes of `Target`.

    Raises:
        ConfigError: the certificates do not fit the URL.
        ConnectError: no server is there.
    """
    let_sigterm_kill()  # exit code 0 would say that the server keeps every rule
    files = {"--tls-cert": tls_cert, "--tls-key": tls_key, "--tls-ca": tls_ca}
    given_by = next((option for option, path in files.items() if path), None)
    transports = client_transports(url, cert=tls_cert, key=tls_key, ca=tls_ca, minimum=tls_min, given_by=given_by)
    target = Target(url=url, transports=transports, **about)
    with deferred_stops():
        findings = list(examine(target, draw_too=draw_too))
    return _print_report(findings, form, server=url, revision=target.revision)


def check_client(
    command: tuple[str, ...],
    *,
    listen: str,
    revision: int,
    names: tuple[str, ...],
    clients: int | None,
    form: str,
    tls_cert: str,
    tls_key: str,
    tls_ca: str,
    tls_min: str,
    **about: Any,
) -> ExitCode:
    """Checks the client that `command` starts, or that the user starts if there is none, and prints the report.

    Args:
        about: attributes of `Runner`.

    Raises:
        click.BadParameter: there is no scenario of a name, or no value for a placeholder.
        ConfigError: a file of TLS cannot be used, or the command cannot be started.
        ConnectError: it is not possible to listen at that URL.
    """
    for name in names:
        if name not in SCENARIO_NAMES:
            raise click.BadParameter(f"{name!r}: expected one of {', '.join(SCENARIO_NAMES)}", param_hint="--scenario")
    if unknown := unknown_placeholders(command, listen):
        known = ", ".join(f"{{{place}}}" for place in placeholders(listen))
        places = ", ".join(f"{{{place}}}" for place in dict.fromkeys(unknown))
        raise click.BadParameter(f"{places}: expected one of {known}, which {listen} has", param_hint="COMMAND")
    transports = server_transports([listen], cert=tls_cert, key=tls_key, ca=tls_ca, minimum=tls_min)
    with deferred_stops(), listen_at(listen, transports=transports) as listener:
        runner = Runner(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision, names)[:clients],
            start=(lambda: program(command, listener)) if command else None,
            notify=lambda text: say_error("conform", text),
            **about,
        )
        say_error("conform", f"a server of revision {revision} at {listener.url}")
        with contextlib.suppress(Stopped):  # the report says what is known so far
            runner.play()
    return _print_report(runner.findings(), form, listen=listener.url, revision=revision)


def _print_report(findings: Sequence[Finding], form: str, **about: Any) -> ExitCode:
    write_result(report(findings, form, command="conform", **about))
    return ExitCode.PROTOCOL if any(one.result is Result.FAILED for one in findings) else ExitCode.DONE
