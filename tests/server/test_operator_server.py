"""The control socket: who may connect, what it answers, and which failures and operators it withstands."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import resource
import select
import socket
import stat
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bets_protocol import ConfigError, ConnectError, StorageError
from bets_protocol.transports import ConnectTimeout
from bets_server.limits import MAX_OPERATORS
from bets_server.logs import ServerLog
from bets_server.operator import server as control_module
from bets_server.operator.protocol import MAX_REQUEST_BYTES, connected, control_path, is_answered, listening
from bets_server.operator.server import ControlServer
from bets_server.store import StoreFull, open_store
from bets_server.store.conformance.samples import append_to, batch_of
from tests.server.operating import Control, LiveBackend, Operator, a_bet, controlled
from tests.server.serving import DEADLINE_S, captured_log, wait_until, without_threads

BETS = [a_bet(1, 1), a_bet(2, 2, 7574), a_bet(3, 1, 7574)]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LiveBackend]:
    """A backend over a store with three bets of the agencies 1 and 2."""
    with open_store(f"csv:///{tmp_path}/bets.csv") as store:
        append_to(store, [batch_of(BETS)])
        yield LiveBackend(store)


@pytest.fixture
def control(tmp_path: Path, backend: LiveBackend) -> Iterator[Control]:
    """A control socket that is served."""
    with controlled(tmp_path / "control", backend) as control:
        yield control


# -- the socket


@pytest.mark.parametrize(
    ("setting", "store", "path"),
    [
        ("", "sqlite:///bets.db", "bets.db.control"),
        ("", "csv:////data/bets.csv", "/data/bets.csv.control"),
        ("", "ledger://host/name", None),
        ("none", "sqlite:///bets.db", None),
        ("run/x", "sqlite:///bets.db", "run/x"),
    ],
)
def test_where_it_lies(setting: str, store: str, path: str | None) -> None:
    """Beside the store, where the setting says, or nowhere; a store without a file has no default path."""
    assert control_path(setting, store) == (None if path is None else Path(path))


def test_path_that_cannot_be_one() -> None:
    """A path with a control character is refused."""
    with pytest.raises(ConfigError, match="--control"):
        control_path("a\nb", "sqlite:///bets.db")


def test_only_its_owner_gets_at_it(control: Control) -> None:
    """Mode 0600, whatever the umask of the process is."""
    found = os.lstat(control.path).st_mode
    assert stat.S_ISSOCK(found)
    assert stat.S_IMODE(found) == 0o600


def test_mode_does_not_hang_on_the_umask(tmp_path: Path, backend: LiveBackend) -> None:
    """Even with a umask of 0 only the owner may connect."""
    before = os.umask(0)
    try:
        with controlled(tmp_path / "control", backend) as control:
            assert stat.S_IMODE(os.lstat(control.path).st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("folder_bytes", [20, 107, 150, 3000])
def test_path_of_any_length(tmp_path: Path, backend: LiveBackend, folder_bytes: int) -> None:
    """Both ends take a path that is longer than the address of a Unix socket."""
    folder = tmp_path
    while len(str(folder)) < folder_bytes:
        folder /= "f" * 50
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bets.db.control"
    log, _ = captured_log()
    with ControlServer(path, backend, ServerLog(log)), connected(path, DEADLINE_S) as stream:
        stream.set_timeout(DEADLINE_S)
        stream.send_all(b'{"command": "status"}\n')
        assert json.loads((stream.receive() or b"").splitlines()[0])["rows"][0]["bets"] == 3
    assert not path.exists()


def test_errors_name_the_path_as_it_was_given(tmp_path: Path) -> None:
    """Also when the system knows the path by another name."""
    folder = tmp_path / ("f" * 120)
    folder.mkdir()
    path = folder / "x.control"
    with pytest.raises(ConnectError) as error:
        connected(path, 1)
    assert str(error.value) == f"cannot connect to {path}: no such file or directory"
    with pytest.raises(ConnectError) as error:
        connected(folder / "no" / "x.control", 1)
    assert str(error.value) == f"cannot connect to {folder}/no/x.control: No such file or directory"
    path.write_text("a file")
    with pytest.raises(ConnectError) as error, listening(path):
        pass
    assert str(error.value) == f"cannot listen on {path}: the path exists and is not a socket"
    long = folder / ("n" * 120)
    why = "the name is [0-9]+ bytes too long for a socket; see --control"
    with pytest.raises(ConnectError, match=f"^cannot listen at {long}: {why}$"), listening(long):
        pass
    with pytest.raises(ConnectError, match=f"^cannot connect to {long}: {why}$"):
        connected(long, 1)


def test_file_of_a_killed_server_is_replaced(tmp_path: Path, backend: LiveBackend) -> None:
    """No server listens there, so the next one takes the path."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with controlled(path, backend) as control:
        assert control.ask(command="status")[-1] == {"ok": True}
    assert not path.exists()


