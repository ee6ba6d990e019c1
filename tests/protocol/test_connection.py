"""Connections: bytes in, events out, the same however the bytes are cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bets_protocol import (
    CLIENT_REVISIONS,
    CLOSED,
    NEED_DATA,
    SERVER_REVISIONS,
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    DecodeError,
    EncodedBatch,
    FrameTooLarge,
    InvalidFrame,
    InvalidValue,
    LocalProtocolError,
    OpenUpload,
    Probe,
    RemoteProtocolError,
    ServerConnection,
    TruncatedFrame,
    Winners,
    WinnersRequest,
    encode,
)
from bets_protocol.codec import CODECS
from bets_protocol.connection import server as server_connection
from bets_protocol.connection.framing import FrameReader
from bets_protocol.testing.pair import ConnectionPair, Cut, byte_by_byte, server_events, whole
from tests.effort import examples
from tests.protocol.frames import ANA, batch, bet, sized_bet
from tests.strategies import bets, cuts, frames, frames_or_damaged, messages

REQUESTS = ("bet_batch", "winners_request")
Outcome = tuple[list[Any], Any]


def outcome(connection: ServerConnection | ClientConnection, pieces: Sequence[bytes]) -> Outcome:
    """All events of `connection`, and how they end: a signal, or the error's class, place and words."""
    events: list[Any] = []
    last: Any = connection.next_event()
    for piece in pieces:
        connection.receive_data(piece)
        try:
            while (last := connection.next_event()) not in (NEED_DATA, CLOSED):
                events.append(last)
        except RemoteProtocolError as error:
            return events, (type(error), error.path, error.offset, error.reason)
    return events, last


def comparable(found: Outcome) -> Outcome:
    """`found` with errors inside of events as texts, since errors are equal only to themselves."""
    events = [(one.kind, one.count, str(one.error)) if type(one) is InvalidFrame else one for one in found[0]]
    return events, found[1]


def streams() -> st.SearchStrategy[bytes]:
    """What a client of revision 8 may say, and what it may not."""
    good = st.lists(st.sampled_from(REQUESTS).flatmap(frames), max_size=3).map(b"".join)
    last = st.one_of(
        st.just(b""),
        st.sampled_from((*REQUESTS, "probe")).flatmap(frames_or_damaged),
        st.binary(max_size=8),
    )
    return st.builds(bytes.__add__, good, last)


class TestCuts:
    """The decoder gives the same events, however the bytes are cut."""

    @settings(max_examples=examples(80))
    @given(streams(), cuts(), st.sampled_from(SERVER_REVISIONS), st.booleans(), st.booleans())
    def test_a_server_hears_the_same(self, data: bytes, cut: Cut, revision: int, encoded: bool, ended: bool) -> None:
        """Events, their order and the error at the end."""
        end = [b""] if ended else []
        expected = outcome(ServerConnection(revision=revision, encoded=encoded), [*whole(data), *end])
        found = outcome(ServerConnection(revision=revision, encoded=encoded), [*cut(data), *end])
        assert comparable(expected) == comparable(found)

    @settings(max_examples=examples(40))
    @given(st.sampled_from((5, 6)), cuts(), st.data())
    def test_a_server_of_revision_5_or_6_hears_the_same(self, revision: int, cut: Cut, data: st.DataObject) -> None:
        """Their frames have no type, and go the same way."""
        frame = data.draw(frames_or_damaged("bet_frame" if revision == 5 else "untyped_batch"))
        expected = outcome(ServerConnection(revision=revision), [*whole(frame), b""])
        found = outcome(ServerConnection(revision=revision), [*cut(frame), b""])
        assert comparable(expected) == comparable(found)

    @settings(max_examples=examples(60))
    @given(st.lists(st.sampled_from((0, 3)), max_size=5), messages("winners"), cuts(), st.binary(max_size=3))
    def test_a_client_hears_the_same(self, counts: list[int], winners: Winners, cut: Cut, more: bytes) -> None:
        """Acks, winners and whatever else comes."""
        acks = b"".join(encode(Ack(count=count), revision=8) for count in counts)
        data = acks + encode(winners) + more

        def client() -> ClientConnection:
            connection = ClientConnection(revision=8)
            for _ in counts:
                connection.send(BetBatch(bets=[ANA] * 3))
            connection.send(WinnersRequest(agency=1))
            return connection

        assert outcome(client(), [data, b""]) == outcome(client(), [*cut(data), b""])

    @settings(max_examples=examples(40))
    @given(bets())
    def test_a_character_is_never_cut(self, given_bet: Bet) -> None:
        """Names in any script arrive whole when every byte travels alone."""
        pair = ConnectionPair(revision=8, cut=byte_by_byte)
        assert pair.client_says(BetBatch(bets=[given_bet])) == [BetBatch(bets=[given_bet])]


