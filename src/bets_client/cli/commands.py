"""The command line of `bets-client`.

Strategy: options are text here; `config` parses them together with the environment and the file, so that a value is
checked and blamed in the same way wherever it stands. Each command imports its module when it runs: help and typing
errors are answered without loading the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bets_client.cli.conform import conform
from bets_protocol.cli.command_group import ProgramGroup
from bets_protocol.cli.version_option import version_option

F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_config = click.option("--config", metavar="FILE", help="YAML file with settings. [BETS_CONFIG]")
_quiet = click.option("-q", "--quiet", is_flag=True, default=None, help="Nothing but the answer, no log. [BETS_QUIET]")
_loop = _options(
    click.option("--amount", metavar="N", help="How many probes. [CLI_LOOP_AMOUNT]"),
    click.option("--period", metavar="DURATION", help="Pause between two, such as 5s or 150ms. [CLI_LOOP_PERIOD]"),
)
_tls = _options(
    click.option("--tls-cert", metavar="FILE", help="For tls://: this client's certificate. [BETS_TLS_CERT]"),
    click.option("--tls-key", metavar="FILE", help="Its private key. [BETS_TLS_KEY]"),
    click.option("--tls-ca", metavar="FILE", help="Whose word the server's certificate needs. [BETS_TLS_CA]"),
    click.option("--tls-min", metavar="1.2|1.3", help="The oldest TLS, default 1.3. [BETS_TLS_MIN]"),
)
_server = _options(
    click.option(
        "--server", metavar="URL", help="Default tcp://127.0.0.1:12345; host:port means tcp. [CLI_SERVER_ADDRESS]"
    ),
    _tls,
    click.option("--agency", metavar="N", help="Whose bets, 1 to 255. [AGENCIA, then CLI_ID]"),
    click.option(
        "--retry-for", metavar="SECONDS", help="Give up after so long without progress, default 900. [BETS_RETRY_FOR]"
    ),
    _config,
    click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO (default), WARNING or ERROR. [CLI_LOG_LEVEL]"),
    click.option("--format", metavar="text|json", help="Of the answer; json moves the log to stderr. [BETS_FORMAT]"),
    _quiet,
)
_revision = _options(
    click.option("--revision", metavar="5..9", help="Of the protocol, default 9. [BETS_REVISION]"),
    click.option(
        "--idle-timeout",
        metavar="SECONDS",
        help="Silence that counts as a lost connection, default 60. [BETS_IDLE_TIMEOUT]",
    ),
)
_which_upload = _options(
    click.option("--draw", metavar="ID", help="Which draw, default 1; on revision 9. [BETS_DRAW]"),
    click.option("--label", metavar="TEXT", help="Makes it another upload; on revision 9. [BETS_LABEL]"),
)
_upload = _options(
    click.option("--batch-max", metavar="N", help="Bets in a batch, default 130. [CLI_BATCH_MAXAMOUNT]"),
    click.option("--window", metavar="N", help="Batches in flight, default 16. [BETS_WINDOW]"),
    _which_upload,
    click.option("--no-winners", is_flag=True, default=None, help="Neither end the upload nor wait. [BETS_NO_WINNERS]"),
    click.option("--progress/--no-progress", default=None, help="Default: unless -q. [BETS_PROGRESS]"),
)
_one_bet = _options(
    click.option("--first-name", metavar="TEXT", help="[NOMBRE]"),
    click.option("--last-name", metavar="TEXT", help="[APELLIDO]"),
    click.option("--document", metavar="DIGITS", help="Eight digits. [DOCUMENTO]"),
    click.option("--birthdate", metavar="YYYY-MM-DD", help="[NACIMIENTO]"),
    click.option("--number", metavar="N", help="0 to 9999. [NUMERO]"),
)


@click.group(name="bets-client", cls=ProgramGroup, context_settings={"help_option_names": ["-h", "--help"]})
@version_option("bets-client")
def cli() -> None:
    """Sends an agency's bets to the server and gets its winners.

    Options win over the environment (in brackets), the environment over --config FILE.
    """


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@_server
@_revision
@_upload
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


@cli.command()
@_server
@_revision
@_which_upload
@_one_bet
def bet(**options: Any) -> None:
    """Send one bet.

    The same bet sent again is stored once only; --label TEXT makes it another one that is meant.
    """
    from bets_client.cli import bet as command

    command.run(options)


@cli.command()
@_server
@_revision
@click.option(
    "--yes", is_flag=True, default=None, help="The agency has sent everything; do not ask for confirmation. [BETS_YES]"
)
def winners(**options: Any) -> None:
    """Ask for an agency's winners; before the draw this says that the agency has sent everything.

    It is sealed then, and later bets of it are refused, also where it has sent none. So on a terminal this command asks
    for confirmation, unless --yes is given.

    Without a file there is no upload, so it asks on revision 8, or on 7 where --revision says so.
    """
    from bets_client.cli import winners as command

    command.run(options)


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="BETS_FORMAT",
    metavar="text|json",
    help="json: an object for each finding and each file. [BETS_FORMAT]",
)
@click.option("-q", "--quiet", is_flag=True, help="Bad rows only, no warnings, no summary.")
def check(files: tuple[str, ...], form: str, quiet: bool) -> int:
    """Check files without a server.

    Prints every bad row as file:line: field: reason; the exit code is 3 if there is one. Warns of names that look
    wrong, which are taken all the same.
    """
    from bets_client.cli import check as command

    return command.run(files, form=form, quiet=quiet)


@cli.command()
@_server
@_loop
def probe(**options: Any) -> None:
    """Test a live server: lines that must come back."""
    from bets_client.cli import probe as command

    command.run(options)


@cli.command()
@_server
@_revision
@_upload
@_loop
@_one_bet
@click.option("--file", metavar="FILE", help="The data file, default agency.csv. [BETS_FILE]")
def run(**options: Any) -> None:
    """What a container runs: probes, then one bet or a file.

    Probes as often as --amount says (default: none). Then sends the one bet if all five parts of it are set, else the
    data file.
    """
    from bets_client.cli import run as command

    command.run(options)


@cli.command()
@click.argument("folder", metavar="DIR")
@click.option("--agencies", metavar="N", help="How many files, default 5. [BETS_AGENCIES]")
@click.option("--bets", metavar="M", help="Rows in each, default 1000. [BETS_BETS]")
@click.option("--seed", metavar="S", help="The same seed gives the same files, default 1. [BETS_SEED]")
@click.option("--overwrite", is_flag=True, default=None, help="Replace different files. [BETS_OVERWRITE]")
@_config
@_quiet
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
