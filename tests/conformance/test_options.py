"""The options of both `conform` commands: names, environment variables and defaults are a contract with scripts."""

from __future__ import annotations

import click
import pytest

from bets_client.cli.conform import conform as conform_server
from bets_server.cli.conform import conform as conform_client

TLS = {
    "--tls-cert": ("BETS_TLS_CERT", ""),
    "--tls-key": ("BETS_TLS_KEY", ""),
    "--tls-ca": ("BETS_TLS_CA", ""),
    "--tls-min": ("BETS_TLS_MIN", "1.3"),
}
OF_THE_CLIENT = TLS | {
    "--revision": ("BETS_REVISION", 9),
    "--agencies": ("BETS_AGENCIES", 5),
    "--draw-too": ("BETS_DRAW_TOO", False),
    "--draw": ("BETS_DRAW", 1),
    "--winning-number": ("BETS_WINNING_NUMBER", 7574),
    "--timeout": ("BETS_TIMEOUT", 5.0),
    "--format": ("BETS_FORMAT", "text"),
}
OF_THE_SERVER = TLS | {
    "--listen": ("BETS_LISTEN", "tcp://127.0.0.1:12345"),
    "--revision": ("BETS_REVISION", 9),
    "--scenario": ("BETS_SCENARIO", ()),
    "--clients": ("BETS_CLIENTS", None),
    "--quiet-for": ("BETS_QUIET_FOR", 2.0),
    "--timeout": ("BETS_TIMEOUT", 30.0),
    "--format": ("BETS_FORMAT", "text"),
}
GIVEN = {
    "BETS_REVISION": "7",
    "BETS_AGENCIES": "3",
    "BETS_DRAW_TOO": "1",
    "BETS_DRAW": "4",
    "BETS_WINNING_NUMBER": "0",
    "BETS_TIMEOUT": "0.5",
    "BETS_FORMAT": "json",
    "BETS_LISTEN": "unix:///socket",
    "BETS_SCENARIO": "cut lost",
    "BETS_CLIENTS": "2",
    "BETS_QUIET_FOR": "0.1",
    "BETS_TLS_CERT": "a",
    "BETS_TLS_KEY": "b",
    "BETS_TLS_CA": "c",
    "BETS_TLS_MIN": "1.2",
}

COMMANDS = pytest.mark.parametrize(
    ("command", "expected"),
    [(conform_server, OF_THE_CLIENT), (conform_client, OF_THE_SERVER)],
    ids=["bets-client", "bets-server"],
)


def _values(command: click.Command) -> dict[str, object]:
    """What the command runs with, by option, when only its argument is given."""
    with command.make_context("conform", ["tcp://127.0.0.1:1"]) as context:
        options = [one for one in command.params if isinstance(one, click.Option)]
        return {one.opts[0]: context.params[str(one.name)] for one in options}


@COMMANDS
def test_defaults(
    command: click.Command, expected: dict[str, tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options and variables the documented defaults hold, and there are no other options."""
    for variable in GIVEN:
        monkeypatch.delenv(variable, raising=False)
    assert _values(command) == {option: default for option, (_, default) in expected.items()}


@COMMANDS
def test_variables(
    command: click.Command, expected: dict[str, tuple[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option has its variable, and the help names it."""
    for variable, value in GIVEN.items():
        monkeypatch.setenv(variable, value)
    values = _values(command)
    assert [option for option, (_, default) in expected.items() if values[option] == default] == []
    help_of = {one.opts[0]: one.help for one in command.params if isinstance(one, click.Option)}
    assert [option for option, (variable, _) in expected.items() if variable not in str(help_of[option])] == []