class TestAnyBytes:
    """Whatever bytes come, there are events, NEED_DATA, CLOSED or a RemoteProtocolError, and nothing else."""

    @settings(max_examples=examples(100))
    @given(
        st.sampled_from(SERVER_REVISIONS), st.booleans(), st.lists(st.binary(max_size=40), max_size=6), st.booleans()
    )
    def test_server(self, revision: int, encoded: bool, pieces: list[bytes], sound_start: bool) -> None:
        """On every revision, with and without decoding."""
        if sound_start:
            pieces = [{5: bet(), 6: batch(bet())[1:], 8: batch(bet()), 9: batch(bet())}[revision], *pieces]
        outcome(ServerConnection(revision=revision, encoded=encoded), [*filter(None, pieces), b""])

    @settings(max_examples=examples(100))
    @given(st.sampled_from(CLIENT_REVISIONS), st.integers(0, 2), st.lists(st.binary(max_size=40), max_size=6))
    def test_client(self, revision: int, kind: int, pieces: list[bytes]) -> None:
        """On every revision, whatever was asked."""
        connection = ClientConnection(revision=revision)
        asked: Bet | BetBatch | WinnersRequest | Probe | OpenUpload = BetBatch(bets=[ANA])
        if revision == 9:
            connection.send(OpenUpload(agency=1, draw=1, total=3, upload_id=bytes(16)))
            asked = (asked, WinnersRequest(agency=1), asked)[kind]
        elif revision == 5:
            asked = ANA
        elif revision > 6:
            asked = (asked, WinnersRequest(agency=1), Probe(line=b"hello\n"))[kind]
        connection.send(asked)
        outcome(connection, [*filter(None, pieces), b""])


