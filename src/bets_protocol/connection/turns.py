"""Whose turn it is: which message is legal in which phase of a connection, and which replies settle it.

Two tables, and nothing else in the library knows the order of messages. `TURNS` says what a client may say in each
phase and where that leads; `REPLIES` says what the server may answer to a message. Both ends read both: one end to
refuse saying something illegal, the other to refuse hearing it. A message that is unknown and one that is known and out
of turn are different errors. The diagram in docs/protocol.md is drawn from these tables.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from bets_protocol.errors import RejectCode


class Phase(enum.Enum):
    """What a connection is in the middle of; the value is its name in the documentation."""

    START = "start"
    PLAIN = "plain"
    UPLOAD = "upload"
    ASKED = "asked"
    ENDED = "ended"


@attrs.frozen
class Turn:
    """What a client may say.

    Attributes:
        phase: when.
        message: the class, by its name.
        then: the phase afterwards.
        revisions: of the wire, in which it is so.
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
"""The stage of a WinnersRequest that was told of the draw: its Winners are due."""


@attrs.frozen
class Reply:
    """What a server may answer.

    Attributes:
        stage: how far the question is: the name of its class, or `DRAWN`.
        reply: the class, by its name.
        codes: where it is an UploadStatus: the codes that it may carry.
        then: the stage afterwards, where more is to come; None: the question is settled.
        phase: the phase that settling it leads back to; None: it stays.
        full: it is a reply that is filled to the last place, so that the rest follows.
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
"""Revisions 5 to 8, and the probe in all of them. An Ack of 0 refuses any message with a bad value."""

UPLOAD_REPLIES: Final = (
    Reply("OpenUpload", "UploadStatus", (RejectCode.OK,)),
    Reply("BetBatch", "UploadStatus", (RejectCode.OK,)),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.OK,), then="WinnersRequest"),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.INCOMPLETE,), phase=Phase.UPLOAD),
    Reply("WinnersRequest", "UploadStatus", (RejectCode.DRAWN,), then=DRAWN),
    Reply(DRAWN, "Winners", then=DRAWN, full=True),
    Reply(DRAWN, "Winners", phase=Phase.UPLOAD),
)
"""Revision 9, once an upload is open."""

ENDING_CODES: Final = tuple(
    code for code in RejectCode if code not in (RejectCode.OK, RejectCode.INCOMPLETE, RejectCode.DRAWN)
)
"""An UploadStatus with one of these may come at any time once OpenUpload was said, and is the server's last word."""


def phase_after(phase: Phase, message: str, revisions: tuple[int, ...]) -> Phase | None:
    """The phase after a client has said `message` in `phase`; None: it may not."""
    return _NEXT.get(revisions, {}).get((phase, message))


def phases_of(message: str, revisions: tuple[int, ...]) -> tuple[Phase, ...]:
    """The phases in which a client may say `message`."""
    return tuple(phase for phase, said in _NEXT.get(revisions, {}) if said == message)


def reply_for(stage: str, reply: str, code: RejectCode | None, *, full: bool) -> Reply | None:
    """The row of the tables that allows `reply` to a question at `stage`; None: there is none.

    Args:
        code: of an UploadStatus, else None.
        full: whether it is a Winners filled to the last place, where that matters.
    """
    return _REPLIES.get((stage, reply, code, full)) or _REPLIES.get((stage, reply, code, False))


def _table(revisions: tuple[int, ...]) -> dict[tuple[Phase, str], Phase]:
    """What may be said by whoever speaks all of `revisions`; two answers to one question are a bug of the table."""
    table: dict[tuple[Phase, str], Phase] = {}
    for turn in TURNS:
        if set(turn.revisions) & set(revisions):
            known = table.setdefault((turn.phase, turn.message), turn.then)
            if known is not turn.then:
                raise TypeError(f"{turn.message} leads from {turn.phase.value} to two phases")
    return table


CLIENT_REVISIONS: Final = (5, 6, 7, 8, 9)
SERVER_REVISIONS: Final = (5, 6, 8, 9)
"""What a server can be started for; 9 serves 7 and 8 too, 8 serves 7, byte for byte."""

SPOKEN_BY_SERVER: Final = {5: (5,), 6: (6,), 8: (8,), 9: (8, 9)}
"""The revisions whose turns a server takes; it need not know that a client of 7 ends after one message."""

_NEXT: Final = {
    revisions: _table(revisions)
    for revisions in (*((revision,) for revision in CLIENT_REVISIONS), *SPOKEN_BY_SERVER.values())
}

_REPLIES: Final = {
    (row.stage, row.reply, code, row.full): row
    for row in (*PLAIN_REPLIES, *UPLOAD_REPLIES)
    for code in row.codes or (None,)
}
