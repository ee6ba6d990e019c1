"""A running server and peers that take their time, or come in numbers: each is cut when it must be, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bets_server.limits import Limits
from bets_server.reactor.fairness import NEWCOMERS_A_ROUND
from bets_server.reactor.session import UNIT_REQUESTS
from tests.server.serving import RawClient, Server, Servers, opened, wait_until
from tests.server.wire import ACK_0, STATUS_BYTES, WINNING, ask, batch, bet, document, opening, status, winners

LIMITS = Limits(max_per_agency=1000, max_per_address=1000)


class Timed:
    """A server whose clock stands still until the test moves it."""

    def __init__(self, serve: Servers, limits: Limits = LIMITS, **options: object) -> None:
        self._now = 1000.0
        self.server: Server = serve(clock=lambda: self._now, limits=limits, **options)

    def pass_s(self, seconds: float) -> None:
        """Time passes, and the server has looked at it when this returns."""
        self._now += seconds
        self.ping()

    def ping(self) -> None:
        """The server has dealt with all that was there before."""
        assert self.server.client().send_and_end(b"ping\n") == b"ping\n"

    def cut_after(self, client: RawClient, seconds: float, reason: str) -> None:
        """Asserts that `client` is cut after so long and not before, and that the log says why."""
        self.pass_s(seconds - 0.1)
        assert client.pending is None
        self.pass_s(0.1)
        assert client.read_what_is_left() == b""
        assert self.server.logged(f"close_connection | result: fail | ip: 127.0.0.1 | error: {reason}") == 1


def test_silent_peer(serve: Servers) -> None:
    """It has ten seconds for its first message."""
    timed = Timed(serve)
    client = timed.server.client()
    timed.ping()
    timed.cut_after(client, 10, "its first message was not whole in time")


def test_peer_that_drips_its_first_message(serve: Servers) -> None:
    """A byte now and then buys no time."""
    timed = Timed(serve)
    client, frame = timed.server.client(), batch(bet(1))
    timed.ping()
    for byte in frame[:9]:
        client.send(bytes([byte]))
        timed.pass_s(1)
    timed.cut_after(client, 1, "its first message was not whole in time")
    assert timed.server.stored == []


def test_peer_that_stops_inside_a_message(serve: Servers) -> None:
    """Each message has ten seconds from its first byte on; what was stored before stays."""
    timed = Timed(serve)
    client = timed.server.client()
    assert client.exchange(batch(bet(1))) == b"\x01"
    timed.pass_s(30)
    client.send(batch(bet(2))[:5])
    timed.ping()
    timed.pass_s(9)
    client.send(batch(bet(2))[5:9])
    timed.cut_after(client, 1, "its message was not whole in time")
    assert timed.server.stored == [document(1)]


def test_idle_peer(serve: Servers) -> None:
    """Between two messages there may be a minute, each time anew."""
    timed = Timed(serve)
    client = timed.server.client()
    for row in range(3):
        assert client.exchange(batch(bet(row))) == b"\x01"
        timed.pass_s(59)
    assert client.exchange(batch(bet(3))) == b"\x01"
    timed.ping()
    timed.cut_after(client, 60, "it said nothing for too long")


def test_who_waits_for_the_draw_is_not_idle(serve: Servers) -> None:
    """For ever, if need be."""
    timed = Timed(serve, agencies=2)
    client = timed.server.client()
    client.send(batch(bet(1, number=WINNING)), ask(1))
    wait_until(lambda: timed.server.store.state().sealed == {1}, "agency 1 is sealed")
    for _ in range(5):
        timed.pass_s(3600)
    assert timed.server.client().exchange(ask(2), size=2) == winners()
    assert client.read(11) == b"\x01" + winners(document(1))


def test_store_that_is_slow_costs_nobody_the_connection(serve: Servers) -> None:
    """Time that the server takes is not the peer's."""
    timed = Timed(serve)
    client = timed.server.client()
    timed.server.store.gate.clear()
    client.send(batch(bet(1)))
    assert timed.server.store.inside.wait(20)
    timed.pass_s(1000)
    timed.server.store.gate.set()
    assert client.read(1) == b"\x01"
    assert client.exchange(batch(bet(2))) == b"\x01"


def _with_unread_answers(timed: Timed, take: Callable[[RawClient], None] = lambda _: None) -> RawClient:
    """A client that has asked for more than the system takes of it, and that reads as `take` does."""
    server = timed.server
    client = server.client()
    frames = [batch(*[bet(row, number=WINNING) for row in range(start, start + 204)]) for start in range(0, 2040, 204)]
    assert client.exchange(*frames, size=10) == b"\xcc" * 10
    client.stream.set_timeout(0)
    session = server.sessions[0]
    while not session.choked:
        client.stream.send(ask(1) * 100)
        timed.ping()
    take(client)
    client.stream.set_timeout(20)
    return client


