"""What the user is told about the codes and errors of an upload."""

from __future__ import annotations

import pytest

from bets_client.errors import ADVICE, FileChanged, Refused, WrongPeer, in_words, upload_errors
from bets_protocol import BetsError, RejectCode, SequenceError, SourceChanged, UploadRefused
from bets_protocol.connection.turns import CLIENT_ACTIONS, ClientAction

SAYS_YES = {ClientAction.GO_ON, ClientAction.WINNERS_FOLLOW}


def test_every_code_that_says_no_has_its_advice() -> None:
    """A code without one would end the client with a KeyError."""
    assert set(ADVICE) == {code for code in RejectCode if CLIENT_ACTIONS[code] not in SAYS_YES}
    assert all(len(ADVICE[code]) > 20 for code in ADVICE if CLIENT_ACTIONS[code] is ClientAction.STOP)


@pytest.mark.parametrize("code", [code for code in ADVICE if CLIENT_ACTIONS[code] is ClientAction.STOP])
def test_a_refusal_says_what_to_do(code: RejectCode) -> None:
    """The text has the advice, the code and its name; the error keeps the code for the report."""
    with pytest.raises(Refused) as caught, upload_errors():
        raise UploadRefused(code, stored=3)
    assert caught.value.code is code
    assert str(caught.value) == f"the server refuses: {in_words(code)}"
    assert in_words(code) == f"{ADVICE[code]} (code {code.value}, {code.name})"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SourceChanged("the input has changed"), FileChanged, "the input has changed"),
        (SourceChanged("changed", stored=7), FileChanged, "changed; --label TEXT makes it another upload"),
        (SequenceError("unexpected OK from the server"), WrongPeer, "unexpected OK from the server"),
    ],
)
def test_other_errors_become_those_of_the_program(error: BetsError, kind: type[BetsError], text: str) -> None:
    """Another label helps only where the server has other bets than the file."""
    with pytest.raises(kind) as caught, upload_errors():
        raise error
    assert str(caught.value) == text
