"""Rules about the draw: which agencies it waits for, who wins, and what is refused afterwards."""

from __future__ import annotations

from bets_protocol.conformance.against_server import draw_scenario as steps
from bets_protocol.conformance.against_server.draw_scenario import DrawScenario
from bets_protocol.conformance.against_server.target import NotTried, RuleList, Target
from bets_protocol.conformance.against_server.wire_client import Broken
from bets_protocol.conformance.report import SINCE_7

RULES = RuleList()

_SECTION = "WinnersRequest"


def _draw(target: Target) -> DrawScenario:
    """The draw, which takes place when the first rule needs it.

    Raises:
        NotTried: it cannot take place.
    """
    if target.single_agency and target.agencies > 1:
        raise NotTried("a certificate speaks for one agency, so it takes a server that waits for one")
    if target.draw is None:
        target.draw = DrawScenario(target)
    return target.draw


def _look_at(target: Target, step: str, *, after_draw: bool = True, others: bool = False) -> None:
    """Raises what went wrong in a step of the draw.

    Args:
        after_draw: whether the step says nothing if the draw did not take place.
        others: whether the step takes two agencies.
    """
    if others and target.agencies < 2:
        raise NotTried("it takes a server that waits for two agencies or more")
    draw = _draw(target)
    if step in draw.problems:
        raise draw.problems[step]
    if after_draw and len(draw.winners) < target.agencies:
        raise NotTried("the draw did not take place")


@RULES.rule(_SECTION, SINCE_7, draws=True)
def draw_takes_place_when_all_have_asked(target: Target) -> None:
    """Every agency that has asked gets its Winners once the last has; on revision 9 behind code 16 (DRAWN)."""
    _look_at(target, steps.DRAW, after_draw=False)
    missing = set(range(1, target.agencies + 1)) - set(_draw(target).winners)
    if missing:
        raise Broken(f"no winners for agencies {', '.join(map(str, sorted(missing)))}")


@RULES.rule(_SECTION, SINCE_7, draws=True)
def winners_are_held_back_until_all_have_asked(target: Target) -> None:
    """Nothing about winners while an agency that is waited for has not asked."""
    _look_at(target, steps.EARLY, after_draw=False, others=True)


@RULES.rule(_SECTION, (7, 8), draws=True)
def asking_twice_counts_once(target: Target) -> None:
    """An agency that asks on two connections waits on both for the others, and gets the same on both."""
    _look_at(target, steps.TWICE, others=True)


@RULES.rule(_SECTION, SINCE_7, draws=True)
def agency_that_has_asked_is_sealed(target: Target) -> None:
    """Later bets of it are refused: Ack 0; on revision 9 a new upload with 7 (SEALED)."""
    _look_at(target, steps.SEALED, after_draw=False, others=True)


@RULES.rule("Codes", (9,), draws=True)
def finished_upload_can_always_be_opened(target: Target) -> None:
    """0 to the OpenUpload of a complete upload, also of a sealed agency and after the draw; then its winners."""
    _look_at(target, steps.REOPENED)


@RULES.rule("Codes", (9,), draws=True)
def unfinished_upload_keeps_its_agency_open(target: Target) -> None:
    """9 (INCOMPLETE) while an upload of the agency is unfinished, here or elsewhere; the connection goes on."""
    _look_at(target, steps.INCOMPLETE, after_draw=False)


@RULES.rule("Winners", SINCE_7, draws=True)
def winners_are_the_agency_s_own(target: Target) -> None:
    """No document of a bet of another agency."""
    for agency, documents in _told(target):
        others = {document for other, won in target.won.items() if other != agency for document in won}
        if strangers := others & set(documents):
            raise Broken(f"agency {agency} was told {len(strangers)} winners of others")


@RULES.rule("BetBatch", SINCE_7, draws=True)
def refused_bets_never_win(target: Target) -> None:
    """No document of a bet whose message was refused: of a refused batch nothing is stored."""
    for agency, documents in _told(target):
        if wrong := target.refused & set(documents):
            raise Broken(f"agency {agency} was told {len(wrong)} winners of refused messages")


@RULES.rule("Winners", SINCE_7, draws=True)
def every_winning_bet_wins_in_the_order_of_storing(target: Target) -> None:
    """One document for each winning bet that was acknowledged, in the order in which they were."""
    for agency, documents in _told(target):
        own = target.won[agency]
        found = [document for document in documents if document in set(own)]
        if found != own:
            how = "in another order" if sorted(found) == sorted(own) else f"{len(found)} of {len(own)}"
            raise Broken(f"the winners of agency {agency}: {how}")


@RULES.rule(_SECTION, SINCE_7, draws=True)
def winners_can_be_asked_for_again(target: Target) -> None:
    """After the draw the same list, at once."""
    _look_at(target, steps.AGAIN)


@RULES.rule(_SECTION, SINCE_7, draws=True)
def bets_after_the_draw_are_refused(target: Target) -> None:
    """Ack 0; on revision 9 a new upload with 7 (SEALED) or 8 (DRAW_CLOSED)."""
    _look_at(target, steps.CLOSED)


@RULES.rule(_SECTION, SINCE_7, draws=True)
def draw_is_over_for_everybody(target: Target) -> None:
    """Bets of an agency that nobody has waited for are too late as well: Ack 0; on revision 9 8 (DRAW_CLOSED)."""
    _look_at(target, steps.OVER)


def _told(target: Target) -> list[tuple[int, tuple[str, ...]]]:
    found = list(_draw(target).winners.items())
    if not found:
        raise NotTried("the draw did not take place")
    return found
