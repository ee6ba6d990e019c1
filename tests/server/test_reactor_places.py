"""A running server at the limits of its places: those that wait for the draw keep out nobody whom it waits for."""

from __future__ import annotations

import pytest

from bets_protocol import RejectCode
from bets_server.health import is_healthy
from bets_server.limits import Limits
from tests.certificates import Authority
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import STATUS_BYTES, WINNING, ask, batch, bet, document, opening, status, winners

AGENCIES = 255
PLACES = Limits().max_per_address


def _wait_until_sealed(server: Server, agency: int) -> None:
    wait_until(lambda: agency in server.store.state().sealed, f"agency {agency} is sealed")


def _waits(server: Server, client: RawClient, agency: int, revision: int) -> RawClient:
    """Has an agency store a bet and ask for its winners on one of the revisions; `client` is the last to connect."""
    mine = bet(agency, agency=agency, number=WINNING)
    if revision == 9:
        answer = client.exchange(opening(1, agency=agency), batch(mine), ask(agency), size=3 * STATUS_BYTES)
        assert answer == status(0) + status(0, mine) * 2
        return client
    assert client.exchange(batch(mine)) == b"\x01"
    if revision == 7:  # a message each
        client.close()
        client = server.client()
    client.send(ask(agency))
    return client


def _takes_winners(client: RawClient, agency: int, revision: int) -> None:
    mine = bet(agency, agency=agency, number=WINNING)
    answer = status(16, mine) * (revision == 9) + winners(document(agency))
    assert client.read(len(answer)) == answer


def _wait_until_all_wait(server: Server, came: int) -> None:
    """Waits until so many connections have come, and those that are left wait for the draw."""

    def all_wait() -> bool:
        sessions = server.sessions
        in_all = server.logged("accept_connections | result: success")
        return in_all == came and all(session.waiting is not None for session in sessions)

    wait_until(all_wait, f"{came} connections wait")


def _refused(server: Server) -> bool:
    """Whether a new connection is closed at once."""
    return not server.client().read_what_is_left()


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
@pytest.mark.parametrize("revision", [7, 8, 9])
def test_every_agency_behind_one_address(serve: Servers, revision: int, scheme: str) -> None:
    """At the defaults: while 254 wait a health check passes, the last one gets in, and all have their winners."""
    server = serve(agencies=AGENCIES, limits=Limits(), scheme=scheme)
    waiting: dict[int, RawClient] = {}
    for agency in range(1, AGENCIES):
        waiting[agency] = _waits(server, server.client(), agency, revision)
        _wait_until_sealed(server, agency)
    assert is_healthy(server.url) == (True, "")
    last = server.client()
    if revision == 9:
        mine = bet(AGENCIES, agency=AGENCIES, number=WINNING)
        assert last.exchange(opening(1, agency=AGENCIES), batch(mine), size=2 * STATUS_BYTES) == status(0) + status(
            0, mine
        )
        last.send(ask(AGENCIES))
    else:
        last = _waits(server, last, AGENCIES, revision)
    _takes_winners(last, AGENCIES, revision)
    for agency, client in waiting.items():
        _takes_winners(client, agency, revision)
    assert is_healthy(server.url) == (True, ""), "who has its winners and stays keeps nobody out either"
    assert server.logged("accept_connections | result: fail") == server.logged("close_connection | result: fail") == 0


def test_every_agency_behind_one_address_over_tls(serve: Servers, authority: Authority) -> None:
    """The same where each has to prove who it is."""
    limits = Limits(handshakes_per_second=10_000)
    server = serve(agencies=PLACES + 2, limits=limits, scheme="tls", files=authority.server())
    waiting: dict[int, RawClient] = {}
    for agency in range(1, PLACES + 2):
        waiting[agency] = _waits(server, server.client(authority.agency(agency)), agency, 8)
        _wait_until_sealed(server, agency)
    last = PLACES + 2
    _takes_winners(_waits(server, server.client(authority.agency(last)), last, 8), last, 8)
    for agency, client in waiting.items():
        _takes_winners(client, agency, 8)


