"""SIGTERM and SIGINT, in every state of both programs: they end in time, say what they close, and lose no answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Program, Programs, clean_environment, wait_until
from tests.server.wire import batch, bet

STORED = "apuesta_recibida | result: success"
SHUTDOWN = "shutdown | result: success"
NOTHING_KNOWN = (
    "bets-client: stopped: agency 1: agency-1.csv: the server has not said how many of the 20,000 bets are stored; "
    "the same command goes on from there\n"
)


def _assert_closed(program: Program, *what: str, said: str = "") -> None:
    """The log ends with a line for each thing closed, in this order, and `shutdown`; `said` is all that it has said."""
    found = [line for line in program.lines if line.startswith(("close_", "shutdown"))]
    assert program.lines[-1] == SHUTDOWN
    assert [line.partition(" |")[0] for line in found[-len(what) - 1 : -1]] == [f"close_{name}" for name in what]
    assert all(" | result: success" in line for line in found)
    assert program.err == said


def test_server(programs: Programs) -> None:
    """Starting; idle; with clients that say nothing, half a message, or wait for the draw; SIGTERM twice; SIGINT."""
    starting = programs.start("bets-server", "serve", "--listen", "127.0.0.1:0", "--store", "sqlite:///starting.db")
    starting.wait_until((programs.folder / "starting.db").exists, "its store")
    starting.stop()
    assert starting.lines[-1] == SHUTDOWN
    idle, busy, interrupted = (programs.server("--store", f"csv:///{number}.csv") for number in range(3))
    with contextlib.ExitStack() as clients:
        for data in (b"", b"\x01\x05", batch(bet(1))[:-1], b"\x02\x01"):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", int(busy.port)), timeout=20))
            client.sendall(data)
        waiting = programs.client("winners", "--agency", "2", "--server", busy.url, "--log-level", "DEBUG")
        waiting.wait_for_line("consulta_ganadores | result: in_progress")
        busy.wait_for_line("accept_connections | result: success", count=5)
        interrupted.send_signal(signal.SIGINT)
        busy.send_signal(signal.SIGTERM)
        busy.send_signal(signal.SIGTERM)
        _assert_closed(idle.stop(), "listener", "workers", "control", "store")
        _assert_closed(busy.expect(), "listener", *["connection"] * 5, "workers", "control", "store")
        _assert_closed(interrupted.expect(130), "listener", "workers", "control", "store")
        waiting.wait_for_line("connection | result: fail")
    _assert_closed(waiting.stop(code=143))


def test_server_in_the_middle_of_uploads(programs: Programs) -> None:
    """What it had read is stored and answered; the clients go on with the next server and nothing is missing."""
    programs.run("bets-client", "sample", ".", "--agencies", "2", "--bets", "12000")
    server = programs.server("--agencies", "2")
    clients = [
        programs.client("send", f"agency-{agency}.csv", "--server", server.url, "--batch-max", "10")
        for agency in (1, 2)
    ]
    server.wait_for_line(STORED, count=200)
    _assert_closed(server.stop(), "workers", "control", "store")
    stored = server.logged(STORED)
    programs.run("bets-server", "export", "first.csv", "--raw")
    assert len((programs.folder / "first.csv").read_text(encoding="utf-8").splitlines()) == stored * 10
    server = programs.server("--agencies", "2", listen=server.url)
    for client in clients:
        client.expect()
    server.stop()
    programs.run("bets-server", "export", "all.csv", "--raw")
    found = (programs.folder / "all.csv").read_text(encoding="utf-8").splitlines()
    for agency in (1, 2):
        sent = (programs.folder / f"agency-{agency}.csv").read_text(encoding="utf-8").splitlines()
        mine = [line.removeprefix(f"{agency},") for line in found if line.startswith(f"{agency},")]
        assert set(mine) == set(sent)
        assert len(mine) - len(sent) <= 16 * 10  # at least once: what was in flight may be there twice


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and bytes and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def full_server() -> Iterator[str]:
    """A server whose queue is full, so that connecting to it takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def _connecting(url: str) -> int:
    """How many wait for a connection to `url`: in the system's table their state is 02, SYN sent."""
    port = int(url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


def test_client(programs: Programs, silent_server: str, full_server: str) -> None:
    """Connecting, resting between two attempts, sending, probing, waiting for the draw: SIGTERM ends it.

    With 0 where that is the end of a service, as of a probe; with 143 where something was asked for and is not done.
    """
    programs.run("bets-client", "sample", ".", "--agencies", "1", "--bets", "20000")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"tcp://127.0.0.1:{gone.getsockname()[1]}"
    server = programs.server()
    options = "--agency", "1", "--log-level", "DEBUG", "--server"
    fillers = _connecting(full_server)
    connecting = programs.client("winners", *options, full_server)
    resting = programs.client("send", "agency-1.csv", *options, nobody)
    sending = programs.client("send", "agency-1.csv", *options, silent_server)
    probing = programs.client("probe", "--amount", "3", "--period", "1h", *options, server.url)
    waiting = programs.client("winners", *options, server.url)
    connecting.wait_until(lambda: _connecting(full_server) > fillers, "an attempt to connect")
    resting.wait_for_line("connect | result: fail", count=2)
    sending.wait_for_line("connect | result: success")
    probing.wait_for_line("receive_message | result: success")
    waiting.wait_for_line("consulta_ganadores | result: in_progress")
    closes = {
        connecting: [],
        resting: ["file"],
        sending: ["connection", "file"],
        probing: [],
        waiting: ["connection"],
    }
    for client in closes:
        client.send_signal(signal.SIGTERM)
    for client, closed in closes.items():
        _assert_closed(
            client.expect(0 if client is probing else 143),
            *closed,
            said=NOTHING_KNOWN if client in (resting, sending) else "",
        )
    again = programs.client("winners", *options, silent_server)
    again.wait_for_line("consulta_ganadores | result: in_progress")
    _assert_closed(again.stop(signal.SIGINT, 130), "connection")
    assert server.stop().logged("close_listener") == 1


@pytest.fixture
def stuffed_pipe() -> Iterator[int]:
    """The end of a pipe into which nothing fits, and that nobody reads."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


def _writes_to_stdout(process: int) -> bool:
    """Whether the process sleeps in a call of the system whose first argument is descriptor 1."""
    return Path(f"/proc/{process}/syscall").read_text().split()[1:2] == ["0x1"]


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (["bets-server", "serve", "--listen", "127.0.0.1:0", "--grace", "0"], signal.SIGTERM, 0),
        (["bets-client", "probe"], signal.SIGINT, 130),
    ],
)
def test_a_program_whose_output_nobody_reads_can_be_stopped(
    tmp_path: Path, stuffed_pipe: int, command: list[str], number: signal.Signals, code: int
) -> None:
    """It hangs in the first line of its log; a little after the time for an orderly end it is over."""
    program = Path(sys.executable).with_name(command[0])
    with subprocess.Popen(
        [program, *command[1:]], cwd=tmp_path, env=clean_environment(), stdout=stuffed_pipe
    ) as process:
        try:
            wait_until(lambda: _writes_to_stdout(process.pid), "a write to the full pipe")
            process.send_signal(number)
            assert process.wait(timeout=30) == code
        finally:
            process.kill()


STUCK = """
import threading
from bets_server.cli import main
from bets_server.store import open_store, register_store

def open_stuck(url, *, draw, create, readonly):
    store = open_store(url.replace("stuck", "csv", 1), draw=draw, create=create, readonly=readonly)
    store.commit = lambda parcels: print("in", flush=True) or threading.Event().wait()
    store.close = threading.Event().wait
    return store

register_store("stuck", open_stuck)
main(["serve", "--listen", "unix:s", "--store", "stuck:///bets.csv", "--grace", "0.3"])
"""


def test_server_whose_store_does_not_come_back(programs: Programs) -> None:
    """It ends at the end of its grace, with the exit code that says that the store failed."""
    url = f"unix://{programs.folder}/s"
    server = programs.python(STUCK.replace("unix:s", url))
    server.wait_for_line("accept_connections | result: in_progress")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{programs.folder}/s")
        client.sendall(batch(bet(1)))
        server.wait_for_text("in\n")
        server.stop(code=8)
        assert client.recv(1) == b""
    assert server.lines[-4:] == [
        "close_workers | result: fail | error: a job still runs",
        "close_control | result: success",
        "close_store | result: fail | error: a call of it still runs",
        SHUTDOWN,
    ]


STOPS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL, signal.SIGSTOP}
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
CRASHES = {
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
}
STRAYS = sorted(signal.valid_signals() - STOPS - JOB_CONTROL - CRASHES)


def _send_strays(program: Program) -> None:
    for number in STRAYS:
        os.kill(program.pid, number)


def test_signals_that_mean_no_stop(programs: Programs) -> None:
    """Every other signal that would end a process ends neither program: they go on, and stop as ever, or finish."""
    programs.run("bets-client", "sample", ".", "--agencies", "3", "--bets", "10")
    server = programs.server("--agencies", "3")
    _send_strays(server)
    sending = programs.client("send", "agency-1.csv", "--server", server.url, "--log-level", "DEBUG")
    running = programs.client(
        *("run", "--file", "agency-2.csv", "--agency", "2", "--server", server.url, "--log-level", "DEBUG")
    )
    for waiting in (sending, running):
        waiting.wait_for_line("consulta_ganadores | result: in_progress")
    probing = programs.client("probe", "--amount", "2", "--period", "60s", "--server", server.url)
    probing.wait_for_line("receive_message | result: success")
    for program in (sending, running, probing, server):
        _send_strays(program)
    programs.run("bets-client", "send", "agency-3.csv", "--server", server.url)
    sending.expect()
    running.expect()
    probing.stop()
    server.stop()
    assert server.logged("apuesta_recibida | result: success") == 3


def test_stray_alarm_during_a_stop(programs: Programs) -> None:
    """It does not cut the stop short: what ends a process that hangs is the alarm of its own timer."""
    code = (
        "import os, signal, sys\n"
        "from bets_protocol.cli import signals\n"
        "with signals.stop_signals(restore=False):\n"
        "    signals.end_at_last(signal.SIGINT, 0.2)\n"
        "    os.kill(os.getpid(), signal.SIGALRM)\n"
        "    print('goes on', flush=True)\n"
        "    while True:\n"
        "        signal.pause()\n"
    )
    program = programs.python(code).expect(130)
    assert program.out == "goes on\n"
