"""`bets-client check`: validates files without a server; every bad row is a line `file:line: field: reason`."""

from __future__ import annotations

from collections.abc import Sequence

from bets_client.check import check
from bets_client.errors import BadInput, BadRow
from bets_client.source import Source
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.programs.guard import say_error
from bets_protocol.programs.loglines import one_line
from bets_protocol.programs.output import write_result
from bets_protocol.programs.stopping import let_sigterm_kill

_ANY_AGENCY = 1
"""A row does not say whose it is, and whose it is makes no row good or bad."""


def run(files: Sequence[str], *, quiet: bool) -> ExitCode:
    """Check `files`; bad rows go to standard output, a summary for each file to standard error."""
    let_sigterm_kill()
    code = ExitCode.DONE
    for file in files:
        try:
            source = Source(file, _ANY_AGENCY)
            try:
                found = check(source, _show)
            finally:
                source.close()
        except BadInput as error:
            write_result(f"{one_line(str(error))}\n")
            code = ExitCode.BAD_INPUT
            continue
        if found.bad:
            code = ExitCode.BAD_INPUT
        if not quiet:
            say_error(source.name, f"{found.good + found.bad} rows, {found.bad} bad")
    return code


def _show(row: BadRow) -> None:
    write_result(f"{one_line(str(row))}\n")
