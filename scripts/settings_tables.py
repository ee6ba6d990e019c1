"""Writes the tables of options in docs/operations.md, or with --check says that they are stale.

A process of its own: `generate.py` has replaced the package by a bare one, which has no settings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from bets_client import config as client
from bets_protocol.cli.settings import Setting, boolean
from bets_server import config as server
from bets_server.cli.options import COMMAND_SETTINGS
from scripts.outputs import ROOT, write

PAGE = ROOT / "docs" / "operations.md"

TABLES: dict[str, Iterable[Setting]] = {
    "serve": [server.CONFIG, *(one for one in server.OPTIONS if one not in server.LIMIT_SETTINGS)],
    "limits": server.LIMIT_SETTINGS,
    "commands": [one for one in COMMAND_SETTINGS if one.env],
    "client": [client.CONFIG, *client.SETTINGS],
}


def main(arguments: list[str]) -> int:
    """Writes or compares; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    filled = page
    for name, settings in TABLES.items():
        begin, end = f"<!-- generated: begin {name} -->\n", f"<!-- generated: end {name} -->"
        if begin not in page or end not in page:
            raise ValueError(f"{PAGE.name} has no place for the table {name}")
        before, _, rest = filled.partition(begin)
        filled = before + begin + _table(settings) + end + rest.partition(end)[2]
    return write({PAGE: filled}, arguments)


def _table(settings: Iterable[Setting]) -> str:
    rows = ["| option | default | environment | file key | says |", "|---|---|---|---|---|"]
    for one in settings:
        names = f"{one.short}, {one.option}" if one.short else one.option
        option = names if one.parse is boolean else f"{names} {one.metavar}"
        variables = ", then ".join(f"`{name}`" for name in one.env)
        default = one.default_text if one.shown or not one.default_text else f"`{one.default_text}`"
        cells = (f"`{option}`", default, variables, f"`{one.key}`" if one.key else "", one.text)
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
