"""The errors of the client: one class for each exit code that the client decides.

Errors of the library (`bets_protocol.errors`) pass through; `exit_code_of` has their exit codes.
"""

from __future__ import annotations

from bets_protocol import RejectCode
from bets_protocol.cli.exit_codes import ExitCode, ProgramError


class BadInput(ProgramError):
    """The input as a whole cannot be used: it is missing, empty, a directory."""

    exit_code = ExitCode.BAD_INPUT


WHOLE_ROW = "row"
"""The field of a `BadRow` that concerns no single field."""


class BadRow(BadInput):
    """One row cannot be used; the text is `file:line: field: reason`.

    Attributes:
        file: as the user named it.
        line: from 1.
        field: its name, or `row` if no single field is the cause.
        reason: what was expected, and what was found.
    """

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        self.file = file
        self.line = line
        self.field = field
        self.reason = reason
        super().__init__(f"{file}:{line}: {field}: {reason}")


class FileChanged(BadInput):
    """The input is no longer what was checked, or what an earlier run of the upload has sent."""


class Unreachable(ProgramError):
    """The deadline passed without an answer: the server cannot be reached, or is silent."""

    exit_code = ExitCode.UNREACHABLE


class Refused(ProgramError):
    """The server refused bets for good, so sending them again cannot help.

    Attributes:
        code: the reason; None on a revision without codes.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, text: str, code: RejectCode | None = None) -> None:
        self.code = None if code is None else RejectCode(code)
        super().__init__(text)


class WrongPeer(ProgramError):
    """The peer breaks the protocol, or speaks another revision."""

    exit_code = ExitCode.PROTOCOL


class NotDrawn(ProgramError):
    """The server waits for the draw, which had not taken place before the deadline."""

    exit_code = ExitCode.NOT_DRAWN
