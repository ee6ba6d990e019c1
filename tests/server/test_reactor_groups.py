"""A running server and its store: groups, when answers leave, and what follows when the store has no room or fails."""

from __future__ import annotations

import threading

import pytest

from bets_protocol import StorageError
from bets_protocol.cli.exit_codes import ExitCode
from bets_server.store import StoreFull
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, bets, document, winners


def _hold_up(server: Server) -> RawClient:
    """Has the store hold up the first group, which is one batch of bet 0; gives the client that sent it."""
    server.store.gate.clear()
    client = server.client()
    client.send(batch(bet(0)))
    wait_until(server.store.inside.is_set, "the store is at work")
    return client


def _connected(server: Server, count: int) -> None:
    accepted = "accept_connections | result: success"
    wait_until(lambda: server.logged(accepted) == count, f"{count} connections are accepted")


def test_what_arrives_meanwhile_is_the_next_group(serve: Servers) -> None:
    """While the store works on a group, all batches that come in become one group, with one transaction."""
    server = serve(agencies=1)
    first = _hold_up(server)
    clients = [server.client() for _ in range(10)]
    for row, client in enumerate(clients, start=1):
        client.send(batch(bet(row)), batch(bet(row + 100)))
    _connected(server, 11)
    assert server.client().send_and_end(b"after them\n") == b"after them\n"
    server.store.gate.set()
    assert [client.read(2) for client in clients] == [b"\x01\x01"] * 10
    assert first.read(1) == b"\x01"
    assert server.store.groups == [1, 20]


def test_pipelined_batches_of_one_client_share_a_group(serve: Servers) -> None:
    """What one client has sent ahead goes to the store together, up to 32 requests."""
    server = serve(agencies=1)
    _hold_up(server)
    client = server.client()
    client.send(*[batch(bet(row)) for row in range(1, 41)])
    assert server.client().send_and_end(b"after them\n") == b"after them\n"
    server.store.gate.set()
    assert client.read(40) == b"\x01" * 40
    assert server.store.groups == [1, 32, 8]


def test_acknowledged_only_after_the_store_returned(serve: Servers) -> None:
    """As long as the store has not said that a batch is on disk, nobody gets an Ack."""
    server = serve(agencies=1)
    client = _hold_up(server)
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert client.pending is None
    assert server.stored == []
    server.store.gate.set()
    assert client.read(1) == b"\x01"
    assert server.stored == [document(0)]


def test_one_job_at_a_time_whatever_the_size_of_the_pool(serve: Servers) -> None:
    """Four threads, and still the second group waits for the first."""
    server = serve(agencies=1, workers=4)
    _hold_up(server)
    client = server.client()
    client.send(batch(bet(1)))
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    assert server.store.groups == [1]
    server.store.gate.set()
    assert client.read(1) == b"\x01"


def test_full_store_refuses_the_group_and_lives_on(serve: Servers) -> None:
    """Ack 0 for every batch of the group, one line each; the next group is stored."""
    server = serve(agencies=1)
    first = _hold_up(server)
    clients = [server.client() for _ in range(3)]
    for row, client in enumerate(clients, start=1):
        client.send(batch(bet(row)))
    _connected(server, 4)
    assert server.client().send_and_end(b"after them\n") == b"after them\n"
    server.store.failure = StoreFull("bets: there is no room")
    server.store.gate.set()
    assert first.read(1) == ACK_0
    assert [client.read(1) for client in clients] == [b"\x01"] * 3
    assert server.logged("apuesta_recibida | result: fail | cantidad: 1 | error: the store is full") == 1
    assert first.exchange(batch(bet(0))) == b"\x01"
    assert sorted(server.stored) == [document(row) for row in range(4)]


def test_full_store_cannot_seal(serve: Servers) -> None:
    """A question that finds no room is not answered but ended, so that the client asks again; that one is answered."""
    server = serve(agencies=1)
    server.store.seal_failure = StoreFull("bets: there is no room")
    client = server.client()
    client.send(batch(bet(1, number=WINNING)), ask(1))
    assert client.read_to_end() == b"\x01"
    assert server.client().exchange(ask(1), size=10) == winners(document(1))