def test_peer_that_never_reads(serve: Servers) -> None:
    """Its answers wait for ten seconds."""
    timed = Timed(serve, scheme="unix")
    _with_unread_answers(timed)
    timed.pass_s(9.9)
    cut = "close_connection | result: fail | ip: unix | error: it leaves its answers unread"
    assert timed.server.logged(cut) == 0
    timed.pass_s(0.1)
    assert timed.server.logged(cut) == 1


def test_peer_that_reads_slowly(serve: Servers) -> None:
    """One that takes its answers at the least rate is served for as long as it takes; one that takes less is not."""
    timed = Timed(serve, scheme="unix")
    client = _with_unread_answers(timed)
    session = timed.server.sessions[0]
    for _ in range(10):
        before = session.timers.taken
        while session.timers.taken < before + 9_000:  # what the server gets rid of, not what the system holds
            client.read(1_000)
            timed.ping()
        timed.pass_s(8)
    assert timed.server.logged("close_connection | result: fail") == 0
    # As many as there is room for: where the server was slow to be choked, requests enough wait in the socket already.
    client.stream.set_timeout(0)
    client.stream.send(ask(1) * 1000)
    wait_until(lambda: session.choked, "more answers wait")
    timed.pass_s(10)
    assert timed.server.logged("close_connection | result: fail") == 1


def test_connections_from_one_address(serve: Servers) -> None:
    """One too many is closed at once, with one line a minute for all of them; who leaves makes room."""
    timed = Timed(serve, Limits(max_per_address=3))
    server = timed.server
    first = server.client()
    assert first.exchange(batch(bet(1))) == b"\x01"
    inside = [server.client() for _ in range(2)]
    wait_until(lambda: len(server.reactor.connections()) == 3, "three are in")
    for _ in range(4):
        assert server.client().read_what_is_left() == b""
    refusal = "accept_connections | result: fail | ip: 127.0.0.1 | error: 127.0.0.1 has 3 connections"
    assert server.logged(refusal) == 1
    assert first.exchange(batch(bet(2))) == b"\x01"
    for client in (first, *inside):
        client.close()
    wait_until(lambda: not server.reactor.connections(), "all have left")
    timed.pass_s(60)
    assert server.logged(f"{refusal} | repeated: 3") == 1


def test_connections_in_all(serve: Servers) -> None:
    """Whatever their address."""
    server = serve(limits=Limits(max_connections=2), scheme="unix")
    inside = [server.client() for _ in range(2)]
    assert [client.exchange(batch(bet(1))) for client in inside] == [b"\x01"] * 2
    assert server.client().read_what_is_left() == b""
    assert server.logged("accept_connections | result: fail | ip: unix | error: the server has 2 connections") == 1


def test_connections_of_one_agency(serve: Servers) -> None:
    """The one too many is cut when it says whom it speaks for; nothing of it is stored, and others get in."""
    server = serve(limits=Limits(max_per_agency=2))
    inside = [server.client() for _ in range(2)]
    for row, client in enumerate(inside):
        assert client.exchange(batch(bet(row))) == b"\x01"
    assert server.client().send_and_end(b"probe\n") == b"probe\n"
    third = server.client()
    third.send(batch(bet(7)))
    assert third.read_what_is_left() == b""
    cut = "close_connection | result: fail | ip: 127.0.0.1 | error: agency 1 has 2 connections"
    assert server.logged(cut) == 1
    assert server.stored == [document(0), document(1)]
    assert server.client().exchange(batch(bet(8, agency=2))) == b"\x01"
    assert inside[0].exchange(batch(bet(9))) == b"\x01"


def test_peer_that_never_learns_waits(serve: Servers) -> None:
    """After so many errors in a minute each refusal takes a second, and its line is counted; others need not wait."""
    timed = Timed(serve, Limits(complaints_per_minute=5))
    server = timed.server
    for _ in range(5):
        assert server.client().exchange(b"\xff") == ACK_0
    assert server.logged("receive_message | result: fail") == 5
    late = server.client()
    late.send(b"\xff")
    timed.ping()
    assert late.pending is None
    accepted = server.logged("accept_connections | result: success")
    for row in range(20):  # of the same address
        honest = server.client()
        assert honest.exchange(batch(bet(row))) == b"\x01"
        honest.close()
    assert server.logged("accept_connections | result: success") == accepted + 20
    assert late.pending is None
    timed._now += 1.1
    server.reactor.wake()
    assert late.read(1) == ACK_0
    timed._now += 60
    server.reactor.wake()
    wait_until(lambda: server.logged("receive_message | result: fail") == 6, "the minute is over")
    assert server.client().exchange(b"\xff") == ACK_0