def test_flood_beside_those_that_wait(serve: Servers) -> None:
    """What waits does not count, all else does: the limit is where it was, and its line says what is beside it."""
    server = serve(agencies=AGENCIES, limits=Limits())
    for agency in range(1, 101):
        server.client().send(ask(agency))
        _wait_until_sealed(server, agency)
    idle = [server.client() for _ in range(PLACES)]
    wait_until(lambda: len(server.reactor.connections()) == 100 + PLACES, "all are in")
    assert all(_refused(server) for _ in range(5))
    refusal = (
        f"accept_connections | result: fail | ip: 127.0.0.1 | error: 127.0.0.1 has {PLACES} connections, and 100 that "
        "have asked for their winners"
    )
    assert server.logged(refusal) == 1
    assert server.logged("close_connection | result: fail") == 0
    idle[0].close()
    wait_until(lambda: len(server.reactor.connections()) == 99 + PLACES, "one has left")
    assert is_healthy(server.url) == (True, "")


@pytest.mark.parametrize("asked_for", [[1], [6], [1, 2, 6, 7, 255]], ids=["one", "unexpected", "several"])
def test_flood_of_questions(serve: Servers, asked_for: list[int]) -> None:
    """One address asks again and again for whatever agencies: it has so many connections, and keeps nobody out."""
    limits = Limits(max_per_address=10, max_per_agency=1000)
    server = serve(agencies=3, limits=limits)
    for turn in range(60):
        server.client().send(ask(asked_for[turn % len(asked_for)]))
        _wait_until_all_wait(server, turn + 1)
    expected = len([agency for agency in asked_for if agency <= 3])
    assert len(server.reactor.connections()) == 10 + expected
    assert is_healthy(server.url) == (True, "")
    late = server.client()
    assert late.exchange(batch(bet(3, agency=3, number=WINNING)), ask(3), size=1) == b"\x01"
    if 2 not in asked_for:
        server.client().send(ask(2))
    if 1 not in asked_for:
        server.client().send(ask(1))
    assert late.read(10) == winners(document(3))


def test_who_gives_its_place_is_told_so(serve: Servers) -> None:
    """The older of two connections of one agency goes, the newer stays; on revision 9 it hears LIMIT."""
    server = serve(agencies=2, limits=Limits(max_per_address=2))
    one, other = bet(1), bet(2)
    old, new = server.client(), server.client()
    for client, name, mine in ((old, b"a", one), (new, b"b", other)):
        answer = client.exchange(opening(1, name=name), batch(mine), size=2 * STATUS_BYTES)
        assert answer == status(0) + status(0, mine)
    assert old.exchange(ask(1), size=STATUS_BYTES) == status(0, one)
    assert new.exchange(ask(1), size=STATUS_BYTES) == status(0, other)
    idle = server.client()
    wait_until(lambda: len(server.reactor.connections()) == 3, "three are in: two that count, one that does not")
    late = server.client()
    assert late.exchange(batch(bet(3, agency=2))) == b"\x01"
    assert old.read_to_end() == status(RejectCode.LIMIT, one)
    gone = "close_connection | result: fail | ip: 127.0.0.1 | error: it waits for the draw, and a new connection needs"
    assert server.logged(gone) == 1
    assert _refused(server), "nobody else waits who could go"
    assert new.pending is None
    late.send(ask(2))
    assert late.read(2) == winners()
    assert new.read(STATUS_BYTES + 2) == status(16, other) + winners()
    assert idle.exchange(ask(1), size=2) == winners()


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_fewer_places_than_agencies(serve: Servers, scheme: str) -> None:
    """An operator may allow fewer connections than there are agencies: they take turns, and the draw comes."""
    server = serve(agencies=20, limits=Limits(max_connections=8), scheme=scheme)
    waiting = []
    for agency in range(1, 20):
        waiting.append(server.client())
        waiting[-1].send(ask(agency))
        _wait_until_sealed(server, agency)
        assert is_healthy(server.url) == (True, "")
    assert server.client().exchange(ask(20), size=2) == winners()
    answers = [client.read_what_is_left() if number < 12 else client.read(2) for number, client in enumerate(waiting)]
    assert answers == [b""] * 12 + [winners()] * 7


def test_places_that_only_those_under_deadlines_have(serve: Servers) -> None:
    """Who waits cannot make room where it is the others that fill the server."""
    server = serve(agencies=3, limits=Limits(max_connections=4), scheme="unix")
    waiting = server.client()
    waiting.send(ask(1))
    _wait_until_sealed(server, 1)
    idle = [server.client() for _ in range(3)]
    wait_until(lambda: len(server.reactor.connections()) == 4, "the server is full")
    assert _refused(server)
    assert waiting.pending is None
    for client in idle:
        assert client.exchange(batch(bet(2, agency=2))) == b"\x01"
