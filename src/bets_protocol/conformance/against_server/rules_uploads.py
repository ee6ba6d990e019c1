"""Rules about uploads, which revision 9 has: what stores every bet exactly once."""

from __future__ import annotations

import zlib

import attrs

from bets_protocol import (
    Ack,
    BetBatch,
    OpenUpload,
    Probe,
    RejectCode,
    UploadStatus,
    WinnersRequest,
    encode,
    encode_bets,
)
from bets_protocol.conformance.against_server.mutations import LAYOUTS, agency_0, encoded_bet, other_version
from bets_protocol.conformance.against_server.target import Bench, NotTried, expect_code, rule, said
from bets_protocol.conformance.against_server.wire_client import Answer, Broken, Talk

_SECTION = "Exactly-once uploads"
_ONLY_9 = (9,)

_LARGEST_TOTAL = 2**64 - 1
_MANY_UPLOADS = 80
"""Unfinished uploads of one agency that a server may find too many."""


def _expect_last_word(talk: Talk, code: RejectCode) -> None:
    expect_code(talk.answer(), code)
    talk.expect_end()


def _is_of(answer: Answer, *codes: RejectCode) -> bool:
    return isinstance(answer, UploadStatus) and answer.reason in codes


def _expect_opened_or_limit(talk: Talk) -> bool:
    """Whether an upload was opened; else the server has said LIMIT, and ends the connection."""
    answer = talk.answer()
    if _is_of(answer, RejectCode.OK):
        return True
    expect_code(answer, RejectCode.LIMIT)
    talk.expect_end()
    return False


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
def refusals_say_what_is_stored(bench: Bench) -> None:
    """`stored` and `crc32` beside a code other than 0 are those of what is stored."""
    upload, bets = bench.upload(3), bench.bets(2)
    with bench.talk() as talk:
        bench.open(talk, upload)
        bench.hand_in(talk, *bets)
        talk.say(bench.unit(*bench.bets(2)))
        status = expect_code(talk.answer(), RejectCode.OVERRUN)
    if (status.stored, status.crc32) != (2, zlib.crc32(encode_bets(bets))):
        raise Broken(f"{said(status)}, CRC-32 {status.crc32:#010x}, where 2 were acknowledged")


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


@rule("Whose turn it is", _ONLY_9)
def probe_in_an_upload_is_refused(bench: Bench) -> None:
    """A connection that is bound to an upload is not there for probes: answered like a framing error, and the end."""
    with bench.talk() as talk:
        bench.open(talk, bench.upload(1))
        talk.say_damaged(bench.unit(bench.bet()), encode(Probe(line=b"hello\n"), revision=8))
        _expect_last_word(talk, RejectCode.BAD_FRAME)


@rule("Frames", _ONLY_9)
def refuses_another_version(bench: Bench) -> None:
    """An OpenUpload of another version than 1 is a framing error: 1 (BAD_FRAME), and the connection ends."""
    upload = bench.upload(1)
    with bench.talk() as talk:
        talk.say_damaged(upload, other_version(upload))
        _expect_last_word(talk, RejectCode.BAD_FRAME)


@rule("Codes", _ONLY_9)
def refuses_an_upload_of_agency_0(bench: Bench) -> None:
    """1 (BAD_FRAME) or 2 (BAD_BET), and the connection ends."""
    upload = bench.upload(1)
    with bench.talk() as talk:
        talk.say_damaged(upload, agency_0(upload, 9))
        answer = talk.answer()
        if not _is_of(answer, RejectCode.BAD_FRAME, RejectCode.BAD_BET):
            raise Broken(said(answer))
        talk.expect_end()


@rule("Frames", _ONLY_9)
def refuses_an_opening_that_is_cut_short(bench: Bench) -> None:
    """An OpenUpload that the end of the stream cuts short: 1 (BAD_FRAME) or nothing, and the end."""
    upload = bench.upload(1)
    with bench.talk() as talk:
        talk.say_damaged(upload, encode(upload, revision=9)[:-1])
        talk.end_side()
        answer = talk.last_answer()
    if answer is not None:
        expect_code(answer, RejectCode.BAD_FRAME)


@rule("Codes", _ONLY_9)
def uploads_beyond_a_limit_are_refused(bench: Bench) -> None:
    """One upload of an agency after the other: 0, or 12 (LIMIT) and the end; those that are open go on."""
    agency = bench.stranger()
    first = bench.upload(1, agency=agency)
    with bench.talk() as talk:
        bench.open(talk, first)
        for _ in range(_MANY_UPLOADS):
            upload = bench.upload(1, agency=agency)
            with bench.talk() as another:
                another.say(upload)
                if not _expect_opened_or_limit(another):
                    break
            bench.remember(upload)
        bench.hand_in(talk, bench.bet(agency=agency))


@rule(_SECTION, _ONLY_9)
def names_of_uploads_are_an_agency_s_own(bench: Bench) -> None:
    """An upload of another agency with the same name is another upload."""
    agency = bench.stranger()
    upload, other = bench.upload(2), bench.upload(1, agency=agency)
    with bench.talk() as talk, bench.talk() as another:
        bench.open(talk, upload)
        bench.hand_in(talk, bench.bet())
        status = bench.open(another, attrs.evolve(other, upload_id=upload.upload_id))
        if status.stored:
            raise Broken(f"{said(status)}, of an upload that is new")
        bench.hand_in(another, bench.bet(agency=agency))
        bench.hand_in(talk, bench.bet())


@rule("Codes", _ONLY_9)
def largest_total_is_understood(bench: Bench) -> None:
    """An OpenUpload with the largest total that there is: 0, or 12 (LIMIT) and the end of the connection."""
    upload = attrs.evolve(bench.upload(1, agency=bench.stranger()), total=_LARGEST_TOTAL)
    with bench.talk() as talk:
        talk.say(upload)
        _expect_opened_or_limit(talk)


@rule("Codes", _ONLY_9)
def agency_with_other_bets_opens_no_upload(bench: Bench) -> None:
    """An OpenUpload of an agency that has sent bets on revision 8: 15 (MODE_CONFLICT), and the connection ends."""
    agency = bench.stranger(plain=True)
    with bench.talk(8) as talk:
        talk.say(BetBatch(bets=(bench.bet(agency=agency),)))
        if talk.answer() == Ack(count=0):
            raise NotTried(f"the server takes no bets of agency {agency}, which its draw does not wait for")
    with bench.talk() as talk:
        talk.say(bench.upload(1, agency=agency))
        _expect_last_word(talk, RejectCode.MODE_CONFLICT)


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
    uploads_beyond_a_limit_are_refused,
    upload_goes_on_where_it_stopped,
    older_connection_is_fenced,
    same_name_with_another_total_is_refused,
    more_bets_than_the_total_are_refused,
    refusals_say_what_is_stored,
    another_draw_is_refused,
    bets_of_another_agency_are_refused,
    winners_of_another_agency_are_refused,
    nothing_behind_a_refused_message_is_looked_at,
    framing_error_in_an_upload_is_the_last_word,
    second_upload_on_a_connection_is_refused,
    probe_in_an_upload_is_refused,
    refuses_another_version,
    refuses_an_upload_of_agency_0,
    refuses_an_opening_that_is_cut_short,
    names_of_uploads_are_an_agency_s_own,
    largest_total_is_understood,
    agency_with_other_bets_opens_no_upload,
    agency_with_uploads_sends_no_other_bets,
)
