"""A running server that is told to stop, in every state: what was read is answered first, and it ends in time."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from bets_protocol import ConfigError
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.transports import Listener, Stream, Url, connect, listen, register_transport
from bets_server.app import OTHER_DESCRIPTORS
from bets_server.app import serve as serve_settings
from bets_server.config import ServerSettings
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.store import open_store
from tests.certificates import Authority
from tests.log_reader import read_log
from tests.server.serving import DEADLINE_S, RawClient, Server, Servers, captured_log, wait_until, without_threads
from tests.server.wire import ACK_0, WINNING, ask, batch, bet, bets, document, winners

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
    wait_until(lambda: any(s.choked for s in server.sessions), "answers wait to be read")
    assert server.stop() == ExitCode.DONE
    assert len(client.read_what_is_left()) < 1000 * 1602


def test_client_that_reads_late_is_waited_for(serve: Servers) -> None:
    """One that has answers outstanding and reads them within the grace gets all to what the server had read."""
    server = serve(scheme="unix")
    client = server.client()
    assert client.exchange(batch(*[bet(row, number=WINNING) for row in range(200)])) == b"\xc8"
    assert client.exchange(ask(1), size=1602)[:2] == b"\x00\xc8"
    client.send(ask(1) * 1000)
    wait_until(lambda: any(s.choked for s in server.sessions), "answers wait to be read")
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
    """`serve` of the app in a thread, where no signal reaches it.

    Attributes:
        codes: what it has returned.
        error: what the settings were refused with.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._log, self._output = captured_log()
        self.codes: list[ExitCode] = []
        self.error: ConfigError | None = None
        self._settings = settings
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.codes.append(serve_settings(self._settings, ServerLog(self._log)))
        except ConfigError as error:
            self.error = error

    @property
    def lines(self) -> list[str]:
        return [line.partition("action: ")[2] for line in self._output.getvalue().splitlines()]

    def has_begun(self) -> bool:
        """Whether it listens, or never will."""
        return not self._thread.is_alive() or "accept_connections | result: in_progress" in self.lines

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


def _assert_nothing_is_left(folder: Path) -> None:
    """Of a server that did not come about: neither a socket's file nor a lock. What is open the leak check sees."""
    assert [path.name for path in folder.iterdir() if path.is_socket()] == []
    open_store(f"csv:///{folder}/bets.csv").close()


@pytest.mark.parametrize("bad", ["tcp://127.0.0.1", "gopher://x:1", "unix:///nowhere/s"])
def test_app_that_cannot_listen_leaves_nothing_open(tmp_path: Path, bad: str) -> None:
    """The second of two addresses is no good: the first one and the store are closed, the socket's path is gone."""
    settings = ServerSettings(listen=(f"unix://{tmp_path}/s", bad), store=f"csv:///{tmp_path}/bets.csv")
    with pytest.raises(ConfigError, match=bad):
        serve_settings(settings, ServerLog(captured_log()[0]))
    assert list(tmp_path.iterdir()) == []  # not even a store, which is made behind the listeners
    _assert_nothing_is_left(tmp_path)


