"""Rules about bytes that are not sound: what is refused, how, and what becomes of the connection."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import Ack, Bet, BetBatch, Probe, RejectCode, WinnersRequest, encode, limits
from bets_protocol.conformance.against_server.mutations import (
    LAYOUTS,
    VALUES,
    agency_0,
    encoded_bet,
    no_bets,
    unknown_types,
)
from bets_protocol.conformance.against_server.rules_intake import full_batch
from bets_protocol.conformance.against_server.target import EVERY, Bench, Rule, rule, said
from bets_protocol.conformance.against_server.wire_client import Broken, Talk

_BATCHES = (6, 7, 8, 9)
_TYPED = (7, 8, 9)


def _value_rule(name: str, what: str, damage: Callable[[Bet], bytes]) -> Rule:
    """A value error is refused, alone and as the second of three bets."""

    def check(bench: Bench) -> None:
        bets = [bench.winning_bet() for _ in range(1 if bench.revision == 5 else 3)]
        parts = [*map(encoded_bet, bets)]
        at = len(bets) // 2
        parts[at] = damage(bets[at])
        with bench.ready(len(bets)) as talk:
            talk.say_damaged(bench.unit(*bets), bench.frame(*parts))
            bench.expect_refused(talk.answer(), RejectCode.BAD_BET, *bets)
            if bench.revision >= 9:
                talk.expect_end()

    last = "UploadStatus 2 (BAD_BET) on revision 9, else Ack 0"
    expected = f"A sound frame in which a bet has {what} is refused: {last}."
    return Rule(name=f"refuses-{name}", section="Bet", expected=expected, revisions=EVERY, check=check)


def _layout_rule(name: str, what: str, damage: Callable[[Bet], bytes]) -> Rule:
    """A framing error inside a bet is refused, and the connection ends."""

    def check(bench: Bench) -> None:
        bets = [bench.winning_bet() for _ in range(1 if bench.revision == 5 else 2)]
        with bench.ready(len(bets)) as talk:
            parts = [damage(bets[0]), *map(encoded_bet, bets[1:])]
            # What follows gives a length that is too long something to take.
            talk.say_damaged(bench.unit(*bets), bench.frame(*parts) + encoded_bet(bench.bet()))
            _expect_framing_error(bench, talk, *bets)

    expected = f"A bet with {what} is a framing error: refused, and the connection ends."
    return Rule(name=f"refuses-{name}", section="Frames", expected=expected, revisions=EVERY, check=check)


def _expect_framing_error(bench: Bench, talk: Talk, *bets: Bet) -> None:
    bench.expect_refused(talk.answer(), RejectCode.BAD_FRAME, *bets)
    talk.expect_end()


@rule("Ack", (8,))
def connection_goes_on_after_a_value_error(bench: Bench) -> None:
    """Ack 0, and then the next batch on the same connection is stored."""
    _, damage = VALUES["document-letter"]
    with bench.ready(2) as talk:
        bad, good = bench.winning_bet(), bench.winning_bet()
        talk.say_damaged(bench.unit(bad), bench.frame(damage(bad)))
        bench.expect_refused(talk.answer(), RejectCode.BAD_BET, bad)
        bench.hand_in(talk, good)


@rule("BetBatch", (8,))
def batch_behind_a_refused_one_is_judged_for_itself(bench: Bench) -> None:
    """A batch with a value error and a sound one in one piece: Ack 0, and the count of the second."""
    _, damage = VALUES["document-letter"]
    bad, good = bench.winning_bet(), bench.winning_bet()
    with bench.ready(2) as talk:
        data = bench.frame(damage(bad)) + bench.frame(encoded_bet(good))
        for bet in (bad, good):
            talk.announce(bench.unit(bet))
        talk.say_bytes(data)
        bench.expect_refused(talk.answer(), RejectCode.BAD_BET, bad)
        bench.expect_stored(talk.answer(), good)


@rule("WinnersRequest", (7, 8))
def refuses_a_request_of_agency_0(bench: Bench) -> None:
    """A value error like any other: Ack 0; on revision 8 the connection goes on."""
    request = WinnersRequest(agency=1)
    with bench.talk() as talk:
        # Announced as a batch, here and below, since the answer is an Ack.
        talk.say_damaged(bench.unit(bench.bet()), agency_0(request, bench.revision))
        _expect_ack_0(talk)
        if bench.revision == 8:
            bench.hand_in(talk, bench.bet())


@rule("Frames", (7, 8))
def refuses_a_request_that_is_cut_short(bench: Bench) -> None:
    """Half a WinnersRequest and the end of the stream: Ack 0 or nothing, and no agency is sealed."""
    request = WinnersRequest(agency=1)
    with bench.talk() as talk:
        talk.say_damaged(bench.unit(bench.bet()), encode(request, revision=bench.revision)[:-1])
        talk.end_side()
        answer = talk.last_answer()
    if answer is not None and answer != Ack(count=0):
        raise Broken(said(answer))
    with bench.ready(1) as talk:
        bench.hand_in(talk, bench.bet())


@rule("Whose turn it is", (8,))
def upload_behind_bets_is_refused(bench: Bench) -> None:
    """An OpenUpload where it is not the turn for one is answered like a framing error: Ack 0, and the end."""
    with bench.talk() as talk:
        bench.hand_in(talk, bench.bet())
        talk.say_damaged(bench.unit(bench.bet()), encode(bench.upload(0), revision=9))
        _expect_ack_0(talk)
        talk.expect_end()


@rule("Frames", _BATCHES)
def refuses_count_0(bench: Bench) -> None:
    """A batch without bets is a framing error: refused, and the connection ends."""
    bet = bench.winning_bet()
    with bench.ready(1) as talk:
        talk.say_damaged(bench.unit(bet), no_bets(bench.frame(encoded_bet(bet)), bench.frame(*[encoded_bet(bet)] * 2)))
        _expect_framing_error(bench, talk)


@rule("Frames", EVERY)
def refuses_what_the_end_cuts_short(bench: Bench) -> None:
    """A message that the end of the stream cuts short: nothing is stored; Ack 0 or nothing, and the end."""
    bet = bench.winning_bet()
    bench.refused.add(bet.document)
    with bench.ready(1) as talk:
        message = bench.unit(bet)
        talk.say_damaged(message, encode(message, revision=bench.revision)[:-1])
        talk.end_side()
        answer = talk.last_answer()
    if answer is not None:
        bench.expect_refused(answer, RejectCode.BAD_FRAME)


@rule("Frames", _BATCHES)
def refuses_8193_bytes(bench: Bench) -> None:
    """A batch of one byte more than 8192 is a framing error: refused before it is whole, and the connection ends."""
    bets = full_batch(bench)
    longer = attrs.evolve(bets[-1], first_name=bets[-1].first_name + "x")
    data = bench.frame(*map(encoded_bet, [*bets[:-1], longer]))
    if len(data) != limits.MAX_FRAME_BYTES + 1:
        raise RuntimeError(f"the frame has {len(data)} bytes")
    with bench.ready(len(bets)) as talk:
        # The last byte stays away: the server has to notice without it.
        talk.say_damaged(bench.unit(*bets), data[:-1])
        _expect_framing_error(bench, talk)


@rule("Typed messages", _TYPED)
def refuses_an_unknown_type(bench: Bench) -> None:
    """A first byte that is no message's and begins no probe is a framing error: Ack 0, and the connection ends."""
    for first in unknown_types():
        bet = bench.winning_bet()
        with bench.talk(8) as talk:
            message = bench.unit(bet)
            talk.say_damaged(message, first + encode(message, revision=8)[1:])
            _expect_ack_0(talk)
            talk.expect_end()


