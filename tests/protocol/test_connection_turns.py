"""Connections: who may say what when, and what the other end makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    InvalidValue,
    LocalProtocolError,
    OpenUpload,
    Probe,
    SequenceError,
    ServerConnection,
    TruncatedFrame,
    Winners,
    WinnersRequest,
    encode,
)
from bets_protocol.testing.pair import ConnectionPair, byte_by_byte, client_events, server_events
from tests.protocol.frames import ANA, JOSE, batch, bet


class TestServerSays:
    """A server answers what was asked, in order, and nothing else."""

    def ask(self, *data: bytes) -> ServerConnection:
        """A server that has heard these frames."""
        connection = ServerConnection()
        server_events(connection, data)
        return connection

    def test_nothing_without_a_question(self) -> None:
        """An answer that nobody waits for is a bug on this side."""
        with pytest.raises(LocalProtocolError, match="no answer is due, so no Ack"):
            ServerConnection().send(Ack(count=1))

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            (batch(bet(), bet()), Ack(count=1)),
            (batch(bet()), Winners(documents=())),
            (batch(bet()), Probe(line=b"hello\n")),
            (batch(bet()), WinnersRequest(agency=1)),
            (b"\x02\x01", Ack(count=1)),
            (b"\x02\x01", Probe(line=b"hello\n")),
            (b"hello\n", Ack(count=0)),
            (b"hello\n", Winners(documents=())),
            (b"hello\n", Probe(line=b"hallo\n")),
            (b"hello\n", BetBatch(bets=[ANA])),
        ],
    )
    def test_no_answer_to_another_question(self, question: bytes, answer: Any) -> None:
        """What does not fit is not sent, and the right answer still is."""
        connection = self.ask(question)
        with pytest.raises(LocalProtocolError, match="does not answer a"):
            connection.send(answer)
        assert connection.unanswered == 1

    def test_a_batch_may_be_refused(self) -> None:
        """The count of the batch, or 0."""
        assert self.ask(batch(bet(), bet())).send(Ack(count=0)) == b"\x00"
        assert self.ask(batch(bet(), bet())).send(Ack(count=2)) == b"\x02"

    def test_winners_answer_a_request(self) -> None:
        """Their documents, in order."""
        connection = self.ask(b"\x02\x01")
        assert connection.send(Winners(documents=("30904465", "21689196"))) == b"\x00\x023090446521689196"


class TestClientSays:
    """A client says what its revision has, and no more than its connection carries."""

    @pytest.mark.parametrize(
        ("revision", "message", "data"),
        [
            (5, ANA, bet()),
            (6, BetBatch(bets=[ANA]), batch(bet())[1:]),
            (7, BetBatch(bets=[ANA]), batch(bet())),
            (7, WinnersRequest(agency=5), b"\x02\x05"),
            (7, Probe(line=b"hello\n"), b"hello\n"),
            (8, BetBatch(bets=[ANA]), batch(bet())),
        ],
    )
    def test_the_bytes_of_each_revision(self, revision: int, message: Any, data: bytes) -> None:
        """What is sent, and that an answer is due."""
        connection = ClientConnection(revision=revision)
        assert data == connection.send(message)
        assert connection.unanswered == 1

    @pytest.mark.parametrize(
        ("revision", "message"),
        [
            (5, BetBatch(bets=[ANA])),
            (5, WinnersRequest(agency=1)),
            (5, Probe(line=b"hello")),
            (6, ANA),
            (6, Probe(line=b"hello")),
            (7, ANA),
            (8, ANA),
            (8, OpenUpload(agency=1, draw=1, total=1, upload_id=bytes(16))),
            (8, "hello"),
        ],
    )
    def test_no_message_of_another_revision(self, revision: int, message: Any) -> None:
        """It is refused here, not by the server."""
        with pytest.raises(LocalProtocolError, match=f"revision {revision} has no {type(message).__name__}"):
            ClientConnection(revision=revision).send(message)

    @pytest.mark.parametrize("message", [Ack(count=1), Winners(documents=())])
    def test_no_answers(self, message: Any) -> None:
        """Only servers answer."""
        with pytest.raises(LocalProtocolError, match=f"a client says no {type(message).__name__}"):
            ClientConnection(revision=8).send(message)

    @pytest.mark.parametrize("revision", [5, 6, 7])
    def test_one_message_before_revision_8(self, revision: int) -> None:
        """The second needs another connection, even when the first is answered."""
        message: Any = ANA if revision == 5 else BetBatch(bets=[ANA])
        connection = ClientConnection(revision=revision)
        connection.send(message)
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match=f"ends after one message, on revision {revision}"):
                connection.send(message)
            client_events(connection, [b"\x01"] if connection.unanswered else [])

    def test_nothing_follows_a_probe(self) -> None:
        """The server closes after it, answered or not."""
        connection = ClientConnection(revision=8)
        connection.send(Probe(line=b"hello\n"))
        for pieces in ([b"hello\n"], []):
            with pytest.raises(LocalProtocolError, match="ends after a probe"):
                connection.send(BetBatch(bets=[ANA]))
            client_events(connection, pieces)

    def test_nothing_follows_the_question_for_winners_until_they_are_there(self) -> None:
        """Batches ahead of it are fine, and so is asking again later."""
        connection = ClientConnection(revision=8)
        connection.send(BetBatch(bets=[ANA]))
        connection.send(WinnersRequest(agency=1))
        for data in (b"\x01", b"\x00\x00"):
            with pytest.raises(LocalProtocolError, match="nothing can follow before they are there"):
                connection.send(WinnersRequest(agency=1))
            client_events(connection, [data])
        assert connection.send(WinnersRequest(agency=1)) == b"\x02\x01"

    def test_a_message_that_cannot_be_sent_leaves_no_answer_due(self) -> None:
        """A batch above its bound changes nothing."""
        connection = ClientConnection(revision=7)
        large = BetBatch(bets=[Bet(agency=1, first_name="a" * 255, last_name="b" * 255, document="12345678",
                                   birthdate="1999-01-01", number=1)] * 20)  # fmt: skip
        with pytest.raises(LocalProtocolError, match="at most 8192"):
            connection.send(large)
        assert connection.unanswered == 0
        assert connection.send(BetBatch(bets=[ANA])) == batch(bet())

    @pytest.mark.parametrize("revision", [4, 10])
    def test_a_revision_that_no_client_speaks(self, revision: int) -> None:
        """Only those that the wire has."""
        with pytest.raises(LocalProtocolError, match=f"a client speaks revision 5, 6, 7, 8, 9, not {revision}"):
            ClientConnection(revision=revision)


class TestClient:
    """What a client hears."""

    def asked(self, *requests: Any, revision: int = 8) -> ClientConnection:
        """A client that has said these."""
        connection = ClientConnection(revision=revision)
        for request in requests:
            connection.send(request)
        return connection

    def test_batches_may_be_sent_ahead(self) -> None:
        """Their acknowledgements come in the order of the batches, then the winners."""
        pair = ConnectionPair(revision=8, cut=byte_by_byte)
        heard = pair.client_says(*[BetBatch(bets=[ANA] * count) for count in (1, 2, 3)], WinnersRequest(agency=1))
        assert [len(event.bets) for event in heard if isinstance(event, BetBatch)] == [1, 2, 3]
        assert pair.client.unanswered == 4
        replies = (Ack(count=1), Ack(count=0), Ack(count=3), Winners(documents=("30904465",)))
        assert list(replies) == pair.server_says(*replies)
        assert pair.client.unanswered == 0
        assert list(pair.server_ends()) == []

    @pytest.mark.parametrize("revision", [5, 6, 7])
    def test_one_answer_before_revision_8(self, revision: int) -> None:
        """One question, one answer, over a pair of connections."""
        pair = ConnectionPair(revision=revision, cut=byte_by_byte)
        message: Any = JOSE if revision == 5 else BetBatch(bets=[JOSE])
        assert pair.client_says(message) == [message]
        assert pair.server_says(Ack(count=1)) == [Ack(count=1)]

    @pytest.mark.parametrize("count", [1, 3, 255])
    def test_a_count_that_is_neither_stored_nor_refused(self, count: int) -> None:
        """A server that says so cannot be trusted."""
        connection = self.asked(BetBatch(bets=[ANA, ANA]))
        connection.receive_data(bytes([count]))
        with pytest.raises(SequenceError, match=f"expected an Ack of 2 or 0, not {count}"):
            connection.next_event()

    def test_an_answer_that_nobody_asked_for(self) -> None:
        """Bytes without a question break the protocol."""
        connection = self.asked(BetBatch(bets=[ANA]))
        connection.receive_data(b"\x01\x01")
        assert connection.next_event() == Ack(count=1)
        with pytest.raises(SequenceError, match="expected nothing: no answer is due"):
            connection.next_event()

    def test_another_line_than_the_one_sent(self) -> None:
        """An echo that changes bytes is no echo."""
        connection = self.asked(Probe(line=b"hello\n"))
        connection.receive_data(b"hallo\n")
        with pytest.raises(SequenceError, match="expected the line that was sent"):
            connection.next_event()

    def test_a_document_that_is_none(self) -> None:
        """A bad value from the server ends the connection too: nobody could be told of it."""
        connection = self.asked(WinnersRequest(agency=1))
        connection.receive_data(b"\x00\x01" + b"1234567x")
        with pytest.raises(InvalidValue, match=r"documents\[0\]") as first:
            connection.next_event()
        with pytest.raises(InvalidValue) as second:
            connection.next_event()
        assert first.value is second.value

    def test_the_end_before_an_answer(self) -> None:
        """CLOSED with something unanswered: what became of it is unknown."""
        connection = self.asked(BetBatch(bets=[ANA]))
        assert connection.next_event() is NEED_DATA
        connection.receive_data(b"")
        assert connection.next_event() is CLOSED
        assert connection.unanswered == 1

    def test_the_end_inside_an_answer(self) -> None:
        """Half a list of winners is none."""
        connection = self.asked(WinnersRequest(agency=1))
        client_events(connection, [b"\x00\x02" + b"12345678"])
        connection.receive_data(b"")
        with pytest.raises(TruncatedFrame, match="expected 8 more bytes of a Winners"):
            connection.next_event()

    def test_65535_winners(self) -> None:
        """As many as the count can say."""
        connection = self.asked(WinnersRequest(agency=1))
        winners = Winners(documents=["30904465"] * 65535)
        assert client_events(connection, [encode(winners)]) == [winners]