class TestServer:
    """What a server hears and says."""

    def test_messages_come_one_behind_the_other(self) -> None:
        """Frames that arrive together are told apart, and what has begun waits for its rest."""
        data = batch(bet(), bet(agency=5)) + encode(WinnersRequest(agency=1)) + b"\x01"
        connection = ServerConnection()
        (first, second) = server_events(connection, [data])
        assert isinstance(first, BetBatch)
        assert [one.agency for one in first.bets] == [1, 5]
        assert second == WinnersRequest(agency=1)
        assert connection.next_event() is NEED_DATA
        assert connection.buffered == 1
        assert connection.unanswered == 2

    def test_encoded_batches_keep_their_bytes(self) -> None:
        """The bets of one agency in a row are a run; the runs joined are the frame."""
        frame = batch(bet(), bet(), bet(agency=5), bet())
        (event,) = server_events(ServerConnection(encoded=True), [frame])
        assert isinstance(event, EncodedBatch)
        assert [(run.agency, run.count) for run in event.runs] == [(1, 2), (5, 1), (1, 1)]
        assert frame[2:] == b"".join(run.encoded for run in event.runs)
        assert event.count == 4

    @settings(max_examples=examples(40))
    @given(messages("bet_batch"), cuts())
    def test_encoded_batches_are_cut_between_bets(self, message: BetBatch, cut: Cut) -> None:
        """Whatever the batch, its runs joined are its bytes behind the header."""
        frame = encode(message)
        (event,) = server_events(ServerConnection(encoded=True), cut(frame))
        assert isinstance(event, EncodedBatch)
        assert frame[2:] == b"".join(run.encoded for run in event.runs)

    @pytest.mark.parametrize("encoded", [False, True])
    def test_revision_5_hears_one_bet(self, encoded: bool) -> None:
        """Then it is finished, and what follows is not looked at."""
        connection = ServerConnection(revision=5, encoded=encoded)
        (event,) = server_events(connection, [bet() + bet()])
        assert event == (EncodedBatch(count=1, runs=event.runs) if isinstance(event, EncodedBatch) else ANA)
        if isinstance(event, EncodedBatch):
            assert [(1, 1, bet())] == [(run.agency, run.count, run.encoded) for run in event.runs]
        assert connection.finished
        assert connection.next_event() is CLOSED
        assert connection.send(Ack(count=1)) == b"\x01"

    def test_revision_6_hears_one_batch(self) -> None:
        """A batch without a type, then it is finished."""
        connection = ServerConnection(revision=6)
        assert server_events(connection, [batch(bet(), bet())[1:]]) == [BetBatch(bets=[ANA, ANA])]
        assert connection.finished
        assert connection.send(Ack(count=2)) == b"\x02"

    def test_a_bad_value_is_an_event(self) -> None:
        """The frame is refused, and the connection goes on with the next one."""
        connection = ServerConnection(encoded=True)
        (refused, good) = server_events(connection, [batch(bet(), bet(number=10000)) + batch(bet())])
        assert isinstance(refused, InvalidFrame)
        assert (BetBatch, 2, "bets[1].number") == (refused.kind, refused.count, refused.error.path)
        assert isinstance(refused.error, InvalidValue)
        assert isinstance(good, EncodedBatch)
        assert connection.send(Ack(count=0)) == b"\x00"
        assert connection.send(Ack(count=1)) == b"\x01"

    def test_a_bad_agency_in_a_request_is_an_event(self) -> None:
        """It is answered with 0 as a batch would be, and the connection stays usable."""
        connection = ServerConnection()
        (refused,) = server_events(connection, [b"\x02\x00"])
        assert isinstance(refused, InvalidFrame)
        assert (WinnersRequest, 0, "agency") == (refused.kind, refused.count, refused.error.path)
        assert connection.send(Ack(count=0)) == b"\x00"
        assert server_events(connection, [b"\x02\x01"]) == [WinnersRequest(agency=1)]

    def test_a_bad_value_on_revision_5_ends_the_connection(self) -> None:
        """One message a connection, good or bad."""
        connection = ServerConnection(revision=5)
        (refused,) = server_events(connection, [bet(agency=0)])
        assert isinstance(refused, InvalidFrame)
        assert (Bet, 1) == (refused.kind, refused.count)
        assert connection.finished

    @pytest.mark.parametrize("first", [0, 3, 4, 0x1F, 0x7F, 0x80, 0x83, 0xFF])
    def test_an_unknown_type_is_a_framing_error(self, first: int) -> None:
        """The first byte is enough; 3 opens an upload on revision 9 only."""
        connection = ServerConnection(revision=8 if first == 3 else 9)
        connection.receive_data(bytes([first]))
        with pytest.raises(DecodeError, match=f"expected the type of a message, not {first}") as raised:
            connection.next_event()
        assert (raised.value.path, raised.value.offset) == ("type", 0)

    def test_an_error_stays(self) -> None:
        """Every later call raises it again, whatever arrives; it is answered once all before it is."""
        connection = ServerConnection()
        connection.receive_data(batch(bet()) + b"\xff")
        assert connection.next_event() == BetBatch(bets=[ANA])
        with pytest.raises(DecodeError) as first:
            connection.next_event()
        connection.receive_data(batch(bet()))
        with pytest.raises(DecodeError) as second:
            connection.next_event()
        assert first.value is second.value
        with pytest.raises(LocalProtocolError, match="1 answers are due before this one"):
            connection.refuse()
        connection.send(Ack(count=1))
        assert connection.refuse() == b"\x00"

    def test_nothing_is_refused_without_an_error(self) -> None:
        """`refuse` answers a frame that could not be read, and no other."""
        with pytest.raises(LocalProtocolError, match="no frame was refused"):
            ServerConnection().refuse()

    def test_asking_again_does_not_make_the_error_grow(self) -> None:
        """The traceback of an error that is raised a thousand times stays that of one time."""
        connection = ServerConnection()
        connection.receive_data(b"\xff")
        depths = set()
        for _ in range(3):
            with pytest.raises(DecodeError) as raised:
                connection.next_event()
            depths.add(len(raised.traceback))
        assert len(depths) <= 2

    def test_the_end_between_frames_closes(self) -> None:
        """A client that has said everything may go."""
        connection = ServerConnection()
        assert connection.next_event() is NEED_DATA
        assert server_events(connection, [batch(bet()), b""]) == [BetBatch(bets=[ANA])]
        assert connection.next_event() is CLOSED

    def test_the_end_inside_a_frame_is_an_error(self) -> None:
        """After whichever byte: nothing of the frame counts, and how much is missing is told."""
        frame = batch(bet(), bet())
        for size in range(1, len(frame)):
            connection = ServerConnection()
            assert server_events(connection, [frame[:size]]) == []
            connection.receive_data(b"")
            with pytest.raises(TruncatedFrame, match=r"expected \d+ more bytes of a BetBatch") as raised:
                connection.next_event()
            assert raised.value.offset == size

    def test_the_end_may_be_told_twice_but_nothing_after_it(self) -> None:
        """Bytes behind the end are a mistake of whoever drives the connection."""
        connection = ServerConnection()
        connection.receive_data(b"")
        connection.receive_data(b"")
        assert connection.next_event() is CLOSED
        with pytest.raises(LocalProtocolError, match="after the end"):
            connection.receive_data(b"x")

    @pytest.mark.parametrize("revision", [7, 10, 4, 0])
    def test_a_revision_that_no_server_is_started_for(self, revision: int) -> None:
        """8 serves 7 too, and 9 both."""
        with pytest.raises(LocalProtocolError, match=f"a server speaks revision 5, 6, 8, 9, not {revision}"):
            ServerConnection(revision=revision)


