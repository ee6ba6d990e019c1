"""A link moves what it can and loses no answer, whatever the connection does."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import threading
import time

import pytest

from bets_protocol import (
    Ack,
    Bet,
    BetBatch,
    ConfigError,
    ConnectError,
    LocalProtocolError,
    OpenUpload,
    PeerClosed,
    RejectCode,
    RemoteProtocolError,
    SequenceError,
    TransportError,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.cli.signals import Stopped, deferred_stops, interruptible, stop_signals
from bets_protocol.client import link as link_module
from bets_protocol.client.driver import BlockingDriver, Steps, Wait
from bets_protocol.client.link import TURN_BYTES, Answer, Link
from bets_protocol.client.options import ClientOptions
from bets_protocol.transports import connect
from bets_protocol.transports.sockets import SocketStream
from tests.client.scripted_server import DEADLINE_S, Peer, ScriptedServer, unused_port

BET = Bet(agency=1, first_name="Ana", last_name="Paz", document="30904465", birthdate="1999-03-17", number=1)
BATCH = BetBatch(bets=(BET, BET))
FULL = BetBatch(
    bets=[
        Bet(agency=1, first_name="x" * 255, last_name="y" * 255, document="30904465", birthdate="1999-03-17", number=1)
    ]
    * 15
)


class Crumbs(SocketStream):
    """A stream that gives a byte at a time, as an encrypted one may give a record."""

    def receive(self, max_bytes: int = 1) -> bytes | None:
        return super().receive(min(max_bytes, 1))


def opened(url: str, revision: int) -> Link:
    """A link on a new connection."""
    return Link(connect(url, timeout_s=DEADLINE_S), revision)


def wait_ready(links: tuple[Link, ...], seconds: float) -> None:
    """Wait as a conversation does."""

    def waits() -> Steps[None]:
        yield Wait(links, seconds)

    BlockingDriver(ClientOptions(url="tcp://127.0.0.1:1"), guard=interruptible).run(waits())


def answers(link: Link, count: int) -> list[Answer]:
    """The next `count` answers."""
    found: list[Answer] = []
    until = time.monotonic() + DEADLINE_S
    while len(found) < count:
        assert time.monotonic() < until, f"only {found}"
        found += link.advance()
        wait_ready((link,), 0.05)
    return found


def error_of(link: Link) -> Exception:
    """What the link ends with."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            link.advance()
        except (TransportError, RemoteProtocolError) as error:
            return error
        wait_ready((link,), 0.05)
    pytest.fail("the link goes on")


def test_messages_go_out_and_answers_come_in_in_order() -> None:
    """Queued messages are sent in order and their answers are given in order."""

    def script(peer: Peer) -> None:
        peer.acknowledge(peer.batch())
        peer.send(b"\x00" if peer.batch() else b"")
        assert peer.winners_request() == 1
        peer.winners("30904465", "12345678")

    with ScriptedServer(script) as server:
        link = opened(server.url, 8)
        link.queue(BATCH)
        link.queue(BATCH)
        assert answers(link, 2) == [Ack(count=2), Ack(count=0)]
        link.queue(WinnersRequest(agency=1))
        assert answers(link, 1) == [Winners(documents=("30904465", "12345678"))]
        assert isinstance(error_of(link), PeerClosed)
        link.close()


def test_only_what_waits_to_leave_asks_for_room() -> None:
    """A link waits for room only while it has bytes to send."""
    with ScriptedServer(lambda peer: peer.acknowledge(peer.batch())) as server:
        link = opened(server.url, 8)
        assert link.interest == selectors.EVENT_READ
        link.queue(BATCH)
        assert link.interest == selectors.EVENT_READ | selectors.EVENT_WRITE
        link.advance()
        assert link.interest == selectors.EVENT_READ
        link.close()
        link.close()


