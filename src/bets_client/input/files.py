"""Which file an argument of the command line names, and whose bets it holds."""

from __future__ import annotations

import os
import re
import sys

from bets_client.input.names import may_be_odd
from bets_protocol import ConfigError, InputError, limits
from bets_protocol.cli.signals import interruptible
from bets_protocol.client.csv_file import CsvFile

STDIN = "-"

_AGENCY_FILE = re.compile(r"agency-([0-9]+)\.csv")


def open_csv(path: str, agency: int) -> CsvFile:
    """Open a file of bets; `-` is standard input, which is copied to a temporary file first.

    Raises:
        InputError: it cannot be opened.
        ConfigError: it must be copied, and the copy cannot be written.
        Stopped: the program was asked to stop; reading raises it as well.
    """
    if path != STDIN:
        return CsvFile(path, agency, guard=interruptible, may_be_odd=may_be_odd)
    name = "<stdin>"
    if sys.stdin is None:
        raise InputError(f"{name}: standard input is closed")
    return CsvFile(sys.stdin.buffer, agency, name=name, guard=interruptible, may_be_odd=may_be_odd)


def agency_in_name(path: str) -> int | None:
    """N if the file is named `agency-N.csv`, else None.

    Raises:
        ConfigError: N is not 1 to 255.
    """
    match = _AGENCY_FILE.fullmatch(os.path.basename(path))
    if match is None:
        return None
    number = int(match[1]) if len(match[1]) <= 9 else 0
    if not 1 <= number <= limits.MAX_AGENCY:
        raise ConfigError(
            f"{path}: the file name says agency {match[1]}: expected a number from 1 to {limits.MAX_AGENCY}"
        )
    return number


def resolve_agency(path: str, given: int | None, given_by: str | None) -> int:
    """The agency of the file at `path`: the given one, else that of its name.

    Args:
        given: the agency from option, environment or configuration, or None.
        given_by: where it was given, for the error.

    Raises:
        ConfigError: neither says it, or the two differ.
    """
    named = agency_in_name(path)
    if given is not None and named is not None and given != named:
        raise ConfigError(f"{path}: the file name says agency {named}, {given_by or 'the caller'} says {given}")
    agency = given if given is not None else named
    if agency is None:
        raise ConfigError(f"{path}: whose bets are these? Give --agency N, or name the file agency-N.csv")
    return agency
