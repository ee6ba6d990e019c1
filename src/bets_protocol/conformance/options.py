"""The options that the `conform` commands of both programs share.

Both command lines import this module to declare their options, so it loads nothing of the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bets_protocol import CLIENT_REVISIONS
from bets_protocol.cli.tls_options import tls_settings

F = TypeVar("F", bound=Callable[..., Any])

_OLDEST, _NEWEST = min(CLIENT_REVISIONS), max(CLIENT_REVISIONS)

_SHARED: dict[str, dict[str, Any]] = {
    "--revision": {"type": click.IntRange(_OLDEST, _NEWEST), "default": _NEWEST, "metavar": f"{_OLDEST}..{_NEWEST}"},
    "--timeout": {"type": click.FloatRange(0.1, 3600), "metavar": "SECONDS"},
    "--format": {"type": click.Choice(["text", "json"]), "default": "text"},
}
"""What an option is in both programs; its help, and the default of --timeout, are each program's own."""


def option(name: str, *parameter: str, text: str, **own: Any) -> Callable[[F], F]:
    """An option of the command, with the environment variable of its name.

    Args:
        name: with its hyphens.
        parameter: the name of the callback's parameter where it is not the option's.
        text: the help; `{}` stands for the environment variable.
        own: arguments of `click.option` that only this program gives.
    """
    variable = f"BETS_{name.removeprefix('--').upper().replace('-', '_')}"
    return click.option(name, *parameter, envvar=variable, help=text.format(variable), **(_SHARED.get(name, {}) | own))


def tls_options(*texts: str, versions: str) -> Callable[[F], F]:
    """The options of TLS, with the help of each and the placeholder for the value of --tls-min."""

    def decorate(command: F) -> F:
        for one, text in reversed(list(zip(tls_settings(cert="", ca=""), texts, strict=True))):
            metavar = versions if one.name == "tls_min" else one.metavar
            command = option(one.option, text=text, type=one.complete, default=one.default, metavar=metavar)(command)
        return command

    return decorate
