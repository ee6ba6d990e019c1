"""How the client's work can end, other than well: one class for each exit code that is the client's to decide.

Errors of the library (`bets_protocol.errors`) pass through as they are; `exit_code_of` knows theirs.
"""

from __future__ import annotations

from bets_protocol import RejectCode
from bets_protocol.cli.exit_codes import ExitCode, ProgramError


class BadInput(ProgramError):
    """The input as a whole cannot be used: it is missing, empty, a directory."""

    exit_code = ExitCode.BAD_INPUT


WHOLE_ROW = "row"
"""The field of a `BadRow` where no single field is to blame."""


class BadRow(BadInput):
    """One row cannot be used; reads `file:line: field: reason`, with the field `row` where no single one is to blame.

    Attributes:
        file: as the user named it.
        line: from 1.
        field: its name, or `row`.
        reason: what was expected, and what was there.
    """

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        self.file = file
        self.line = line
        self.field = field
        self.reason = reason
        super().__init__(f"{file}:{line}: {field}: {reason}")


class FileChanged(BadInput):
    """The input is not any more what was checked, or what an earlier run of the upload has sent."""


class Unreachable(ProgramError):
    """The deadline passed without the server's answer: nobody there, or nobody answering."""

    exit_code = ExitCode.UNREACHABLE


class Refused(ProgramError):
    """The server refused bets for good: sending them again is of no use.

    Attributes:
        code: why; None where the revision has no codes.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, code: RejectCode | None = None) -> None:
        self.code = None if code is None else RejectCode(code)
        super().__init__(text)


class WrongPeer(ProgramError):
    """What answers breaks the protocol, or speaks another revision."""

    exit_code = ExitCode.PROTOCOL


class NotDrawn(ProgramError):
    """The server is there and waits: the draw had not taken place before the deadline."""

    exit_code = ExitCode.NOT_DRAWN