class TestBound:
    """The bound of a frame is enforced before the rest of it is there."""

    def test_a_frame_too_large_shows_at_the_length_that_passes_the_bound(self) -> None:
        """Of 16 large bets the last one's length is enough; its bytes are not waited for."""
        frame = batch(*[sized_bet(535)] * 16)
        connection = ServerConnection()
        passing = 2 + 15 * 535 + 2
        assert server_events(connection, [frame[: passing - 1]]) == []
        connection.receive_data(frame[passing - 1 : passing])
        with pytest.raises(FrameTooLarge, match="expected at most 8192 bytes") as raised:
            connection.next_event()
        assert (raised.value.path, raised.value.offset) == ("bets[15]", 8192)

    def test_a_frame_of_8192_bytes_is_good(self) -> None:
        """The bound itself may be reached, on revision 6 as well."""
        frame = batch(*[sized_bet(535)] * 15, sized_bet(165))
        assert len(frame) == 8192
        (event,) = server_events(ServerConnection(), [frame])
        assert isinstance(event, BetBatch)
        untyped = bytes([16]) + b"".join([sized_bet(535)] * 15) + sized_bet(166)
        assert len(untyped) == 8192
        (event,) = server_events(ServerConnection(revision=6), [untyped])
        assert isinstance(event, BetBatch)

    @pytest.mark.parametrize("length", [0, 24, 534, 65535])
    def test_a_length_that_no_bet_has_shows_at_once(self, length: int) -> None:
        """Neither memory nor time is given to it."""
        connection = ServerConnection()
        connection.receive_data(batch(b"", count=9) + length.to_bytes(2, "big"))
        with pytest.raises(DecodeError, match=f"expected a length from 25 to 533, not {length}") as raised:
            connection.next_event()
        assert (raised.value.path, raised.value.offset) == ("bets[0]", 2)

    def test_a_count_of_zero_shows_at_once(self) -> None:
        """A batch of no bets cannot be said."""
        connection = ServerConnection()
        connection.receive_data(b"\x01\x00")
        with pytest.raises(DecodeError, match="expected a count from 1 to 255, not 0"):
            connection.next_event()


