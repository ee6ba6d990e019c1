"""What a client can be seen to keep or break, as a table; and where each rule stands after a number of runs."""

from __future__ import annotations

import attrs

from bets_protocol.conformance.report import Finding, Result

SINGLE = (5, 6, 7)
"""Revisions of which a connection carries one message."""

EVERY = (5, 6, 7, 8, 9)
WITH_WINNERS = (7, 8, 9)
BATCHES = (6, 7, 8, 9)


@attrs.frozen
class ClientRule:
    """A sentence of the protocol that a client can be seen to break.

    Attributes:
        name: words with hyphens.
        section: the heading in docs/protocol.md.
        expected: what a client that keeps it does.
        revisions: in which it holds.
    """

    name: str
    section: str
    expected: str
    revisions: tuple[int, ...] = EVERY


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
    ClientRule(FRAMES, "Frames", "Every byte belongs to a frame of the revision, and every length fits."),
    ClientRule(BOUND, "BetBatch", "No batch has more than 8192 bytes, all that belongs to it counted.", BATCHES),
    ClientRule(COUNT, "BetBatch", "A batch has a bet at least.", BATCHES),
    ClientRule(VALUES, "Bet", "Names, documents, dates and numbers are such as their rules say."),
    ClientRule(WHOLE, "Frames", "A connection that nobody has cut ends between two messages."),
    ClientRule(TURNS, "Whose turn it is", "Only messages that are legal in the phase of the connection."),
    ClientRule(ONE_MESSAGE, "Revisions", "A connection carries one message and is closed behind its answer.", SINGLE),
    ClientRule(WAITS, "Revisions", "The next message is sent when the last one was answered.", SINGLE),
    ClientRule(READS, "Ack", "The client reads the answer before it closes the connection."),
    ClientRule(ONE_AGENCY, "Bet", "All that one client says is about one agency."),
    ClientRule(
        SILENT, "WinnersRequest", "Once it has asked for its winners, an agency sends no more bets.", WITH_WINNERS
    ),
    ClientRule(SAME_UPLOAD, "Exactly-once uploads", "Every run opens the same upload, with the same total.", (9,)),
    ClientRule(NO_BETS_TWICE, "Exactly-once uploads", "An upload gets as many bets as its total says.", (9,)),
)
"""The rules that hold whatever happens; the scenarios bring one more each."""


class Rulebook:
    """Which rules were kept and which broken.

    Args:
        rules: those of the revision.
    """

    def __init__(self, rules: tuple[ClientRule, ...]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._broken: dict[str, str] = {}
        self._kept: set[str] = set()

    def broken(self, name: str, came: str) -> None:
        """The client has broken a rule; the first time counts. A rule of another revision is none."""
        if name in self._rules:
            self._broken.setdefault(name, came)

    def kept(self, *names: str) -> None:
        """The client could have broken these rules and has not."""
        self._kept.update(names)

    def findings(self) -> list[Finding]:
        """Every rule of the revision and what became of it."""
        return [self._finding(rule) for rule in self._rules.values()]

    def _finding(self, rule: ClientRule) -> Finding:
        if rule.name in self._broken:
            result, came = Result.FAILED, self._broken[rule.name]
        elif rule.name in self._kept:
            result, came = Result.PASSED, ""
        else:
            result, came = Result.NOT_TRIED, "no client came as far"
        return Finding(rule=rule.name, section=rule.section, expected=rule.expected, result=result, came=came)
