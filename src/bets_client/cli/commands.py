"""The command line of `bets-client`.

Strategy: options are made from the table of settings and stay text here; `config` parses them together with the
environment and the file, so that a value is checked and blamed in the same way wherever it stands. Each command imports
its module when it runs: help and typing errors are answered without loading sockets.
"""

from __future__ import annotations

import functools
from typing import Any

import click

from bets_client.cli.conform import conform
from bets_client.config import BET_FIELDS, CONFIG, SETTINGS
from bets_protocol.cli.command_group import ProgramGroup
from bets_protocol.cli.settings import FILE, FOLDER, click_options
from bets_protocol.cli.version_option import version_option

_TLS = ("tls_cert", "tls_key", "tls_ca", "tls_min")
_SERVER = ("server", *_TLS, "agency", "retry_for", "config", "log_level", "format", "quiet")
_REVISION = ("revision", "idle_timeout")
_WHICH_UPLOAD = ("draw", "label")
_UPLOAD = ("batch_max", "window", *_WHICH_UPLOAD, "no_winners", "progress")
_LOOP = ("amount", "period")

_options = functools.partial(click_options, (CONFIG, *SETTINGS))
_files = click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=FILE.shell_complete)


@click.group(name="bets-client", cls=ProgramGroup, context_settings={"help_option_names": ["-h", "--help"]})
@version_option("bets-client")
def cli() -> None:
    """Sends an agency's bets to the server and gets its winners.

    An option wins over its variable of the environment, the variable over --config FILE.
    """


@cli.command(params=_options(*_SERVER, *_REVISION, *_UPLOAD))
@_files
def send(files: tuple[str, ...], **options: Any) -> None:
    """Upload files, then print the winners.

    Whatever ends it, run it again: it goes on where it stopped, and stores no bet twice. An identical file is the same
    upload, unless --label says otherwise. (Revisions 5 to 8 cannot do that: there, running it again sends all again.)

    FILE holds rows of first_name,last_name,document,birthdate,number, in UTF-8 and without a header; `-` is standard
    input. A file named agency-N.csv is of agency N; of others --agency or the environment says it. Where the two
    contradict each other nothing is sent.
    """
    from bets_client.cli import send as command

    command.run(options, files)


@cli.command(params=_options(*_SERVER, *_REVISION, *_WHICH_UPLOAD, *BET_FIELDS))
def bet(**options: Any) -> None:
    """Send one bet.

    The same bet sent again is stored once only; --label TEXT makes it another one that is meant.
    """
    from bets_client.cli import bet as command

    command.run(options)


@cli.command(params=_options(*_SERVER, *_REVISION, "yes"))
def winners(**options: Any) -> None:
    """Ask for an agency's winners; before the draw this says that the agency has sent everything.

    It is sealed then, and later bets of it are refused, also where it has sent none. So on a terminal this command asks
    for confirmation, unless --yes is given.

    Without a file there is no upload, so it asks on revision 8, or on 7 where --revision says so.
    """
    from bets_client.cli import winners as command

    command.run(options)


@cli.command()
@_files
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="BETS_FORMAT",
    metavar="text|json",
    help="Text for people, or one JSON object for each finding and each file (default text). Environment: BETS_FORMAT.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only the bad rows, no warnings and no summary.")
def check(files: tuple[str, ...], form: str, quiet: bool) -> int:
    """Check files without a server.

    Prints every bad row as file:line: field: reason; the exit code is 3 if there is one. Warns of names that look
    wrong, which are taken all the same.
    """
    from bets_client.cli import check as command

    return command.run(files, form=form, quiet=quiet)


@cli.command(params=_options(*_SERVER, *_LOOP))
def probe(**options: Any) -> None:
    """Test a live server: lines that must come back."""
    from bets_client.cli import probe as command

    command.run(options)


@cli.command(params=_options(*_SERVER, *_REVISION, *_UPLOAD, *_LOOP, *BET_FIELDS, "file"))
def run(**options: Any) -> None:
    """What a container runs: probes, then one bet or a file.

    Probes as often as --amount says (default: none). Then sends the one bet if all five parts of it are set, else the
    data file.
    """
    from bets_client.cli import run as command

    command.run(options)


@cli.command(params=_options("agencies", "bets", "seed", "overwrite", "config", "quiet"))
@click.argument("folder", metavar="DIR", shell_complete=FOLDER.shell_complete)
def sample(folder: str, **options: Any) -> None:
    """Write files of made-up bets into DIR."""
    from bets_client.cli import sample as command

    command.run(options, folder)


cli.add_command(conform)


def main() -> None:
    """The entry point of `bets-client`."""
    cli(prog_name="bets-client")


if __name__ == "__main__":
    main()