def test_file_of_a_live_server_is_not(control: Control, backend: LiveBackend) -> None:
    """A second server fails to start, and the first goes on."""
    log, _ = captured_log()
    with (
        pytest.raises(ConfigError, match=r"--control: .*: address already in use"),
        ControlServer(control.path, backend, ServerLog(log)),
    ):
        pass
    assert control.ask(command="status")[-1] == {"ok": True}


@pytest.mark.parametrize("folder_bytes", [10, 200])
def test_file_that_was_removed_is_made_anew(tmp_path: Path, backend: LiveBackend, folder_bytes: int) -> None:
    """Operators can connect again, with the same permissions as before; the server removes the file when it ends."""
    folder = tmp_path / ("f" * folder_bytes)
    folder.mkdir()
    with controlled(folder / "control", backend) as control:
        for count in (1, 2):
            control.path.unlink()
            wait_until(control.path.exists, "the file is there again")
            assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
            wait_until(lambda: _answers(control.path), "it is served")
            line = f"open_control | result: success | path: {control.path} | warning: its file was gone: made anew"
            assert len([each for each in control.lines if each == line]) == count
    assert not control.path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "server"])
def test_what_is_there_instead_is_left_alone(
    tmp_path: Path, backend: LiveBackend, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A foreign file is never touched: the server logs it once, and creates its own when the path is free."""
    monkeypatch.setattr(control_module, "LOOK_S", 0.02)
    with contextlib.ExitStack() as parts:
        asked: list[float] = []

        def clock() -> float:
            asked.append(time.monotonic())
            return asked[-1]

        control = parts.enter_context(controlled(tmp_path / "control", backend, clock=clock))
        path, aside = control.path, tmp_path / "aside"
        if kind == "server":
            other = parts.enter_context(listening(tmp_path / "other"))
            (tmp_path / "other").rename(path)
        else:
            path.rename(aside)
            makes: dict[str, Callable[[], None]] = {
                "file": path.touch,
                "folder": path.mkdir,
                "link": lambda: path.symlink_to(aside),
            }
            makes[kind]()
        before = _changed_at(path)
        failed = f"open_control | result: fail | error: cannot listen on {path}: "
        wait_until(lambda: any(line.startswith(failed) for line in control.lines), "it says so")
        enough = len(asked) + 10
        wait_until(lambda: len(asked) > enough, "it has looked again")
        assert sum(line.startswith(failed) for line in control.lines) == 1
        assert _changed_at(path) == before
        path.rmdir() if kind == "folder" else path.unlink()
        wait_until(lambda: path.exists() and _answers(path), "the place is free")
        if kind == "server":
            assert other.fileno() >= 0


def _changed_at(path: Path) -> tuple[int, int, int, int]:
    """Which file is there, and when it was last changed; not its access time, which a look at it may move."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns


def _answers(path: Path) -> bool:
    try:
        with connected(path, DEADLINE_S) as stream:
            stream.set_timeout(DEADLINE_S)
            stream.send_all(b'{"command": "status"}\n')
            return b'"rows"' in (stream.receive() or b"")
    except ConnectError:
        return False


def test_a_server_that_takes_no_connections_is_one_all_the_same(tmp_path: Path) -> None:
    """A suspended server with a full queue still counts as one: a second server must not take its path."""
    path = tmp_path / "bets.db.control"
    assert not is_answered(path, 0.1)
    with contextlib.ExitStack() as operators, listening(path):
        with contextlib.suppress(ConnectTimeout):
            while True:
                operators.enter_context(contextlib.closing(connected(path, 0.1)))
        assert is_answered(path, 0.1)
    assert not is_answered(path, 0.1)


def test_socket_that_nobody_has_asked_for_may_be_missing(tmp_path: Path, backend: LiveBackend) -> None:
    """If the default path cannot be used, the server logs it and goes on without a socket."""
    path = tmp_path / "control"
    path.write_text("a file")
    with controlled(path, backend, required=False) as control:
        pass
    assert control.lines == [
        f"open_control | result: fail | error: cannot listen on {path}: the path exists and is not a socket"
    ]
    assert path.read_text() == "a file"


def test_no_thread(tmp_path: Path, backend: LiveBackend) -> None:
    """If no thread can be started, no socket is left behind."""
    path = tmp_path / "control"
    log, output = captured_log()
    with (
        without_threads(),
        pytest.raises(ConfigError, match=r"--control: cannot listen at .*/control: can't start new thread"),
        ControlServer(path, backend, ServerLog(log)),
    ):
        pass
    with without_threads(), ControlServer(path, backend, ServerLog(log), required=False):
        assert not path.exists()
    assert output.getvalue().count("open_control | result: fail") == 1


def test_no_thread_for_an_operator(control: Control) -> None:
    """The thread that accepts answers in its place."""
    with without_threads():
        assert control.ask(command="status")[-1] == {"ok": True}
    assert control.ask(command="status")[-1] == {"ok": True}


def test_no_socket(backend: LiveBackend) -> None:
    """Without a path there is nothing to open and nothing to close."""
    log, output = captured_log()
    with ControlServer(None, backend, ServerLog(log)) as server:
        assert not server.store_in_use
    assert output.getvalue() == ""


# -- what it answers


def test_answer(control: Control) -> None:
    """Lines of rows, then the line that ends the answer; then the server closes."""
    assert control.ask(command="export") == [
        {
            "rows": [
                [1, "Ana", "Peña", "00000001", "1999-03-17", 1],
                [2, "Ana", "Peña", "00000002", "1999-03-17", 7574],
                [1, "Ana", "Peña", "00000003", "1999-03-17", 7574],
            ]
        },
        {"ok": True},
    ]
    assert control.ask(command="export", agency=3) == [{"ok": True}]


def test_request_that_ends_with_the_stream(control: Control) -> None:
    """The end of the stream ends a request as a line feed does."""
    operator = control.operator()
    operator.socket.sendall(b'{"command": "uploads", "draw": 1}')
    operator.socket.shutdown(socket.SHUT_WR)
    assert operator.answer[-1] == {"ok": True}


def test_request_in_pieces(control: Control) -> None:
    """A request may arrive in pieces of any size."""
    operator = control.operator()
    for byte in b'{"command": "export", "agency": 2}\n':
        operator.socket.sendall(bytes([byte]))
    assert [line.get("rows") for line in operator.answer] == [
        [[2, "Ana", "Peña", "00000002", "1999-03-17", 7574]],
        None,
    ]


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b"\n", "the request is not a JSON object on one line"),
        (b"status\n", "the request is not a JSON object on one line"),
        (b"\xff\n", "the request is not a JSON object on one line"),
        (b"[]\n", "the request is not a JSON object on one line: expected a JSON object"),
        (b"[" * 60_000 + b"\n", "the request is not a JSON object on one line"),
        (b"1" * 60_000 + b"\n", "the request is not a JSON object on one line"),
        (b"{}\n", 'the request has no "command"'),
        (b'{"command": 7}\n', 'the request has no "command"'),
        (b'{"command": "\\ud800"}\n', "no command '\\ud800'; expected one of status, "),
        (b'{"command": "drop"}\n', "no command 'drop'; expected one of status, "),
        (b'{"command": "status", "level": 1}\n', "status: 'level': no such argument"),
        (b'{"command": "export", "agency": 0}\n', "export: agency: expected a whole number from 1 to 255"),
        (b'{"command": "export", "agency": true}\n', "export: agency: expected a whole number"),
        (b'{"command": "winners", "agency": "1"}\n', "winners: agency: expected a whole number"),
        (b'{"command": "void", "number": 1}\n', "void: reason: expected 1 to 500 printable characters"),
        (b'{"command": "void", "number": 1, "reason": " "}\n', "void: reason: expected"),
        (b'{"command": "void", "number": 1, "reason": "a\\nb"}\n', "void: reason: expected"),
        (b'{"command": "void", "reason": "a"}\n', "void: number: expected a whole number"),
        (b'{"command": "close"}\n', "close: without: expected a whole number from 1 to 255"),
        (b'{"command": "status", "draw": 2}\n', "--draw 2: the server has draw 1 open"),
        (b'{"command": "status", "draw": "1"}\n', "status: draw: expected a whole number"),
        (b" " * (MAX_REQUEST_BYTES + 1), f"the request is longer than {MAX_REQUEST_BYTES} bytes"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_bad_request(control: Control, request_line: bytes, error: str) -> None:
    """The answer is the error, with the exit code for wrong usage, and the next request is answered."""
    operator = control.operator()
    with contextlib.suppress(OSError):
        operator.socket.sendall(request_line)
    (answer,) = operator.answer
    assert answer.keys() == {"error", "exit_code"}
    assert answer["error"].startswith(error)
    assert answer["exit_code"] == 2
    assert control.ask(command="status")[-1] == {"ok": True}


def test_winners_before_the_draw(control: Control) -> None:
    """The answer has the exit code for a draw that has not taken place."""
    assert control.ask(command="winners") == [{"error": "the draw has not taken place", "exit_code": 7}]


def test_commands_are_logged(control: Control) -> None:
    """The log has the command, its arguments and its result; values cannot break the line."""
    control.ask(command="close", without=9, reason="a | b")
    control.ask(command="status")
    assert control.lines == [
        'operator | result: fail | command: close | arguments: {"without": 9, "reason": "a \\x7c b"} | '
        "error: close: agency 9: the draw waits for agencies 1 to 3",
        "operator | result: success | command: status | arguments: {}",
    ]


def test_change_is_logged_though_nobody_waits(control: Control) -> None:
    """A command is carried out and logged even if the operator has left."""
    operator = control.operator()
    operator.send(command="close", without=3)
    operator.close()
    line = 'operator | result: success | command: close | arguments: {"without": 3}'
    wait_until(lambda: line in control.lines, "the change is logged")
    assert control.backend.store.state().sealed == {3}


# -- what it does not let happen


def test_failure_of_the_store_ends_the_server(control: Control) -> None:
    """The backend is told before the operator is, and the exit code says it."""
    control.backend.failure = StorageError("the disk is gone")
    assert control.ask(command="close", without=3) == [{"error": "the disk is gone", "exit_code": 8}]
    assert str(control.backend.failed_with) == "the disk is gone"


def test_full_store_is_a_refusal(control: Control) -> None:
    """Nothing was changed, so the server goes on."""
    control.backend.failure = StoreFull("no room")
    assert control.ask(command="close", without=3) == [{"error": "nothing was changed: no room", "exit_code": 6}]
    assert control.backend.failed_with is None


def test_bug_in_a_command(control: Control) -> None:
    """The answer names the bug, and the next command is answered."""
    control.backend.failure = KeyError("x")
    (answer,) = control.ask(command="close", without=3)
    assert answer == {"error": "this is a bug of the server: KeyError: 'x'", "exit_code": 1}
    assert control.ask(command="status")[-1] == {"ok": True}


def test_slow_reader_holds_up_nobody(tmp_path: Path) -> None:
    """While an export is not read, other operators are answered and bets are stored."""
    long = '"' * 255  # a piece with such names does not go out at once
    bets = [a_bet(row, 1, first_name=long, last_name=long) for row in range(150)]
    with open_store(f"sqlite:///{tmp_path}/bets.db") as store:
        append_to(store, [batch_of(bets)] * 20)
        with controlled(tmp_path / "control", LiveBackend(store)) as control:
            slow = control.operator()
            slow.send(command="export")
            slow.socket.recv(1)  # it has begun
            append_to(store, [batch_of(bets)])
            assert control.ask(command="status")[0]["rows"][0]["bets"] == 150 * 21
            *pieces, last = [json.loads(line) for line in (b"{" + slow.read_to_end()).splitlines()]
    assert last == {"ok": True}
    assert max(len(piece["rows"]) for piece in pieces) == 256
    documents = [row[3] for piece in pieces for row in piece["rows"]]
    assert documents == [bet.document for bet in bets] * 20


def test_export_without_end_holds_up_nobody(
    control: Control, backend: LiveBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that is read at full speed gives way to other commands after each piece."""
    monkeypatch.setattr(backend.store, "bets", lambda _agency: itertools.cycle(BETS))
    greedy = control.operator()
    greedy.send(command="export")
    asking = [control.operator() for _ in range(3)]
    for operator in asking:
        operator.send(command="status")
    deadline = time.monotonic() + DEADLINE_S
    for operator in asking:
        while not select.select([operator.socket], [], [], 0)[0]:
            assert greedy.socket.recv(65_536)
            assert time.monotonic() < deadline
        assert operator.answer[-1] == {"ok": True}


def test_commands_run_one_at_a_time(control: Control, backend: LiveBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands never run in the backend at the same time."""
    meeting = threading.Barrier(2)

    def status() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.1)
            met.append(True)
        meeting.reset()

    met: list[bool] = []
    monkeypatch.setattr(backend, "status", status)
    operators = [control.operator() for _ in range(3)]
    for operator in operators:
        operator.send(command="status")
    assert [operator.answer[-1] for operator in operators] == [{"ok": True}] * 3
    assert not met


def test_reader_that_leaves(control: Control) -> None:
    """An operator may leave before its request or during the answer; the others are answered."""
    Operator(control.path).close()
    early = control.operator()
    early.send(command="export")
    early.close()
    assert control.ask(command="status")[-1] == {"ok": True}


def test_more_connections_than_are_served(control: Control) -> None:
    """An operator above the limit waits, and is answered when another one has left."""
    idle = [control.operator() for _ in range(MAX_OPERATORS)]
    late = control.operator()
    late.send(command="status")
    late.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        late.socket.recv(1)
    idle[3].close()
    late.socket.settimeout(DEADLINE_S)
    assert late.answer[-1] == {"ok": True}


def test_deadlines(tmp_path: Path, backend: LiveBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that sends no request, or does not read the answer, is disconnected."""
    monkeypatch.setattr(control_module, "REQUEST_S", 0.05)
    monkeypatch.setattr(control_module, "ANSWER_S", 0.05)
    append_to(backend.store, [batch_of([a_bet(row, 1) for row in range(150)])] * 100)
    with controlled(tmp_path / "control", backend) as control:
        silent, greedy = control.operator(), control.operator()
        greedy.send(command="export")
        assert silent.read_to_end() == b""
        _wait_for_the_end(greedy)
        assert b'"ok"' not in greedy.read_to_end()


def _wait_for_the_end(operator: Operator) -> None:
    """Waits until the server has closed, without reading."""
    poll = select.poll()
    poll.register(operator.socket, 0)
    assert poll.poll(DEADLINE_S * 1000), "the server did not close"


def test_stop_in_the_middle_of_an_answer(tmp_path: Path, backend: LiveBackend) -> None:
    """The server waits for no operator; a cut answer lacks its last line."""
    append_to(backend.store, [batch_of([a_bet(row, 1) for row in range(150)])] * 100)
    with controlled(tmp_path / "control", backend) as control:
        silent, operator = control.operator(), control.operator()
        operator.send(command="export")
        operator.socket.recv(1)
        control.server.__exit__(None, None, None)
        assert b'"ok"' not in operator.read_to_end()
        assert silent.read_to_end() == b""
    assert control.lines[-1] == "close_control | result: success"


def test_stop_while_a_command_runs(tmp_path: Path, backend: LiveBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for a limited time, and says that the store is in use; no command begins after the stop."""
    monkeypatch.setattr(control_module, "CLOSE_S", 0.05)
    backend.gate.clear()
    with controlled(tmp_path / "control", backend) as control:
        control.operator().send(command="status")
        assert backend.asked.wait(DEADLINE_S)
        late = control.operator()
        late.send(command="void", number=1, reason="too late")
        wait_until(lambda: not _unread(late), "the server has taken the request")
        control.server.__exit__(None, None, None)
        assert control.server.store_in_use
        backend.gate.set()
        wait_until(lambda: not control.server.store_in_use, "the command has ended")
        assert not any(upload.voided for upload in backend.store.uploads())
    assert [line for line in control.lines if line.startswith("close")] == [
        "close_control | result: fail | error: a command still runs",
        "close_control | result: success",
    ]


def _unread(operator: Operator) -> int:
    """Not zero while the server has not received all that the operator has sent."""
    return int.from_bytes(fcntl.ioctl(operator.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_descriptors_run_out(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator waits while no descriptor is left, and is answered when there is one."""
    monkeypatch.setattr(control_module, "_REST_S", 0.05)
    with contextlib.ExitStack() as parts:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        parts.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        late = parts.enter_context(socket.socket(socket.AF_UNIX))
        late.settimeout(0.2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free(), limits[1]))
        late.connect(str(control.path))
        late.sendall(b'{"command": "status"}\n')
        with pytest.raises(TimeoutError):
            late.recv(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        late.settimeout(DEADLINE_S)
        assert late.recv(1) == b"{"


def _lowest_free() -> int:
    with open(os.devnull) as lowest:
        return lowest.fileno()
