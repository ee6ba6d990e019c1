"""The order of messages: which message is allowed in which phase of a connection, and which replies answer it.

`TURNS` says what a client may send in each phase, and the next phase. `PLAIN_REPLIES` and `UPLOAD_REPLIES` say what the
server may answer. Both ends use these tables: one to refuse sending an illegal message, the other to refuse receiving
it. The tables and the diagram in docs/protocol.md are generated from them.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from bets_protocol.errors import RejectCode


class Phase(enum.Enum):
    """The phase of a connection; the value is its name in the documentation."""

    START = "start"
    PLAIN = "plain"
    UPLOAD = "upload"
    ASKED = "asked"
    ENDED = "ended"


@attrs.frozen
class Turn:
    """A message that a client may send.

    Attributes:
        phase: the phase in which it is allowed.
        message: the name of its class.
        then: the next phase.
        revisions: the revisions for which this holds.
    """

    phase: Phase
    message: str
    then: Phase
    revisions: tuple[int, ...]


TURNS: Final = (
    Turn(Phase.START, "Bet", Phase.ENDED, (5,)),
    Turn(Phase.START, "BetBatch", Phase.ENDED, (6, 7)),
    Turn(Phase.START, "WinnersRequest", Phase.ENDED, (7,)),
    Turn(Phase.START, "Probe", Phase.ENDED, (7, 8, 9)),
    Turn(Phase.START, "BetBatch", Phase.PLAIN, (8,)),
    Turn(Phase.START, "WinnersRequest", Phase.PLAIN, (8,)),
    Turn(Phase.PLAIN, "BetBatch", Phase.PLAIN, (8,)),
    Turn(Phase.PLAIN, "WinnersRequest", Phase.PLAIN, (8,)),
    Turn(Phase.PLAIN, "Probe", Phase.ENDED, (8,)),
    Turn(Phase.START, "OpenUpload", Phase.UPLOAD, (9,)),
    Turn(Phase.UPLOAD, "BetBatch", Phase.UPLOAD, (9,)),
    Turn(Phase.UPLOAD, "WinnersRequest", Phase.ASKED, (9,)),
)

DRAWN: Final = "Drawn"
"""The stage of a WinnersRequest after code DRAWN: its Winners are due."""


@attrs.frozen
class Reply:
    """A reply that a server may send.

    Attributes:
        stage: the stage of the question: the name of its class, or `DRAWN`.
        reply: the name of the reply's class.
        codes: the codes that an UploadStatus may have here; empty for other replies.
        then: the next stage of the question; None if it is settled.
        phase: the next phase of the connection; None if it stays.
        full: whether it is a Winners with the largest count, after which another one follows.
    """

    stage: str
    reply: str
    codes: tuple[RejectCode, ...] = ()
    then: str | None = None
    phase: Phase | None = None
    full: bool = False


PLAIN_REPLIES: Final = (
    Reply("Bet", "Ack"),
    Reply("BetBatch", "Ack"),
    Reply("WinnersRequest", "Ack"),
    Reply("WinnersRequest", "Winners"),
    Reply("Probe", "Probe"),
)
"""The replies of revisions 5 to 8, and of the probe in all revisions. Ack 0 refuses any message with a bad value."""

UPLOAD_REPLIES: Final = (
    Reply("OpenUpload", "UploadStatus", (RejectCode.OK,)),
    Reply("BetBatch", "UploadStatus", (RejectCode.OK,)),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.OK,), then="WinnersRequest"),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.INCOMPLETE,), phase=Phase.UPLOAD),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.DRAWN,), then=DRAWN),
    Reply(DRAWN, "Winners", then=DRAWN, full=True),
    Reply(DRAWN, "Winners", phase=Phase.UPLOAD),
)
"""The replies of revision 9 on an upload."""


class ClientAction(enum.Enum):
    """What a client of revision 9 does at a code."""

    GO_ON = enum.auto()
    ASK_LATER = enum.auto()  # for the winners, on the same connection
    RECONNECT = enum.auto()
    STOP = enum.auto()
    WINNERS_FOLLOW = enum.auto()


CLIENT_ACTIONS: Final = {
    code: ClientAction.RECONNECT if code.retryable else ClientAction.STOP for code in RejectCode
} | {
    RejectCode.OK: ClientAction.GO_ON,
    RejectCode.INCOMPLETE: ClientAction.ASK_LATER,
    RejectCode.DRAWN: ClientAction.WINNERS_FOLLOW,
}
"""What each code asks of a client."""

ENDING_CODES: Final = tuple(
    code for code, action in CLIENT_ACTIONS.items() if action in (ClientAction.RECONNECT, ClientAction.STOP)
)
"""An UploadStatus with one of these may come at any time after OpenUpload, and is the server's last message."""


def phase_after(phase: Phase, message: str, revisions: tuple[int, ...]) -> Phase | None:
    """The phase after a client has sent `message` in `phase`, or None if it is not allowed."""
    return _NEXT.get(revisions, {}).get((phase, message))


def phases_of(message: str, revisions: tuple[int, ...]) -> tuple[Phase, ...]:
    """The phases in which a client may send `message`."""
    return tuple(phase for phase, said in _NEXT.get(revisions, {}) if said == message)


def reply_for(stage: str, reply: str, code: RejectCode | None, *, full: bool) -> Reply | None:
    """The row that allows `reply` to a question at `stage`, or None.

    Args:
        code: of an UploadStatus, else None.
        full: whether it is a Winners of an upload with the largest count.
    """
    return _REPLIES.get((stage, reply, code, full)) or _REPLIES.get((stage, reply, code, False))


def _table(revisions: tuple[int, ...]) -> dict[tuple[Phase, str], Phase]:
    """The next phase by phase and message, for all of `revisions`. Two for one message are a bug of `TURNS`."""
    table: dict[tuple[Phase, str], Phase] = {}
    for turn in TURNS:
        if set(turn.revisions) & set(revisions):
            known = table.setdefault((turn.phase, turn.message), turn.then)
            if known is not turn.then:
                raise TypeError(f"{turn.message} leads from {turn.phase.value} to two phases")
    return table


CLIENT_REVISIONS: Final = (5, 6, 7, 8, 9)
SERVER_REVISIONS: Final = (5, 6, 8, 9)
"""The revisions of a server: 9 serves 7 and 8 too, 8 serves 7, byte for byte."""

SPOKEN_BY_SERVER: Final = {5: (5,), 6: (6,), 8: (8,), 9: (8, 9)}
"""The revisions whose turns a server accepts. Revision 7 is a part of 8, with one message on a connection."""

_NEXT: Final = {
    revisions: _table(revisions)
    for revisions in (*((revision,) for revision in CLIENT_REVISIONS), *SPOKEN_BY_SERVER.values())
}

_REPLIES: Final = {
    (row.stage, row.reply, code, row.full): row
    for row in (*PLAIN_REPLIES, *UPLOAD_REPLIES)
    for code in row.codes or (None,)
}
