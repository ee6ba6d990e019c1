"""`bets-server certs`: makes certificates for those who have no authority of their own.

What is written is said on standard error; on standard output comes what a list of pins takes, a line for each agency.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bets_protocol import ConfigError

if TYPE_CHECKING:
    from bets_server.deploy.certificates import Issued

F = TypeVar("F", bound=Callable[..., Any])

_force_option = click.option(
    "--force", is_flag=True, default=None, help="Replace what is there. Environment: BETS_FORCE."
)
_days_option = click.option(
    "--days",
    metavar="N",
    help="How long the certificate is valid (default 397), at most as long as the authority's. Environment: BETS_DAYS.",
)
_folder_option = click.option(
    "--dir",
    "folder",
    metavar="DIR",
    help="Where `init` has made the authority; must be given. Environment: BETS_DIR.",
)


@click.group()
def certs() -> None:
    """Make certificates for tls://: an authority, the server's, the agencies'.

    It takes the package cryptography: pip install 'bets-protocol[certs]'.
    """


@certs.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="A host name or address at which clients reach the server; may be repeated (default localhost, 127.0.0.1 and "
    "::1). Environment: BETS_NAME.",
)
@_days_option
@click.option(
    "--ca-days",
    metavar="N",
    help="How long the authority is valid (default 3650). Environment: BETS_CA_DAYS.",
)
@_force_option
def init(folder: Path, **options: Any) -> None:
    """Make an authority and the server's certificate in DIR.

    The server takes --tls-ca DIR/ca.pem --tls-cert DIR/server.pem --tls-key DIR/server.key. Whoever has ca.key can make
    certificates for anybody: keep it where only you can read it.
    """
    values = _settled(options)
    maker = _maker()
    names = values.pop("names") or maker.DEFAULT_NAMES
    authority, server = maker.init_authority(folder, names, **values)
    _say("authority", authority)
    _say("server", server)


@certs.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_folder_option
@_days_option
@_force_option
def server(names: tuple[str, ...], **options: Any) -> None:
    """Make a certificate for the server at the host names or addresses NAME.

    Without any: localhost, 127.0.0.1 and ::1.
    """
    values = _settled(options)
    maker = _maker()
    _say("server", maker.issue_server(values.pop("folder"), names or maker.DEFAULT_NAMES, **values))


@certs.command()
@click.argument("agency_number", metavar="N")
@_folder_option
@_days_option
@_force_option
def agency(**options: Any) -> None:
    """Make a certificate for agency N, and print its line for --tls-pins.

    The agency takes --tls-cert agency-N.pem --tls-key agency-N.key --tls-ca ca.pem.
    """
    from bets_protocol.cli.stdio import write_result

    values = _settled(options)
    number = values.pop("agency_number")
    issued = _maker().issue_agency(values.pop("folder"), number, **values)
    _say(f"agency {number}", issued)
    write_result(f"{issued.fingerprint} {number}\n")


def _settled(options: Mapping[str, Any]) -> dict[str, Any]:
    from bets_server.config import command_settings

    return command_settings(options, os.environ, needed=("folder",))


def _maker() -> ModuleType:
    try:
        from bets_server.deploy import certificates as maker
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise ConfigError(
            "making certificates takes the package cryptography: pip install 'bets-protocol[certs]'"
        ) from error
    return maker


def _say(whose: str, issued: Issued) -> None:
    from bets_protocol.cli.command_group import say_error

    say_error(whose, f"{issued.cert}, {issued.key}, valid until {issued.not_after:%Y-%m-%d}")
