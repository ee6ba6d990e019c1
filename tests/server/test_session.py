"""One peer without a reactor: what a session takes in, gives out, and when it wants neither."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Iterator
from typing import Any

import pytest

from bets_protocol import Ack, EncodedBatch, InvalidFrame, Probe, ReadError, Winners, WinnersRequest
from bets_protocol.transports import Stream, connect, listen
from bets_server.intake.requests import Close, Park, Reply, Work
from bets_server.reactor.fairness import oldest_first
from bets_server.reactor.inbox import READ_AHEAD_BYTES
from bets_server.reactor.session import OUTBOX_BYTES, UNIT_REQUESTS, Session
from tests.server.serving import RawClient, wait_until
from tests.server.wire import ACK_0, ask, batch, bet, bets, winners

PARKED = Park()


class Pair:
    """A session and its peer, over a real transport.

    Attributes:
        session: non-blocking.
        peer: non-blocking, too.
    """

    def __init__(self, stream: Stream, peer: Stream, revision: int) -> None:
        self.peer = peer
        self.session = Session(7, stream, revision=revision)

    def work(self, *data: bytes) -> Work | None:
        """What the session makes of some bytes of its peer."""
        self.peer.send(b"".join(data))
        self.session.read()
        return self.session.next_work()

    def received(self) -> bytes | None:
        """What the peer has got."""
        return self.peer.receive()


@contextlib.contextmanager
def _pair(revision: int = 8, name: str = "session") -> Iterator[Pair]:
    with listen(f"memory://{name}") as listener, connect(f"memory://{name}") as peer:
        stream = listener.accept()
        assert stream is not None
        peer.set_timeout(0)
        with stream:
            yield Pair(stream, peer, revision)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A session of revisions 7 and 8."""
    with _pair() as pair:
        yield pair


def _kinds(work: Work | None) -> list[type[object]]:
    return [] if work is None else [type(request) for request in work.requests]


def test_nothing_yet(pair: Pair) -> None:
    """Without a whole message there is no work, and the peer is welcome to go on."""
    assert pair.work() is None
    assert pair.work(batch(bet(1))[:10]) is None
    assert pair.session.wants_read
    assert not pair.session.wants_write
    assert not pair.session.closing


def test_one_unit_at_a_time(pair: Pair) -> None:
    """While a unit is in work there is no other; its answers leave in order, then comes the next."""
    first = pair.work(batch(bet(1)), batch(*bets([2, 3])))
    assert first == Work(session=7, peer="memory", requests=first.requests if first else ())
    assert _kinds(first) == [EncodedBatch, EncodedBatch]
    assert pair.work(batch(bet(4))) is None
    pair.session.take_answers([Reply(reply=Ack(count=1)), Reply(reply=Ack(count=0), error="no")])
    pair.session.flush()
    assert pair.received() == b"\x01\x00"
    assert _kinds(pair.session.next_work()) == [EncodedBatch]


def test_a_unit_is_bounded(pair: Pair) -> None:
    """It has at most so many requests."""
    assert len(_kinds(pair.work(*[batch(bet(1))] * 100))) == UNIT_REQUESTS


def test_a_unit_ends_with_the_question(pair: Pair) -> None:
    """What follows a WinnersRequest is looked at when that is answered."""
    assert _kinds(pair.work(batch(bet(1)), ask(1), batch(bet(2)))) == [EncodedBatch, WinnersRequest]
    pair.session.take_answers([Reply(reply=Ack(count=1)), PARKED])
    assert pair.session.next_work() is None
    assert pair.session.waiting == WinnersRequest(agency=1)
    again = pair.session.ask_again()
    assert _kinds(again) == [WinnersRequest]
    assert pair.session.ask_again() is None
    pair.session.take_answers([Reply(reply=Winners(documents=()))])
    assert bytes(pair.session.outbox) == b"\x01" + winners()
    assert _kinds(pair.session.next_work()) == [EncodedBatch]


