"""Rules about the uploads of revision 9, which store every bet exactly once."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

import attrs

from bets_protocol import Ack, BetBatch, Probe, RejectCode, WinnersRequest, encode, encode_bets
from bets_protocol.conformance.against_server.mutations import LAYOUTS, agency_0, encoded_bet, other_version
from bets_protocol.conformance.against_server.target import NotTried, RuleList, Target
from bets_protocol.conformance.against_server.wire_client import Broken, WireClient, describe, expect_code

_SECTION = "Exactly-once uploads"
_ONLY_9 = (9,)

RULES = RuleList()

_MANY_UPLOADS = 80
"""Unfinished uploads of one agency that a server may find too many."""


def _expect_opened_or_limit(client: WireClient) -> bool:
    """Whether an upload was opened; if not, the server has answered LIMIT and ended the connection."""
    if expect_code(client.receive(), RejectCode.OK, RejectCode.LIMIT).reason is RejectCode.OK:
        return True
    client.expect_end()
    return False


@contextlib.contextmanager
def _refused(target: Target, code: RejectCode, *, total: int, stored: int = 0) -> Iterator[WireClient]:
    """A connection of an upload with `stored` bets: what the block sends has to be refused with `code`, not stored."""
    upload = target.upload(total)
    with target.opened(upload) as client:
        for _ in range(stored):
            target.submit(client, target.bet())
        yield client
        client.expect_last_code(code)
    with target.connect() as client:
        found = target.open(client, upload).stored
    if found != stored:
        raise Broken(f"{found} bets stored of the upload, where {stored} were acknowledged")


@RULES.rule("Codes", _ONLY_9)
def uploads_beyond_a_limit_are_refused(target: Target) -> None:
    """A further upload of an agency gets 0, or 12 (LIMIT) and the end of the connection; open uploads go on."""
    agency = target.extra_agency()
    with target.ready(1, agency=agency) as client:
        for _ in range(_MANY_UPLOADS):
            upload = target.upload(1, agency=agency)
            with target.connect() as another:
                another.send(upload)
                if not _expect_opened_or_limit(another):
                    break
            target.unfinished.append(upload)
        target.submit(client, target.bet(agency=agency))


@RULES.rule(_SECTION, _ONLY_9)
def upload_goes_on_where_it_stopped(target: Target) -> None:
    """Opened again, an upload goes on after its stored bets; the answer has their number and their CRC-32."""
    upload, bets = target.upload(5), target.bets(5)
    with target.opened(upload) as client:
        target.submit(client, *bets[:2])
        target.submit(client, bets[2])
    with target.connect() as client:
        status = target.open(client, upload)
        if status.stored != 3:
            raise Broken(f"{describe(status)}, where 3 were acknowledged")
        if status.crc32 != (crc32 := zlib.crc32(encode_bets(bets[:3]))):
            raise Broken(f"the CRC-32 {status.crc32:#010x}, where it is {crc32:#010x} over what was acknowledged")
        target.submit(client, *bets[3:])


@RULES.rule(_SECTION, _ONLY_9)
def older_connection_is_fenced(target: Target) -> None:
    """Once a newer connection has opened the upload, the older one gets 4 (FENCED) and stores nothing more."""
    upload = target.upload(2)
    with target.opened(upload) as old, target.opened(upload) as new:
        old.send(target.message(target.bet()))
        old.expect_last_code(RejectCode.FENCED)
        target.submit(new, *target.bets(2))


@RULES.rule("Codes", _ONLY_9)
def same_name_with_another_total_is_refused(target: Target) -> None:
    """An upload that is opened again with another total gets 5 (MISMATCH), then the connection ends."""
    upload = target.upload(2)
    with target.opened(upload):
        pass
    with target.connect() as client:
        client.send(attrs.evolve(upload, total=3))
        client.expect_last_code(RejectCode.MISMATCH)


@RULES.rule("Codes", _ONLY_9)
def more_bets_than_the_total_are_refused(target: Target) -> None:
    """A batch with more bets than the total allows gets 6 (OVERRUN), then the connection ends; none is stored."""
    with _refused(target, RejectCode.OVERRUN, total=2, stored=1) as client:
        client.send(target.message(*target.bets(2)))


@RULES.rule("Codes", _ONLY_9)
def refusals_say_what_is_stored(target: Target) -> None:
    """With a code other than 0, `stored` and `crc32` are those of the bets that are stored."""
    bets = target.bets(2)
    with target.ready(3) as client:
        target.submit(client, *bets)
        client.send(target.message(*target.bets(2)))
        status = expect_code(client.receive(), RejectCode.OVERRUN)
    if (status.stored, status.crc32) != (2, zlib.crc32(encode_bets(bets))):
        raise Broken(f"{describe(status)}, CRC-32 {status.crc32:#010x}, where 2 were acknowledged")


@RULES.rule("Codes", _ONLY_9)
def another_draw_is_refused(target: Target) -> None:
    """An OpenUpload for another draw gets 14 (WRONG_DRAW), then the connection ends."""
    with target.connect() as client:
        client.send(attrs.evolve(target.upload(0), draw=target.draw_id + 1))
        client.expect_last_code(RejectCode.WRONG_DRAW)


@RULES.rule("Codes", _ONLY_9)
def bets_of_another_agency_are_refused(target: Target) -> None:
    """A batch with a bet of another agency gets 3 (NOT_AUTHORIZED), then the connection ends; none is stored."""
    with _refused(target, RejectCode.NOT_AUTHORIZED, total=2) as client:
        client.send(target.message(target.bet(), target.bet(agency=2)))


@RULES.rule("Codes", _ONLY_9)
def winners_of_another_agency_are_refused(target: Target) -> None:
    """A WinnersRequest of another agency than the upload's gets 3 (NOT_AUTHORIZED), then the connection ends."""
    with target.ready(1) as client:
        target.submit(client, target.bet())
        client.send(WinnersRequest(agency=2))
        client.expect_last_code(RejectCode.NOT_AUTHORIZED)


