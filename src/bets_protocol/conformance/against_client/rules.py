"""The rules that hold in every scenario, and which rules a client has kept or broken after a number of runs."""

from __future__ import annotations

from bets_protocol.conformance.report import SINCE_6, SINCE_7, Finding, Result, Rule

UP_TO_7 = (5, 6, 7)
"""Revisions in which a connection carries one message."""

FRAMES = "frames-fit-their-layout"
BOUND = "batches-have-at-most-8192-bytes"
COUNT = "batches-are-not-empty"
VALUES = "values-keep-their-rules"
WHOLE = "messages-are-sent-whole"
TURNS = "messages-come-in-their-turn"
ONE_MESSAGE = "connection-carries-one-message"
WAITS = "answer-is-awaited-before-the-next-message"
READS = "answers-are-read-before-the-end"
ONE_AGENCY = "agency-stays-the-same"
SILENT = "no-bets-follow-the-winners-request"
SAME_UPLOAD = "upload-keeps-its-name-and-total"
NO_BETS_TWICE = "no-bets-beyond-the-total"

RULES = (
    Rule(FRAMES, "Frames", "Every byte is part of a frame of the revision, and every length is right."),
    Rule(BOUND, "BetBatch", "No batch has more than 8192 bytes, its header included.", SINCE_6),
    Rule(COUNT, "BetBatch", "A batch has at least one bet.", SINCE_6),
    Rule(VALUES, "Bet", "Names, documents, dates and numbers keep the rules for their values."),
    Rule(WHOLE, "Frames", "The client ends a connection after a whole message, not inside one."),
    Rule(TURNS, "Whose turn it is", "The client sends only messages that are legal in the phase of the connection."),
    Rule(ONE_MESSAGE, "Revisions", "A connection carries one message and is closed after its answer.", UP_TO_7),
    Rule(WAITS, "Revisions", "The client sends the next message after the last one was answered.", UP_TO_7),
    Rule(READS, "Ack", "The client reads the answer before it closes the connection."),
    Rule(ONE_AGENCY, "Bet", "All messages of one client are about one agency."),
    Rule(SILENT, "WinnersRequest", "After an agency has asked for its winners, it sends no more bets.", SINCE_7),
    Rule(SAME_UPLOAD, "Exactly-once uploads", "Every run opens the same upload, with the same total.", (9,)),
    Rule(NO_BETS_TWICE, "Exactly-once uploads", "The client sends no more bets to an upload than its total.", (9,)),
)
"""The rules that hold in every scenario; each scenario adds one more."""


class ClientReport:
    """Which rules a client has kept and which it has broken."""

    def __init__(self) -> None:
        self._broken: dict[str, str] = {}
        self._kept: set[str] = set()

    def broken(self, name: str, came: str) -> None:
        """Notes a broken rule; only its first breach is reported."""
        self._broken.setdefault(name, came)

    def kept(self, *names: str) -> None:
        """Notes rules that the client could have broken and did not."""
        self._kept.update(names)

    def finding(self, rule: Rule) -> Finding:
        """What is known of a rule."""
        if rule.name in self._broken:
            return Finding(rule, Result.FAILED, self._broken[rule.name])
        if rule.name in self._kept:
            return Finding(rule, Result.PASSED)
        return Finding(rule, Result.NOT_TRIED, "no client came as far")
