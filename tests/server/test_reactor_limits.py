"""A running server and peers that ask too much of it: what it holds of them stays bounded, and it does not spin."""

from __future__ import annotations

import itertools
import time

from bets_protocol import TransportError
from bets_server.reactor.inbox import LINGER_BYTES, READ_AHEAD_BYTES
from bets_server.reactor.session import OUTBOX_BYTES, Session
from tests.server.serving import RawClient, Server, Servers, wait_until
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, bets, document, winners

ROWS = range(2040)
ANSWER = winners(*map(document, ROWS))
"""What agency 1 has won after `_drawn`: 16 KB."""

MAX_BYTES_SENT = 4_000_000
"""More than the system holds of a connection over a unix socket, and than any server here may take."""


class Clock:
    """Real time, and a count of how often it was asked for: twice in each round of the reactor."""

    def __init__(self) -> None:
        self.asked = itertools.count()

    def __call__(self) -> float:
        next(self.asked)
        return time.monotonic()


def _ping(server: Server) -> None:
    """A probe comes back: the server has dealt with all that was there before."""
    assert server.client().send_and_end(b"ping\n") == b"ping\n"


def _spins(server: Server, clock: Clock) -> bool:
    """Whether the reactor makes many more rounds than a few probes need."""
    before = next(clock.asked)
    for _ in range(20):
        _ping(server)
    return next(clock.asked) - before > 20 * 40


def _drawn(server: Server) -> RawClient:
    """Makes the draw; gives a client whose session is the only one, and how it answers agency 1 is `ANSWER`."""
    client = server.client()
    frames = [[bet(row, number=WINNING) for row in ROWS[start : start + 204]] for start in ROWS[::204]]
    assert client.exchange(*[batch(*frame) for frame in frames], size=10) == b"\xcc" * 10
    assert client.exchange(ask(1), size=len(ANSWER)) == ANSWER
    _ping(server)
    return client


def _session(server: Server) -> Session:
    """The session of the oldest client."""
    return server.sessions[0]


def _held(session: Session) -> int:
    return session.connection.buffered + len(session.outbox)


def _send_all_it_takes(client: RawClient, server: Server, data: bytes) -> int:
    """Sends `data` over and over until the server takes nothing more; gives how many bytes have left."""
    client.stream.set_timeout(0)
    sent, refused = 0, 0
    while refused < 3:
        taken = client.stream.send(data[sent % len(data) :])
        sent += taken
        assert sent < MAX_BYTES_SENT, "the server reads without end"
        refused = 0 if taken else refused + 1
        _ping(server)
    client.stream.set_timeout(20)
    return sent


def test_client_that_never_reads_is_not_read_further(serve: Servers) -> None:
    """Questions without end whose long answers nobody reads: one answer more than the bound, and the read-ahead."""
    clock = Clock()
    server = serve(scheme="unix", clock=clock)
    client = _drawn(server)
    session = _session(server)
    _send_all_it_takes(client, server, ask(1) * 50_000)
    wait_until(lambda: session.choked, "the server has answers that nobody reads")
    _send_all_it_takes(client, server, ask(1) * 50_000)
    assert OUTBOX_BYTES <= len(session.outbox) < OUTBOX_BYTES + len(ANSWER)
    assert session.connection.buffered <= READ_AHEAD_BYTES
    assert not _spins(server, clock)


def test_client_that_reads_late_gets_everything(serve: Servers) -> None:
    """Being left unread and unanswered for a while loses nothing."""
    server = serve(scheme="unix")
    client = _drawn(server)
    client.send(ask(1) * 100, b"bye\n")
    wait_until(lambda: _session(server).choked, "the server has answers that nobody reads")
    assert [client.read(len(ANSWER)) == ANSWER for _ in range(100)] == [True] * 100
    assert client.read_to_end() == b"bye\n"


def test_refused_client_that_never_reads_does_not_make_the_server_spin(serve: Servers) -> None:
    """Answers that nobody reads, then a framing error, then bytes without end: some are thrown away, then no more."""
    clock = Clock()
    server = serve(scheme="unix", clock=clock)
    client = _drawn(server)
    session = _session(server)
    while not session.outbox:
        answered = session.timers.answered
        client.send(ask(1))
        wait_until(lambda: session.timers.answered == answered + 2, "the question is taken and answered")  # noqa: B023
        _ping(server)  # the answer has left since, as far as there was room
    client.send(b"\xff")
    wait_until(lambda: session.closing, "the server has read the bad byte")
    assert not session.choked
    sent = _send_all_it_takes(client, server, b"\xff" * 100_000)
    assert sent > LINGER_BYTES
    assert session.inbox.drained_bytes <= LINGER_BYTES + 65_536
    assert _held(session) < OUTBOX_BYTES
    assert not _spins(server, clock)
    client.stream.set_timeout(20)
    assert client.read_what_is_left()[-1:] == ACK_0


def test_batches_are_not_taken_without_end_while_the_store_is_slow(serve: Servers) -> None:
    """The store is held up: of a client no more is taken than the read-ahead and what is in work."""
    clock = Clock()
    server = serve(scheme="unix", clock=clock)
    server.store.gate.clear()
    client = server.client()
    frame = batch(*bets(range(200)))
    sent = _send_all_it_takes(client, server, frame * 100)
    session = _session(server)
    assert session.connection.buffered <= READ_AHEAD_BYTES
    assert len(session.in_work) * len(frame) <= READ_AHEAD_BYTES
    assert not _spins(server, clock)
    server.store.gate.set()
    assert client.read(sent // len(frame)) == b"\xc8" * (sent // len(frame))


def test_waiting_client_is_read_up_to_the_bound(serve: Servers) -> None:
    """Who waits for the draw and goes on sending fills its own buffer, and is answered after the draw."""
    clock = Clock()
    server = serve(agencies=2, scheme="unix", clock=clock)
    client = server.client()
    client.send(ask(1))
    frame = batch(*bets(range(200)))
    sent = _send_all_it_takes(client, server, frame * 100)
    assert _session(server).connection.buffered <= READ_AHEAD_BYTES
    assert not _spins(server, clock)
    assert server.client().exchange(ask(2), size=2) == winners()
    assert client.read(2 + sent // len(frame)) == winners() + ACK_0 * (sent // len(frame))


def test_idle_server_rests(serve: Servers) -> None:
    """Connected clients that say nothing cost no rounds."""
    clock = Clock()
    server = serve(clock=clock)
    for client in [server.client() for _ in range(20)]:
        client.send(b"\x01")
    assert not _spins(server, clock)


def test_client_that_sends_for_ever_after_its_refusal_is_cut(serve: Servers) -> None:
    """After its last answer a client may finish what it is saying; one that never stops is cut off."""
    server = serve(scheme="unix")
    client = server.client()
    assert client.exchange(b"\xff") == ACK_0
    client.stream.set_timeout(0)

    def is_cut() -> bool:
        try:
            client.stream.send(b"x" * 65_536)
        except TransportError:
            return True
        return False

    wait_until(is_cut, "the server closes the connection")
    assert server.client().send_and_end(batch(bet(1))) == b"\x01"
