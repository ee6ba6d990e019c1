"""`bets-client` as a process: signals in every state, standard output without a reader, a terminal, a quick start."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.scripted_server import DEADLINE_S, Central, Peer, ScriptedServer, unused_port
from tests.client.wire import ROW
from tests.e2e.processes import unmeasured_environment
from tests.log_reader import read_answers

CLIENT = (sys.executable, "-m", "bets_client")
NOTHING_KNOWN = (
    "bets-client: stopped: agency 1: {}: the server has not said how many of the 2,000 bets are stored; "
    "the same command goes on from there\n"
)
GRACE_S = 8.0
"""What a container gives a program between SIGTERM and SIGKILL; stopping takes far less, but machines are busy."""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "agency-1.csv"
    path.write_text(ROW * 2000)
    return str(path)


class Process:
    """A client that runs, and what it has said so far."""

    def __init__(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        self.popen = subprocess.Popen(
            [*CLIENT, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.seen: list[str] = []

    def until(self, text: str) -> None:
        """Read its standard output up to a line with `text`."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.seen.append(line)
            if text in line:
                return
        pytest.fail(f"{text!r} never came: {self.seen} {self.popen.communicate()}")

    def stop(self, *numbers: signal.Signals) -> tuple[int, list[str], str]:
        """Send the signals; its exit code, what it said of actions (without time and level) and its standard error."""
        for number in numbers:
            self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=GRACE_S)
        read_answers("".join(self.seen) + out)
        said = [line.split("action: ")[1] for line in ("".join(self.seen) + out).splitlines()]
        return self.popen.returncode, said, err


