"""A running server and the draw: who waits, who wins, what is refused afterwards, and that it takes place once."""

from __future__ import annotations

import threading

import pytest

from bets_protocol import limits
from bets_protocol.cli.exit_codes import ExitCode
from bets_server.intake.handlers import random_number
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, document, winners

DRAWN = "sorteo | result: success"


def _sealed(server: Server, *agencies: int) -> None:
    wait_until(lambda: server.store.state().sealed >= set(agencies), f"agencies {agencies} are sealed")


def test_nobody_is_answered_before_everybody_has_asked(serve: Servers) -> None:
    """Two of three have asked: silence. The third asks: each gets its own winners, in the order of storing."""
    server = serve(agencies=3)
    clients = {agency: server.client() for agency in (1, 2, 3)}
    for agency, client in clients.items():
        rows = [agency * 10 + place for place in range(4)]
        bets = [bet(row, agency=agency, number=WINNING if row % 10 < agency else 1) for row in reversed(rows)]
        assert client.exchange(batch(*bets)) == b"\x04"
    clients[1].send(ask(1))
    clients[3].send(ask(3))
    _sealed(server, 1, 3)
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert [clients[1].pending, clients[3].pending] == [None, None]
    assert server.logged(DRAWN) == 0
    clients[2].send(ask(2))
    assert clients[2].read(18) == winners(document(21), document(20))
    assert clients[1].read(10) == winners(document(10))
    assert clients[3].read(26) == winners(document(32), document(31), document(30))
    assert server.logged(DRAWN) == 1


def test_the_same_agency_asking_twice_counts_once(serve: Servers) -> None:
    """Two connections ask for agency 1: no draw before agency 2 has asked; then both get the same answer."""
    server = serve(agencies=2)
    first, second, other = server.client(), server.client(), server.client()
    assert first.exchange(batch(bet(5, number=WINNING))) == b"\x01"
    first.send(ask(1))
    second.send(ask(1))
    _sealed(server, 1)
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert server.logged(DRAWN) == 0
    other.send(ask(2))
    assert [first.read(10), second.read(10)] == [winners(document(5))] * 2
    assert other.read(2) == winners()
    assert server.logged(DRAWN) == 1


def test_asked_again_after_the_draw(serve: Servers) -> None:
    """The answer comes at once, and is the same, on the same connection and on others."""
    server = serve(agencies=1)
    client = server.client()
    answer = winners(document(2), document(1))
    assert client.exchange(batch(bet(2, number=WINNING), bet(1, number=WINNING))) == b"\x02"
    assert [client.exchange(ask(1), size=len(answer)) for _ in range(3)] == [answer] * 3
    assert server.client().send_and_end(ask(1), ask(1)) == answer * 2
    assert server.logged(DRAWN) == 1


def test_bets_of_a_sealed_agency_are_refused(serve: Servers) -> None:
    """On its own connection and on others, also within a batch of several agencies; other agencies go on."""
    server = serve(agencies=2)
    client, other = server.client(), server.client()
    client.send(batch(bet(1)), ask(1), batch(bet(2)))
    _sealed(server, 1)
    assert client.read(1) == b"\x01"
    assert other.exchange(batch(bet(3))) == ACK_0
    assert other.exchange(batch(bet(4, agency=2), bet(5))) == ACK_0
    assert other.exchange(batch(bet(6, agency=2))) == b"\x01"
    assert server.logged("apuesta_recibida | result: fail | cantidad: 1 | error: the agency is sealed") == 1
    other.send(ask(2))
    assert client.read(3) == winners() + ACK_0
    assert server.stored == [document(1), document(6)]


def test_bets_after_the_draw_are_refused(serve: Servers) -> None:
    """Whichever agency they are of: Ack 0, and the connection stays usable."""
    server = serve(agencies=1)
    assert server.client().send_and_end(batch(bet(1)), ask(1)) == b"\x01" + winners()
    client = server.client()
    assert [client.exchange(batch(bet(row, agency=agency))) for row, agency in ((2, 1), (3, 2))] == [ACK_0] * 2
    assert client.send_and_end(b"ping\n") == b"ping\n"
    assert server.stored == [document(1)]
    assert server.logged("apuesta_recibida | result: fail | cantidad: 1 | error: the draw has taken place") == 2


def test_agency_that_the_draw_does_not_wait_for(serve: Servers) -> None:
    """Agency 9 of two: its bets are taken, its question does not make the draw, and it gets its winners with it."""
    server = serve(agencies=2)
    stranger = server.client()
    assert stranger.exchange(batch(bet(9, agency=9, number=WINNING))) == b"\x01"
    stranger.send(ask(9))
    server.client().send(ask(1))
    _sealed(server, 1, 9)
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert stranger.pending is None
    warning = "consulta_ganadores | result: success | agencia: 9 | warning: the draw waits for agencies 1 to 2"
    assert server.logged(warning) == 1
    assert server.client().exchange(ask(2), size=2) == winners()
    assert stranger.read(10) == winners(document(9))


