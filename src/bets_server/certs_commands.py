"""`bets-server certs`: makes certificates for those who have no authority of their own.

What is written is said on standard error; on standard output comes what a list of pins takes, a line for each agency.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bets_protocol import ConfigError

if TYPE_CHECKING:
    from bets_server.certs import Issued

F = TypeVar("F", bound=Callable[..., Any])

_MAX_DAYS = 36_500

_force_option = click.option(
    "--force", is_flag=True, envvar="BETS_FORCE", help="Replace what is there. Environment: BETS_FORCE."
)
_days_option = click.option(
    "--days",
    type=click.IntRange(1, _MAX_DAYS),
    default=397,
    metavar="N",
    envvar="BETS_DAYS",
    help="How long the certificate is valid (default 397), at most as long as the authority's. Environment: BETS_DAYS.",
)
_folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    envvar="BETS_DIR",
    help="Where `init` has made the authority. Environment: BETS_DIR.",
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
    envvar="BETS_NAME",
    help="A host name or address at which clients reach the server; may be repeated (default localhost, 127.0.0.1 and "
    "::1). Environment: BETS_NAME.",
)
@_days_option
@click.option(
    "--ca-days",
    type=click.IntRange(1, _MAX_DAYS),
    default=3650,
    metavar="N",
    envvar="BETS_CA_DAYS",
    help="How long the authority is valid (default 3650). Environment: BETS_CA_DAYS.",
)
@_force_option
def init(folder: Path, names: tuple[str, ...], days: int, ca_days: int, force: bool) -> None:
    """Make an authority and the server's certificate in DIR.

    The server takes --tls-ca DIR/ca.pem --tls-cert DIR/server.pem --tls-key DIR/server.key. Whoever has ca.key can make
    certificates for anybody: keep it where only you can read it.
    """
    maker = _maker()
    authority, server = maker.init_authority(
        folder, names or maker.DEFAULT_NAMES, days=days, ca_days=ca_days, force=force
    )
    _say("authority", authority)
    _say("server", server)


@certs.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_folder_option
@_days_option
@_force_option
def server(names: tuple[str, ...], folder: Path, days: int, force: bool) -> None:
    """Make a certificate for the server at the host names or addresses NAME.

    Without any: localhost, 127.0.0.1 and ::1.
    """
    maker = _maker()
    _say("server", maker.issue_server(folder, names or maker.DEFAULT_NAMES, days=days, force=force))


@certs.command()
@click.argument("number", metavar="N", type=click.IntRange(1, 255))
@_folder_option
@_days_option
@_force_option
def agency(number: int, folder: Path, days: int, force: bool) -> None:
    """Make a certificate for agency N, and print its line for --tls-pins.

    The agency takes --tls-cert agency-N.pem --tls-key agency-N.key --tls-ca ca.pem.
    """
    issued = _maker().issue_agency(folder, number, days=days, force=force)
    _say(f"agency {number}", issued)
    click.echo(f"{issued.fingerprint} {number}")


def _maker() -> ModuleType:
    try:
        from bets_server import certs as maker  # noqa: PLC0415 - an extra, and slow to load
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise ConfigError(
            "making certificates takes the package cryptography: pip install 'bets-protocol[certs]'"
        ) from error
    return maker


def _say(whose: str, issued: Issued) -> None:
    click.echo(f"{whose}: {issued.cert}, {issued.key}, valid until {issued.not_after:%Y-%m-%d}", err=True)