class TestProbe:
    """A line is sent back."""

    def test_a_line_comes_back(self) -> None:
        """The same bytes, then the connection ends; what follows is not looked at."""
        pair = ConnectionPair(revision=8, cut=byte_by_byte)
        assert pair.client_says(Probe(line=b"hello \xc3\xb1\n")) == [Probe(line=b"hello \xc3\xb1\n")]
        assert pair.server.finished
        assert server_events(pair.server, [b"more\n"]) == []
        assert pair.server_says(Probe(line=b"hello \xc3\xb1\n")) == [Probe(line=b"hello \xc3\xb1\n")]

    def test_the_end_of_the_stream_ends_a_line(self) -> None:
        """No LF is needed, and none is added."""
        pair = ConnectionPair(revision=8)
        assert list(pair.client_says(Probe(line=b"hello"))) == []
        assert pair.client_ends() == [Probe(line=b"hello")]
        assert list(pair.server_says(Probe(line=b"hello"))) == []
        assert pair.server_ends() == [Probe(line=b"hello")]

    @pytest.mark.parametrize("cut", [whole, byte_by_byte])
    def test_a_line_of_1024_bytes_is_good(self, cut: Cut) -> None:
        """With its LF, and with the end of the stream."""
        line = b"p" * 1024
        assert server_events(ServerConnection(), cut(line + b"\n")) == [Probe(line=line + b"\n")]
        assert server_events(ServerConnection(), [*cut(line), b""]) == [Probe(line=line)]

    @pytest.mark.parametrize("cut", [whole, byte_by_byte])
    @pytest.mark.parametrize("end", [b"", b"\n"])
    def test_a_line_of_1025_bytes_is_too_large(self, cut: Cut, end: bytes) -> None:
        """It is refused at its 1025th byte, before it ends."""
        connection = ServerConnection()
        with pytest.raises(FrameTooLarge, match="a line of at most 1024 bytes") as raised:
            server_events(connection, cut(b"p" * 1025 + end))
        assert (raised.value.path, raised.value.offset) == ("line", 1024)

    def test_a_probe_may_follow_batches(self) -> None:
        """The answers come in the order of the questions."""
        connection = ServerConnection()
        assert len(server_events(connection, [batch(bet()) + b"hello\n"])) == 2
        with pytest.raises(LocalProtocolError, match="does not answer a BetBatch"):
            connection.send(Probe(line=b"hello\n"))
        assert connection.send(Ack(count=1)) + connection.send(Probe(line=b"hello\n")) == b"\x01hello\n"


class TestWork:
    """A frame that drips in costs a bounded number of steps a byte, not a new start with each of them."""

    @pytest.mark.parametrize(
        ("frame", "name", "allowed"),
        [
            (batch(*[bet()] * 255), "bet_batch", 2 * 255 + 4),
            (batch(*[bet()] * 255)[1:], "untyped_batch", 2 * 255 + 4),
            (bet(), "bet_frame", 3),
            (b"p" * 1024 + b"\n", "probe", 1026),
            (encode(Winners(documents=["30904465"] * 1000)), "winners", 3),
        ],
    )
    def test_the_scanner_is_resumed_a_bounded_number_of_times(self, frame: bytes, name: str, allowed: int) -> None:
        """Twice a bet: for its length and for its end. Only in a line every byte must be looked at."""
        buffer = bytearray()
        scan = CODECS[name].scan(buffer)
        needed = steps = 0
        size = None
        for index in range(len(frame) + 1):
            if len(buffer) >= needed:
                steps += 1
                try:
                    needed = next(scan)
                except StopIteration as end:
                    size = end.value
                    break
                assert needed > len(buffer)
            buffer += frame[index : index + 1]
        assert size == len(frame) == len(buffer)
        assert steps <= allowed

    def test_a_connection_asks_the_scanner_no_more_often(self) -> None:
        """Bytes that do not complete what is waited for do not reach the scanner."""
        steps = _count_steps(ServerConnection(), batch(*[bet()] * 255))
        assert steps <= 2 * 255 + 4


def _count_steps(connection: ServerConnection, frame: bytes) -> int:
    """How often the scanner runs while `frame` comes byte by byte."""
    steps = 0
    reader = connection._reader
    begin: Callable[..., None] = reader.begin

    def counting(codec: Any) -> None:
        begin(codec)
        inner = reader._scan
        assert inner is not None

        def relay() -> Any:
            nonlocal steps
            while True:
                steps += 1
                try:
                    yield next(inner)
                except StopIteration as end:
                    return end.value

        reader._scan = relay()

    reader.begin = counting  # type: ignore[method-assign]  # to look at it from inside
    assert len(server_events(connection, byte_by_byte(frame))) == 1
    return steps


def test_a_reader_between_two_frames_has_none() -> None:
    """It waits for a frame to begin."""
    assert FrameReader().take() is None


def test_two_frames_that_begin_alike_are_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server could not tell them apart, so the library would not come up."""
    twice = {"one": CODECS["bet_batch"], "other": CODECS["bet_batch"]}
    monkeypatch.setattr(server_connection, "CODECS", twice)
    with pytest.raises(TypeError, match="bet_batch and bet_batch both begin with byte 1"):
        server_connection._dispatch(8)


def test_a_pair_is_made_for_revisions_of_clients() -> None:
    """The server of the pair is the one that serves the client's revision."""
    assert [ConnectionPair(revision=revision).server.revision for revision in CLIENT_REVISIONS] == [5, 6, 9, 8, 9]
    with pytest.raises(ValueError, match="expected a revision of"):
        ConnectionPair(revision=10)
