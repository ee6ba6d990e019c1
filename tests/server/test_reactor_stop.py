"""A running server that is told to stop, in every state: what was read is answered first, and it ends in time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bets_protocol import ConfigError
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.transports import Listener, Stream, Url, connect, listen, register_transport
from bets_server.app import serve as serve_settings
from bets_server.config import ServerSettings
from bets_server.logs import ServerLog
from bets_server.store import open_store
from tests.server.raw_bytes import ACK_0, WINNING, ask, batch, bet, bets, document, winners
from tests.server.serving import DEADLINE_S, RawClient, Server, Servers, captured_log, wait_until

CLOSED = ["close_workers | result: success"]


def _ping(server: Server) -> None:
    """A probe comes back: the server has read all that was sent before."""
    assert server.client().send_and_end(b"ping\n") == b"ping\n"


def test_idle(serve: Servers) -> None:
    """Listener, connections and workers are closed, each with its line; clients see an orderly end."""
    server = serve()
    idle, halfway = server.client(), server.client()
    halfway.send(batch(bet(1))[:20])
    _ping(server)
    wait_until(lambda: server.logged("close_connection") == 1, "the ping is over")
    assert server.stop() == ExitCode.DONE
    assert [idle.read_to_end(), halfway.read_to_end()] == [b"", b""]
    before = server.lines.index(f"close_listener | result: success | url: {server.url}")
    assert server.lines[before + 1 :] == ["close_connection | result: success | ip: 127.0.0.1"] * 2 + CLOSED
    assert server.raw_log.count("INFO     action: close_") == 4
    assert server.stored == []


def test_batches_that_were_read_are_stored_and_answered_first(serve: Servers) -> None:
    """The stop comes while the store is at work and more waits: all that was read whole gets its answer."""
    server = serve(agencies=2)
    server.store.gate.clear()
    clients = [server.client() for _ in range(3)]
    clients[0].send(batch(bet(0)))
    wait_until(server.store.inside.is_set, "the store is at work")
    clients[0].send(batch(*bets([1, 2])), batch(bet(number=10_000)), batch(bet(3))[:-1])
    clients[1].send(*[batch(bet(row)) for row in range(10, 50)])
    clients[2].send(batch(bet(60)))
    clients[2].stream.close_writing()
    _ping(server)
    server.reactor.stop()
    wait_until(lambda: server.logged("close_listener"), "the stop has begun")
    clients[1].send(batch(bet(99)))  # too late: it is not read any more
    assert all(client.pending is None for client in clients)
    server.store.gate.set()
    assert [client.read_to_end() for client in clients] == [b"\x01\x02" + ACK_0, b"\x01" * 40, b"\x01"]
    assert server.finished() == ExitCode.DONE
    assert sorted(server.stored) == [document(row) for row in [0, 1, 2, *range(10, 50), 60]]


def test_clients_that_wait_for_the_draw_are_let_go(serve: Servers) -> None:
    """Their connections end without an answer, half-closed or not; they can ask the next server."""
    server = serve(agencies=2)
    clients = [server.client() for _ in range(5)]
    for client in clients:
        client.send(ask(1))
    clients[0].stream.close_writing()
    wait_until(lambda: server.store.asked == 5, "all have asked")
    _ping(server)
    assert server.stop() == ExitCode.DONE
    assert [client.read_to_end() for client in clients] == [b""] * 5


def test_draw_that_is_under_way_is_told(serve: Servers) -> None:
    """The last question is in work when the stop comes: the draw takes place and everybody gets the answer."""
    server = serve(agencies=2)
    first, last = server.client(), server.client()
    first.send(batch(bet(1, number=WINNING)), ask(1))
    wait_until(lambda: server.store.state().sealed == {1}, "agency 1 is sealed")
    server.store.gate.clear()
    server.store.inside.clear()
    last.send(batch(bet(2, agency=2)), ask(2))
    wait_until(server.store.inside.is_set, "the store is at work")
    server.reactor.stop()
    wait_until(lambda: server.logged("close_listener"), "the stop has begun")
    server.store.gate.set()
    assert last.read_to_end() == b"\x01" + winners()
    assert first.read_to_end() in (b"\x01", b"\x01" + winners(document(1)))
    assert server.finished() == ExitCode.DONE
    assert server.store.winners(1) == (document(1),)


def test_client_in_the_middle_of_sending_gets_its_answers(serve: Servers) -> None:
    """It had sent more than was read: the answers to what was read are not lost to a reset."""
    server = serve(scheme="unix")
    server.store.gate.clear()
    client = server.client()
    client.send(batch(bet(0)))
    wait_until(server.store.inside.is_set, "the store is at work")
    client.send(*[batch(*bets(range(200)))] * 20)
    server.reactor.stop()
    wait_until(lambda: server.logged("close_listener"), "the stop has begun")
    server.store.gate.set()
    answers = client.read_to_end()
    assert server.finished() == ExitCode.DONE
    assert answers == b"\x01" + b"\xc8" * (len(server.stored) // 200)
    assert len(server.stored) % 200 == 1


def test_client_that_never_reads_is_cut_at_the_deadline(serve: Servers) -> None:
    """A stop waits for nobody longer than its grace."""
    server = serve(scheme="unix", grace_s=0.2)
    client = server.client()
    assert client.exchange(batch(*[bet(row, number=WINNING) for row in range(200)])) == b"\xc8"
    assert client.exchange(ask(1), size=1602)[:2] == b"\x00\xc8"
    client.send(ask(1) * 1000)
    wait_until(lambda: any(s.choked for s in list(server.reactor._sessions.values())), "answers wait to be read")
    assert server.stop() == ExitCode.DONE
    assert len(client.read_what_is_left()) < 1000 * 1602


def test_client_that_reads_late_is_waited_for(serve: Servers) -> None:
    """One that has answers outstanding and reads them within the grace gets all to what the server had read."""
    server = serve(scheme="unix")
    client = server.client()
    assert client.exchange(batch(*[bet(row, number=WINNING) for row in range(200)])) == b"\xc8"
    assert client.exchange(ask(1), size=1602)[:2] == b"\x00\xc8"
    client.send(ask(1) * 1000)
    wait_until(lambda: any(s.choked for s in list(server.reactor._sessions.values())), "answers wait to be read")
    server.reactor.stop()
    wait_until(lambda: server.logged("close_listener"), "the stop has begun")
    assert len(client.read_to_end()) == 1000 * 1602
    assert server.finished() == ExitCode.DONE


def test_store_that_does_not_come_back_is_left_behind(serve: Servers) -> None:
    """The grace ends while a call of the store is still running: nobody is answered, and the exit code says it."""
    server = serve(grace_s=0.2)
    server.store.gate.clear()
    clients = [server.client(), server.client()]
    clients[0].send(batch(bet(1)))
    wait_until(server.store.inside.is_set, "the store is at work")
    clients[1].send(batch(bet(2)))
    _ping(server)
    assert server.stop() == ExitCode.STORE_FAILED
    assert server.reactor.store_in_use
    assert [client.read_what_is_left() for client in clients] == [b"", b""]
    assert server.lines[-1] == "close_workers | result: fail | error: a job still runs"


def test_stop_twice_and_before_the_start(serve: Servers) -> None:
    """A second stop changes nothing; a wake-up after the end does no harm."""
    server = serve()
    server.reactor.stop()
    assert server.stop() == ExitCode.DONE
    server.reactor.wake()


def test_wake_ups_without_number_fill_nothing(serve: Servers) -> None:
    """However often it is woken, the reactor takes all of it as one."""
    server = serve()
    for _ in range(100_000):
        server.reactor.wake()
    _ping(server)


class _App:
    """`serve` of the app in a thread, where no signal reaches it."""

    def __init__(self, settings: ServerSettings) -> None:
        log, self._output = captured_log()
        self.codes: list[ExitCode] = []
        self._thread = threading.Thread(target=lambda: self.codes.append(serve_settings(settings, ServerLog(log))))
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        return [line.partition("action: ")[2] for line in self._output.getvalue().splitlines()]

    def finished(self) -> ExitCode:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self.codes[0]


def test_app_with_several_listeners(tmp_path: Path) -> None:
    """One server at a TCP port and a unix path; without signals it ends after the draw."""
    settings = ServerSettings(
        listen=("tcp://127.0.0.1:0", f"unix://{tmp_path}/s"),
        store=f"csv:///{tmp_path}/bets.csv",
        agencies=1,
        winning_number=None,
        exit_after_draw=True,
    )
    app = _App(settings)
    wait_until(lambda: "accept_connections | result: in_progress" in app.lines, "the server listens")
    url = app.lines[0].partition("listen: ")[2].split()[0]
    for address in (url, f"unix://{tmp_path}/s"):
        client = RawClient(address)
        assert client.send_and_end(b"ping\n") == b"ping\n"
        client.close()
    client = RawClient(url)
    assert client.exchange(ask(1), size=2) == winners()
    assert app.finished() == ExitCode.DONE
    assert app.lines[-2:] == ["close_store | result: success", "shutdown | result: success"]
    assert [line for line in app.lines if line.startswith("close_listener")] == [
        f"close_listener | result: success | url: {address}" for address in (url, f"unix://{tmp_path}/s")
    ]
    client.close()


class _LanListener(Listener):
    """Listens in this process, and says that it does so in some network."""

    def __init__(self, url: Url) -> None:
        self.url = str(url)
        self._real = listen(f"memory://{url.host}")

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self) -> Stream | None:
        return self._real.accept()

    def close(self) -> None:
        self._real.close()


class _Lan:
    """The transport of a third party, whose peers may come from anywhere."""

    def connect(self, url: Url, timeout_s: float) -> Stream:
        return connect(f"memory://{url.host}", timeout_s=timeout_s)

    def listen(self, url: Url, backlog: int) -> Listener:  # noqa: ARG002 - as the contract has it
        return _LanListener(url)


def test_listeners_that_others_reach_have_a_warning(tmp_path: Path) -> None:
    """An address or a name other than of this machine: one warning each at the start."""
    register_transport("lan", _Lan())
    inside = ("lan://127.0.0.1:7", "lan://localhost:7", "tcp://127.0.0.1:0", "memory://here", f"unix://{tmp_path}/s")
    outside = ("lan://10.0.0.7:7", "lan://intake.example:7")
    settings = ServerSettings(
        listen=inside + outside, store=f"csv:///{tmp_path}/bets.csv", agencies=1, exit_after_draw=True
    )
    app = _App(settings)
    wait_until(lambda: "accept_connections | result: in_progress" in app.lines, "the server listens")
    client = RawClient("lan://10.0.0.7:7")
    assert client.exchange(ask(1), size=2) == winners()
    client.close()
    assert app.finished() == ExitCode.DONE
    assert app.lines[:2] == [
        f"open_listener | result: success | url: {url} | warning: reachable from outside and not encrypted"
        for url in outside
    ]


@pytest.mark.parametrize("bad", ["tcp://127.0.0.1", "gopher://x:1", "unix:///nowhere/s"])
def test_app_that_cannot_listen_leaves_nothing_open(tmp_path: Path, bad: str) -> None:
    """The second of two addresses is no good: the first one and the store are closed, the socket's path is gone."""
    settings = ServerSettings(listen=(f"unix://{tmp_path}/s", bad), store=f"csv:///{tmp_path}/bets.csv")
    with pytest.raises(ConfigError, match=bad):
        serve_settings(settings, ServerLog(captured_log()[0]))
    assert not (tmp_path / "s").exists()
    open_store(f"csv:///{tmp_path}/bets.csv").close()
