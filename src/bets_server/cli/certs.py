"""`bets-server certs`: makes certificates for installations that have no authority of their own.

The names of the files go to standard error, the lines for a list of pins to standard output.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from bets_protocol import ConfigError
from bets_protocol.cli.settings import FOLDER
from bets_server.cli.options import command_options, command_settings

if TYPE_CHECKING:
    from bets_server.deploy.certificates import Issued


@click.group()
def certs() -> None:
    """Make certificates for tls://: an authority, the server's, the agencies'.

    It takes the package cryptography: pip install 'bets-protocol[certs]'.
    """


@certs.command(params=command_options("names", "days", "ca_days", "force"))
@click.argument("folder", metavar="DIR", type=click.Path(), shell_complete=FOLDER.shell_complete)
def init(folder: str, **options: Any) -> None:
    """Make an authority and the server's certificate in DIR.

    The server takes --tls-ca DIR/ca.pem --tls-cert DIR/server.pem --tls-key DIR/server.key. Whoever has ca.key can make
    certificates for anybody: keep it where only you can read it.
    """
    from pathlib import Path

    values = command_settings(options, os.environ)
    maker = _maker()
    names = values.pop("names") or maker.DEFAULT_NAMES
    authority, server = maker.init_authority(Path(folder), names, **values)
    _say("authority", authority)
    _say("server", server)


@certs.command(params=command_options("folder", "days", "force"))
@click.argument("names", metavar="[NAME]...", nargs=-1)
def server(names: tuple[str, ...], **options: Any) -> None:
    """Make a certificate for the server at the host names or addresses NAME.

    Without any: localhost, 127.0.0.1 and ::1.
    """
    values = command_settings(options, os.environ, needed=("folder",))
    maker = _maker()
    _say("server", maker.issue_server(values.pop("folder"), names or maker.DEFAULT_NAMES, **values))


@certs.command(params=command_options("folder", "days", "force"))
@click.argument("agency_number", metavar="N")
def agency(**options: Any) -> None:
    """Make a certificate for agency N, and print its line for --tls-pins.

    The agency takes --tls-cert agency-N.pem --tls-key agency-N.key --tls-ca ca.pem.
    """
    from bets_protocol.cli.stdio import write_result

    values = command_settings(options, os.environ, needed=("folder",))
    number = values.pop("agency_number")
    issued = _maker().issue_agency(values.pop("folder"), number, **values)
    _say(f"agency {number}", issued)
    write_result(f"{issued.fingerprint} {number}\n")


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
