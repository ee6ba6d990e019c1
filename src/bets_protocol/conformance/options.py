"""The options that the `conform` commands of both programs share.

Both command lines import this module to declare their options, so it loads nothing of the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bets_protocol import CLIENT_REVISIONS

F = TypeVar("F", bound=Callable[..., Any])

_OLDEST, _NEWEST = min(CLIENT_REVISIONS), max(CLIENT_REVISIONS)

_SHARED: dict[str, dict[str, Any]] = {
    "--revision": {"type": click.IntRange(_OLDEST, _NEWEST), "default": _NEWEST, "metavar": f"{_OLDEST}..{_NEWEST}"},
    "--timeout": {"type": click.FloatRange(0.1, 3600), "metavar": "SECONDS"},
    "--tls-cert": {"default": "", "metavar": "FILE"},
    "--tls-key": {"default": "", "metavar": "FILE"},
    "--tls-ca": {"default": "", "metavar": "FILE"},
    "--tls-min": {"type": click.Choice(["1.2", "1.3"]), "default": "1.3"},
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