@rule("Typed messages", (7, 8))
def nothing_behind_a_framing_error_is_looked_at(bench: Bench) -> None:
    """A sound batch behind a broken one gets no answer and is not stored."""
    bad, behind = bench.winning_bet(), bench.winning_bet()
    _, damage = LAYOUTS["length-one-short"]
    with bench.ready(2) as talk:
        data = bench.frame(damage(bad), encoded_bet(bad)) + bench.frame(encoded_bet(behind))
        talk.say_damaged(bench.unit(bad), data)
        _expect_framing_error(bench, talk, bad, behind)


def _expect_ack_0(talk: Talk) -> None:
    if (answer := talk.answer()) != Ack(count=0):
        raise Broken(said(answer))


def _expect_echo(talk: Talk, probe: Probe) -> None:
    if (answer := talk.answer()) != probe:
        raise Broken(f"{answer!r}"[:200])
    talk.expect_end()


@rule("Probe", _TYPED)
def probe_comes_back(bench: Bench) -> None:
    """The same bytes, whatever stands in the line, and then the end of the connection."""
    for line in (b"hello\n", b" \n", "[CLIENT 1] Message N°1\r\n".encode(), b"~\x00\xff\n"):
        with bench.talk() as talk:
            talk.say(probe := Probe(line=line))
            _expect_echo(talk, probe)