@pytest.mark.parametrize("when", ["storing", "sealing"])
def test_failed_store_ends_the_server(serve: Servers, when: str) -> None:
    """Nobody is answered, every connection and listener is closed, one line says why, and the exit code is 8."""
    server = serve(agencies=1)
    waiting = server.client()
    assert server.client().send_and_end(b"ping\n") == b"ping\n"
    first = _hold_up(server)
    others = [server.client() for _ in range(3)]
    for row, client in enumerate(others, start=1):
        client.send(batch(bet(row)), ask(row))
    _connected(server, 6)
    error = StorageError("bets: disk I/O error")
    server.store.failure, server.store.seal_failure = (error, None) if when == "storing" else (None, error)
    server.store.gate.set()
    assert server.finished() == ExitCode.STORE_FAILED
    acknowledged = b"\x01" if when == "sealing" else b""  # that one was in a group of its own, before
    assert [client.read_what_is_left() for client in (first, waiting, *others)] == [acknowledged, *[b""] * 4]
    assert server.logged("store | result: fail | error: bets: disk I/O error") == 1
    assert server.logged("close_listener | result: success") == 1
    assert server.logged("close_workers | result: success") == 1
    assert server.logged("apuesta_recibida | result: success") == (1 if when == "sealing" else 0)


def test_a_bug_in_a_job_ends_the_server_with_its_error(serve: Servers) -> None:
    """What nobody expected is not swallowed: everything is closed and the exception goes on."""
    server = serve(agencies=1)
    server.store.failure = ZeroDivisionError("a bug")
    client = server.client()
    client.send(batch(bet(1)))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        server.finished()
    assert client.read_what_is_left() == b""
    assert server.logged("close_workers | result: success") == 1


def test_stored_batch_of_a_client_that_left_has_its_line(serve: Servers) -> None:
    """A batch that is on disk is logged as stored, though nobody is there for the answer."""
    server = serve(agencies=1)
    _hold_up(server)
    gone = server.client()
    gone.send(batch(*bets([1, 2, 3])))
    _connected(server, 2)
    assert server.client().send_and_end(b"after it\n") == b"after it\n"
    gone.reset()
    wait_until(lambda: server.logged("close_connection | result: success") == 2, "the connections are closed")
    server.store.gate.set()
    wait_until(lambda: len(server.stored) == 4, "the bets are stored")
    wait_until(lambda: server.logged("apuesta_recibida | result: success | cantidad: 3") == 1, "the line is there")


def test_clients_that_drop_do_not_stop_others(serve: Servers) -> None:
    """Half of the clients reset their connections in the middle of everything; the others are served."""
    server = serve(agencies=1, workers=2)
    good = [server.client() for _ in range(10)]
    bad = [server.client() for _ in range(10)]
    for row, (stays, drops) in enumerate(zip(good, bad, strict=True)):
        drops.send(batch(bet(1000 + row)), batch(bet(2000 + row))[:20])
        stays.send(batch(bet(row)))
        drops.reset()
    assert [client.read(1) for client in good] == [b"\x01"] * 10
    assert {document(row) for row in range(10)} <= set(server.stored)
    assert server.client().send_and_end(b"ping\n") == b"ping\n"


def test_many_clients_at_once_with_one_thread(serve: Servers) -> None:
    """Thirty clients, batches of several agencies, one thread: every answer is its own."""
    server = serve(agencies=3, store="sqlite")
    answers: dict[int, bytes] = {}

    def upload(number: int) -> None:
        client = server.client()
        frames = [batch(*bets(range(number * 100 + start, number * 100 + start + 5))) for start in range(0, 50, 5)]
        answers[number] = b"".join(client.exchange(frame) for frame in frames)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == dict.fromkeys(range(30), b"\x05" * 10)
    assert sorted(server.stored) == [document(n * 100 + row) for n in range(30) for row in range(50)]
