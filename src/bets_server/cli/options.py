"""The options of the commands other than `serve`: their table, and the values."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from bets_protocol import ConfigError
from bets_protocol.cli.settings import (
    FOLDER,
    Setting,
    boolean,
    choice,
    click_options,
    decimal_number,
    resolve,
    whole_number,
)
from bets_protocol.cli.tls_options import tls_settings
from bets_server.config import AGENCY, OPTIONS

_DAYS = whole_number(1, 36_500)


def _path(text: str) -> object:
    from pathlib import Path

    return Path(text)


COMMAND_SETTINGS = (
    *tls_settings("The certificate to show to a tls:// server", "the server's certificate"),
    Setting(
        name="form",
        text="Text for people, or one JSON object a line",
        option="--format",
        default="text",
        **choice("text", "json"),
    ),
    Setting(name="agency", text="Only this agency", metavar="N", parse=AGENCY),
    Setting(name="without", text="The agency that is missing; must be given", metavar="N", parse=AGENCY),
    Setting(name="number", option="NUMBER", env=(), parse=whole_number(1, 2**63 - 1)),
    Setting(name="reason", text="Why; it is written down, and `void` needs it"),
    Setting(
        name="raw",
        text="Leave names that a spreadsheet would take for formulas as they are",
        default=False,
        parse=boolean,
    ),
    Setting(
        name="timeout",
        text="How long to wait for the answer",
        metavar="SECONDS",
        default=5.0,
        parse=decimal_number(0.1, 3600),
    ),
    Setting(name="agency_number", option="N", env=(), parse=AGENCY),
    Setting(
        name="days",
        text="How long the certificate is valid, at most as long as the authority's",
        metavar="N",
        default=397,
        parse=_DAYS,
    ),
    Setting(name="ca_days", text="How long the authority is valid", metavar="N", default=3650, parse=_DAYS),
    Setting(name="force", text="Replace what is there", default=False, parse=boolean),
    Setting(
        name="folder",
        text="Where `init` has made the authority; must be given",
        metavar="DIR",
        option="--dir",
        parse=_path,
        complete=FOLDER,
    ),
    Setting(
        name="names",
        text="A host name or address at which clients reach the server; may be repeated",
        metavar="NAME",
        option="--name",
        default=(),
        repeated=True,
        shown="localhost, 127.0.0.1 and ::1",
    ),
)

command_options = functools.partial(click_options, (*OPTIONS, *COMMAND_SETTINGS))
"""The options of a click command, by their names."""


def command_settings(
    options: Mapping[str, Any], environ: Mapping[str, str], *, needed: Iterable[str] = ()
) -> dict[str, Any]:
    """The values of a command's own options, from options and environment.

    Args:
        options: by the names in `COMMAND_SETTINGS`, with None for each one that was not given.
        needed: those that must be given.

    Raises:
        ConfigError: a value cannot be used, or is missing; names the place.
    """
    settings = [one for one in COMMAND_SETTINGS if one.name in options]
    values = resolve(settings, options, environ)
    for one in settings:
        if one.name in needed and values[one.name] is None:
            raise ConfigError(f"{one.option} is missing; it may also be {one.env[0]} in the environment")
    return values
