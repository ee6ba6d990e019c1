"""What the user is told about the codes and errors of an upload."""

from __future__ import annotations

import pytest

import bets_protocol
from bets_client.errors import ADVICE, NotDrawn, Refused, Unreachable, WrongPeer, in_words, program_error
from bets_protocol import (
    BetsError,
    BetsRefused,
    ConfigError,
    DecodeError,
    GaveUp,
    RejectCode,
    SourceChanged,
    UploadRefused,
)
from bets_protocol.client.link import ForeignPeer
from bets_protocol.connection.turns import CLIENT_ACTIONS, ClientAction
from bets_protocol.connection.upload import UnexpectedAnswer
from bets_protocol.errors import BadRow, InputError
from bets_protocol.transports import AuthenticationError, HandshakeError

SERVER = "tcp://127.0.0.1:1"
SAYS_YES = {ClientAction.GO_ON, ClientAction.WINNERS_FOLLOW}


def test_every_code_that_says_no_has_its_advice() -> None:
    """A code without one would end the client with a KeyError."""
    assert set(ADVICE) == {code for code in RejectCode if CLIENT_ACTIONS[code] not in SAYS_YES}
    assert all(len(ADVICE[code]) > 20 for code in ADVICE if CLIENT_ACTIONS[code] is ClientAction.STOP)


@pytest.mark.parametrize("code", [code for code in ADVICE if CLIENT_ACTIONS[code] is ClientAction.STOP])
def test_a_refusal_says_what_to_do(code: RejectCode) -> None:
    """The text has the advice, the code and its name; the error keeps the code for the report."""
    found = program_error(UploadRefused(code, stored=3), SERVER)
    assert isinstance(found, Refused)
    assert found.code is code
    assert str(found) == f"the server refuses: {in_words(code)}"
    assert in_words(code) == f"{ADVICE[code]} (code {code.value}, {code.name})"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SourceChanged("the input has changed"), SourceChanged, "the input has changed"),
        (SourceChanged("changed", stored=7), SourceChanged, "changed; --label TEXT makes it another upload"),
        (UnexpectedAnswer("unexpected OK"), WrongPeer, "unexpected OK"),
        (DecodeError("bad bytes"), WrongPeer, f"{SERVER}: otherwise"),
        (ForeignPeer("it speaks TLS"), WrongPeer, f"{SERVER}: it speaks TLS"),
        (AuthenticationError("no certificate"), Refused, f"{SERVER}: no certificate"),
        (HandshakeError(f"{SERVER}: no TLS"), WrongPeer, f"{SERVER}: no TLS"),
        (GaveUp("no answer"), Unreachable, "no answer"),
        (bets_protocol.NotDrawn("no draw"), NotDrawn, "no draw"),
        (BetsRefused("no"), Refused, "no"),
        (BadRow("a.csv", 3, "number", "bad"), InputError, "a.csv:3: number: bad"),
        (SourceChanged("a.csv: changed"), SourceChanged, "a.csv: changed"),
    ],
)
def test_errors_of_the_library_become_those_of_the_program(error: BetsError, kind: type[BetsError], text: str) -> None:
    """Each has the exit code of its class, and the state of the upload on a second line."""
    error.add_note("agency 1: 3 of 20 bets are stored")
    found = program_error(error, SERVER, "otherwise")
    assert type(found) is kind
    assert str(found) == f"{text}\nagency 1: 3 of 20 bets are stored"


def test_an_error_that_means_nothing_else_stays_as_it_is() -> None:
    """A wrong setting is what it was: another class would have another exit code."""
    error = ConfigError("--server: 'x'")
    assert program_error(error, SERVER) is error