def test_answers_that_need_no_store_ride_along(pair: Pair) -> None:
    """A refused batch and a probe keep their place among the others."""
    assert _kinds(pair.work(batch(bet(number=10_000)), batch(bet(1)), b"x\n")) == [InvalidFrame, EncodedBatch, Probe]


def test_read_ahead_is_bounded(pair: Pair) -> None:
    """A peer that sends without end is left alone once enough is held; the next look goes on from there."""
    frame = batch(*bets(range(200)))
    while pair.peer.send(frame) and pair.session.wants_read:
        pair.session.read()
    assert pair.session.connection.buffered == READ_AHEAD_BYTES
    assert not pair.session.wants_read
    assert len(_kinds(pair.session.next_work())) == READ_AHEAD_BYTES // len(frame)
    assert pair.session.wants_read


def test_outbox_is_bounded(pair: Pair) -> None:
    """Who leaves answers unread is neither read nor answered further, until there is room again."""
    documents = tuple("00000000" for _ in range(OUTBOX_BYTES // 8))
    assert pair.work(ask(1), ask(1)) is not None
    pair.session.take_answers([Reply(reply=Winners(documents=documents))])
    assert pair.session.choked
    assert not pair.session.wants_read
    assert pair.session.wants_write
    assert pair.session.next_work() is None
    while pair.session.outbox:
        pair.session.flush()
        pair.received()
    assert _kinds(pair.session.next_work()) == [WinnersRequest]
    assert pair.session.wants_read


def test_flush_sends_what_there_is_room_for(pair: Pair) -> None:
    """The rest stays for later, and nothing of it is lost."""
    assert pair.work(ask(1)) is not None
    pair.session.take_answers([Reply(reply=Winners(documents=("30904465",) * 60_000))])
    answer, found = bytes(pair.session.outbox), b""
    pair.session.flush()
    assert 0 < len(pair.session.outbox) < len(answer)
    pair.session.flush()
    while len(found) < len(answer):
        found += pair.received() or b""
        pair.session.flush()
    assert found == answer
    assert not pair.session.wants_write


def test_peer_that_ends_its_side_is_answered(pair: Pair) -> None:
    """Its messages are still worked on; closing comes after the last answer."""
    pair.peer.send(batch(bet(1)) + ask(1))
    pair.peer.close_writing()
    pair.session.read()
    pair.session.read()  # the selector says that there is more: the end
    assert pair.session.ended
    assert not pair.session.wants_read
    assert _kinds(pair.session.next_work()) == [EncodedBatch, WinnersRequest]
    pair.session.take_answers([Reply(reply=Ack(count=1)), PARKED])
    assert pair.session.next_work() is None
    assert not pair.session.closing
    pair.session.read()
    assert pair.session.ask_again() is not None
    pair.session.take_answers([Reply(reply=Winners(documents=()))])
    assert pair.session.next_work() is None
    assert pair.session.closing
    assert not pair.session.lingering


def test_framing_error_comes_after_the_answers_before_it(pair: Pair) -> None:
    """The unit in front of it is answered first; then Ack 0 and no further reading but to throw away."""
    assert _kinds(pair.work(batch(bet(1)), b"\xff" * 100)) == [EncodedBatch]
    assert not pair.session.closing
    pair.session.take_answers([Reply(reply=Ack(count=1))])
    assert pair.session.next_work() is None
    assert (pair.session.closing, pair.session.lingering) == (True, True)
    assert bytes(pair.session.outbox) == b"\x01" + ACK_0
    assert pair.session.next_work() is None
    assert bytes(pair.session.outbox) == b"\x01" + ACK_0


def test_throwing_away_is_bounded(pair: Pair) -> None:
    """A peer that sends for ever is read up to the 64 KB of docs/protocol.md, and then no more."""
    assert pair.work(b"\xff") is None
    while pair.session.wants_read:
        assert pair.peer.send(b"x" * 65_536)
        pair.session.throw_away()
    assert 65_536 < pair.session.inbox.drained_bytes <= 2 * 65_536
    pair.peer.send(b"x")
    pair.session.throw_away()
    assert pair.session.inbox.drained_bytes <= 2 * 65_536
    assert not pair.session.ended


def test_throwing_away_ends_with_the_peer(pair: Pair) -> None:
    """Its end of the stream is noticed, and looked for no more."""
    assert pair.work(b"\xff", b"x" * 100) is None
    pair.peer.send(b"y" * 50)
    pair.peer.close_writing()
    pair.session.throw_away()
    assert (pair.session.inbox.drained_bytes, pair.session.ended) == (50, True)
    pair.session.throw_away()
    assert not pair.session.wants_read


@pytest.mark.parametrize("revision", [5, 6])
def test_one_message_on_revisions_5_and_6(revision: int) -> None:
    """After the answer to the first message the session ends, whatever else was sent."""
    with _pair(revision) as pair:
        one = bet(1) if revision == 5 else b"\x01" + bet(1)
        assert _kinds(pair.work(one, one)) == [EncodedBatch]
        pair.session.take_answers([Reply(reply=Ack(count=1))])
        assert pair.session.next_work() is None
        assert (pair.session.closing, pair.session.lingering) == (True, True)


def test_answer_that_cannot_be_given_ends_the_session(pair: Pair) -> None:
    """No reply, and an error that says why: closed once what was due before is out."""
    assert pair.work(batch(bet(1)), ask(1)) is not None
    pair.session.take_answers([Reply(reply=Ack(count=1)), Close(error="too many winners")])
    assert pair.session.closing
    assert bytes(pair.session.outbox) == b"\x01"
    assert pair.session.next_work() is None
    assert pair.session.waiting is None


def test_broken_connection_is_an_error() -> None:
    """A reset is no end of the stream; what came in before it may be lost with it."""
    with listen("tcp://127.0.0.1:0") as listener:
        client = RawClient(listener.url)
        accepted: list[Stream] = []

        def is_accepted() -> bool:
            accepted.extend(filter(None, [listener.accept()]))
            return bool(accepted)

        wait_until(is_accepted, "the connection")
        with accepted[0] as stream:
            session = Session(1, stream, revision=8)
            client.send(batch(bet(1))[:20])
            client.reset()

            def is_broken() -> bool:
                try:
                    session.read()
                except ReadError:
                    return True
                return False

            wait_until(is_broken, "the reset")
            assert not session.ended


class ByteByByte:
    """A stream, as an encrypted one of a peer that puts every byte into a record of its own."""

    hides_bytes = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.peer = stream.peer
        self.receives = 0

    def receive(self, _max_bytes: int) -> bytes | None:
        """One byte, or what says that there is none."""
        self.receives += 1
        return self._stream.receive(1)


def test_single_bytes_take_several_rounds(pair: Pair) -> None:
    """A session does not hold up the others for as many calls as there are bytes; it says that it was cut short."""
    stream: Any = ByteByByte(pair.session.stream)
    pair.session.stream = stream
    frame = batch(bet(1), bet(2), bet(3))
    pair.peer.send(frame)
    rounds = 0
    while (work := pair.session.next_work()) is None:
        pair.session.read()
        rounds += 1
        assert stream.receives <= 64 * rounds
    assert rounds == -(-len(frame) // 64)
    assert _kinds(work) == [EncodedBatch]
    pair.session.read()
    assert not pair.session.inbox.cut_short


def test_new_sessions_of_an_address_are_read_in_their_order() -> None:
    """Whichever were chosen; those of which something was read keep their turn, and so does whatever is no session."""
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(_pair(name=f"session-{number}")) for number in range(4)]
        for number, pair in enumerate(pairs):
            pair.session.number = number
        pairs[2].session.read()
        keys = [selectors.SelectorKey(0, 0, 0, data) for data in [*(pair.session for pair in pairs), "a listener"]]
        ready = [(key, selectors.EVENT_READ) for key in keys]
        first, second, known, last, other = ready
        assert oldest_first([last], ready) == [first]
        assert oldest_first([other, last, known, second], ready) == [other, first, known, second]
        assert oldest_first([known, last], [known, last, other]) == [known, last]
        assert oldest_first(ready[::-1], ready) == [other, first, known, second, last]
