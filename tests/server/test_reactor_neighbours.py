"""A running server and those that share an address or an agency with somebody who behaves badly, or is gone."""

from __future__ import annotations

from bets_protocol import RejectCode
from bets_server.limits import Limits
from bets_server.reactor.session import UNIT_REQUESTS
from tests.certificates import Authority
from tests.server.serving import Server, Servers, wait_until
from tests.server.wire import ACK_0, ask, batch, bet, opening, status, winners

WRONG_NUMBER = 65_535


def _all_gone(server: Server) -> bool:
    """Whether all that are connected wait for the draw, and have ended their side."""
    return all(s.ended and s.waiting is not None for s in server.sessions)


def test_agencies_at_one_address_are_told_apart_by_their_certificates(serve: Servers, authority: Authority) -> None:
    """One of them has too many errors and waits for its refusals; another one with an error does not."""
    now = [1000.0]
    limits = Limits(complaints_per_minute=3)
    server = serve(scheme="tls", files=authority.server(), limits=limits, clock=lambda: now[0])
    wrong, honest = server.client(authority.agency(1)), server.client(authority.agency(2))
    for _ in range(3):
        assert wrong.exchange(batch(bet(1, number=WRONG_NUMBER))) == ACK_0
    wrong.send(batch(bet(1, number=WRONG_NUMBER)))
    for row in range(3):
        assert honest.exchange(batch(bet(row, agency=2, number=WRONG_NUMBER))) == ACK_0
        assert honest.exchange(batch(bet(row, agency=2))) == b"\x01"
    assert wrong.pending is None
    now[0] += 1.0
    server.reactor.wake()
    assert wrong.read(1) == ACK_0
    assert server.logged("apuesta_recibida | result: fail") == 3 + 3


def test_waiters_that_have_gone_make_room_for_their_agency(serve: Servers) -> None:
    """Who asks, gives up and asks again is let in, however often; the oldest of them goes first."""
    server = serve(agencies=2, limits=Limits(max_per_agency=3))
    for count in range(1, 8):
        gone = server.client()
        gone.send(ask(1))
        gone.close()
        wait_until(lambda: server.store.asked == count and _all_gone(server), "it is seen to be gone")  # noqa: B023
    assert len(server.reactor.connections()) == 3
    waits = server.client()
    waits.send(ask(1))
    wait_until(lambda: server.store.asked == 8, "it has the place of one that is gone")
    assert server.client().exchange(ask(2), size=2) == winners()
    assert waits.read(2) == winners()
    assert server.logged("close_connection | result: fail") == 0


def test_waiter_that_is_gone_makes_room_in_the_round_of_its_own_answer(serve: Servers) -> None:
    """It is told "not yet" beside one that then asks for the same agency and takes its place."""
    server = serve(agencies=2, limits=Limits(max_per_agency=1, max_per_address=10))
    store = server.store
    store.gate.clear()
    server.client().send(batch(bet(1, agency=3)))
    assert store.inside.wait(20)
    asks_late, gone = server.client(), server.client()
    unit = [batch(bet(row, agency=4)) for row in range(UNIT_REQUESTS)]
    asks_late.send(*unit, ask(1))
    wait_until(lambda: 4 in server.reactor.connections(), "its bets wait for the store")
    gone.send(ask(1))
    wait_until(lambda: 1 in server.reactor.connections(), "its question does, too")
    gone.close()
    wait_until(lambda: any(s.ended for s in server.sessions), "it is seen to have ended")
    store.gate.set()
    assert asks_late.read(UNIT_REQUESTS) == b"\x01" * UNIT_REQUESTS
    wait_until(lambda: store.asked == 2, "both have asked")
    assert server.client().exchange(ask(2), size=2) == winners()
    assert asks_late.read(2) == winners()


def test_waiters_that_are_there_keep_their_places(serve: Servers) -> None:
    """The one too many is cut; on revision 9 it hears that there is a limit, and comes back later."""
    server = serve(agencies=2, limits=Limits(max_per_agency=2))
    inside = [server.client() for _ in range(2)]
    for client in inside:
        client.send(ask(1))
    wait_until(lambda: server.store.asked == 2, "both wait")
    old, new = server.client(), server.client()
    old.send(ask(1))
    assert old.read_what_is_left() == b""
    new.send(opening(1))
    assert new.read_to_end() == status(RejectCode.LIMIT)
    why = "error: agency 1 has 2 connections"
    assert server.logged(f"close_connection | result: fail | ip: 127.0.0.1 | {why}") == 1
    assert server.logged(f"open_upload | result: fail | ip: 127.0.0.1 | agencia: 1 | total: 1 | {why}") == 1
    server.client().send(ask(2))
    assert [client.read(2) for client in inside] == [winners()] * 2
