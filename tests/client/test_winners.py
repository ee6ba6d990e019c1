"""Waiting for winners: all agencies at once, whatever happens to a connection, until a deadline."""

from __future__ import annotations

import threading
import time

import pytest

from bets_client.config import load_settings
from bets_client.errors import NotDrawn, Unreachable, WrongPeer
from bets_client.run_context import working
from bets_client.upload.running import Running
from bets_protocol.client.link import Link
from bets_protocol.client.winners import WinnersCollector
from bets_protocol.transports import connect
from tests.client.scripted_server import DEADLINE_S, Central, Peer, ScriptedServer, unused_port, waits
from tests.client.uploading import ask


def test_each_agency_gets_its_own_when_the_last_has_asked() -> None:
    """All agencies wait at once, each on its connection."""
    central = Central(3, {1: ["30904465"], 2: [], 3: ["11111111", "22222222"]})
    with ScriptedServer(central) as server:
        assert ask(server.url, 1, 2, 3) == {1: ("30904465",), 2: (), 3: ("11111111", "22222222")}
    assert sorted(central.asked) == [1, 2, 3]


def test_a_link_that_is_there_is_used() -> None:
    """The connection of the upload carries the request."""
    central = Central(1, {4: ["30904465"]})
    with ScriptedServer(central) as server:
        with working(load_settings({"server": server.url, "revision": "8"}, {})) as context:
            running = Running(context)
            collector = WinnersCollector(running.options)
            link = Link(connect(server.url, timeout_s=DEADLINE_S), 8)
            context.opened.add("connection", link)
            running.ask(collector, 4, link)
            running.collect(collector)
        assert server.accepted == 1
    assert collector.found == {4: ("30904465",)}


def test_nobody_to_wait_for_is_no_wait() -> None:
    """Without an agency nobody connects."""
    assert ask("tcp://127.0.0.1:1") == {}


def test_a_lost_connection_is_made_again_and_asked_again() -> None:
    """A cut before or inside the answer is retried."""
    asked: list[int] = []

    def dies(peer: Peer) -> None:
        asked.append(peer.winners_request())

    def dies_inside_the_answer(peer: Peer) -> None:
        asked.append(peer.winners_request())
        peer.send(b"\x00\x02" + b"30904465" + b"1234")

    central = Central(1, {1: ["30904465"]})
    with ScriptedServer(dies, dies_inside_the_answer, central) as server:
        assert ask(server.url, 1) == {1: ("30904465",)}
    assert asked + central.asked == [1, 1, 1]


def test_a_draw_that_does_not_come_is_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the agencies and the time."""
    with ScriptedServer(waits) as server, pytest.raises(NotDrawn) as caught:
        ask(server.url, 1, 3, retry_for="0.5")
    assert str(caught.value) == (
        "the draw has not taken place: agencies 1, 3 have waited for 0.5 s (--retry-for); "
        "bets-client winners asks again"
    )
    assert "ERROR    action: consulta_ganadores | result: fail | error: the draw has not" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("agencies", "title", "error"),
    [
        ([3], "agency 3 waits for the draw", "agency 3 has waited for 0.5 s"),
        ([3, 1], "agencies 1, 3 wait for the draw", "agencies 1, 3 have waited for 0.5 s"),
        (
            [7, 9, 2, 3, 1, 10],
            "agencies 1 to 3, 7, 9, 10 wait for the draw",
            "agencies 1 to 3, 7, 9, 10 have waited for",
        ),
    ],
)
def test_who_waits_is_named(agencies: list[int], title: str, error: str) -> None:
    """What is shown meanwhile, and at the end, tells those that wait from those that are missing."""
    options = {"retry_for": "0.5", "revision": "8"}
    with ScriptedServer(waits) as server, working(load_settings({"server": server.url, **options}, {})) as context:
        running = Running(context)
        collector = WinnersCollector(running.options)
        for agency in agencies:
            running.ask(collector, agency, None)
        with pytest.raises(NotDrawn, match=error):
            running.collect(collector)
        assert context.progress._title == title


def test_without_a_connection_nobody_waits_for_the_draw() -> None:
    """What is shown meanwhile says that there is no server, and not that it has been asked."""
    with (
        unused_port() as port,
        working(load_settings({"server": f"127.0.0.1:{port}", "retry_for": "0.3"}, {})) as context,
    ):
        running = Running(context)
        collector = WinnersCollector(running.options)
        running.ask(collector, 3, None)
        with pytest.raises(Unreachable):
            running.collect(collector)
        assert context.progress._title == f"agency 3: no connection to {context.settings.server}, trying again"


def test_what_is_known_at_the_deadline_is_kept() -> None:
    """Winners that came in time are found although others did not."""

    def answers(peer: Peer) -> None:
        assert peer.winners_request() == 1
        peer.winners("30904465")
        peer.at_end()

    with (
        ScriptedServer(answers, waits) as server,
        working(load_settings({"server": server.url, "retry_for": "0.5", "revision": "8"}, {})) as context,
    ):
        running = Running(context)
        collector = WinnersCollector(running.options)
        running.ask(collector, 1, None)
        running.ask(collector, 2, None)
        with pytest.raises(NotDrawn, match="agency 2 has waited"):
            running.collect(collector)
    assert collector.found == {1: ("30904465",)}


def test_the_time_before_the_wait_does_not_count() -> None:
    """Other agencies' uploads come between the first request and the wait for the answers."""

    def answers_late(peer: Peer) -> None:
        peer.winners_request()
        time.sleep(0.2)
        peer.winners()

    with (
        ScriptedServer(answers_late) as server,
        working(load_settings({"server": server.url, "retry_for": "0.5", "revision": "8"}, {})) as context,
    ):
        running = Running(context)
        collector = WinnersCollector(running.options)
        time.sleep(0.6)
        running.ask(collector, 1, None)
        running.collect(collector)
    assert collector.found == {1: ()}


def test_nobody_there_is_unreachable() -> None:
    """A refused connection is retried until the deadline."""
    with unused_port() as port, pytest.raises(Unreachable, match="no answer from"):
        ask(f"tcp://127.0.0.1:{port}", 1, retry_for="0.5")


def test_a_server_that_always_closes_is_unreachable() -> None:
    """A connection that ends without an answer is no success."""

    def closes(peer: Peer) -> None:
        peer.winners_request()

    with ScriptedServer(closes) as server, pytest.raises((Unreachable, NotDrawn)):
        ask(server.url, 1, retry_for="0.5")


def test_an_answer_that_is_none_ends_the_wait() -> None:
    """An answer that breaks the protocol names the agency."""

    def babbles(peer: Peer) -> None:
        peer.winners_request()
        peer.send(b"\x00\x01abcdefgh")
        peer.at_end()

    with ScriptedServer(babbles) as server, pytest.raises(WrongPeer, match="agency 1 asked for its winners"):
        ask(server.url, 1)


def test_waiting_needs_no_thread_and_no_processor(capsys: pytest.CaptureFixture[str]) -> None:
    """A second of waiting takes hardly any processor time."""
    released = threading.Event()

    def holds(peer: Peer) -> None:
        peer.winners_request()
        released.wait(DEADLINE_S)
        peer.winners()

    timer = threading.Timer(1.0, released.set)
    timer.start()
    before = time.thread_time()
    with ScriptedServer(holds) as server:
        assert ask(server.url, *range(1, 21)) == dict.fromkeys(range(1, 21), ())
    timer.join()
    assert time.thread_time() - before < 0.5
    assert "for the draw" not in capsys.readouterr().out
