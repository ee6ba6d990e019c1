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
    """The draw, which takes place when the first rule needs it."""
    if target.single_agency and target.agencies > 1:
        raise NotTried("a certificate speaks for one agency, so it takes a server that waits for one")
    if target.draw is None:
        target.draw = DrawScenario(target)
    return target.draw


def _look_at(target: Target, step: str, *, after_draw: bool = True, others: bool = False) -> None:
    """Raises what went wrong in a step, which may need the draw (`after_draw`) or a second agency (`others`)."""
    if others and target.agencies < 2:
        raise NotTried("it takes a server that waits for two agencies or more")
    draw = _draw(target)
    if step in draw.problems:
        raise draw.problems[step]
    if after_draw and len(draw.winners) < target.agencies:
        raise NotTried("the draw did not take place")


@RULES.rule(_SECTION, SINCE_7)
def draw_takes_place_when_all_have_asked(target: Target) -> None:
    """When the last agency has asked, each one gets its Winners; on revision 9 after the code 16 (DRAWN)."""
    _look_at(target, steps.DRAW, after_draw=False)
    if missing := set(range(1, target.agencies + 1)) - set(_draw(target).winners):
        raise Broken(f"no winners for agencies {', '.join(map(str, sorted(missing)))}")


@RULES.rule(_SECTION, SINCE_7)
def winners_are_held_back_until_all_have_asked(target: Target) -> None:
    """No winners are sent while an agency that the draw waits for has not asked."""
    _look_at(target, steps.EARLY, after_draw=False, others=True)


@RULES.rule(_SECTION, (7, 8))
def asking_twice_counts_once(target: Target) -> None:
    """An agency that asks on two connections counts once; both wait for the others and get the same winners."""
    _look_at(target, steps.TWICE, others=True)


@RULES.rule(_SECTION, SINCE_7)
def agency_that_has_asked_is_sealed(target: Target) -> None:
    """After its request, the bets of an agency get Ack 0; on revision 9 a new upload gets 7 (SEALED)."""
    _look_at(target, steps.SEALED, after_draw=False, others=True)


@RULES.rule("Codes", (9,))
def finished_upload_can_always_be_opened(target: Target) -> None:
    """A complete upload can be opened with 0 and asked for its winners, when sealed and after the draw too."""
    _look_at(target, steps.REOPENED)


@RULES.rule("Codes", (9,))
def unfinished_upload_keeps_its_agency_open(target: Target) -> None:
    """A request gets 9 (INCOMPLETE) while any upload of the agency is unfinished; the connection stays open."""
    _look_at(target, steps.INCOMPLETE, after_draw=False)


@RULES.rule("Winners", SINCE_7)
def winners_are_the_agency_s_own(target: Target) -> None:
    """The winners of an agency have no document of a bet of another agency."""
    for agency, documents in _told(target):
        others = {document for other, won in target.won.items() if other != agency for document in won}
        if strangers := others & set(documents):
            raise Broken(f"agency {agency} was told {len(strangers)} winners of others")


@RULES.rule("BetBatch", SINCE_7)
def refused_bets_never_win(target: Target) -> None:
    """No bet of a refused message wins, because nothing of a refused message is stored."""
    for agency, documents in _told(target):
        if wrong := target.refused & set(documents):
            raise Broken(f"agency {agency} was told {len(wrong)} winners of refused messages")


@RULES.rule("Winners", SINCE_7)
def every_winning_bet_wins_in_the_order_of_storing(target: Target) -> None:
    """Each winning bet that was acknowledged gives one document, in the order of acknowledgement."""
    for agency, documents in _told(target):
        own = target.won[agency]
        found = [document for document in documents if document in set(own)]
        if found != own:
            how = "in another order" if sorted(found) == sorted(own) else f"{len(found)} of {len(own)}"
            raise Broken(f"the winners of agency {agency}: {how}")


@RULES.rule(_SECTION, SINCE_7)
def winners_can_be_asked_for_again(target: Target) -> None:
    """A request after the draw gets the same winners at once."""
    _look_at(target, steps.AGAIN)


@RULES.rule(_SECTION, SINCE_7)
def bets_after_the_draw_are_refused(target: Target) -> None:
    """Bets after the draw get Ack 0; on revision 9 a new upload gets 7 (SEALED) or 8 (DRAW_CLOSED)."""
    _look_at(target, steps.CLOSED)


@RULES.rule(_SECTION, SINCE_7)
def draw_is_over_for_everybody(target: Target) -> None:
    """After the draw, bets of an agency that it did not wait for get Ack 0, on revision 9 8 (DRAW_CLOSED)."""
    _look_at(target, steps.OVER)


def _told(target: Target) -> list[tuple[int, tuple[str, ...]]]:
    found = list(_draw(target).winners.items())
    if not found:
        raise NotTried("the draw did not take place")
    return found