def test_answers_come_before_the_end_of_the_stream_and_before_a_breach() -> None:
    """What arrived before the failure is given first."""

    def ends(peer: Peer) -> None:
        peer.acknowledge(peer.batch())

    def breaches(peer: Peer) -> None:
        peer.acknowledge(peer.batch())
        peer.batch()
        peer.send(b"\x02\x07\x07")
        peer.at_end()

    with ScriptedServer(ends, breaches) as server:
        for expected in (PeerClosed, SequenceError):
            link = opened(server.url, 8)
            link.queue(BATCH)
            assert answers(link, 1) == [Ack(count=2)]
            if expected is SequenceError:
                link.queue(BATCH)
                assert answers(link, 1) == [Ack(count=2)]
            assert isinstance(error_of(link), expected)
            assert isinstance(error_of(link), expected)
            link.close()


def test_a_refusal_is_not_lost_when_the_server_closes_while_we_still_send() -> None:
    """The answer is read although sending fails."""

    def refuses(peer: Peer) -> None:
        peer.batch()
        peer.send(b"\x00")
        peer.stream.shutdown(socket.SHUT_WR)  # bytes that nobody reads turn the close into a reset

    with ScriptedServer(refuses) as server:
        link = opened(server.url, 8)
        for _ in range(2000):
            link.queue(FULL)
        assert answers(link, 1) == [Ack(count=0)]
        assert isinstance(error_of(link), TransportError)
        link.close()


def test_what_has_not_begun_to_leave_can_be_taken_back() -> None:
    """Only messages of which no byte has left are dropped."""
    done = threading.Event()

    def reads_nothing(_peer: Peer) -> None:
        done.wait(DEADLINE_S)

    with ScriptedServer(reads_nothing) as server:
        link = opened(server.url, 8)
        for _ in range(2000):
            link.queue(FULL)
        assert link.advance() == []
        dropped = link.drop_unsent()
        assert 0 < dropped < 2000
        assert link.interest == selectors.EVENT_READ | selectors.EVENT_WRITE  # of one, a part has left
        assert link.drop_unsent() == 0
        link.close()
        done.set()


def test_nothing_begun_means_all_of_it_is_taken_back() -> None:
    """Before the first byte leaves all messages are dropped."""

    def waits(peer: Peer) -> None:
        assert peer.at_end()

    with ScriptedServer(waits) as server:
        link = opened(server.url, 8)
        link.queue(BATCH)
        link.queue(BATCH)
        assert (link.drop_unsent(), link.interest) == (2, selectors.EVENT_READ)
        link.close()


def test_nobody_there_is_a_connect_error_and_a_bad_url_a_config_error() -> None:
    """The two failures of opening have different types."""
    with unused_port() as port, pytest.raises(ConnectError):
        opened(f"tcp://127.0.0.1:{port}", 8)
    with pytest.raises(ConfigError):
        opened("nonsense://x", 8)


def test_a_link_that_cannot_be_made_leaves_nothing_open() -> None:
    """An unknown revision closes the new connection."""
    with ScriptedServer(lambda _: None) as server, pytest.raises(LocalProtocolError):
        opened(server.url, 99)


def test_one_advance_takes_a_bounded_amount_however_much_the_server_says() -> None:
    """A flood is read in turns of bounded size."""

    def floods(peer: Peer) -> None:
        assert peer.winners_request() == 1
        peer.flood((65_535).to_bytes(2) + b"30904465" * 65_535)

    with ScriptedServer(floods) as server:
        link = opened(server.url, 8)
        link.queue(WinnersRequest(agency=1))
        taken = [0]
        found: list[Answer] = []
        while not found:
            found = link.advance()
            taken.append(link.traffic - sum(taken))
            wait_ready((link,), DEADLINE_S)
        assert found == [Winners(documents=("30904465",) * 65_535)]
        assert max(taken) < 2 * TURN_BYTES
        assert isinstance(error_of(link), SequenceError)
        link.close()


