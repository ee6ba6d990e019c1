"""What the number that a program ends with means: a contract with scripts, so add to it and change none.

Rule: never `DONE` when a bet that was asked for is not stored. An error that knows its own code carries it in
`exit_code` (`ProgramError`); the others get theirs here, by where they stand in the tree of `bets_protocol`.
"""

from __future__ import annotations

import enum

from bets_protocol.errors import (
    BetsError,
    BetsRefused,
    ConfigError,
    InputError,
    NotDrawn,
    RemoteProtocolError,
    StorageError,
    TransportError,
    UploadRefused,
)


class ExitCode(enum.IntEnum):
    """The exit codes of `bets-server` and `bets-client`."""

    DONE = 0
    BUG = 1
    USAGE = 2
    BAD_INPUT = 3
    UNREACHABLE = 4
    PROTOCOL = 5
    REFUSED = 6
    NOT_DRAWN = 7
    STORE_FAILED = 8
    OUTPUT = 9
    INTERRUPTED = 130
    TERMINATED = 143


class ProgramError(BetsError):
    """An error of a program, not of the library: its class says which exit code it means."""

    exit_code = ExitCode.BUG


# A LocalProtocolError is missing on purpose: saying something illegal to the peer is a bug of ours.
_CODES: tuple[tuple[type[BetsError], ExitCode], ...] = (
    (ConfigError, ExitCode.USAGE),
    (RemoteProtocolError, ExitCode.PROTOCOL),
    (NotDrawn, ExitCode.NOT_DRAWN),
    (BetsRefused, ExitCode.REFUSED),
    (TransportError, ExitCode.UNREACHABLE),
    (StorageError, ExitCode.STORE_FAILED),
    (UploadRefused, ExitCode.REFUSED),
    (InputError, ExitCode.BAD_INPUT),
)


def exit_code_of(error: BetsError) -> ExitCode:
    """The exit code that `error` means when it ends a program."""
    if isinstance(error, ProgramError):
        return error.exit_code
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.BUG