def test_app_without_its_control_says_what_it_closes(tmp_path: Path) -> None:
    """The log ends as that of every server does, with the store and the whole."""
    settings = ServerSettings(
        listen=("tcp://127.0.0.1:0",), store=f"sqlite:///{tmp_path}/bets.db", control=f"{tmp_path}/no/control"
    )
    log, output = captured_log()
    with pytest.raises(ConfigError, match="--control: "):
        serve_settings(settings, ServerLog(log))
    actions = [line.action for line in read_log(output.getvalue())]
    assert actions == ["close_listener", "close_workers", "close_store", "shutdown"]


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"control": "{folder}/no/control"}, "--control: cannot listen on .*/no/control: no such file or directory"),
        ({"control": "{folder}/a-file"}, "--control: cannot listen on .*/a-file: the path exists and is not a socket"),
        ({"control": "x" * 200}, "--control: .*: the name is [0-9]+ bytes too long for a socket"),
        ({"control": "a\nb"}, "--control: .*: expected a printable path in UTF-8, or 'none'"),
        ({"tls_ca": "{folder}/a-file"}, "there are certificates, and no tls:// listener"),
        ({"listen": "tls://127.0.0.1:0"}, "a tls:// listener needs --tls-cert and --tls-key and --tls-ca"),
        (
            {"listen": "tls://127.0.0.1:0", **{f"tls_{name}": "{folder}/none" for name in ("cert", "key", "ca")}},
            "TLS: .*/none: cannot read the certificate of an authority",
        ),
        (
            {
                "listen": "tls://127.0.0.1:0",
                **{f"tls_{name}": f"{{folder}}/{name}" for name in ("cert", "key", "ca")},
                "tls_pins": "{folder}/a-file",
            },
            "/a-file:1: expected 64 hexadecimal digits and an agency",
        ),
        ({"store": "csv:///{folder}/no/bets.csv"}, "--store csv:///.*/no/bets.csv: "),
    ],
)
def test_app_that_cannot_begin_leaves_nothing_open(
    tmp_path: Path, authority: Authority, setting: Mapping[str, str], error: str
) -> None:
    """Whatever of its settings is no good, and however much is open by then."""
    (tmp_path / "a-file").write_text("no pin")
    files = authority.server()
    for name, path in (("cert", files.cert), ("key", files.key), ("ca", files.ca)):
        shutil.copy(path or "", tmp_path / name)
    changed: dict[str, Any] = {name: value.format(folder=tmp_path) for name, value in setting.items()}
    listen = (f"unix://{tmp_path}/s", *([changed.pop("listen")] if "listen" in changed else []))
    settings = attrs.evolve(ServerSettings(listen=listen, store=f"csv:///{tmp_path}/bets.csv"), **changed)
    with pytest.raises(ConfigError, match=error):
        serve_settings(settings, ServerLog(captured_log()[0]))
    _assert_nothing_is_left(tmp_path)


def test_app_without_descriptors_leaves_nothing_open(tmp_path: Path) -> None:
    """However few there are: a clear error and nothing left, until there are enough and it serves."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    limit = max(highest + 40, OTHER_DESCRIPTORS + 1)
    settings = ServerSettings(
        listen=(f"unix://{tmp_path}/s",),
        store=f"csv:///{tmp_path}/bets.csv",
        agencies=1,
        control=f"{tmp_path}/control",
        limits=Limits(max_connections=limit - OTHER_DESCRIPTORS),  # so that it does not raise the limit
        exit_after_draw=True,
    )
    errors = set()
    for free in range(40):
        with _descriptors(limit, free):
            app = _App(settings)
            wait_until(app.has_begun, "it has begun, or ended")
        if app.error is None:
            break
        errors.add(str(app.error).split(":")[0])
        _assert_nothing_is_left(tmp_path)
        for part in tmp_path.glob("bets.csv*"):
            part.unlink()  # the next one makes them anew
    assert errors == {"--store csv", "--listen unix", "cannot start", "--control"}
    client = RawClient(settings.listen[0])
    assert client.exchange(ask(1), size=2) == winners()
    client.close()
    assert app.finished() == ExitCode.DONE
    _assert_nothing_is_left(tmp_path)


@contextlib.contextmanager
def _descriptors(limit: int, free: int) -> Iterator[None]:
    """Has this process have `free` descriptors below `limit` left, which is the highest number and one."""
    with contextlib.ExitStack() as parts:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = parts.enter_context(open(os.devnull)).fileno()
        last = taken
        while last < limit - free - 1:
            last = os.dup(taken)
            parts.callback(os.close, last)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
        parts.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        yield


def test_app_without_threads_leaves_nothing_open(tmp_path: Path) -> None:
    """The system allows none: a clear error."""
    settings = ServerSettings(listen=(f"unix://{tmp_path}/s",), store=f"csv:///{tmp_path}/bets.csv")
    with without_threads(), pytest.raises(ConfigError, match="cannot start: can't start new thread; see --workers"):
        serve_settings(settings, ServerLog(captured_log()[0]))
    _assert_nothing_is_left(tmp_path)
