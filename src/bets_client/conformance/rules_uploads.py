"""Rules about uploads, which revision 9 has: what stores every bet exactly once."""

from __future__ import annotations

import zlib

import attrs

from bets_client.conformance.bench import Bench, expect_code, rule, said
from bets_client.conformance.damage import LAYOUTS, encoded_bet
from bets_client.conformance.talk import Broken, Talk
from bets_protocol import Ack, OpenUpload, RejectCode, WinnersRequest, encode, encode_bets

_SECTION = "Exactly-once uploads"
_ONLY_9 = (9,)


def _expect_last_word(talk: Talk, code: RejectCode) -> None:
    expect_code(talk.answer(), code)
    talk.expect_end()


def _expect_stored(bench: Bench, upload: OpenUpload, stored: int) -> None:
    """Opens an upload again on a connection of its own and looks at what is stored of it."""
    with bench.talk() as talk:
        found = bench.open(talk, upload).stored
    if found != stored:
        raise Broken(f"{found} bets stored of the upload, where {stored} were acknowledged")


@rule(_SECTION, _ONLY_9)
def upload_goes_on_where_it_stopped(bench: Bench) -> None:
    """OpenUpload of an upload that was cut off says how many bets are stored and their CRC-32; the rest fits."""
    upload, bets = bench.upload(5), bench.bets(5)
    with bench.talk() as talk:
        bench.open(talk, upload)
        bench.hand_in(talk, *bets[:2])
        bench.hand_in(talk, bets[2])
    with bench.talk() as talk:
        status = bench.open(talk, upload)
        if status.stored != 3:
            raise Broken(f"{said(status)}, where 3 were acknowledged")
        if status.crc32 != (crc32 := zlib.crc32(encode_bets(bets[:3]))):
            raise Broken(f"the CRC-32 {status.crc32:#010x}, where it is {crc32:#010x} over what was acknowledged")
        bench.hand_in(talk, *bets[3:])


@rule(_SECTION, _ONLY_9)
def older_connection_is_fenced(bench: Bench) -> None:
    """Once a newer connection has the upload, the older one is told 4 (FENCED) and stores nothing more."""
    upload = bench.upload(2)
    with bench.talk() as old, bench.talk() as new:
        bench.open(old, upload)
        bench.open(new, upload)
        old.say(bench.unit(bench.bet()))
        _expect_last_word(old, RejectCode.FENCED)
        bench.hand_in(new, *bench.bets(2))


@rule("Codes", _ONLY_9)
def same_name_with_another_total_is_refused(bench: Bench) -> None:
    """5 (MISMATCH), and the connection ends."""
    upload = bench.upload(2)
    with bench.talk() as talk:
        bench.open(talk, upload)
    with bench.talk() as talk:
        talk.say(attrs.evolve(upload, total=3))
        _expect_last_word(talk, RejectCode.MISMATCH)


@rule("Codes", _ONLY_9)
def more_bets_than_the_total_are_refused(bench: Bench) -> None:
    """6 (OVERRUN), and the connection ends; nothing of that batch is stored."""
    upload = bench.upload(2)
    with bench.talk() as talk:
        bench.open(talk, upload)
        bench.hand_in(talk, bench.bet())
        talk.say(bench.unit(*bench.bets(2)))
        _expect_last_word(talk, RejectCode.OVERRUN)
    _expect_stored(bench, upload, 1)


@rule("Codes", _ONLY_9)
def another_draw_is_refused(bench: Bench) -> None:
    """14 (WRONG_DRAW), and the connection ends."""
    with bench.talk() as talk:
        talk.say(attrs.evolve(bench.upload(0), draw=bench.draw_id + 1))
        _expect_last_word(talk, RejectCode.WRONG_DRAW)


@rule("Codes", _ONLY_9)
def bets_of_another_agency_are_refused(bench: Bench) -> None:
    """3 (NOT_AUTHORIZED), and the connection ends; nothing of that batch is stored."""
    upload = bench.upload(2)
    with bench.talk() as talk:
        bench.open(talk, upload)
        talk.say(bench.unit(bench.bet(), bench.bet(agency=2)))
        _expect_last_word(talk, RejectCode.NOT_AUTHORIZED)
    _expect_stored(bench, upload, 0)


@rule("Codes", _ONLY_9)
def winners_of_another_agency_are_refused(bench: Bench) -> None:
    """3 (NOT_AUTHORIZED) to a WinnersRequest of another agency than the upload's, and the connection ends."""
    upload = bench.upload(1)
    with bench.talk() as talk:
        bench.open(talk, upload)
        bench.hand_in(talk, bench.bet())
        talk.say(WinnersRequest(agency=2))
        _expect_last_word(talk, RejectCode.NOT_AUTHORIZED)


@rule("Codes", _ONLY_9)
def nothing_behind_a_refused_message_is_looked_at(bench: Bench) -> None:
    """A batch that does not fit, and one behind it that would: one answer, the end, and nothing stored."""
    upload = bench.upload(1)
    with bench.talk() as talk:
        bench.open(talk, upload)
        talk.say(bench.unit(*bench.bets(2)), bench.unit(bench.bet()))
        _expect_last_word(talk, RejectCode.OVERRUN)
    _expect_stored(bench, upload, 0)


@rule("Codes", _ONLY_9)
def framing_error_in_an_upload_is_the_last_word(bench: Bench) -> None:
    """1 (BAD_FRAME), and the connection ends; what was acknowledged before stays."""
    upload, bad = bench.upload(2), bench.bet()
    _, damage = LAYOUTS["length-one-short"]
    with bench.talk() as talk:
        bench.open(talk, upload)
        bench.hand_in(talk, bench.bet())
        talk.say_damaged(bench.unit(bad), bench.frame(damage(bad)) + encoded_bet(bad))
        _expect_last_word(talk, RejectCode.BAD_FRAME)
    _expect_stored(bench, upload, 1)


@rule("Whose turn it is", _ONLY_9)
def second_upload_on_a_connection_is_refused(bench: Bench) -> None:
    """A connection is bound to one upload: another OpenUpload is answered like a framing error, and the end."""
    with bench.talk() as talk:
        bench.open(talk, bench.upload(1))
        batch = bench.unit(bench.bet())
        talk.say_damaged(batch, encode(bench.upload(1), revision=9))
        _expect_last_word(talk, RejectCode.BAD_FRAME)


@rule(_SECTION, _ONLY_9)
def agency_with_uploads_sends_no_other_bets(bench: Bench) -> None:
    """A batch of revision 8 of an agency that has an upload in the draw is refused: Ack 0."""
    with bench.ready(1) as talk:
        bench.hand_in(talk, bench.bet())
    with bench.talk(8) as talk:
        talk.say(bench.unit(bench.bet()))
        if (answer := talk.answer()) != Ack(count=0):
            raise Broken(said(answer))


RULES = (
    upload_goes_on_where_it_stopped,
    older_connection_is_fenced,
    same_name_with_another_total_is_refused,
    more_bets_than_the_total_are_refused,
    another_draw_is_refused,
    bets_of_another_agency_are_refused,
    winners_of_another_agency_are_refused,
    nothing_behind_a_refused_message_is_looked_at,
    framing_error_in_an_upload_is_the_last_word,
    second_upload_on_a_connection_is_refused,
    agency_with_uploads_sends_no_other_bets,
)
