"""What the protocol's page says about the order of messages, made from the tables of `turns`: two tables, a diagram.

The diagram is an SVG of boxes in a column, a box for each phase; what leads from one to another is an arc beside them,
down on the right and up on the left, the further out the further it leads. What stays in a phase stands in its box.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from bets_protocol.connection.turns import DRAWN, ENDING_CODES, PLAIN_REPLIES, TURNS, UPLOAD_REPLIES, Phase, Reply
from bets_protocol.errors import RejectCode

_BOX_WIDTH, _BOX_HEIGHT, _GAP = 250, 62, 58
_LEFT = 330
_WIDTH = 2 * _LEFT + _BOX_WIDTH
_ARC = 62
"""How far an arc bulges for each phase that it passes."""

_GOES_ON = {
    RejectCode.INCOMPLETE: "asks again every 2 s, on the same connection",
    RejectCode.DRAWN: "reads the Winners behind it",
}

Edge = tuple[Phase, Phase, str]


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
    rows.append(f"| anything, also unasked | UploadStatus {_ending()} | the upload ends on this connection | 9 |")
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


def _ending() -> str:
    return ", ".join(str(code.value) for code in ENDING_CODES)


def _edges() -> Iterator[Edge]:
    for turn in TURNS:
        revisions = ", ".join(map(str, turn.revisions))
        yield turn.phase, turn.then, f"{turn.message} ({revisions})"
    for reply in UPLOAD_REPLIES:
        if reply.stage in ("WinnersRequest", DRAWN):
            codes = " ".join(code.name for code in reply.codes)
            text = " ".join(filter(None, [reply.reply, codes, "full" if reply.full else ""]))
            yield Phase.ASKED, reply.phase or Phase.ASKED, f"server: {text}"
    for phase in (Phase.UPLOAD, Phase.ASKED):
        yield phase, Phase.ENDED, "server: UploadStatus, any other code"


def diagram() -> str:
    """The phases of a connection and what leads from one to another, as an SVG."""
    arcs: dict[tuple[Phase, Phase], list[str]] = {}
    for start, end, text in _edges():
        arcs.setdefault((start, end), []).append(text)
    phases = list(Phase)
    height = len(phases) * (_BOX_HEIGHT + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        "<title>The phases of a connection</title>",
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for phase in phases:
        parts += _box(phase, phases.index(phase), arcs.get((phase, phase), []))
    for (start, end), texts in arcs.items():
        if start is not end:
            parts += _arc(phases.index(start), phases.index(end), texts)
    return "\n".join([*parts, "</svg>", ""])


def _top(place: int) -> int:
    return 10 + place * (_BOX_HEIGHT + _GAP)


def _box(phase: Phase, place: int, stays: list[str]) -> Iterator[str]:
    top, middle = _top(place), _LEFT + _BOX_WIDTH // 2
    yield (
        f'<rect x="{_LEFT}" y="{top}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="8" fill="#eef4fb" stroke="#555"/>'
    )
    yield f'<text x="{middle}" y="{top + 18}" text-anchor="middle" font-weight="bold">{phase.value}</text>'
    for line, text in enumerate(stays):
        yield f'<text x="{middle}" y="{top + 33 + 12 * line}" text-anchor="middle" font-size="10">{escape(text)}</text>'


def _arc(start: int, end: int, texts: list[str]) -> Iterator[str]:
    down = end > start
    side = 1 if down else -1
    x = _LEFT + _BOX_WIDTH if down else _LEFT
    # Where an arc leaves and arrives depends on how far it leads, so that no two of them share a place.
    reach = abs(end - start)
    y1, y2 = _top(start) + _BOX_HEIGHT - 8 * reach, _top(end) + 8 * reach
    if not down:
        y1, y2 = _top(start) + 8 * reach, _top(end) + _BOX_HEIGHT - 8 * reach
    bulge = x + side * _ARC * reach
    yield (
        f'<path d="M{x},{y1} C{bulge},{y1} {bulge},{y2} {x},{y2}" fill="none" stroke="#555" marker-end="url(#tip)"/>'
    )
    label_x, label_y = x + side * (_ARC * reach * 3 // 4 + 6), (y1 + y2) // 2 - 6 * (len(texts) - 1) + 4
    label_y += -14 if start % 2 else 14  # so that those of neighbours do not run into each other
    anchor = "start" if down else "end"
    for line, text in enumerate(texts):
        yield (
            f'<text x="{label_x}" y="{label_y + 13 * line}" text-anchor="{anchor}" stroke="#fff" stroke-width="4" '
            f'paint-order="stroke">{escape(text)}</text>'
        )
