"""Rules about valid bets: they are stored, however their bytes arrive."""

from __future__ import annotations

from bets_protocol import Bet, encode, limits
from bets_protocol.conformance.against_server.mutations import encoded_bet
from bets_protocol.conformance.against_server.target import RuleList, Target
from bets_protocol.conformance.against_server.wire_client import PAUSE_S
from bets_protocol.conformance.report import EVERY, SINCE_6, UP_TO_8

RULES = RuleList()


@RULES.rule("Ack", UP_TO_8)
def bets_are_acknowledged_with_their_count(target: Target) -> None:
    """The Ack counts the bets of the message (1 for a bare bet) and comes once they are on disk."""
    with target.ready(3) as client:
        target.submit(client, *(target.winning_bet() for _ in range(1 if target.revision == 5 else 3)))


@RULES.rule("Exactly-once uploads", (9,))
def status_counts_and_sums_what_is_stored(target: Target) -> None:
    """OpenUpload and each batch get UploadStatus 0, with the number of bets stored so far and their CRC-32."""
    with target.ready(3) as client:
        target.submit(client, target.winning_bet(), target.winning_bet())
        target.submit(client, target.winning_bet())


@RULES.rule("Revisions", (5, 6))
def connection_ends_after_one_message(target: Target) -> None:
    """The server answers one message and ends the connection."""
    with target.ready(1) as client:
        target.submit(client, target.bet())
        client.expect_end()


@RULES.rule("Revisions", (5, 6))
def second_message_is_not_answered(target: Target) -> None:
    """Of two messages on one connection, the server answers the first; then it ends the connection."""
    with target.ready(1) as client:
        bet = target.bet()
        client.send_bytes(
            client.announce(target.message(bet)) + encode(target.message(target.bet()), revision=target.revision)
        )
        target.expect_stored(client.receive(), bet)
        client.expect_end()


@RULES.rule("Revisions", (8, 9))
def connection_carries_any_number_of_batches(target: Target) -> None:
    """The server answers each of 20 batches that are sent one after the other on one connection."""
    with target.ready(20) as client:
        for _ in range(20):
            target.submit(client, target.bet())


@RULES.rule("BetBatch", (8, 9))
def batches_may_be_sent_ahead(target: Target) -> None:
    """The server answers 32 batches that arrive in one piece, in their order."""
    batches = [target.bets(1 + number % 5) for number in range(32)]
    with target.ready(sum(map(len, batches))) as client:
        client.send(*(target.message(*batch) for batch in batches))
        for batch in batches:
            target.expect_stored(client.receive(), *batch)


@RULES.rule("Frames", EVERY)
def message_may_come_byte_by_byte(target: Target) -> None:
    """A message that arrives byte by byte gets the same answer as a message in one piece."""
    with target.ready(2) as client:
        bets = target.bets(1 if target.revision == 5 else 2)
        client.send_bytewise(client.announce(target.message(*bets)))
        target.expect_stored(client.receive(), *bets)


@RULES.rule("Frames", EVERY)
def first_byte_may_come_alone(target: Target) -> None:
    """The first byte of a message (from revision 7 on its type) may arrive before the rest, in its own segment."""
    with target.ready(1) as client:
        bet = target.bet()
        data = client.announce(target.message(bet))
        client.send_bytes(data[:1])
        client.expect_silence(2 * PAUSE_S)
        client.send_bytes(data[1:])
        target.expect_stored(client.receive(), bet)


@RULES.rule("Revisions", UP_TO_8)
def client_may_end_its_side_first(target: Target) -> None:
    """A client that ends its sending direction after a message gets the answer, then the end of the connection."""
    with target.ready(1) as client:
        bet = target.bet()
        client.send(target.message(bet))
        client.close_writing()
        target.expect_stored(client.receive(), bet)
        client.expect_end()


@RULES.rule("Bet", EVERY)
def longest_names_are_taken(target: Target) -> None:
    """Names of 255 bytes of UTF-8 are accepted, with characters of one, two, three and four bytes."""
    bet = target.bet(first_name="x" + "é" * 127, last_name="日" * 81 + "🎲" * 3)
    with target.ready(1) as client:
        target.submit(client, bet)


@RULES.rule("Bet", EVERY)
def extreme_values_are_taken(target: Target) -> None:
    """The numbers 0 and 9999 are accepted, the first and the last date, and 29 February of a leap year."""
    days = ("0001-01-01", "9999-12-31", "2000-02-29")
    for birthdate, number in zip(days, (0, limits.MAX_BETTING_NUMBER, 0), strict=True):
        with target.ready(1) as client:
            target.submit(client, target.bet(birthdate=birthdate, number=number))


@RULES.rule("Bet", SINCE_6)
def equal_bets_are_two_bets(target: Target) -> None:
    """A bet that is twice in a batch is stored twice."""
    bet = target.winning_bet()
    with target.ready(2) as client:
        target.submit(client, bet, bet)


@RULES.rule("BetBatch", SINCE_6)
def batch_of_255_bets_is_taken(target: Target) -> None:
    """A batch of 255 bets, the most that its count can say, is accepted."""
    bets = [target.bet(first_name="A", last_name="B") for _ in range(limits.MAX_BATCH_BETS)]
    with target.ready(len(bets)) as client:
        target.submit(client, *bets)


@RULES.rule("BetBatch", SINCE_6)
def batch_of_8192_bytes_is_taken(target: Target) -> None:
    """A batch of exactly 8192 bytes, the largest frame, is accepted."""
    bets = full_batch(target)
    with target.ready(len(bets)) as client:
        target.submit(client, *bets)


def full_batch(target: Target) -> list[Bet]:
    """Bets that make a frame of exactly 8192 bytes; the first name of the last one can still grow."""
    bets = [target.bet(first_name="x" * 255, last_name="y" * 255) for _ in range(15)]
    bets.append(target.bet(first_name="x", last_name="y" * 100))
    size = len(target.frame(*map(encoded_bet, bets)))
    room = limits.MAX_FRAME_BYTES - size
    bets[-1] = target.bet(first_name="x" * (1 + room), last_name="y" * 100)
    return bets
