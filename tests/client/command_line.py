"""Commands of `bets-client`, run in this process."""

from __future__ import annotations

import re

from click.testing import CliRunner, Result

from bets_client.cli.commands import cli

STAMP = r"^[0-9-]{10} [0-9:]{8} (DEBUG|INFO|WARNING|ERROR) +"
BET_VARIABLES = {
    "NOMBRE": "Ana",
    "APELLIDO": "Paz",
    "DOCUMENTO": "30904465",
    "NACIMIENTO": "1999-03-17",
    "NUMERO": "7574",
}


def run(*arguments: str, **env: str) -> Result:
    """Run a command with variables of the environment."""
    return CliRunner().invoke(cli, arguments, env=env, prog_name="bets-client")


def run_with_input(stdin: str, *arguments: str, **env: str) -> Result:
    """The same with standard input."""
    return CliRunner().invoke(cli, arguments, input=stdin, env=env, prog_name="bets-client")


def lines(text: str) -> list[str]:
    """Log lines without their time and level; other lines as they are."""
    return [re.sub(STAMP, "", line) for line in text.splitlines()]
