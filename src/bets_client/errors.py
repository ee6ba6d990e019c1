"""The errors of the client: one class for each exit code that the client decides.

Errors of the library (`bets_protocol.errors`) pass through; `exit_code_of` has their exit codes.
"""

from __future__ import annotations

from typing import Final, TypeVar

import bets_protocol
from bets_protocol import (
    BetsError,
    BetsRefused,
    GaveUp,
    InputError,
    RejectCode,
    RemoteProtocolError,
    SourceChanged,
    UploadRefused,
)
from bets_protocol.cli.exit_codes import ExitCode, ProgramError
from bets_protocol.client.link import ForeignPeer
from bets_protocol.client.options import REASONS
from bets_protocol.connection.upload import UnexpectedAnswer
from bets_protocol.transports import AuthenticationError, HandshakeError

E = TypeVar("E", bound=BetsError)


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


ADVICE: Final = REASONS | {
    RejectCode.BAD_FRAME: "the server cannot read what this client sends; update the older one of the two programs",
    RejectCode.BAD_BET: "the server holds a bet for wrong that this client holds for good; update the older program",
    RejectCode.NOT_AUTHORIZED: "this client may not send bets of this agency; check --agency and the client's "
    "certificate",
    RejectCode.FENCED: "another client has opened the same upload since then, or the operator has voided it; when no "
    "other one is at work, run this again",
    RejectCode.MISMATCH: "the server knows this upload with another number of bets; --label TEXT makes it another "
    "upload",
    RejectCode.OVERRUN: "the server got more bets than the upload was to have; check the file and run this again",
    RejectCode.SEALED: "the agency has said that it has sent everything; more bets of it are for another --draw",
    RejectCode.DRAW_CLOSED: "the draw has taken place, so these bets come too late; --draw ID names another one",
    RejectCode.WRONG_DRAW: "the server takes bets for another draw; name that one by --draw ID",
    RejectCode.MODE_CONFLICT: "the agency has sent bets for this draw in the other way, on revisions 5 to 8; go on "
    "with --revision 8, or have the operator void those bets first",
}
"""What a user can do about a code of the server, for every code that says no."""


def in_words(code: RejectCode) -> str:
    """The text about `code` for the user."""
    return f"{ADVICE[code]} (code {code.value}, {code.name})"


def program_error(error: BetsError, server: str, otherwise: str = "") -> BetsError:
    """The error of this program for one of the library, with its notes; others as they are.

    Args:
        server: its URL.
        otherwise: the message for a server that breaks the protocol, in place of `error`.
    """
    text = str(error)
    found: BetsError
    match error:
        case HandshakeError():
            kind = Refused if isinstance(error, AuthenticationError) else WrongPeer
            found = kind(text if server in text else f"{server}: {text}")
        case UploadRefused():
            found = Refused(f"the server refuses: {in_words(error.code)}", error.code)
        case BetsRefused():
            found = Refused(text)
        case GaveUp():
            found = Unreachable(text)
        case bets_protocol.NotDrawn():
            found = NotDrawn(text)
        case UnexpectedAnswer():
            found = WrongPeer(text)
        case RemoteProtocolError():
            found = WrongPeer(f"{server}: {text if isinstance(error, ForeignPeer) or not otherwise else otherwise}")
        case SourceChanged():
            found = SourceChanged(text if error.stored is None else f"{text}; --label TEXT makes it another upload")
        case InputError():
            found = InputError(text)
        case _:
            return error
    return with_text(found, "\n".join([str(found), *getattr(error, "__notes__", ())]))


def with_text(error: E, text: str) -> E:
    """The same error with another text."""
    error.args = (text,)
    return error
