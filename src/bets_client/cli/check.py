"""`bets-client check`: validates files without a server; every bad row is a line `file:line: field: reason`.

Names that look wrong are warned of on standard error, and change nothing. With `--format json` both go to standard
output, an object each, and behind those of a file one that counts them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bets_client.input.check import NameWarnings, check
from bets_client.input.files import open_csv
from bets_protocol import BadRow, InputError
from bets_protocol.cli.command_group import say_error
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.log_format import one_line
from bets_protocol.cli.signals import let_sigterm_kill
from bets_protocol.cli.stdio import write_result
from bets_protocol.client.csv_file import WHOLE_ROW, CsvFile

SHOWN_NAMES = 100
"""Names of a file that are warned of in text; JSON has them all."""

_ANY_AGENCY = 1
"""A row does not say whose it is, and whose it is makes no row good or bad."""


def run(files: Sequence[str], *, form: str, quiet: bool) -> ExitCode:
    """Check `files`; bad rows go to standard output, a summary for each file to standard error."""
    let_sigterm_kill()
    code = ExitCode.DONE
    for file in files:
        try:
            source = open_csv(file, _ANY_AGENCY)
            try:
                is_good = _check_as_json(source, quiet=quiet) if form == "json" else _check(source, quiet=quiet)
            finally:
                source.close()
        except InputError as error:
            if form == "json":
                _write_json(file=file, line=None, field=WHOLE_ROW, severity="error", reason=str(error))
            else:
                write_result(f"{one_line(str(error))}\n")
            is_good = False
        if not is_good:
            code = ExitCode.BAD_INPUT
    return code


def _check(source: CsvFile, *, quiet: bool) -> bool:
    warnings = NameWarnings(source.name, 0 if quiet else SHOWN_NAMES)
    found = check(source, _show, on_odd=warnings)
    if not quiet:
        warnings.summarize(found.odd, "if that is not meant, correct the file before it is sent")
        total = found.good + found.bad
        say_error(source.name, f"{total} {'row' if total == 1 else 'rows'}, {found.bad} bad")
    return not found.bad


def _show(row: BadRow) -> None:
    write_result(f"{one_line(str(row))}\n")


def _check_as_json(source: CsvFile, *, quiet: bool) -> bool:
    def show(row: BadRow) -> None:
        _write_json(file=row.file, line=row.line, field=row.field, severity="error", reason=row.reason)

    def warn(line: int, field: str, what: str) -> None:
        if not quiet:
            _write_json(file=source.name, line=line, field=field, severity="warning", reason=what)

    found = check(source, show, on_odd=warn)
    if not quiet:
        _write_json(file=source.name, rows=found.good + found.bad, bad=found.bad, odd_names=found.odd)
    return not found.bad


def _write_json(**fields: object) -> None:
    write_result(json.dumps(fields, ensure_ascii=False) + "\n")
