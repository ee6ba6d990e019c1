"""What happens to a client under test, run by run: a usual day first, then one thing that goes otherwise in each.

Each scenario looks at one rule; when the run is over, its `judge` says what the client did instead.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import RejectCode, limits
from bets_protocol.conformance.against_client import faults
from bets_protocol.conformance.against_client import verdicts as judges
from bets_protocol.conformance.against_client.rules import WITH_WINNERS, ClientRule, Rulebook
from bets_protocol.conformance.against_client.run import Fault, Run

Judge = Callable[[Run, Run], str]
"""Compares a run with the first one, in which nothing went otherwise; what came instead, or nothing."""


@attrs.frozen(kw_only=True)
class Scenario:
    """One run.

    Attributes:
        name: of the scenario.
        says: what happens, for whoever starts the client.
        rule: what it looks at.
        judge: whether it was kept.
        fault: what is answered otherwise; None: nothing.
        bytewise: answers come one byte at a time, the first one late.
        joined: answers come several in a piece, where they can.
        may_stop: the client has a reason to stop in the middle.
    """

    name: str
    says: str
    rule: ClientRule
    judge: Judge
    fault: Fault | None = None
    bytewise: bool = False
    joined: bool = False
    may_stop: bool = False

    def run(self, revision: int, book: Rulebook) -> Run:
        """A run that has just begun."""
        return Run(revision=revision, book=book, fault=self.fault, slow=self.bytewise, may_stop=self.may_stop)


_UPLOADS = "Exactly-once uploads"


def _stops(code: RejectCode, what: str, fault: Callable[[RejectCode], Fault]) -> Scenario:
    """A code after which a client stops."""
    name = code.name.lower().replace("_", "-")
    said = f"{code.value} ({code.name})"
    return Scenario(
        name=name,
        says=f"{what} answered with {said}",
        rule=ClientRule(f"client-stops-after-{name}", "Codes", f"After {said} it stops, and claims no success.", (9,)),
        judge=judges.stayed_away,
        fault=fault(code),
        may_stop=True,
    )


def _comes_back(name: str, rule: str, code: RejectCode, what: str, fault: Callable[[RejectCode], Fault]) -> Scenario:
    """A code after which a client comes back."""
    said = f"{code.value} ({code.name})"
    return Scenario(
        name=name,
        says=f"{what} answered with {said}",
        rule=ClientRule(rule, "Codes", f"After {said} it connects again later, and goes on where it stopped.", (9,)),
        judge=judges.came_back,
        fault=fault(code),
    )


SCENARIOS = (
    Scenario(
        name="usual",
        says="everything is stored",
        rule=ClientRule("job-is-done", "Revisions", "It hands its bets in, asks for its winners where it can, ends."),
        judge=judges.completed,
    ),
    Scenario(
        name="pieces",
        says="answers come late and byte by byte",
        rule=ClientRule("answers-may-come-in-pieces", "Frames", "The same job when answers come byte by byte."),
        judge=judges.completed,
        bytewise=True,
    ),
    Scenario(
        name="together",
        says="answers come together in one segment",
        rule=ClientRule(
            "answers-may-come-together", "BetBatch", "The same job when several answers come at once.", (8, 9)
        ),
        judge=judges.completed,
        joined=True,
    ),
    Scenario(
        name="ends",
        says="the server ends the connection behind the winners",
        rule=ClientRule(
            "server-may-end-behind-the-winners",
            "Winners",
            "With its winners a client has done its job, whoever ends the connection.",
            WITH_WINNERS,
        ),
        judge=judges.completed_once,
        fault=faults.end_behind_winners,
    ),
    Scenario(
        name="refused",
        says="the first bets are refused",
        rule=ClientRule(
            "refused-bets-are-not-sent-again",
            "Ack",
            "A refused batch is refused again: a client does not repeat it without an end, and claims no success.",
            (5, 6, 7, 8),
        ),
        judge=judges.not_sent_again,
        fault=faults.refuse_first_bets,
        may_stop=True,
    ),
    Scenario(
        name="refused",
        says="the first bets are refused with 2 (BAD_BET)",
        rule=ClientRule("client-stops-where-the-codes-say-so", "Codes", "After 2 (BAD_BET) it stops.", (9,)),
        judge=judges.stayed_away,
        fault=faults.stop_at_bets(RejectCode.BAD_BET),
        may_stop=True,
    ),
    Scenario(
        name="dismissed",
        says="the first bets are refused and the connection ends, as after a framing error",
        rule=ClientRule(
            "refusal-is-none-the-less-with-the-end",
            "Ack",
            "Ack 0 and the end is a refusal, and no lost connection: it is not repeated without an end.",
            (8,),
        ),
        judge=judges.not_sent_again,
        fault=faults.dismiss_first_bets,
        may_stop=True,
    ),
    Scenario(
        name="cut",
        says="the connection is cut before the first bets are answered",
        rule=ClientRule(
            "no-answer-is-no-success",
            "Ack",
            "Bets without an answer are sent again, or the client says that it has failed.",
            (5, 6, 7, 8),
        ),
        judge=judges.lost_nothing,
        fault=faults.cut_first_bets,
    ),
    Scenario(
        name="cut",
        says="the connection is cut when the first bets are stored and not answered",
        rule=ClientRule("upload-goes-on-at-stored", _UPLOADS, "It opens the upload again and goes on there.", (9,)),
        judge=judges.came_back,
        fault=faults.cut_first_bets,
    ),
    Scenario(
        name="lost",
        says="the connection is cut when the winners are asked for",
        rule=ClientRule(
            "winners-are-asked-for-again",
            "WinnersRequest",
            "A client whose connection ends before its winners are there connects and asks again.",
            WITH_WINNERS,
        ),
        judge=judges.asked_until_told,
        fault=faults.cut_first_request,
    ),
    Scenario(
        name="older",
        says="the first OpenUpload is answered with Ack 0, as by a server of revision 8",
        rule=ClientRule(
            "older-server-is-noticed",
            "Codes",
            "A first answer that begins with another byte than 0x83: it stops, and sends no bets on its own account.",
            (9,),
        ),
        judge=judges.did_not_guess,
        fault=faults.older_server,
        may_stop=True,
    ),
    Scenario(
        name="busy",
        says="the first OpenUpload is answered with 10 (BUSY)",
        rule=ClientRule("busy-server-is-asked-again", "Codes", "After 10 (BUSY) it connects again later.", (9,)),
        judge=judges.came_back,
        fault=faults.put_off_opening(RejectCode.BUSY),
    ),
    Scenario(
        name="overload",
        says=f"every OpenUpload is answered with 10 (BUSY), the {faults.MAX_BUSY + 1}th with 14 (WRONG_DRAW)",
        rule=ClientRule(
            "busy-server-is-left-in-peace",
            "Codes",
            "It rests between its attempts, longer and longer, and says in the end that it has failed.",
            (9,),
        ),
        judge=judges.rested,
        fault=faults.busy_for_long,
        may_stop=True,
    ),
    _comes_back("full", "full-store-is-tried-again", RejectCode.STORE_FULL, "the first bets are", faults.put_off_bets),
    _comes_back("limit", "limit-is-tried-again", RejectCode.LIMIT, "the first OpenUpload is", faults.put_off_opening),
    _comes_back(
        "stopping",
        "stopped-server-is-waited-for",
        RejectCode.SHUTTING_DOWN,
        "what comes behind the first bets is",
        faults.put_off_behind_bets,
    ),
    _comes_back(
        "restart",
        "wait-for-the-draw-is-taken-up-again",
        RejectCode.SHUTTING_DOWN,
        "the wait for the draw is",
        faults.put_off_while_waiting,
    ),
    _stops(RejectCode.BAD_FRAME, "the first bets are", faults.stop_at_bets),
    _stops(RejectCode.NOT_AUTHORIZED, "the first OpenUpload is", faults.stop_at_opening),
    Scenario(
        name="fenced",
        says="the first bets are answered with 4 (FENCED)",
        rule=ClientRule("fenced-client-stays-away", "Codes", "After 4 (FENCED) it does not come back.", (9,)),
        judge=judges.stayed_away,
        fault=faults.stop_at_bets(RejectCode.FENCED),
        may_stop=True,
    ),
    _stops(RejectCode.MISMATCH, "the first OpenUpload is", faults.stop_at_opening),
    _stops(RejectCode.OVERRUN, "the first bets are", faults.stop_at_bets),
    _stops(RejectCode.SEALED, "the first OpenUpload is", faults.stop_at_opening),
    _stops(RejectCode.DRAW_CLOSED, "the first OpenUpload is", faults.stop_at_opening),
    _stops(RejectCode.WRONG_DRAW, "the first OpenUpload is", faults.stop_at_opening),
    _stops(RejectCode.MODE_CONFLICT, "the first OpenUpload is", faults.stop_at_opening),
    Scenario(
        name="changed",
        says="the CRC-32 of what is stored is not that of the file",
        rule=ClientRule("changed-file-is-noticed", _UPLOADS, "It stops where the CRC-32 differs.", (9,)),
        judge=judges.stayed_away,
        fault=faults.other_bets_stored,
        may_stop=True,
    ),
    Scenario(
        name="incomplete",
        says="the first WinnersRequest is answered with 9 (INCOMPLETE)",
        rule=ClientRule("incomplete-is-asked-again", "Codes", "It asks again after 2 s on the same connection.", (9,)),
        judge=judges.asked_again,
        fault=faults.incomplete_at_first,
    ),
    Scenario(
        name="waits",
        says="the server says 0 several times before the draw",
        rule=ClientRule("signs-of-life-are-understood", _UPLOADS, "It waits on while the server says 0.", (9,)),
        judge=judges.read_all,
        fault=faults.signs_of_life,
    ),
    Scenario(
        name="lists",
        says=f"there are {limits.MAX_WINNERS + 1:,} winners, so a second Winners follows the first",
        rule=ClientRule(
            "full-list-has-another-behind-it", _UPLOADS, "It waits for the list behind one that is full.", (9,)
        ),
        judge=judges.read_all,
        fault=faults.two_lists,
    ),
)
"""In the order in which they are played; the first is what the others are compared with."""

SCENARIO_NAMES = tuple(dict.fromkeys(scenario.name for scenario in SCENARIOS))


def scenarios_of(revision: int, names: tuple[str, ...] = ()) -> list[Scenario]:
    """The scenarios of a revision, the first one in any case, and of the others those that are named, or all."""
    first, *others = [scenario for scenario in SCENARIOS if revision in scenario.rule.revisions]
    return [first, *(one for one in others if not names or one.name in names)]