@rule("Probe", (8,))
def probe_may_follow_bets(bench: Bench) -> None:
    """A line behind an answered batch comes back as well, and ends the connection."""
    with bench.talk() as talk:
        bench.hand_in(talk, bench.bet())
        talk.say(probe := Probe(line=b"hello\n"))
        _expect_echo(talk, probe)


@rule("Probe", _TYPED)
def what_follows_a_probe_is_not_looked_at(bench: Bench) -> None:
    """A batch in one piece with the line and behind it is neither answered nor stored."""
    bet = bench.winning_bet()
    bench.refused.add(bet.document)
    with bench.talk(8) as talk:
        probe = Probe(line=b"hello\n")
        talk.say_bytes(talk.announce(probe) + encode(BetBatch(bets=(bet,)), revision=8))
        _expect_echo(talk, probe)


@rule("Probe", _TYPED)
def probe_may_end_with_the_stream(bench: Bench) -> None:
    """A line without a line feed, ended by the client's end of stream, comes back as it is."""
    with bench.talk() as talk:
        talk.say(probe := Probe(line=b"hello"))
        talk.end_side()
        _expect_echo(talk, probe)


@rule("Probe", _TYPED)
def probe_of_1024_bytes_comes_back(bench: Bench) -> None:
    """The longest line, and its line feed."""
    with bench.talk() as talk:
        talk.say(probe := Probe(line=b"x" * limits.MAX_PROBE_BYTES + b"\n"))
        _expect_echo(talk, probe)


@rule("Probe", _TYPED)
def refuses_a_probe_of_1025_bytes(bench: Bench) -> None:
    """A longer line is a framing error: Ack 0, and the connection ends."""
    with bench.talk(8) as talk:
        talk.say_damaged(bench.unit(bench.bet()), b"x" * (limits.MAX_PROBE_BYTES + 1))
        _expect_ack_0(talk)
        talk.expect_end()


RULES = (
    *(_value_rule(name, what, damage) for name, (what, damage) in VALUES.items()),
    *(_layout_rule(name, what, damage) for name, (what, damage) in LAYOUTS.items()),
    connection_goes_on_after_a_value_error,
    batch_behind_a_refused_one_is_judged_for_itself,
    refuses_a_request_of_agency_0,
    refuses_a_request_that_is_cut_short,
    upload_behind_bets_is_refused,
    refuses_count_0,
    refuses_what_the_end_cuts_short,
    refuses_8193_bytes,
    refuses_an_unknown_type,
    nothing_behind_a_framing_error_is_looked_at,
    probe_comes_back,
    probe_may_follow_bets,
    what_follows_a_probe_is_not_looked_at,
    probe_may_end_with_the_stream,
    probe_of_1024_bytes_comes_back,
    refuses_a_probe_of_1025_bytes,
)
