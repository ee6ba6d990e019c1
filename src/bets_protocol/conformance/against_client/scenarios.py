"""The scenarios of a check: the first run is without faults, and each of the others has one.

A scenario checks one rule; when its run is over, its verdict says what the client did instead.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import BetBatch, OpenUpload, RejectCode, limits
from bets_protocol.conformance.against_client import faults, verdicts
from bets_protocol.conformance.against_client.run import Fault, Run
from bets_protocol.conformance.report import SINCE_7, UP_TO_8, Rule

Verdict = Callable[[Run, Run], str]
"""Compares a run with the first one, which had no fault; returns what came instead, or an empty string."""


@attrs.frozen(kw_only=True)
class Scenario:
    """What happens in one run, and the rule that it checks."""

    name: str  # as the user selects it; several scenarios may share one
    says: str  # what happens, for the user who starts the client
    rule: Rule
    verdict: Verdict
    fault: Fault | None = None  # gives some messages another answer than usual
    bytewise: bool = False  # answers are sent one byte at a time, the first one late
    joined: bool = False  # several answers are sent together if possible
    may_stop: bool = False  # the client has a reason to stop before its job is done


_UPLOADS = "Exactly-once uploads"
_FIRST = {OpenUpload: "the first OpenUpload is", BetBatch: "the first bets are"}


def _stops(
    kind: type[OpenUpload | BetBatch], code: RejectCode, *, name: str = "", rule: str = "", verb: str = "answered"
) -> Scenario:
    """The first message of a kind gets a code after which a client stops."""
    name = name or code.name.lower().replace("_", "-")
    rule = rule or f"client-stops-after-{name}"
    said = f"{code.value} ({code.name})"
    return Scenario(
        name=name,
        says=f"{_FIRST[kind]} {verb} with {said}",
        rule=Rule(rule, "Codes", f"After {said} the client stops and does not report success.", (9,)),
        verdict=verdicts.stayed_away,
        fault=faults.stop_at(kind, code),
        may_stop=True,
    )


_PUT_OFF: dict[str, Callable[[RejectCode], Fault]] = {
    _FIRST[OpenUpload]: lambda code: faults.put_off(code, lambda _run, event: isinstance(event, OpenUpload)),
    _FIRST[BetBatch]: lambda code: faults.put_off(code, lambda _run, event: isinstance(event, BetBatch)),
    "what comes behind the first bets is": lambda code: faults.put_off(code, lambda run, _event: bool(run.bets)),
    "the wait for the draw is": faults.put_off_while_waiting,
}


def _comes_back(name: str, rule: str, code: RejectCode, what: str) -> Scenario:
    """A message gets a code after which a client comes back."""
    said = f"{code.value} ({code.name})"
    return Scenario(
        name=name,
        says=f"{what} answered with {said}",
        rule=Rule(rule, "Codes", f"After {said} the client connects again later and goes on where it stopped.", (9,)),
        verdict=verdicts.came_back,
        fault=_PUT_OFF[what](code),
    )


SCENARIOS = (
    Scenario(
        name="usual",
        says="everything is stored",
        rule=Rule("job-is-done", "Revisions", "The client sends its bets, asks for its winners if it can, and ends."),
        verdict=verdicts.completed,
    ),
    Scenario(
        name="pieces",
        says="answers come late and byte by byte",
        rule=Rule("answers-may-come-in-pieces", "Frames", "It does the same job if answers arrive byte by byte."),
        verdict=verdicts.completed,
        bytewise=True,
    ),
    Scenario(
        name="together",
        says="answers come together in one segment",
        rule=Rule("answers-may-come-together", "BetBatch", "It does the same job if answers arrive together.", (8, 9)),
        verdict=verdicts.completed,
        joined=True,
    ),
    Scenario(
        name="ends",
        says="the server ends the connection behind the winners",
        rule=Rule(
            "server-may-end-behind-the-winners", "Winners", "When the client has its winners, its job is done.", SINCE_7
        ),
        verdict=verdicts.completed_once,
        fault=faults.end_behind_winners,
    ),
    Scenario(
        name="refused",
        says="the first bets are refused",
        rule=Rule(
            "refused-bets-are-not-sent-again",
            "Ack",
            "The client does not repeat a refused batch endlessly, and does not report success.",
            UP_TO_8,
        ),
        verdict=verdicts.not_sent_again,
        fault=faults.refuse_first_bets,
        may_stop=True,
    ),
    _stops(BetBatch, RejectCode.BAD_BET, name="refused", rule="client-stops-where-the-codes-say-so", verb="refused"),
    Scenario(
        name="dismissed",
        says="the first bets are refused and the connection ends, as after a framing error",
        rule=Rule(
            "refusal-is-none-the-less-with-the-end",
            "Ack",
            "Ack 0 and the end is a refusal, not a lost connection: the client does not repeat the batch endlessly.",
            (8,),
        ),
        verdict=verdicts.not_sent_again,
        fault=faults.dismiss_first_bets,
        may_stop=True,
    ),
    Scenario(
        name="cut",
        says="the connection is cut before the first bets are answered",
        rule=Rule(
            "no-answer-is-no-success", "Ack", "It sends bets without an answer again, or reports a failure.", UP_TO_8
        ),
        verdict=verdicts.lost_nothing,
        fault=faults.cut_first_bets,
    ),
    Scenario(
        name="cut",
        says="the connection is cut when the first bets are stored and not answered",
        rule=Rule("upload-goes-on-at-stored", _UPLOADS, "It opens the upload again and sends the rest.", (9,)),
        verdict=verdicts.came_back,
        fault=faults.cut_first_bets,
    ),
    Scenario(
        name="lost",
        says="the connection is cut when the winners are asked for",
        rule=Rule("winners-are-asked-for-again", "WinnersRequest", "After a lost connection it asks again.", SINCE_7),
        verdict=verdicts.asked_until_told,
        fault=faults.cut_first_request,
    ),
    Scenario(
        name="older",
        says="the first OpenUpload is answered with Ack 0, as by a server of revision 8",
        rule=Rule(
            "older-server-is-noticed", "Codes", "If the first answer does not begin with 0x83, it sends no bets.", (9,)
        ),
        verdict=verdicts.did_not_guess,
        fault=faults.older_server,
        may_stop=True,
    ),
    _comes_back("busy", "busy-server-is-asked-again", RejectCode.BUSY, _FIRST[OpenUpload]),
    Scenario(
        name="overload",
        says=f"every OpenUpload is answered with 10 (BUSY), the {faults.MAX_BUSY + 1}th with 14 (WRONG_DRAW)",
        rule=Rule(
            "busy-server-is-left-in-peace", "Codes", "It waits longer and longer, and in the end reports failure.", (9,)
        ),
        verdict=verdicts.rested,
        fault=faults.busy_for_long,
        may_stop=True,
    ),
    _comes_back("full", "full-store-is-tried-again", RejectCode.STORE_FULL, _FIRST[BetBatch]),
    _comes_back("limit", "limit-is-tried-again", RejectCode.LIMIT, _FIRST[OpenUpload]),
    _comes_back(
        "stopping", "stopped-server-is-waited-for", RejectCode.SHUTTING_DOWN, "what comes behind the first bets is"
    ),
    _comes_back("restart", "wait-for-the-draw-is-taken-up-again", RejectCode.SHUTTING_DOWN, "the wait for the draw is"),
    _stops(BetBatch, RejectCode.BAD_FRAME),
    _stops(OpenUpload, RejectCode.NOT_AUTHORIZED),
    _stops(BetBatch, RejectCode.FENCED, rule="fenced-client-stays-away"),
    _stops(OpenUpload, RejectCode.MISMATCH),
    _stops(BetBatch, RejectCode.OVERRUN),
    _stops(OpenUpload, RejectCode.SEALED),
    _stops(OpenUpload, RejectCode.DRAW_CLOSED),
    _stops(OpenUpload, RejectCode.WRONG_DRAW),
    _stops(OpenUpload, RejectCode.MODE_CONFLICT),
    Scenario(
        name="changed",
        says="the CRC-32 of what is stored is not that of the file",
        rule=Rule("changed-file-is-noticed", _UPLOADS, "The client stops if the CRC-32 is not that of its file.", (9,)),
        verdict=verdicts.stayed_away,
        fault=faults.other_bets_stored,
        may_stop=True,
    ),
    Scenario(
        name="incomplete",
        says="the first WinnersRequest is answered with 9 (INCOMPLETE)",
        rule=Rule("incomplete-is-asked-again", "Codes", "It asks again after 2 s on the same connection.", (9,)),
        verdict=verdicts.asked_again,
        fault=faults.incomplete_at_first,
    ),
    Scenario(
        name="waits",
        says="the server says 0 several times before the draw",
        rule=Rule("signs-of-life-are-understood", _UPLOADS, "The client goes on waiting when the server says 0.", (9,)),
        verdict=verdicts.read_all,
        fault=faults.signs_of_life,
    ),
    Scenario(
        name="lists",
        says=f"there are {limits.MAX_WINNERS + 1:,} winners, so a second Winners follows the first",
        rule=Rule("full-list-has-another-behind-it", _UPLOADS, "It waits for the next list after a full one.", (9,)),
        verdict=verdicts.read_all,
        fault=faults.two_lists,
    ),
)
"""In the order in which they are played; the others are compared with the first."""

SCENARIO_NAMES = tuple(dict.fromkeys(scenario.name for scenario in SCENARIOS))


def scenarios_of(revision: int, names: tuple[str, ...] = ()) -> list[Scenario]:
    """The scenarios of a revision: always the first, and the others with one of `names`, or all without names."""
    first, *others = [scenario for scenario in SCENARIOS if revision in scenario.rule.revisions]
    return [first, *(one for one in others if not names or one.name in names)]
