"""What docs/protocol.md says about the order of messages, made from the tables of `turns`: three tables, a diagram."""

from __future__ import annotations

from collections.abc import Iterator

from bets_protocol.connection.turns import DRAWN, ENDING_CODES, PLAIN_REPLIES, TURNS, UPLOAD_REPLIES, Phase, Reply
from bets_protocol.errors import RejectCode

_GOES_ON = {
    RejectCode.INCOMPLETE: "asks again every 2 s, on the same connection",
    RejectCode.DRAWN: "reads the Winners behind it",
}


def turns_table() -> str:
    """What a client may say, and where that leads."""
    rows = ["| phase | a client says | phase then | revisions |", "|---|---|---|---|"]
    for turn in TURNS:
        revisions = ", ".join(map(str, turn.revisions))
        rows.append(f"| {turn.phase.value} | {turn.message} | {turn.then.value} | {revisions} |")
    return "\n".join(rows) + "\n"


def replies_table() -> str:
    """What a server may answer, and when the question is settled by it."""
    rows = ["| to a | the server answers | then | revisions |", "|---|---|---|---|"]
    rows += [_reply_row(reply, "7 to 9" if reply.stage == "Probe" else "5 to 8") for reply in PLAIN_REPLIES]
    rows += [_reply_row(reply, "9") for reply in UPLOAD_REPLIES]
    ending = ", ".join(str(code.value) for code in ENDING_CODES)
    rows.append(f"| anything, also unasked | UploadStatus {ending} | the upload ends on this connection | 9 |")
    return "\n".join(rows) + "\n"


def codes_table() -> str:
    """Every code of an UploadStatus."""
    rows = ["| code | name | the connection | the client |", "|---|---|---|---|"]
    for code in RejectCode:
        ends = code in ENDING_CODES
        client = "reconnects, later and later" if code.retryable else "stops" if ends else _GOES_ON.get(code, "goes on")
        rows.append(f"| {code.value} | {code.name} | {'ends' if ends else 'goes on'} | {client} |")
    return "\n".join(rows) + "\n"


def _reply_row(reply: Reply, revisions: str) -> str:
    then = f"more follows: {_stage(reply.then)}" if reply.then is not None else "settled"
    if reply.phase is not None:
        then += f", phase {reply.phase.value}"
    return f"| {_stage(reply.stage)} | {_said(reply)} | {then} | {revisions} |"


def _stage(stage: str) -> str:
    return "WinnersRequest that was told of the draw" if stage == DRAWN else stage


def _said(reply: Reply) -> str:
    codes = " ".join(f"{code.value} ({code.name})" for code in reply.codes)
    return " ".join(filter(None, [reply.reply, codes, "with 65,535 documents" if reply.full else ""]))


def _edges() -> Iterator[tuple[Phase, Phase, str]]:
    for turn in TURNS:
        yield turn.phase, turn.then, f"{turn.message} ({', '.join(map(str, turn.revisions))})"
    for reply in UPLOAD_REPLIES:
        if reply.stage in ("WinnersRequest", DRAWN):
            codes = " ".join(code.name for code in reply.codes)
            text = " ".join(filter(None, [reply.reply, codes, "full" if reply.full else ""]))
            yield Phase.ASKED, reply.phase or Phase.ASKED, f"server: {text}"
    for phase in (Phase.UPLOAD, Phase.ASKED):
        yield phase, Phase.ENDED, "server: UploadStatus, any other code"


def diagram() -> str:
    """The phases of a connection and what leads from one to another, in Mermaid."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for start, end, text in _edges():
        arrows.setdefault((start, end), []).append(text)
    lines = ["```mermaid", "flowchart TB"]
    lines += [f"    {phase.name}[{phase.value}]" for phase in Phase]
    for (start, end), texts in arrows.items():
        lines.append(f'    {start.name} -->|"{"<br/>".join(texts)}"| {end.name}')
    return "\n".join([*lines, "```", ""])
