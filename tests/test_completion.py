"""What a shell completes: the values that an option takes, files and folders."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete

from bets_client.cli.commands import cli as client
from bets_server.cli import main as server


def _completed(program: click.Command, line: str) -> list[tuple[str, str]]:
    """What follows the words of `line`, of which the last is begun: each with how the shell is to take it."""
    *words, begun = line.split(" ")
    found = ShellComplete(program, {}, program.name or "", "_COMPLETE").get_completions(words, begun)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize(
    ("program", "line", "values"),
    [
        (client, "send --format ", ["text", "json"]),
        (client, "bet --revision ", ["5", "6", "7", "8", "9"]),
        (client, "probe --tls-min ", ["1.2", "1.3"]),
        (client, "run --log-level W", ["WARNING", "WARN"]),
        (client, "check --format j", ["json"]),
        (server, "serve --revision ", ["5", "6", "9"]),
        (server, "serve --log-level D", ["DEBUG"]),
        (server, "health --tls-min 1.3", ["1.3"]),
        (server, "status --format t", ["text"]),
    ],
)
def test_values_are_completed(program: click.Command, line: str, values: list[str]) -> None:
    """Those that the setting takes, of which some begin as what was typed."""
    assert _completed(program, line) == [("plain", value) for value in values]


@pytest.mark.parametrize(
    ("program", "line", "kind"),
    [
        (client, "send agency-", "file"),
        (client, "check --format json ./", "file"),
        (client, "send --config c", "file"),
        (client, "winners --tls-ca c", "file"),
        (client, "sample d", "dir"),
        (server, "serve --tls-pins p", "file"),
        (server, "export b", "file"),
        (server, "certs init d", "dir"),
        (server, "certs agency 1 --dir d", "dir"),
    ],
)
def test_files_are_completed_by_the_shell(program: click.Command, line: str, kind: str) -> None:
    """It is told that a file, or a folder, is wanted."""
    assert _completed(program, line) == [(kind, line.split(" ")[-1])]


def test_a_name_is_not_completed() -> None:
    """Neither the values of another option nor files are meant."""
    assert _completed(client, "send --label t") == []