def test_what_an_advance_has_left_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are already in memory make the link ready."""
    monkeypatch.setattr(link_module, "TURN_BYTES", 1)
    sent = threading.Event()

    def says_all_at_once(peer: Peer) -> None:
        assert peer.winners_request() == 1
        peer.winners(*["30904465"] * 20_000)
        sent.set()
        assert peer.at_end()

    with ScriptedServer(says_all_at_once) as server:
        link = opened(server.url, 8)
        link.queue(WinnersRequest(agency=1))
        assert link.advance() == []
        assert sent.wait(DEADLINE_S)
        before, begun = link.traffic, time.monotonic()
        while not link.advance():
            assert link.unread == (link.traffic > before)
            before = link.traffic
            wait_ready((link,), DEADLINE_S)
        assert link.unread
        wait_ready((link,), DEADLINE_S)  # all has come, and yet it looks once more
        assert time.monotonic() - begun < DEADLINE_S
        assert link.advance() == []
        assert not link.unread
        link.close()


def test_all_answers_are_heard_when_sending_fails_however_little_an_advance_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server has refused the upload and left, without reading the rest."""
    monkeypatch.setattr(link_module, "TURN_BYTES", 1)
    left = threading.Event()

    def refuses(peer: Peer) -> None:
        peer.open_upload()
        peer.status(0, 0)
        peer.status(8, 0)
        peer.stream.close()  # bytes that nobody reads turn the close into a reset
        left.set()

    with ScriptedServer(refuses) as server:
        link = Link(Crumbs(socket.create_connection(("127.0.0.1", server.port)), "127.0.0.1"), 9)
        link.queue(OpenUpload(agency=1, draw=1, total=30_000, upload_id=bytes(16)))
        for _ in range(2000):
            link.queue(FULL)
        heard = link.advance()
        assert left.wait(DEADLINE_S)
        heard += answers(link, 2 - len(heard))
        assert [one.code for one in heard if isinstance(one, UploadStatus)] == [RejectCode.OK, RejectCode.DRAW_CLOSED]
        assert isinstance(error_of(link), TransportError)
        link.close()


def test_an_advance_looks_whether_to_stop() -> None:
    """Who never has to wait, since every answer is there at once, would hear of a stop at the end only."""
    with ScriptedServer(lambda peer: peer.acknowledge(peer.batch())) as server:
        link = opened(server.url, 8)
        link.queue(BATCH)
        try:
            with stop_signals(), contextlib.suppress(Stopped), deferred_stops():
                signal.raise_signal(signal.SIGTERM)
                with pytest.raises(Stopped):
                    wait_ready((link,), 0)
        finally:
            assert answers(link, 1) == [Ack(count=2)]
            link.close()


def test_traffic_counts_both_directions() -> None:
    """`traffic` is the sum of bytes sent and received."""
    with ScriptedServer(lambda peer: peer.acknowledge(peer.batch())) as server:
        link = opened(server.url, 8)
        assert link.traffic == 0
        link.queue(BetBatch(bets=(BET,)))
        answers(link, 1)
        assert link.traffic == 2 + 31 + 1  # type, count, one bet of 31 bytes, and the answer
        link.close()


def test_a_wait_without_links_is_just_a_wait() -> None:
    """Waiting for no link takes the time that was given."""
    started = time.monotonic()
    wait_ready((), 0.05)
    wait_ready((), 0)
    assert time.monotonic() - started >= 0.05


def test_a_long_wait_is_done_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes in the instant before a call of the system is handled when that call ends, in a second."""
    now, slept, ticks = [0.0], [], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    options = ClientOptions(url="tcp://127.0.0.1:1", clock=lambda: now[0])

    def waits() -> Steps[None]:
        yield Wait((), 60.5)

    BlockingDriver(options, tick=lambda: ticks.append(now[0])).run(waits())
    assert (len(slept), max(slept), sum(slept)) == (61, 1.0, 60.5)
    assert len(ticks) > len(slept)