def test_half_closed_clients_get_their_winners(serve: Servers) -> None:
    """Clients that have ended their side wait like the others; the reactor looks after them and stays well."""
    now = [1000.0]
    server = serve(agencies=2, clock=lambda: now[0])
    client = server.client()
    client.send(batch(bet(1, number=WINNING)), ask(1))
    client.stream.close_writing()
    _sealed(server, 1)
    for _ in range(3):
        now[0] += 31  # more than the time between two looks
        assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert server.client().exchange(ask(2), size=2) == winners()
    assert client.read_to_end() == b"\x01" + winners(document(1))


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_half_closed_client_that_has_died_is_found_out(serve: Servers, scheme: str) -> None:
    """A look at the parked clients gives back the descriptors of those that are gone, and of no others."""
    now = [1000.0]
    server = serve(agencies=2, scheme=scheme, clock=lambda: now[0])
    stays, dies = server.client(), server.client()
    for client in (stays, dies):
        client.send(ask(1))
        client.stream.close_writing()
    _sealed(server, 1)
    wait_until(lambda: server.store.asked == 2, "both have asked")
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    wait_until(lambda: server.logged("close_connection") == 1, "the ping is over")
    if scheme == "tcp":
        dies.reset()
    else:
        dies.close()

    def closed_at_a_later_look() -> bool:
        # Which look finds it depends on when its request comes back from the worker; sooner or later one does.
        now[0] += 31
        server.reactor.wake()
        return server.logged("close_connection") == 2

    wait_until(closed_at_a_later_look, "the dead client's connection is closed")
    assert server.client().exchange(ask(2), size=2) == winners()
    assert stays.read_to_end() == winners()


def test_one_thread_serves_200_waiting_agencies(serve: Servers) -> None:
    """200 connections wait for the draw and hold no thread; uploads and probes go on; then all are answered."""
    threads = threading.active_count()
    server = serve(agencies=201, workers=1)
    clients = {agency: server.client() for agency in range(1, 201)}
    for agency, client in clients.items():
        client.send(batch(bet(agency, agency=agency, number=WINNING)), ask(agency))
    _sealed(server, *clients)
    assert threading.active_count() == threads + 2  # the reactor and its one worker
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    last = server.client()
    assert last.exchange(batch(bet(201, agency=201))) == b"\x01"
    assert last.exchange(ask(201), size=2) == winners()
    for agency, client in clients.items():
        assert client.read(11) == b"\x01" + winners(document(agency))
    assert server.logged(DRAWN) == 1


def test_agencies_that_finish_at_the_same_instant(serve: Servers) -> None:
    """Five questions in one group: one draw, everybody answered."""
    server = serve(agencies=5)
    server.store.gate.clear()
    holding = server.client()
    holding.send(batch(bet(0)))
    wait_until(server.store.inside.is_set, "the store is at work")
    clients: dict[int, RawClient] = {agency: server.client() for agency in range(1, 6)}
    for agency, client in clients.items():
        client.send(batch(bet(agency, agency=agency, number=WINNING)), ask(agency))
    assert server.client().send_and_end(b"after them\n") == b"after them\n"
    server.store.gate.set()
    assert {a: c.read(11) for a, c in clients.items()} == {a: b"\x01" + winners(document(a)) for a in clients}
    assert server.logged(DRAWN) == 1


def test_random_winning_number(serve: Servers) -> None:
    """`random` picks after the last seal, once, from all numbers that can be bet on."""
    picked: list[int] = []

    def pick() -> int:
        picked.append(random_number())
        return picked[-1]

    server = serve(agencies=2, pick=pick)
    waiting = server.client()
    waiting.send(ask(1))
    _sealed(server, 1)
    assert picked == []
    server.client().exchange(ask(2), size=2)
    assert waiting.read(2) == winners()
    assert [server.store.state().number] == picked
    assert {0 <= random_number() <= limits.MAX_BETTING_NUMBER for _ in range(100)} == {True}
    assert len({random_number() for _ in range(100)}) > 1


@pytest.mark.parametrize("extra", [0, 1], ids=["65535", "65536"])
def test_more_winners_than_an_answer_holds(serve: Servers, extra: int) -> None:
    """65,535 winners are sent; one more, and the connection is closed with a line instead of a list that was cut."""
    server = serve(agencies=1)
    small = [bet(row, number=WINNING, first_name=b"A", last_name=b"B") for row in range(65_535 + extra)]
    client = server.client()
    client.send(*[batch(*small[start : start + 255]) for start in range(0, len(small), 255)], ask(1))
    acks = client.read(257 + extra)
    assert acks == b"\xff" * 257 + b"\x01" * extra
    if extra:
        assert client.read_to_end() == b""
        assert server.logged("consulta_ganadores | result: fail | ip: 127.0.0.1 | error: 65536 winners") == 1
        assert server.client().send_and_end(b"ping\n") == b"ping\n"
    else:
        assert client.read(2 + 65_535 * 8) == winners(*map(document, range(65_535)))


def test_exit_after_draw(serve: Servers) -> None:
    """Everybody that waited gets the answer, then the server ends with 0, though clients are still connected."""
    server = serve(agencies=2, exit_after_draw=True)
    idle, first, second = server.client(), server.client(), server.client()
    first.send(batch(bet(1, number=WINNING)), ask(1))
    _sealed(server, 1)
    second.send(ask(2))
    assert first.read_to_end() == b"\x01" + winners(document(1))
    assert second.read_to_end() == winners()
    assert server.finished() == ExitCode.DONE
    assert idle.read_to_end() == b""


def test_winners_are_read_once(serve: Servers) -> None:
    """After the draw they never change: whoever asks again is told what was told before."""
    server = serve()
    client = server.client()
    assert client.exchange(batch(bet(1, number=WINNING))) == b"\x01"
    assert client.exchange(ask(1), size=10) == winners(document(1))
    asked = server.store.asked
    for _ in range(5):
        assert client.exchange(ask(1), size=10) == winners(document(1))
    assert server.store.asked == asked