@RULES.rule("Codes", _ONLY_9)
def nothing_behind_a_refused_message_is_looked_at(target: Target) -> None:
    """After a refused batch, a batch in the same piece gets no answer and is not stored; the connection ends."""
    with _refused(target, RejectCode.OVERRUN, total=1) as client:
        client.send(target.message(*target.bets(2)), target.message(target.bet()))


@RULES.rule("Codes", _ONLY_9)
def framing_error_in_an_upload_is_the_last_word(target: Target) -> None:
    """A framing error gets 1 (BAD_FRAME), then the connection ends; what was acknowledged before stays stored."""
    bad = target.bet()
    _, mutate = LAYOUTS["length-one-short"]
    with _refused(target, RejectCode.BAD_FRAME, total=2, stored=1) as client:
        client.send_mutated(target.message(bad), target.frame(mutate(bad)) + encoded_bet(bad))


@RULES.rule("Whose turn it is", _ONLY_9)
def second_upload_on_a_connection_is_refused(target: Target) -> None:
    """A second OpenUpload on a connection is refused like a framing error, then the connection ends."""
    with target.ready(1) as client:
        client.send_mutated(target.message(target.bet()), encode(target.upload(1), revision=9))
        client.expect_last_code(RejectCode.BAD_FRAME)


@RULES.rule("Whose turn it is", _ONLY_9)
def probe_in_an_upload_is_refused(target: Target) -> None:
    """A probe on the connection of an upload is refused like a framing error, then the connection ends."""
    with target.ready(1) as client:
        client.send_mutated(target.message(target.bet()), encode(Probe(line=b"hello\n"), revision=8))
        client.expect_last_code(RejectCode.BAD_FRAME)


@RULES.rule("Frames", _ONLY_9)
def refuses_another_version(target: Target) -> None:
    """An OpenUpload of a version other than 1 is a framing error: 1 (BAD_FRAME), then the end of the connection."""
    upload = target.upload(1)
    with target.connect() as client:
        client.send_mutated(upload, other_version(upload))
        client.expect_last_code(RejectCode.BAD_FRAME)


@RULES.rule("Codes", _ONLY_9)
def refuses_an_upload_of_agency_0(target: Target) -> None:
    """An OpenUpload of agency 0 gets 1 (BAD_FRAME) or 2 (BAD_BET), then the connection ends."""
    upload = target.upload(1)
    with target.connect() as client:
        client.send_mutated(upload, agency_0(upload, 9))
        client.expect_last_code(RejectCode.BAD_FRAME, RejectCode.BAD_BET)


@RULES.rule("Frames", _ONLY_9)
def refuses_an_opening_that_is_cut_short(target: Target) -> None:
    """An OpenUpload that the end of the stream cuts short gets 1 (BAD_FRAME) or no answer; the connection ends."""
    upload = target.upload(1)
    with target.connect() as client:
        answer = client.send_cut_short(upload, encode(upload, revision=9))
    if answer is not None:
        expect_code(answer, RejectCode.BAD_FRAME)


@RULES.rule(_SECTION, _ONLY_9)
def names_of_uploads_are_an_agency_s_own(target: Target) -> None:
    """Two agencies may use the same name for an upload; these are two uploads."""
    agency = target.extra_agency()
    upload, other = target.upload(2), target.upload(1, agency=agency)
    with target.opened(upload) as client, target.connect() as another:
        target.submit(client, target.bet())
        status = target.open(another, attrs.evolve(other, upload_id=upload.upload_id))
        if status.stored:
            raise Broken(f"{describe(status)}, of an upload that is new")
        target.submit(another, target.bet(agency=agency))
        target.submit(client, target.bet())


@RULES.rule("Codes", _ONLY_9)
def largest_total_is_understood(target: Target) -> None:
    """An OpenUpload with the largest possible total gets 0, or 12 (LIMIT) and the end of the connection."""
    upload = attrs.evolve(target.upload(1, agency=target.extra_agency()), total=2**64 - 1)
    with target.connect() as client:
        client.send(upload)
        _expect_opened_or_limit(client)


@RULES.rule("Codes", _ONLY_9)
def agency_with_other_bets_opens_no_upload(target: Target) -> None:
    """An OpenUpload of an agency with bets of revision 8 gets 15 (MODE_CONFLICT), then the connection ends."""
    agency = target.extra_agency(plain=True)
    with target.connect(8) as client:
        client.send(BetBatch(bets=(target.bet(agency=agency),)))
        if client.receive() == Ack(count=0):
            raise NotTried(f"the server takes no bets of agency {agency}, which its draw does not wait for")
    with target.connect() as client:
        client.send(target.upload(1, agency=agency))
        client.expect_last_code(RejectCode.MODE_CONFLICT)


@RULES.rule(_SECTION, _ONLY_9)
def agency_with_uploads_sends_no_other_bets(target: Target) -> None:
    """A batch on revision 8 of an agency that has an upload in the draw gets Ack 0."""
    with target.ready(1) as client:
        target.submit(client, target.bet())
    with target.connect(8) as client:
        client.send(target.message(target.bet()))
        client.expect_ack_0()