@contextlib.contextmanager
def running(*arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[Process]:
    process = Process(*arguments, stdin=stdin)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.communicate()


def sending(file: str, server: ScriptedServer) -> tuple[str, ...]:
    return ("send", file, "--server", server.url, "--log-level", "DEBUG")


def waits(peer: Peer) -> None:
    """Read all and answer nothing."""
    with contextlib.suppress(ConnectionResetError):
        while peer.stream.recv(65536):
            pass


def test_sigterm_while_it_cannot_connect(file: str) -> None:
    """The client stops between two attempts and closes its file."""
    with unused_port() as port, running("send", file, "--server", f"127.0.0.1:{port}") as process:
        process.until("action: connect | result: fail")
        code, said, err = process.stop(signal.SIGTERM)
    assert (code, err) == (143, NOTHING_KNOWN.format(file))
    assert said[-3:] == [
        "archivo_enviado | result: in_progress | client_id: 1 | cantidad: 0",
        f"close_file | result: success | file: {file}",
        "shutdown | result: success",
    ]


def test_sigterm_while_connecting_hangs(file: str) -> None:
    """A listener whose queue is full leaves a connection attempt hanging."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        process = stack.enter_context(running("send", file, "--server", f"127.0.0.1:{port}"))
        process.until("action: config")
        time.sleep(0.3)  # reading the file comes first; a stop during that is as good
        code, said, err = process.stop(signal.SIGTERM)
    assert (code, said[-1]) == (143, "shutdown | result: success")
    assert err in ("", NOTHING_KNOWN.format(file))
    assert "connect | result: success" not in "".join(said)


def test_sigterm_in_the_middle_of_a_batch(file: str) -> None:
    """The client stops without an answer and says that nothing is known."""
    with ScriptedServer(waits) as server, running(*sending(file, server)) as process:
        process.until("action: connect | result: success")
        code, said, err = process.stop(signal.SIGTERM)
    assert (code, err) == (143, NOTHING_KNOWN.format(file))
    assert said[-4:] == [
        "archivo_enviado | result: in_progress | client_id: 1 | cantidad: 0",
        "close_connection | result: success | client_id: 1",
        f"close_file | result: success | file: {file}",
        "shutdown | result: success",
    ]


@pytest.mark.parametrize("revision", ["8", "9"])
def test_a_stop_in_the_middle_of_an_upload_says_what_is_stored(file: str, revision: str) -> None:
    """What the server has acknowledged, what is on its way, and what is not sent; with -q nothing."""
    window_is_full = threading.Event()

    def takes_two(peer: Peer) -> None:
        stored: list[bytes] = []
        if revision == "9":
            peer.open_upload()
            peer.stored(stored)
        for _ in range(2):
            bets = peer.batch()
            stored += bets
            if revision == "9":
                peer.stored(stored)
            else:
                peer.acknowledge(bets)
        for _ in range(3):
            peer.batch()
        window_is_full.set()
        waits(peer)

    options = ("--revision", revision, "--window", "3", "--no-progress")
    with ScriptedServer(takes_two, takes_two) as server:
        with running(*sending(file, server), *options) as process:
            assert window_is_full.wait(DEADLINE_S)
            code, said, err = process.stop(signal.SIGINT)
        window_is_full.clear()
        with running(*sending(file, server), *options, "-q") as process:
            assert window_is_full.wait(DEADLINE_S)
            assert process.stop(signal.SIGTERM) == (143, [], "")
    assert code == 130
    assert "archivo_enviado | result: in_progress | client_id: 1 | cantidad: 260" in said
    on_the_way = "390 without an answer, so perhaps stored"
    assert err == (
        f"bets-client: stopped: agency 1: {file}: 260 of 2,000 bets are stored; {on_the_way}; 1,350 are not; "
        "the same command goes on from there\n"
        if revision == "9"
        else f"bets-client: stopped: agency 1: 260 of 2,000 bets are stored; {on_the_way} ({file}:261-650); "
        "1,350 not sent\n"
    )


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGTERM,), 143),
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM, signal.SIGTERM), 143),
    ],
)
def test_a_signal_while_waiting_for_the_draw(file: str, numbers: tuple[signal.Signals, ...], code: int) -> None:
    """SIGTERM ends with 143, SIGINT with 130, and a second SIGTERM changes nothing."""

    def holds(peer: Peer) -> None:
        peer.open_upload()
        stored: list[bytes] = []
        peer.stored(stored)
        while len(stored) < 2000:
            stored += peer.batch()
            peer.stored(stored)
        waits(peer)

    with ScriptedServer(holds) as server, running(*sending(file, server)) as process:
        process.until("action: consulta_ganadores | result: in_progress")
        ended, said, err = process.stop(*numbers)
    assert (ended, err) == (code, "agency 1: already stored: 0, sent now: 2,000\n")
    assert said[-3:] == [
        "close_connection | result: success | client_id: 1",
        f"close_file | result: success | file: {file}",
        "shutdown | result: success",
    ]


def test_sigterm_between_two_probes() -> None:
    """The pause between two probes is cut short, and the run ends with 0."""

    def echo(peer: Peer) -> None:
        peer.send(peer.exactly(len("[CLIENT 1] Message N°1\n".encode())))

    with ScriptedServer(echo) as server:
        arguments = ("run", "--server", server.url, "--agency", "1", "--amount", "5", "--period", "1h")
        with running(*arguments) as process:
            process.until("action: receive_message | result: success")
            started = time.monotonic()
            code, said, err = process.stop(signal.SIGTERM)
            took = time.monotonic() - started
    assert (code, said[-1], err) == (0, "shutdown | result: success", "")
    assert took < GRACE_S


def test_sigterm_while_standard_input_gives_nothing() -> None:
    """A client that waits for its input can be stopped."""
    with running("send", "-", "--agency", "1", stdin=subprocess.PIPE) as process:
        process.until("action: config")
        code, said, err = process.stop(signal.SIGTERM)
    assert (code, said[-1], err) == (143, "shutdown | result: success", "")


def test_sigterm_with_json_still_gives_one_object(file: str) -> None:
    """The object says that the run was stopped."""
    with ScriptedServer(waits) as server:
        process = subprocess.Popen(
            [*CLIENT, "send", file, "--server", server.url, "--format", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + DEADLINE_S
        while not server.accepted and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=GRACE_S)
    answer = json.loads(out)
    assert (process.returncode, answer["result"], answer["exit_code"]) == (143, "stopped", 143)
    assert err.splitlines()[-1].endswith("action: shutdown | result: success")


def test_a_check_that_is_cut_short_is_no_success(tmp_path: Path) -> None:
    """SIGTERM kills `check`, so its exit code is not 0."""
    bad = tmp_path / "bad.csv"
    bad.write_text("bad\n")
    with running("check", str(bad), "-", stdin=subprocess.PIPE) as process:
        process.until("bad.csv:1: row: ")
        process.popen.send_signal(signal.SIGTERM)
        process.popen.communicate(timeout=GRACE_S)
    assert process.popen.returncode == -signal.SIGTERM


def test_a_sample_that_is_cut_short_leaves_no_half_file(tmp_path: Path) -> None:
    """The file appears under its name when it is whole."""
    with running("sample", str(tmp_path), "--bets", "100000000") as process:
        until = time.monotonic() + DEADLINE_S
        while not list(tmp_path.glob(".*.part")) and time.monotonic() < until:
            time.sleep(0.01)
        process.popen.send_signal(signal.SIGTERM)
        process.popen.communicate(timeout=GRACE_S)
    assert process.popen.returncode == -signal.SIGTERM
    assert list(tmp_path.glob("agency-*")) == []


def test_a_reader_of_the_log_that_leaves_does_not_stop_the_upload(file: str) -> None:
    """A closed pipe loses lines and no bets."""
    central = Central(1, {1: ["30904465"]})
    with (
        ScriptedServer(central) as server,
        subprocess.Popen(
            [*CLIENT, "send", file, "--server", server.url, "--log-level", "DEBUG"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"agency 1: already stored: 0, sent now: 2,000\n")
    assert (len(central.bets), central.asked) == (2000, [1])


def test_a_terminal_shows_a_bar_on_standard_error_alone(file: str) -> None:
    """The progress bar is not part of standard output."""
    ours, theirs = pty.openpty()
    with ScriptedServer(Central(1, {1: ["30904465"]})) as server:
        process = subprocess.Popen(
            [*CLIENT, "send", file, "--server", server.url], stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that the other end has closed
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
        out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert re.search(rb"\[#{16}\] sending: 2,000 of 2,000 bets acknowledged \(100 %\)", shown)
    assert b"\x1b" not in out
    assert out.splitlines()[-1] == b"30904465"


def test_help_loads_neither_construct_nor_yaml_nor_ssl_nor_sockets() -> None:
    """`--help` imports only what it shows."""
    program = (
        "import sys\n"
        "from bets_client.cli.commands import cli\n"
        "try: cli.main(['send', '--help'], prog_name='bets-client')\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.argv[1:] if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "construct", "yaml", "ssl", "socket", "bets_client.upload.at_least_once"],
        env=unmeasured_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert done.stderr == "[]\n"


def test_sending_loads_neither_construct_nor_yaml(file: str) -> None:
    """A run without a YAML file does not import PyYAML."""
    program = (
        "import sys\n"
        "from bets_client.cli.commands import cli\n"
        "try: cli.main(sys.argv[1:], prog_name='bets-client')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print([name for name in ('construct', 'yaml') if name in sys.modules], file=sys.stderr)\n"
    )
    with ScriptedServer(Central(1)) as server:
        done = subprocess.run(
            [sys.executable, "-c", program, "send", file, "-q", "--server", server.url],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
    assert done.stderr == "[]\n"


def test_a_client_that_is_killed_and_started_again_stores_every_bet_once(file: str) -> None:
    """The same command, three times: killed, run to its end, run for nothing."""
    central = Central(1, {1: ["30904465"]})
    taken = threading.Event()

    def takes_some(peer: Peer) -> None:
        _, _, _, upload_id = peer.open_upload()
        stored = central.uploads.setdefault(upload_id, [])
        peer.stored(stored)
        stored += peer.batch()
        stored += peer.batch()
        taken.set()
        waits(peer)

    with ScriptedServer(takes_some, central) as server:
        with running(*sending(file, server)) as process:
            assert taken.wait(DEADLINE_S)
            process.popen.kill()
            process.popen.communicate()
        said = []
        for _ in range(2):
            done = subprocess.run(
                [*CLIENT, *sending(file, server)], capture_output=True, text=True, timeout=DEADLINE_S, check=True
            )
            said.append((done.stdout.splitlines()[-1], done.stderr))
    [stored] = central.uploads.values()
    assert len(stored) == 2000
    assert said == [
        ("30904465", "agency 1: already stored: 260, sent now: 1,740\n"),
        ("30904465", "agency 1: already stored: 2,000, sent now: 0\n"),
    ]
