"""Rules about the draw: who waits for whom, who wins, and what is over then."""

from __future__ import annotations

from bets_protocol.conformance.against_server import draw_scenario as steps
from bets_protocol.conformance.against_server.draw_scenario import DrawStory
from bets_protocol.conformance.against_server.target import Bench, NotTried, rule
from bets_protocol.conformance.against_server.wire_client import Broken

_SECTION = "WinnersRequest"
_WITH_WINNERS = (7, 8, 9)


def _story(bench: Bench) -> DrawStory:
    """The draw, which takes place when the first rule asks for it.

    Raises:
        NotTried: it cannot take place.
    """
    if bench.alone and bench.agencies > 1:
        raise NotTried("a certificate speaks for one agency, so it takes a server that waits for one")
    if not isinstance(bench.story, DrawStory):
        bench.story = DrawStory(bench)
    return bench.story


def _look_at(bench: Bench, step: str) -> None:
    story = _story(bench)
    if step in story.wrong:
        raise Broken(story.wrong[step])
    if step in story.not_tried:
        raise NotTried(story.not_tried[step])
    if step != steps.DRAW and len(story.winners) < bench.agencies:
        raise NotTried("the draw did not take place")


def _need_others(bench: Bench) -> None:
    if bench.agencies < 2:
        raise NotTried("it takes a server that waits for two agencies or more")


@rule(_SECTION, _WITH_WINNERS, draws=True)
def draw_takes_place_when_all_have_asked(bench: Bench) -> None:
    """Every agency that has asked gets its Winners once the last has; on revision 9 behind code 16 (DRAWN)."""
    _look_at(bench, steps.DRAW)
    missing = set(range(1, bench.agencies + 1)) - set(_story(bench).winners)
    if missing:
        raise Broken(f"no winners for agencies {', '.join(map(str, sorted(missing)))}")


@rule(_SECTION, _WITH_WINNERS, draws=True)
def winners_are_held_back_until_all_have_asked(bench: Bench) -> None:
    """Nothing about winners while an agency that is waited for has not asked."""
    _need_others(bench)
    if steps.EARLY in _story(bench).wrong:
        raise Broken(_story(bench).wrong[steps.EARLY])


@rule(_SECTION, (7, 8), draws=True)
def asking_twice_counts_once(bench: Bench) -> None:
    """An agency that asks on two connections waits on both for the others, and gets the same on both."""
    _need_others(bench)
    _look_at(bench, steps.TWICE)


@rule(_SECTION, _WITH_WINNERS, draws=True)
def agency_that_has_asked_is_sealed(bench: Bench) -> None:
    """Later bets of it are refused: Ack 0; on revision 9 a new upload with 7 (SEALED)."""
    _need_others(bench)
    if steps.SEALED in _story(bench).wrong:
        raise Broken(_story(bench).wrong[steps.SEALED])


@rule("Codes", (9,), draws=True)
def finished_upload_can_always_be_opened(bench: Bench) -> None:
    """0 to the OpenUpload of a complete upload, also of a sealed agency and after the draw; then its winners."""
    _look_at(bench, steps.REOPENED)


@rule("Codes", (9,), draws=True)
def unfinished_upload_keeps_its_agency_open(bench: Bench) -> None:
    """9 (INCOMPLETE) while an upload of the agency is unfinished, here or elsewhere; the connection goes on."""
    if steps.INCOMPLETE in _story(bench).wrong:
        raise Broken(_story(bench).wrong[steps.INCOMPLETE])


@rule("Winners", _WITH_WINNERS, draws=True)
def winners_are_the_agency_s_own(bench: Bench) -> None:
    """No document of a bet of another agency."""
    for agency, documents in _told(bench):
        others = {document for other, won in bench.won.items() if other != agency for document in won}
        if strangers := others & set(documents):
            raise Broken(f"agency {agency} was told {len(strangers)} winners of others")


@rule("BetBatch", _WITH_WINNERS, draws=True)
def refused_bets_never_win(bench: Bench) -> None:
    """No document of a bet whose message was refused: of a refused batch nothing is stored."""
    for agency, documents in _told(bench):
        if wrong := bench.refused & set(documents):
            raise Broken(f"agency {agency} was told {len(wrong)} winners of refused messages")


@rule("Winners", _WITH_WINNERS, draws=True)
def every_winning_bet_wins_in_the_order_of_storing(bench: Bench) -> None:
    """One document for each winning bet that was acknowledged, in the order in which they were."""
    for agency, documents in _told(bench):
        own = bench.won[agency]
        found = [document for document in documents if document in set(own)]
        if found != own:
            how = "in another order" if sorted(found) == sorted(own) else f"{len(found)} of {len(own)}"
            raise Broken(f"the winners of agency {agency}: {how}")


@rule(_SECTION, _WITH_WINNERS, draws=True)
def winners_can_be_asked_for_again(bench: Bench) -> None:
    """After the draw the same list, at once."""
    _look_at(bench, steps.AGAIN)


@rule(_SECTION, _WITH_WINNERS, draws=True)
def bets_after_the_draw_are_refused(bench: Bench) -> None:
    """Ack 0; on revision 9 a new upload with 7 (SEALED) or 8 (DRAW_CLOSED)."""
    _look_at(bench, steps.CLOSED)


@rule(_SECTION, _WITH_WINNERS, draws=True)
def draw_is_over_for_everybody(bench: Bench) -> None:
    """Bets of an agency that nobody has waited for are too late as well: Ack 0; on revision 9 8 (DRAW_CLOSED)."""
    _look_at(bench, steps.OVER)


def _told(bench: Bench) -> list[tuple[int, tuple[str, ...]]]:
    found = list(_story(bench).winners.items())
    if not found:
        raise NotTried("the draw did not take place")
    return found


RULES = (
    draw_takes_place_when_all_have_asked,
    winners_are_held_back_until_all_have_asked,
    asking_twice_counts_once,
    agency_that_has_asked_is_sealed,
    finished_upload_can_always_be_opened,
    unfinished_upload_keeps_its_agency_open,
    winners_are_the_agency_s_own,
    refused_bets_never_win,
    every_winning_bet_wins_in_the_order_of_storing,
    winners_can_be_asked_for_again,
    bets_after_the_draw_are_refused,
    draw_is_over_for_everybody,
)
