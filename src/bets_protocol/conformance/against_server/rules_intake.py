"""Rules about bets that are sound: they are stored, however their bytes arrive."""

from __future__ import annotations

from bets_protocol import Bet, encode, limits
from bets_protocol.conformance.against_server.mutations import encoded_bet
from bets_protocol.conformance.against_server.target import EVERY, LASTING, PLAIN, SINGLE, Bench, rule
from bets_protocol.conformance.against_server.wire_client import PAUSE_S


@rule("Ack", PLAIN)
def bets_are_acknowledged_with_their_count(bench: Bench) -> None:
    """The batch's own count (1 for a bare bet), once the bets are on disk."""
    with bench.ready(3) as talk:
        bench.hand_in(talk, *(bench.winning_bet() for _ in range(1 if bench.revision == 5 else 3)))


@rule("Exactly-once uploads", (9,))
def status_counts_and_sums_what_is_stored(bench: Bench) -> None:
    """UploadStatus 0 to OpenUpload and to each batch, with the running number of bets and CRC-32."""
    with bench.ready(3) as talk:
        bench.hand_in(talk, bench.winning_bet(), bench.winning_bet())
        bench.hand_in(talk, bench.winning_bet())


@rule("Revisions", SINGLE)
def connection_ends_after_one_message(bench: Bench) -> None:
    """The server answers one message and ends the connection."""
    with bench.ready(1) as talk:
        bench.hand_in(talk, bench.bet())
        talk.expect_end()


@rule("Revisions", SINGLE)
def second_message_is_not_answered(bench: Bench) -> None:
    """Of two messages on one connection the first is answered; then the connection ends."""
    with bench.ready(1) as talk:
        bet = bench.bet()
        talk.say_bytes(talk.announce(bench.unit(bet)) + encode(bench.unit(bench.bet()), revision=bench.revision))
        bench.expect_stored(talk.answer(), bet)
        talk.expect_end()


@rule("Revisions", LASTING)
def connection_carries_any_number_of_batches(bench: Bench) -> None:
    """One batch after another on one connection, each answered when it was said."""
    with bench.ready(20) as talk:
        for _ in range(20):
            bench.hand_in(talk, bench.bet())


@rule("BetBatch", LASTING)
def batches_may_be_sent_ahead(bench: Bench) -> None:
    """32 batches in one piece are answered in their order."""
    batches = [bench.bets(1 + number % 5) for number in range(32)]
    with bench.ready(sum(map(len, batches))) as talk:
        talk.say(*(bench.unit(*batch) for batch in batches))
        for batch in batches:
            bench.expect_stored(talk.answer(), *batch)


@rule("Frames", EVERY)
def message_may_come_byte_by_byte(bench: Bench) -> None:
    """The same answer as to a message in one piece."""
    with bench.ready(2) as talk:
        bets = bench.bets(1 if bench.revision == 5 else 2)
        talk.say_in_pieces(talk.announce(bench.unit(*bets)))
        bench.expect_stored(talk.answer(), *bets)


@rule("Frames", EVERY)
def first_byte_may_come_alone(bench: Bench) -> None:
    """The type byte (in revisions without: the first byte) and the rest in segments of their own."""
    with bench.ready(1) as talk:
        bet = bench.bet()
        data = talk.announce(bench.unit(bet))
        talk.say_bytes(data[:1])
        talk.stay_silent(2 * PAUSE_S)
        talk.say_bytes(data[1:])
        bench.expect_stored(talk.answer(), bet)


@rule("Revisions", PLAIN)
def client_may_end_its_side_first(bench: Bench) -> None:
    """A client that ends its side behind a whole message gets the answer, then the end."""
    with bench.ready(1) as talk:
        bet = bench.bet()
        talk.say(bench.unit(bet))
        talk.end_side()
        bench.expect_stored(talk.answer(), bet)
        talk.expect_end()


@rule("Bet", EVERY)
def longest_names_are_taken(bench: Bench) -> None:
    """Names of 255 bytes of UTF-8, in one, two, three and four bytes a character."""
    bet = bench.bet(first_name="x" + "é" * 127, last_name="日" * 81 + "🎲" * 3)
    with bench.ready(1) as talk:
        bench.hand_in(talk, bet)


@rule("Bet", EVERY)
def extreme_values_are_taken(bench: Bench) -> None:
    """Number 0 and 9999, the first day that there is, the last, and 29 February of a year that has one."""
    days = ("0001-01-01", "9999-12-31", "2000-02-29")
    for birthdate, number in zip(days, (0, limits.MAX_BETTING_NUMBER, 0), strict=True):
        with bench.ready(1) as talk:
            bench.hand_in(talk, bench.bet(birthdate=birthdate, number=number))


@rule("Bet", (6, 7, 8, 9))
def equal_bets_are_two_bets(bench: Bench) -> None:
    """The same bet twice in a batch is stored twice."""
    bet = bench.winning_bet()
    with bench.ready(2) as talk:
        bench.hand_in(talk, bet, bet)


@rule("BetBatch", (6, 7, 8, 9))
def batch_of_255_bets_is_taken(bench: Bench) -> None:
    """As many bets as the count can say."""
    bets = [bench.bet(first_name="A", last_name="B") for _ in range(limits.MAX_BATCH_BETS)]
    with bench.ready(len(bets)) as talk:
        bench.hand_in(talk, *bets)


@rule("BetBatch", (6, 7, 8, 9))
def batch_of_8192_bytes_is_taken(bench: Bench) -> None:
    """A whole frame of exactly 8192 bytes."""
    bets = full_batch(bench)
    with bench.ready(len(bets)) as talk:
        bench.hand_in(talk, *bets)


def full_batch(bench: Bench) -> list[Bet]:
    """Bets that make a frame of exactly 8192 bytes; the last has a name to spare."""
    bets = [bench.bet(first_name="x" * 255, last_name="y" * 255) for _ in range(15)]
    bets.append(bench.bet(first_name="x", last_name="y" * 100))
    size = len(bench.frame(*map(encoded_bet, bets)))
    room = limits.MAX_FRAME_BYTES - size
    bets[-1] = bench.bet(first_name="x" * (1 + room), last_name="y" * 100)
    return bets


RULES = (
    bets_are_acknowledged_with_their_count,
    status_counts_and_sums_what_is_stored,
    connection_ends_after_one_message,
    second_message_is_not_answered,
    connection_carries_any_number_of_batches,
    batches_may_be_sent_ahead,
    message_may_come_byte_by_byte,
    first_byte_may_come_alone,
    client_may_end_its_side_first,
    longest_names_are_taken,
    extreme_values_are_taken,
    equal_bets_are_two_bets,
    batch_of_255_bets_is_taken,
    batch_of_8192_bytes_is_taken,
)
