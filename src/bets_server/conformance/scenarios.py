"""What happens to a client under test, run by run: a usual day first, then one thing that goes otherwise in each.

Each scenario looks at one rule; when the run is over, its `judge` says what the client did instead.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import Bet, BetBatch, OpenUpload, RejectCode, WinnersRequest
from bets_server.conformance.guest import Guest
from bets_server.conformance.rules import WITH_WINNERS, ClientRule, Rulebook
from bets_server.conformance.run import MAX_RETURNS, Fault, Run, bets_of

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


# -- judges


def _completed(run: Run, first: Run) -> str:
    if run.bets != first.bets:
        return f"{len(run.bets)} bets, not the {len(first.bets)} of the first run, or others, or in another order"
    if not run.bets and not run.asked:
        return "nothing was sent"
    if run.revision >= 7 and not run.told:
        return "it did not ask for its winners"
    return f"exit code {run.exit_code}" if run.exit_code else ""


def _completed_once(run: Run, first: Run) -> str:
    if run.after_told:
        return f"{run.after_told} messages after it had its winners"
    return _completed(run, first)


def _not_sent_again(run: Run, _first: Run) -> str:
    if run.returns > MAX_RETURNS:
        return f"it sent the refused batch {run.returns} times more, without an end"
    return "exit code 0 though bets were refused" if run.exit_code == 0 else ""


def _lost_nothing(run: Run, _first: Run) -> str:
    if set(run.lost) <= set(run.bets):
        return ""
    if run.asked:
        return f"it asked for its winners though {len(run.lost)} bets had no answer"
    return f"exit code 0 though {len(run.lost)} bets had no answer" if run.exit_code == 0 else ""


def _stayed_away(run: Run, _first: Run) -> str:
    if run.returns:
        return f"{run.returns} messages on new connections"
    return "exit code 0 though it could not hand its bets in" if run.exit_code == 0 else ""


def _came_back(run: Run, first: Run) -> str:
    return "it did not open its upload again" if run.opened < 2 else _completed(run, first)


def _asked_again(run: Run, first: Run) -> str:
    if run.returns:
        return "it asked again on another connection"
    return _completed(run, first)


# -- faults


def _cut_first_bets(run: Run, guest: Guest, event: object, _now: float) -> bool:
    """The first message with bets is stored where that can be found out, and gets no answer."""
    if run.lost or not isinstance(event, Bet | BetBatch):
        return False
    run.lost = bets_of(event)
    if run.revision >= 9:
        run.store(guest, event)
    guest.cut_off()
    return True


def _refuse_first_bets(run: Run, guest: Guest, event: object, now: float) -> bool:
    if run.refused is not None and run.revision >= 9:
        return _again_refused(run, guest, event, RejectCode.BAD_BET, now)
    if not isinstance(event, Bet | BetBatch):
        return False
    if run.refused is None:
        run.refused = event
    elif event == run.refused:
        run.returns += 1
    else:
        return False
    run.refuse(guest, event, RejectCode.BAD_BET, now)
    if run.revision in (5, 6):
        guest.end(now)
    return True


def _fence_first_bets(run: Run, guest: Guest, event: object, now: float) -> bool:
    if run.refused is not None:
        return _again_refused(run, guest, event, RejectCode.FENCED, now)
    if not isinstance(event, BetBatch):
        return False
    run.refused = event
    run.refuse(guest, event, RejectCode.FENCED, now)
    return True


def _again_refused(run: Run, guest: Guest, event: object, code: RejectCode, now: float) -> bool:
    run.returns += 1
    run.refuse(guest, event, code, now)
    return True


def _busy_at_first(run: Run, guest: Guest, event: object, now: float) -> bool:
    if run.opened or not isinstance(event, OpenUpload):
        return False
    run.refuse(guest, event, RejectCode.BUSY, now)
    return True


def _other_bets_stored(run: Run, guest: Guest, event: object, now: float) -> bool:
    """OpenUpload hears that a bet is stored, with the CRC-32 of another one."""
    if isinstance(event, OpenUpload):
        status = attrs.evolve(run.open(guest, event).status(), stored=min(1, event.total), crc32=0x0BAD0BAD)
        guest.answer(guest.connection.send(status), now)
    else:
        run.returns += 1
        run.refuse(guest, event, RejectCode.BAD_FRAME, now)
    return True


def _incomplete_at_first(run: Run, guest: Guest, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    if run.asked == 1:
        run.asked_on = guest
        status = next(iter(run.uploads.values())).status(RejectCode.INCOMPLETE)
        guest.answer(guest.connection.send(status), now)
        return True
    if run.asked_on is not guest:
        run.returns += 1
    return False


def _signs_of_life(run: Run, guest: Guest, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    run.tell(guest, now, signs_of_life=3)
    return True


def _end_behind_winners(run: Run, guest: Guest, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    run.tell(guest, now)
    guest.end(now)
    return True


_UPLOADS = "Exactly-once uploads"

SCENARIOS = (
    Scenario(
        name="usual",
        says="everything is stored",
        rule=ClientRule("job-is-done", "Revisions", "It hands its bets in, asks for its winners where it can, ends."),
        judge=_completed,
    ),
    Scenario(
        name="pieces",
        says="answers come late and byte by byte",
        rule=ClientRule("answers-may-come-in-pieces", "Frames", "The same job when answers come byte by byte."),
        judge=_completed,
        bytewise=True,
    ),
    Scenario(
        name="together",
        says="answers come together in one segment",
        rule=ClientRule(
            "answers-may-come-together", "BetBatch", "The same job when several answers come at once.", (8, 9)
        ),
        judge=_completed,
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
        judge=_completed_once,
        fault=_end_behind_winners,
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
        judge=_not_sent_again,
        fault=_refuse_first_bets,
        may_stop=True,
    ),
    Scenario(
        name="refused",
        says="the first bets are refused with 2 (BAD_BET)",
        rule=ClientRule("client-stops-where-the-codes-say-so", "Codes", "After 2 (BAD_BET) it stops.", (9,)),
        judge=_stayed_away,
        fault=_refuse_first_bets,
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
        judge=_lost_nothing,
        fault=_cut_first_bets,
    ),
    Scenario(
        name="cut",
        says="the connection is cut when the first bets are stored and not answered",
        rule=ClientRule("upload-goes-on-at-stored", _UPLOADS, "It opens the upload again and goes on there.", (9,)),
        judge=_came_back,
        fault=_cut_first_bets,
    ),
    Scenario(
        name="busy",
        says="the first OpenUpload is answered with 10 (BUSY)",
        rule=ClientRule("busy-server-is-asked-again", "Codes", "After 10 (BUSY) it connects again later.", (9,)),
        judge=_came_back,
        fault=_busy_at_first,
    ),
    Scenario(
        name="fenced",
        says="the first bets are answered with 4 (FENCED)",
        rule=ClientRule("fenced-client-stays-away", "Codes", "After 4 (FENCED) it does not come back.", (9,)),
        judge=_stayed_away,
        fault=_fence_first_bets,
        may_stop=True,
    ),
    Scenario(
        name="changed",
        says="the CRC-32 of what is stored is not that of the file",
        rule=ClientRule("changed-file-is-noticed", _UPLOADS, "It stops where the CRC-32 differs.", (9,)),
        judge=_stayed_away,
        fault=_other_bets_stored,
        may_stop=True,
    ),
    Scenario(
        name="incomplete",
        says="the first WinnersRequest is answered with 9 (INCOMPLETE)",
        rule=ClientRule("incomplete-is-asked-again", "Codes", "It asks again on the same connection.", (9,)),
        judge=_asked_again,
        fault=_incomplete_at_first,
    ),
    Scenario(
        name="waits",
        says="the server says 0 several times before the draw",
        rule=ClientRule("signs-of-life-are-understood", _UPLOADS, "It waits on while the server says 0.", (9,)),
        judge=_completed,
        fault=_signs_of_life,
    ),
)
"""In the order in which they are played; the first is what the others are compared with."""

SCENARIO_NAMES = tuple(dict.fromkeys(scenario.name for scenario in SCENARIOS))


def scenarios_of(revision: int, names: tuple[str, ...] = ()) -> list[Scenario]:
    """The scenarios of a revision, the first one in any case, and of the others those that are named, or all."""
    first, *others = [scenario for scenario in SCENARIOS if revision in scenario.rule.revisions]
    return [first, *(one for one in others if not names or one.name in names)]
