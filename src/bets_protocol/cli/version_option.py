"""`--version`: the version, and which codec runs here, which is the first thing to know of a slow machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bets_protocol.cli.stdio import write_result
from bets_protocol.version import __version__

F = TypeVar("F", bound=Callable[..., Any])


def version_option(program: str) -> Callable[[F], F]:
    """A click option that shows what `program` is made of, and exits."""

    def show(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
        if wanted and not context.resilient_parsing:
            from bets_protocol import codec_info  # not needed for anything else that is quick

            write_result(f"{program} {__version__}, {codec_info()}\n", confirms=True)
            context.exit()

    return click.option(
        "--version", is_flag=True, expose_value=False, is_eager=True, callback=show, help="Show the version and exit."
    )
