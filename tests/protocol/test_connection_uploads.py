"""Revision 9 on both ends: who may say what when, what it is answered with, and what becomes of a wrong answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    BetRun,
    ClientConnection,
    DecodeError,
    EncodedBatch,
    InvalidFrame,
    LocalProtocolError,
    OpenUpload,
    Probe,
    RejectCode,
    SequenceError,
    ServerConnection,
    TruncatedFrame,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode,
    encode_bets,
)
from bets_protocol.connection.turns import ENDING_CODES, PLAIN_REPLIES, TURNS, UPLOAD_REPLIES, Phase, phase_after
from bets_protocol.testing.pair import ConnectionPair, byte_by_byte, client_events, server_events
from tests.effort import examples
from tests.protocol.frames import ANA, JOSE, batch, bet
from tests.strategies import cuts

OPEN = OpenUpload(agency=1, draw=7, total=5, upload_id=b"an upload's id. ")
ASK = WinnersRequest(agency=1)


def status(code: int = 0, *, stored: int = 0, crc32: int = 0, draw: int = 7) -> UploadStatus:
    """A status of the upload."""
    return UploadStatus(code=code, draw=draw, stored=stored, crc32=crc32)


def after(*bets: Bet, code: int = 0) -> UploadStatus:
    """The status once `bets` are stored."""
    return status(code, stored=len(bets), crc32=zlib.crc32(encode_bets(bets)))


def opened(**options: Any) -> ConnectionPair:
    """Both ends, with an upload that was opened."""
    pair = ConnectionPair(revision=9, **options)
    assert pair.client_says(OPEN) == [OPEN]
    assert pair.server_says(status()) == [status()]
    return pair


class TestTurns:
    """The tables, against what the wire says in words."""

    def test_every_message_of_a_client_has_its_turn(self) -> None:
        """And none has two."""
        said = {(turn.phase, turn.message, revision) for turn in TURNS for revision in turn.revisions}
        assert len(said) == sum(len(turn.revisions) for turn in TURNS)
        assert {turn.message for turn in TURNS} == {
            "Bet", "BetBatch", "WinnersRequest", "Probe", "OpenUpload",
        }  # fmt: skip

    def test_the_codes_that_end_an_upload(self) -> None:
        """All but those that a connection survives."""
        assert {int(code) for code in ENDING_CODES} == set(range(17)) - {0, 9, 16}

    def test_every_question_has_its_answer(self) -> None:
        """What a client may say before revision 9 is answered by one table, what it may say on 9 by the other."""
        plain = {turn.message for turn in TURNS if set(turn.revisions) & {5, 6, 7, 8}}
        assert plain == {reply.stage for reply in PLAIN_REPLIES}
        uploading = {turn.message for turn in TURNS if 9 in turn.revisions} - {"Probe"}
        assert uploading == {reply.stage for reply in UPLOAD_REPLIES} - {"Drawn"}

    @pytest.mark.parametrize(
        ("phase", "message", "then"),
        [
            (Phase.START, "OpenUpload", Phase.UPLOAD),
            (Phase.UPLOAD, "BetBatch", Phase.UPLOAD),
            (Phase.UPLOAD, "WinnersRequest", Phase.ASKED),
            (Phase.UPLOAD, "OpenUpload", None),
            (Phase.ASKED, "BetBatch", None),
            (Phase.START, "BetBatch", None),
        ],
    )
    def test_what_a_client_of_revision_9_may_say(self, phase: Phase, message: str, then: Phase | None) -> None:
        """One upload a connection, and nothing behind the question for winners."""
        assert phase_after(phase, message, (9,)) is then


class TestUpload:
    """The whole conversation, cut byte by byte."""

    def test_from_the_first_bet_to_the_winners(self) -> None:
        """Open, batches sent ahead, the question, a heartbeat, the draw."""
        pair = opened(cut=byte_by_byte)
        first, second = BetBatch(bets=[ANA, JOSE]), BetBatch(bets=[JOSE, ANA, ANA])
        assert pair.client_says(first, second, ASK) == [first, second, ASK]
        everything = [*first.bets, *second.bets]
        assert pair.server_says(after(*first.bets), after(*everything)) == [after(*first.bets), after(*everything)]
        done = after(*everything)
        assert pair.server_says(done, done) == [done, done]
        assert (pair.client.unanswered, pair.server.unanswered) == (1, 1)
        drawn = after(*everything, code=RejectCode.DRAWN)
        winners = Winners(documents=("30904465",))
        assert pair.server_says(drawn, winners) == [drawn, winners]
        assert (pair.client.unanswered, pair.server.unanswered) == (0, 0)
        assert pair.client_says(ASK) == [ASK]
        assert pair.server_says(drawn, winners) == [drawn, winners]

    def test_an_upload_that_is_resumed_counts_from_what_is_stored(self) -> None:
        """The answer to the opening says where both ends stand."""
        pair = ConnectionPair(revision=9)
        pair.client_says(OPEN)
        assert pair.server_says(after(ANA, JOSE)) == [after(ANA, JOSE)]
        pair.client_says(BetBatch(bets=[ANA]))
        assert pair.server_says(after(ANA, JOSE, ANA)) == [after(ANA, JOSE, ANA)]

    def test_asked_too_early(self) -> None:
        """INCOMPLETE settles the question: bets may follow, and another question."""
        pair = opened()
        pair.client_says(ASK)
        early = status(RejectCode.INCOMPLETE)
        assert pair.server_says(early) == [early]
        assert pair.client_says(BetBatch(bets=[ANA]), ASK) == [BetBatch(bets=[ANA]), ASK]
        assert pair.server_says(after(ANA), after(ANA)) == [after(ANA), after(ANA)]

    def test_more_winners_than_one_message_holds(self) -> None:
        """A full list says that another follows, if only an empty one."""
        pair = opened()
        pair.client_says(ASK)
        full = Winners(documents=("30904465",) * 65_535)
        rest = Winners(documents=())
        drawn = status(RejectCode.DRAWN)
        assert pair.server_says(status(), drawn, full, rest) == [status(), drawn, full, rest]
        assert pair.client.unanswered == 0

    @pytest.mark.parametrize("code", ENDING_CODES)
    def test_a_code_that_ends_the_upload_comes_at_any_time(self, code: RejectCode) -> None:
        """Asked or not; what was due is not answered any more, and nothing follows on either side."""
        pair = opened()
        pair.client_says(BetBatch(bets=[ANA]), BetBatch(bets=[ANA]))
        assert pair.server_says(status(code)) == [status(code)]
        assert (pair.client.unanswered, pair.server.unanswered) == (0, 0)
        assert pair.server.finished
        assert pair.server.next_event() is CLOSED
        assert pair.client.next_event() is CLOSED
        with pytest.raises(LocalProtocolError, match="the server has ended the upload"):
            pair.client.send(ASK)
        with pytest.raises(LocalProtocolError, match="no answer is due"):
            pair.server.send(status())

    def test_batches_of_an_upload_stay_bytes_where_that_is_wanted(self) -> None:
        """As on the other revisions."""
        pair = opened(encoded=True)
        (event,) = pair.client_says(BetBatch(bets=[ANA]))
        assert isinstance(event, EncodedBatch)
        assert [run.encoded for run in event.runs] == [bet()]

    @settings(max_examples=examples(30))
    @given(cuts(), st.lists(st.integers(1, 3), max_size=4))
    def test_the_same_however_it_is_cut(self, cut: Any, counts: Sequence[int]) -> None:
        """Both ways."""
        pair = ConnectionPair(revision=9, cut=cut)
        messages: list[Any] = [OPEN, *(BetBatch(bets=[ANA] * count) for count in counts), ASK]
        assert list(pair.client_says(*messages)) == messages
        stored = [after(*[ANA] * sum(counts[:place])) for place in range(len(counts) + 1)]
        replies: list[Any] = [
            *stored,
            stored[-1],
            after(*[ANA] * sum(counts), code=16),
            Winners(documents=("30904465",)),
        ]
        assert list(pair.server_says(*replies)) == replies


class TestServerHears:
    """What no client may say."""

    @pytest.mark.parametrize(
        ("before", "message", "text"),
        [
            ([OPEN], encode(OPEN, revision=9), 'expected a OpenUpload in phase "start" only, not in "upload"'),
            ([BetBatch(bets=[ANA])], encode(OPEN, revision=9), 'in phase "start" only, not in "plain"'),
            ([OPEN, ASK], batch(bet()), 'in phase "start" or "plain" or "upload" only, not in "asked"'),
            ([OPEN, ASK], b"\x02\x01", 'not in "asked"'),
            ([OPEN], b"hello\n", 'expected a Probe in phase "start" or "plain" only, not in "upload"'),
        ],
    )
    def test_a_good_message_at_the_wrong_time(self, before: list[Any], message: bytes, text: str) -> None:
        """It is told apart from one that does not exist."""
        connection = ServerConnection()
        server_events(connection, [encode(each, revision=9) for each in before])
        connection.receive_data(message)
        with pytest.raises(SequenceError, match=text):
            connection.next_event()

    def test_an_unknown_type_on_an_upload(self) -> None:
        """A framing error, answered by a status that says how the upload stands."""
        pair = opened()
        pair.client_says(BetBatch(bets=[ANA]))
        pair.server.receive_data(b"\x04")
        with pytest.raises(DecodeError, match="expected the type of a message, not 4"):
            pair.server.next_event()
        with pytest.raises(LocalProtocolError, match="1 answers are due before this one"):
            pair.server.refuse()
        pair.server.send(after(ANA))
        assert encode(after(ANA, code=RejectCode.BAD_FRAME), revision=9) == pair.server.refuse()
        assert pair.server.finished

    @pytest.mark.parametrize("frame", [encode(OPEN, revision=9)[:20], b"\x03\x02" + bytes(29)])
    def test_a_bad_opening_is_answered_by_a_status(self, frame: bytes) -> None:
        """Whoever says it speaks revision 9, and understands no Ack."""
        connection = ServerConnection()
        connection.receive_data(frame)
        connection.receive_data(b"")
        with pytest.raises(DecodeError):
            server_events(connection)
        assert connection.refuse() == encode(status(RejectCode.BAD_FRAME, draw=0), revision=9)

    def test_an_opening_with_a_bad_value(self) -> None:
        """An event, which a status ends."""
        connection = ServerConnection()
        (event,) = server_events(connection, [b"\x03\x01\x00" + bytes(28)])
        assert isinstance(event, InvalidFrame)
        assert (event.kind, event.error.path) == (OpenUpload, "agency")
        assert connection.send(status(RejectCode.BAD_FRAME)) == encode(status(RejectCode.BAD_FRAME), revision=9)

    def test_other_revisions_are_answered_as_before(self) -> None:
        """On the same port: Ack and bare Winners, and no status."""
        connection = ServerConnection()
        server_events(connection, [batch(bet()), b"\x02\x01"])
        with pytest.raises(LocalProtocolError, match="does not answer"):
            connection.send(status())
        assert connection.send(Ack(count=1)) == b"\x01"
        with pytest.raises(LocalProtocolError, match=r"does not answer|no answer is due"):
            connection.send(status(RejectCode.FENCED))
        assert connection.send(Winners(documents=())) == b"\x00\x00"

    @pytest.mark.parametrize(
        ("asked", "reply"),
        [
            ([OPEN], Ack(count=0)),
            ([OPEN], status(RejectCode.INCOMPLETE)),
            ([OPEN], status(RejectCode.DRAWN)),
            ([OPEN], Winners(documents=())),
            ([OPEN, ASK], Winners(documents=())),
            ([OPEN, ASK], Ack(count=0)),
        ],
    )
    def test_no_answer_that_does_not_fit(self, asked: list[Any], reply: Any) -> None:
        """It is a bug on this side, and nothing is sent."""
        connection = ServerConnection()
        server_events(connection, [encode(each, revision=9) for each in asked])
        if ASK in asked:
            connection.send(status())
        unanswered = connection.unanswered
        with pytest.raises(LocalProtocolError, match="does not answer a"):
            connection.send(reply)
        assert connection.unanswered == unanswered


class TestClientHears:
    """What no server may say."""

    @pytest.mark.parametrize("revision", [6, 8, 9])
    def test_a_run_is_sent_as_the_batch_of_its_bets(self, revision: int) -> None:
        """The same bytes leave, and the answer is checked in the same way, though no bet is encoded again."""
        run = BetRun(agency=1, count=2, encoded=encode_bets([ANA, JOSE]))
        for answer in (after(ANA, JOSE), after(ANA, ANA)) if revision == 9 else (Ack(count=2), Ack(count=1)):
            heard = []
            for message in (run, BetBatch(bets=(ANA, JOSE))):
                client = ClientConnection(revision=revision)
                if revision == 9:
                    client.send(OPEN)
                    client_events(client, [encode(status())])
                sent = client.send(message)
                try:
                    answered: object = client_events(client, [encode(answer, revision=revision)])
                except SequenceError as error:
                    answered = str(error)
                heard.append((sent, answered))
            assert heard[0] == heard[1]
            assert (heard[0][1] == [answer]) is (answer in (after(ANA, JOSE), Ack(count=2)))

    def asked(self, *messages: Any) -> ClientConnection:
        """A client that has opened an upload, was told that nothing is stored, and has said `messages`."""
        connection = ClientConnection(revision=9)
        connection.send(OPEN)
        assert client_events(connection, [encode(status(), revision=9)]) == [status()]
        for message in messages:
            connection.send(message)
        return connection

    @pytest.mark.parametrize(
        ("answer", "path"),
        [
            (after(ANA, ANA), "stored"),
            (status(stored=1, crc32=1), "crc32"),
            (status(), "stored"),
            (status(stored=1, crc32=zlib.crc32(bet()), draw=8), "draw"),
            (after(ANA, code=RejectCode.INCOMPLETE), "code"),
            (after(ANA, code=RejectCode.DRAWN), "code"),
        ],
    )
    def test_a_batch_that_is_answered_wrongly(self, answer: UploadStatus, path: str) -> None:
        """Another count, other bytes, another draw, the answer to another question."""
        connection = self.asked(BetBatch(bets=[ANA]))
        connection.receive_data(encode(answer, revision=9))
        with pytest.raises(SequenceError) as raised:
            connection.next_event()
        assert raised.value.path == path

    @pytest.mark.parametrize("answer", [status(stored=6), status(draw=8), status(9), status(16)])
    def test_an_opening_that_is_answered_wrongly(self, answer: UploadStatus) -> None:
        """More than the upload has, another draw, or what answers a question for winners."""
        connection = ClientConnection(revision=9)
        connection.send(OPEN)
        connection.receive_data(encode(answer, revision=9))
        with pytest.raises(SequenceError):
            connection.next_event()

    def test_a_status_that_nobody_asked_for(self) -> None:
        """Only the end of an upload comes unasked."""
        connection = self.asked()
        connection.receive_data(encode(status(), revision=9))
        with pytest.raises(SequenceError, match="no answer is due"):
            connection.next_event()

    def test_a_server_that_does_not_know_revision_9(self) -> None:
        """It answers with a byte that begins no status."""
        connection = ClientConnection(revision=9)
        connection.send(OPEN)
        connection.receive_data(b"\x00")
        with pytest.raises(DecodeError) as raised:
            connection.next_event()
        assert (raised.value.path, raised.value.offset) == ("type", 0)

    def test_the_end_inside_the_winners(self) -> None:
        """DRAWN promises a list; half of one is none."""
        connection = self.asked(ASK)
        client_events(connection, [encode(status(), revision=9), encode(status(16), revision=9), b"\x00\x02"])
        assert connection.next_event() is NEED_DATA
        connection.receive_data(b"")
        with pytest.raises(TruncatedFrame, match="of a Winners"):
            connection.next_event()

    @pytest.mark.parametrize("message", [BetBatch(bets=[ANA]), ASK])
    def test_nothing_before_the_upload_is_open(self, message: Any) -> None:
        """It would be revision 8."""
        with pytest.raises(LocalProtocolError, match='in phase "start"'):
            ClientConnection(revision=9).send(message)

    def test_one_upload_a_connection(self) -> None:
        """Another one needs another connection; a probe does, too."""
        for message in (OPEN, Probe(line=b"hello\n")):
            with pytest.raises(LocalProtocolError, match='in phase "upload"'):
                self.asked().send(message)

    def test_nothing_behind_the_question_for_winners(self) -> None:
        """Until it is settled."""
        connection = self.asked(ASK)
        client_events(connection, [encode(status(), revision=9)])
        with pytest.raises(LocalProtocolError, match="nothing can follow"):
            connection.send(BetBatch(bets=[ANA]))
