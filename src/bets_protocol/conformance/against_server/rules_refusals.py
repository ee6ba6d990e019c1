"""Rules about invalid bytes: what is refused, with which answer, and whether the connection goes on."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import Ack, Bet, BetBatch, Probe, RejectCode, WinnersRequest, encode, limits
from bets_protocol.conformance.against_server.mutations import LAYOUTS, VALUES, agency_0, encoded_bet
from bets_protocol.conformance.against_server.rules_intake import full_batch
from bets_protocol.conformance.against_server.target import RuleList, ServerRule, Target
from bets_protocol.conformance.against_server.wire_client import Broken, WireClient, describe
from bets_protocol.conformance.report import EVERY, SINCE_6, SINCE_7


def _value_rule(name: str, what: str, mutate: Callable[[Bet], bytes]) -> ServerRule:
    """A value error is refused, alone and as the second of three bets."""

    def check(target: Target) -> None:
        bets = [target.winning_bet() for _ in range(1 if target.revision == 5 else 3)]
        parts = [*map(encoded_bet, bets)]
        at = len(bets) // 2
        parts[at] = mutate(bets[at])
        with target.ready(len(bets)) as client:
            client.send_mutated(target.message(*bets), target.frame(*parts))
            target.expect_refused(client.receive(), RejectCode.BAD_BET, *bets)
            if target.revision >= 9:
                client.expect_end()

    expected = f"A valid frame in which a bet has {what} is refused: with 2 (BAD_BET) on revision 9, else with Ack 0."
    return ServerRule(name=f"refuses-{name}", section="Bet", expected=expected, revisions=EVERY, check=check)


def _layout_rule(name: str, what: str, mutate: Callable[[Bet], bytes]) -> ServerRule:
    """A framing error inside a bet is refused, and the connection ends."""

    def check(target: Target) -> None:
        bets = [target.winning_bet() for _ in range(1 if target.revision == 5 else 2)]
        with target.ready(len(bets)) as client:
            parts = [mutate(bets[0]), *map(encoded_bet, bets[1:])]
            # The bet at the end gives a length that is too long enough bytes to read.
            client.send_mutated(target.message(*bets), target.frame(*parts) + encoded_bet(target.bet()))
            _expect_framing_error(target, client, *bets)

    expected = f"A bet with {what} is a framing error: the server refuses it and ends the connection."
    return ServerRule(name=f"refuses-{name}", section="Frames", expected=expected, revisions=EVERY, check=check)


def _expect_framing_error(target: Target, client: WireClient, *bets: Bet) -> None:
    target.expect_refused(client.receive(), RejectCode.BAD_FRAME, *bets)
    client.expect_end()


RULES = RuleList(_value_rule(name, what, mutate) for name, (what, mutate) in VALUES.items())
RULES += [_layout_rule(name, what, mutate) for name, (what, mutate) in LAYOUTS.items()]


@RULES.rule("Ack", (8,))
def connection_goes_on_after_a_value_error(target: Target) -> None:
    """A value error gets Ack 0, and the next batch on the same connection is stored."""
    _, mutate = VALUES["document-letter"]
    with target.ready(2) as client:
        bad, good = target.winning_bet(), target.winning_bet()
        client.send_mutated(target.message(bad), target.frame(mutate(bad)))
        target.expect_refused(client.receive(), RejectCode.BAD_BET, bad)
        target.submit(client, good)


@RULES.rule("BetBatch", (8,))
def batch_behind_a_refused_one_is_judged_for_itself(target: Target) -> None:
    """Of a batch with a value error and a valid one in one piece, the first gets Ack 0, the second its count."""
    _, mutate = VALUES["document-letter"]
    bad, good = target.winning_bet(), target.winning_bet()
    with target.ready(2) as client:
        data = target.frame(mutate(bad)) + target.frame(encoded_bet(good))
        for bet in (bad, good):
            client.announce(target.message(bet))
        client.send_bytes(data)
        target.expect_refused(client.receive(), RejectCode.BAD_BET, bad)
        target.expect_stored(client.receive(), good)


@RULES.rule("WinnersRequest", (7, 8))
def refuses_a_request_of_agency_0(target: Target) -> None:
    """A WinnersRequest of agency 0 is a value error: it gets Ack 0, and on revision 8 the connection stays open."""
    request = WinnersRequest(agency=1)
    with target.connect() as client:
        # Here and below a batch is announced, since the answer to expect is an Ack.
        client.send_mutated(target.message(target.bet()), agency_0(request, target.revision))
        client.expect_ack_0()
        if target.revision == 8:
            target.submit(client, target.bet())


@RULES.rule("Frames", (7, 8))
def refuses_a_request_that_is_cut_short(target: Target) -> None:
    """Half a WinnersRequest before the end of the stream gets Ack 0 or no answer, and seals no agency."""
    request = WinnersRequest(agency=1)
    with target.connect() as client:
        answer = client.send_cut_short(target.message(target.bet()), encode(request, revision=target.revision))
    if answer is not None and answer != Ack(count=0):
        raise Broken(describe(answer))
    with target.ready(1) as client:
        target.submit(client, target.bet())


@RULES.rule("Whose turn it is", (8,))
def upload_behind_bets_is_refused(target: Target) -> None:
    """An OpenUpload after bets is refused like a framing error: Ack 0, then the end of the connection."""
    with target.connect() as client:
        target.submit(client, target.bet())
        client.send_mutated(target.message(target.bet()), encode(target.upload(0), revision=9))
        client.expect_ack_0()
        client.expect_end()


@RULES.rule("Frames", SINCE_6)
def refuses_count_0(target: Target) -> None:
    """A batch without bets is a framing error: the server refuses it and ends the connection."""
    bet = target.winning_bet()
    header = target.frame(encoded_bet(bet)).removesuffix(encoded_bet(bet))
    with target.ready(1) as client:
        client.send_mutated(target.message(bet), header[:-1] + bytes(1))  # the count is the last byte before the bets
        _expect_framing_error(target, client)


@RULES.rule("Frames", EVERY)
def refuses_what_the_end_cuts_short(target: Target) -> None:
    """A message that the end of the stream cuts short is refused or gets no answer, and nothing of it is stored."""
    bet = target.winning_bet()
    target.refused.add(bet.document)
    with target.ready(1) as client:
        message = target.message(bet)
        answer = client.send_cut_short(message, encode(message, revision=target.revision))
    if answer is not None:
        target.expect_refused(answer, RejectCode.BAD_FRAME)


@RULES.rule("Frames", SINCE_6)
def refuses_8193_bytes(target: Target) -> None:
    """A batch of 8193 bytes is a framing error: the server refuses it before its end and ends the connection."""
    bets = full_batch(target)
    longer = attrs.evolve(bets[-1], first_name=bets[-1].first_name + "x")
    data = target.frame(*map(encoded_bet, [*bets[:-1], longer]))
    with target.ready(len(bets)) as client:
        # The last byte is not sent: the server has to notice without it.
        client.send_mutated(target.message(*bets), data[:-1])
        _expect_framing_error(target, client)


@RULES.rule("Typed messages", SINCE_7)
def refuses_an_unknown_type(target: Target) -> None:
    """A first byte that begins no message and no probe is a framing error: Ack 0, then the end of the connection."""
    # Both ends, and the neighbours of the types 1 to 3 and of the printable characters, which begin a probe.
    for first in (0, 4, 0x1F, 0x7F, 255):
        with target.connect(8) as client:
            message = target.message(target.winning_bet())
            client.send_mutated(message, bytes([first]) + encode(message, revision=8)[1:])
            client.expect_ack_0()
            client.expect_end()


@RULES.rule("Typed messages", (7, 8))
def nothing_behind_a_framing_error_is_looked_at(target: Target) -> None:
    """A valid batch after a framing error gets no answer and is not stored."""
    bad, behind = target.winning_bet(), target.winning_bet()
    _, mutate = LAYOUTS["length-one-short"]
    with target.ready(2) as client:
        data = target.frame(mutate(bad), encoded_bet(bad)) + target.frame(encoded_bet(behind))
        client.send_mutated(target.message(bad), data)
        _expect_framing_error(target, client, bad, behind)


def _expect_echo(client: WireClient, line: bytes, behind: bytes = b"") -> None:
    """Sends a probe, `behind` in the same piece, and the end of the stream if the line has no line feed."""
    probe = Probe(line=line)
    client.send_bytes(client.announce(probe) + behind)
    if not line.endswith(b"\n"):
        client.close_writing()
    if (answer := client.receive()) != probe:
        raise Broken(f"{answer!r}"[:200])
    client.expect_end()


@RULES.rule("Probe", SINCE_7)
def probe_comes_back(target: Target) -> None:
    """The server sends a probe back unchanged, whatever bytes its line has, and ends the connection."""
    for line in (b"hello\n", b" \n", "[CLIENT 1] Message N°1\r\n".encode(), b"~\x00\xff\n"):
        with target.connect() as client:
            _expect_echo(client, line)


@RULES.rule("Probe", (8,))
def probe_may_follow_bets(target: Target) -> None:
    """The server sends a probe after an answered batch back as well, and ends the connection."""
    with target.connect() as client:
        target.submit(client, target.bet())
        _expect_echo(client, b"hello\n")


@RULES.rule("Probe", SINCE_7)
def what_follows_a_probe_is_not_looked_at(target: Target) -> None:
    """A batch after a probe, in the same piece, is neither answered nor stored."""
    bet = target.winning_bet()
    target.refused.add(bet.document)
    with target.connect(8) as client:
        _expect_echo(client, b"hello\n", encode(BetBatch(bets=(bet,)), revision=8))


@RULES.rule("Probe", SINCE_7)
def probe_may_end_with_the_stream(target: Target) -> None:
    """A probe that ends with the client's stream, without a line feed, comes back unchanged."""
    with target.connect() as client:
        _expect_echo(client, b"hello")


@RULES.rule("Probe", SINCE_7)
def probe_of_1024_bytes_comes_back(target: Target) -> None:
    """A probe of 1024 bytes, the most, and a line feed comes back."""
    with target.connect() as client:
        _expect_echo(client, b"x" * limits.MAX_PROBE_BYTES + b"\n")


@RULES.rule("Probe", SINCE_7)
def refuses_a_probe_of_1025_bytes(target: Target) -> None:
    """A line of 1025 bytes is a framing error: Ack 0, then the end of the connection."""
    with target.connect(8) as client:
        client.send_mutated(target.message(target.bet()), b"x" * (limits.MAX_PROBE_BYTES + 1))
        client.expect_ack_0()
        client.expect_end()