def test_peer_that_sends_errors_and_awaits_no_answer(serve: Servers) -> None:
    """While they come by the dozen each second, new connections from there wait a second, and their lines are counted.

    Those that came before are served on; and a second later, new ones are, too.
    """
    timed = Timed(serve, Limits(complaints_per_minute=2, penalties_per_second=3))
    server = timed.server
    before = server.client()
    assert before.exchange(batch(bet(1))) == b"\x01"
    for _ in range(6):
        server.client().send(b"\xff")
    wait_until(lambda: len([s for s in server.sessions if s.held]) == 4, "four have to wait")
    late = server.client()
    late.send(b"hello\n")
    wait_until(lambda: len(server.reactor.connections()) == 1 + 6 + 1, "it is in, beside those that linger")
    assert before.exchange(batch(bet(2))) == b"\x01"
    assert late.pending is None
    timed._now += 1.0
    server.reactor.wake()
    assert late.read_to_end() == b"hello\n"
    timed.ping()
    assert server.logged("accept_connections | result: success") == 1 + 6 + 1
    timed._now += 60
    server.reactor.wake()
    counted = "accept_connections | result: fail | ip: 127.0.0.1 | error: its connections have to wait | repeated: 5"
    wait_until(lambda: server.logged(counted) == 1, "the minute is over")


def test_errors_at_a_unix_socket(serve: Servers) -> None:
    """All peers there look the same: only who errs waits, however often that is."""
    timed = Timed(serve, Limits(complaints_per_minute=2, penalties_per_second=3), scheme="unix")
    wrong = [timed.server.client() for _ in range(10)]
    for client in wrong:
        client.send(b"\xff")
    for _ in range(3):
        timed.ping()
    assert wrong[-1].pending is None
    assert timed.server.logged("accept_connections | result: success") == len(wrong) + 3


def test_stop_while_refusals_have_to_wait(serve: Servers) -> None:
    """They are given at once then."""
    timed = Timed(serve, Limits(complaints_per_minute=1))
    first, late = timed.server.client(), timed.server.client()
    assert first.exchange(b"\xff") == ACK_0
    late.send(b"\xff")
    timed.ping()
    assert late.pending is None
    timed.server.reactor.stop()
    assert late.read_to_end() == ACK_0


@pytest.mark.parametrize("limits", [Limits(), Limits(first_message_timeout_s=0.1, idle_timeout_s=0.1)])
def test_stop_with_deadlines_about(serve: Servers, limits: Limits) -> None:
    """Connections that have deadlines do not hold a stop up, nor the other way round."""
    server = serve(limits=limits)
    for _ in range(5):
        server.client()
    server.stop()
    assert server.reactor.connections() == []


def test_peer_whose_every_batch_is_refused(serve: Servers) -> None:
    """However fast it sends, it gets one unit of answers a second, and the others do not notice."""
    timed = Timed(serve, Limits(complaints_per_minute=5))
    server = timed.server
    other, client = server.client(), server.client()
    timed.ping()
    client.send(batch(bet(1, number=65_535)) * 200)
    timed.ping()
    assert other.exchange(batch(bet(2))) == b"\x01"
    assert client.pending is None
    for _ in range(4):
        timed._now += 1.0
        server.reactor.wake()
        assert client.read(UNIT_REQUESTS) == ACK_0 * UNIT_REQUESTS
        assert client.pending is None
    assert server.logged("apuesta_recibida | result: fail") == 5
    assert server.stored == [document(2)]


def test_client_that_reads_its_file_up_to_where_it_was(serve: Servers) -> None:
    """Behind the opening of an upload that goes on there are ten minutes; behind one of a new or finished one, one."""
    timed = Timed(serve)
    new = opened(timed.server, 3)
    timed.pass_s(59)
    assert new.exchange(batch(bet(0)), size=STATUS_BYTES) == status(0, bet(0))
    new.close()
    again = timed.server.client()
    assert again.exchange(opening(3), size=STATUS_BYTES) == status(0, bet(0))
    timed.pass_s(599)
    assert again.exchange(batch(bet(1)), size=STATUS_BYTES) == status(0, bet(0), bet(1))
    timed.ping()
    timed.cut_after(again, 60, "it said nothing for too long")
    third = timed.server.client()
    assert third.exchange(opening(3), batch(bet(2)), size=2 * STATUS_BYTES)[STATUS_BYTES:] == status(
        0, bet(0), bet(1), bet(2)
    )
    third.close()
    finished = timed.server.client()
    assert finished.exchange(opening(3), size=STATUS_BYTES) == status(0, bet(0), bet(1), bet(2))
    timed.ping()
    timed.pass_s(60)
    assert finished.read_what_is_left() == b""


def test_crowd_of_newcomers_has_its_turns(serve: Servers) -> None:
    """More than a round serves are all answered, and those that work for an agency in between."""
    server = serve(scheme="unix")
    known = server.client()
    assert known.exchange(batch(bet(0))) == b"\x01"
    crowd = [server.client() for _ in range(5 * NEWCOMERS_A_ROUND)]
    wait_until(lambda: len(server.reactor.connections()) == 1 + len(crowd), "all are in")
    for number, client in enumerate(crowd):
        client.send(f"probe {number}\n".encode())
    assert known.exchange(batch(bet(1))) == b"\x01"
    assert [client.read_to_end() for client in crowd] == [f"probe {number}\n".encode() for number in range(len(crowd))]
