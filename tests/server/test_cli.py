"""The command line of the server: commands, exit codes, and errors that say what is wrong."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import selectors
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from bets_protocol import Bet, encode_bets
from bets_server.operator.export import FIELDS
from bets_server.store import open_store
from bets_server.store.conformance.samples import append_to, batch_of
from tests.e2e.processes import PROGRAMS, Programs
from tests.foreign import PROXY_1, PROXY_2
from tests.server.command_line import Result, Run
from tests.server.serving import Servers

FORMULA = "=1+1"
COMMANDS = ("serve", "health", "status", "uploads", "void", "close", "audit", "winners", "export")


def _bet(row: int, agency: int, number: int = 1, first_name: str = "Ana") -> Bet:
    return Bet(
        agency=agency,
        first_name=first_name,
        last_name="Peña",
        document=f"{row:08d}",
        birthdate="1999-03-17",
        number=number,
    )


BETS = [_bet(1, 1), _bet(2, 2, 7574), _bet(3, 1, 7574, FORMULA), _bet(4, 1, 7574), _bet(5, 3)]


@pytest.fixture(params=["sqlite", "csv"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with five bets, not drawn; no server has it open."""
    url = f"{request.param}:///{tmp_path}/store"
    with open_store(url) as store:
        append_to(store, [batch_of(BETS)])
    return url


def _draw(url: str) -> None:
    with open_store(url) as store:
        for agency in (1, 2, 3):
            store.seal_and_draw(agency, expected=3, pick=lambda: 7574)


def _columns(bets: list[Bet]) -> list[list[str]]:
    return [[str(value) for value in attrs.astuple(bet)] for bet in bets]


def _csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_help_and_version(run: Run) -> None:
    """Every command explains itself, every option of it names its variable; the version is a number."""
    assert re.fullmatch(r"bets-server \d+\.\d+\.\d+\S*, (native|pure) codec.*\n", run("--version").out)
    commands = run("--help").out
    assert run("-h").out == commands
    for command in COMMANDS:
        assert f"\n  {command} " in commands
        found = run(command, "--help")
        assert (found.code, found.err) == (0, "")
        options = re.split(r"\n  (?=-)", found.out)[1:-1]
        assert options
        for option in options:
            assert re.search(r"Environment:\s+(BETS|SERVER|EXPECTED|LOGGING)_[A-Z_]+\.", option), option


def test_started_as_a_module(programs: Programs) -> None:
    """`python -m bets_server` is the same program under the same name."""
    version = programs.run("bets-server", "--version").out
    assert programs.run("python", "-m", "bets_server", "--version").out == version


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["Usage: ", "Commands:"]),
        (["serf"], ["No such command 'serf'"]),
        (["serve", "--port", "1"], ["No such option"]),
        (["serve", "--agencies", "many"], ["--agencies: 'many': expected a whole number from 1 to 255"]),
        (["serve", "--config", "nowhere.ini"], ["nowhere.ini: cannot read"]),
        (["serve", "--listen", "tcp://x"], ["tcp://x", "the port is missing"]),
        (["serve", "--listen", "gopher://x:1"], ["gopher"]),
        (["serve", "--store", "bets.db"], ["'bets.db' names no store"]),
        (["serve", "--store", "postgresql://x"], ["postgresql://x"]),
        (["serve", "--store", "csv:///no/such/folder/x"], ["--store csv:///no/such/folder/x: "]),
        (["health"], ["Missing argument"]),
        (["health", "tcp://x"], ["the port is missing"]),
        (["health", "tcp://127.0.0.1:1", "--timeout", "0"], ["--timeout"]),
        (["winners", "--agency", "256"], ["--agency"]),
        (["winners"], ["--store sqlite:///bets.db: ", "there is no such store"]),
        (["export", "x.csv", "--store", "csv:///none.csv"], ["--store csv:///none.csv: ", "there is no such store"]),
        (["export", "x.csv", "--draw", "x"], ["--draw: 'x': expected"]),
        (["export"], ["Missing argument"]),
        (
            ["status", "--control", "a\nb"],
            ["--control: 'a\\nb': expected a printable path in UTF-8, or 'none'"],
        ),
        (["status", "--control", "a\udcff"], ["--control: 'a\\udcff': expected a printable path in UTF-8"]),
        (["status", "--store", "sqlite:///."], ["'sqlite:///.' names no file"]),
        (["uploads", "--draw", "x"], ["--draw: 'x': expected"]),
        (["audit", "--format", "xml"], ["--format", "'xml'"]),
        (["void"], ["Missing argument"]),
        (["void", "0", "--reason", "x"], ["NUMBER"]),
        (["void", "1"], ["--reason"]),
        (["close"], ["--without"]),
        (["close", "--without", "0"], ["--without"]),
        (["close", "--without", "1_0"], ["--without: '1_0': expected a whole number from 1 to 255"]),
        (["winners", "--agency", "٣"], ["--agency: '٣': expected a whole number from 1 to 255"]),
        (["winners", "--agency", " 1 "], ["--agency: ' 1 ': expected a whole number from 1 to 255"]),
        (["void", "1_0", "--reason", "x"], ["NUMBER: '1_0': expected a whole number from 1"]),
        (["serve", "--config", ""], ["cannot read the configuration file"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in COMMANDS else "",
)
def test_wrong_usage(run: Run, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    """Exit code 2, words on standard error, and nothing is created."""
    result = run(*arguments)
    assert result.code == 2
    for part in parts:
        assert part in result.err
    assert "Traceback" not in result.err
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".csv"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--listen", "tcp://127.0.0.1:0"],
        ["status"],
        ["status", "--control", "x", "--store", "csv:///bets.csv"],
        ["uploads"],
        ["void", "1", "--reason", "x"],
        ["close", "--without", "1", "--reason", "x"],
        ["audit"],
        ["winners"],
        ["export", "-"],
        ["export", "out.csv", "--store", "{}"],
        ["certs", "init", "certs"],
        ["certs", "server", "--dir", "certs"],
        ["certs", "agency", "1", "--dir", "certs"],
    ],
    ids=" ".join,
)
def test_a_deleted_working_folder_is_one_line(
    run: Run, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Whatever lies there cannot be found, and that is no bug of the program."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = run(*(argument.format(store) for argument in arguments))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert re.search("the working folder was deleted|No such file or directory|there is no authority", result.err)


def test_no_command_needs_the_working_folder(
    run: Run, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every path is absolute, a deleted one is in nobody's way."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["status"], ["uploads"], ["audit"], ["export", "-"], ["export", f"{tmp_path}/out.csv"]):
        assert run(*command, "--store", store).code == 0


def test_port_in_use(run: Run, tmp_path: Path) -> None:
    """Exit code 2, and the URL in the error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", "--listen", url, "--store", f"csv:///{tmp_path}/x.csv")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"bets-server: --listen {url}: ")
    assert result.err.endswith("address already in use\n")


def test_store_that_is_no_database(run: Run, tmp_path: Path) -> None:
    """Exit code 2, and the file is left as it was."""
    (tmp_path / "x.db").write_text("no database" * 1000)
    result = run("serve", "--listen", "127.0.0.1:0", "--store", "sqlite:///x.db")
    assert result.code == 2
    assert "x.db: is not a SQLite database" in result.err
    assert (tmp_path / "x.db").read_text() == "no database" * 1000


@pytest.mark.parametrize("revision", [5, 6, 8])
def test_health_of_a_server(run: Run, serve: Servers, revision: int) -> None:
    """0 for a server of each revision; the probe stores nothing and takes nobody's place."""
    server = serve(revision=revision)
    assert run("health", server.url) == Result(0, "", "")
    assert server.stored == []


def test_health_of_no_server(run: Run) -> None:
    """1 and the reason, where nobody listens, nobody answers, or somebody else does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        result = run("health", url, "--timeout", "0.2")
        assert (result.code, result.out) == (1, "")
        assert "timed out" in result.err
    result = run("health", url)
    assert result.code == 1
    assert "connection refused" in result.err
    assert url in result.err


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x01", b"\x83" * 18])
def test_health_of_another_server(run: Run, answer: bytes) -> None:
    """1: something answers, but not with the probe."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        result = run("health", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert result.code == 1
    assert "expected the probe's line back" in result.err


@contextlib.contextmanager
def balancer(url: str, header: bytes) -> Iterator[str]:
    """Puts `header` before what each client says to the server at `url`."""
    port = int(url.rpartition(":")[2])
    ended = threading.Event()

    def pass_on(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(header)
            ways = {client: server, server: client}
            with selectors.DefaultSelector() as selector:
                for one, way in ways.items():
                    selector.register(one, selectors.EVENT_READ, way)
                while selector.get_map() and not ended.is_set():
                    for key, _ in selector.select(0.05):
                        side, other = key.fileobj, key.data
                        assert isinstance(side, socket.socket)
                        with contextlib.suppress(ConnectionError):
                            if data := side.recv(4096):
                                other.sendall(data)
                                continue
                        # One direction has ended. The other goes on: closing now, with bytes unread, would reset the
                        # connection, and the answer that was just passed on would be lost.
                        selector.unregister(side)
                        with contextlib.suppress(OSError):
                            other.shutdown(socket.SHUT_WR)

    def listens() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                pass_on(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=listens)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("revision", [5, 6, 9])
@pytest.mark.parametrize("header", [PROXY_1, PROXY_2, b""])
def test_health_behind_a_balancer(run: Run, serve: Servers, revision: int, header: bytes) -> None:
    """A server that refuses a header refuses every client; the same answer to the probe would be health."""
    server = serve(revision=revision)
    with balancer(server.url, header) as url:
        result = run("health", url)
    assert result.code == bool(header)
    assert ("PROXY header" in result.err) == bool(header)


def test_winners(run: Run, store: str) -> None:
    """agency,document for each, agencies in order, bets in the order of storing; before the draw exit code 7."""
    result = run("winners", "--store", store)
    assert (result.code, result.out) == (7, "")
    assert result.err == "bets-server: the draw has not taken place\n"
    _draw(store)
    assert run("winners", "--store", store) == Result(0, "1,00000003\n1,00000004\n2,00000002\n", "")
    assert run("winners", "--store", store, "--agency", "2") == Result(0, "2,00000002\n", "")
    assert run("winners", "--store", store, "--agency", "9") == Result(0, "", "")
    assert run("winners", "--store", store, "--draw", "2").code == 7


def test_settings_of_the_environment(run: Run, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of the commands that read have variables, too."""
    _draw(store)
    monkeypatch.setenv("BETS_STORE", store)
    monkeypatch.setenv("BETS_AGENCY", "2")
    assert run("winners").out == "2,00000002\n"
    monkeypatch.setenv("BETS_DRAW", "5")
    assert run("winners").code == 7
    monkeypatch.setenv("BETS_TIMEOUT", "0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run("health", f"tcp://127.0.0.1:{silent.getsockname()[1]}").code == 1


@pytest.mark.parametrize(
    ("arguments", "name", "value", "expected"),
    [
        (["winners"], "BETS_AGENCY", "x", "a whole number from 1 to 255"),
        (["winners"], "BETS_FORMAT", "xml", "one of text, json"),
        (["export", "x.csv"], "BETS_RAW", "maybe", "1, true, yes, on, 0, false, no or off"),
        (["health", "tcp://127.0.0.1:1"], "BETS_TIMEOUT", "0", "a number from 0.1 to 3600"),
        (["health", "tcp://127.0.0.1:1"], "BETS_TLS_MIN", "1.1", "one of 1.2, 1.3"),
        (["close"], "BETS_WITHOUT", "256", "a whole number from 1 to 255"),
        (["certs", "agency", "1", "--dir", "x"], "BETS_DAYS", "1_0", "a whole number from 1 to 36500"),
        (["certs", "init", "x"], "BETS_FORCE", "x", "1, true, yes, on, 0, false, no or off"),
    ],
)
def test_a_value_of_the_environment_is_blamed_on_its_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str, value: str, expected: str
) -> None:
    """Nobody has typed an option."""
    monkeypatch.setenv(name, value)
    said = f"bets-server: environment {name}: {value!r}: expected {expected}\n"
    assert run(*arguments) == Result(2, "", said)


def test_what_help_says_of_bounds(run: Run) -> None:
    """Which is the least, and which the most."""
    text = " ".join(run("serve", "--help").out.split())
    assert "At least so many bytes a second that a peer must take of its answers" in text
    assert "At most so many connections in all" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
@pytest.mark.parametrize("arguments", ["--version", "export x.csv", "export -"])
def test_standard_output_that_is_full(programs: Programs, arguments: str) -> None:
    """Exit code 9 and one line that says so; the file of an export is there all the same."""
    with open_store(f"sqlite:///{programs.folder}/bets.db") as store:
        append_to(store, [batch_of(BETS)])
    shell = f"from subprocess import *; import sys; sys.exit(call('bets-server {arguments} > /dev/full', shell=True))"
    done = programs.start("python", "-c", shell, PATH=f"{PROGRAMS}:{os.defpath}").expect(9)
    assert done.err == "bets-server: cannot write to standard output: No space left on device\n"
    assert (programs.folder / "x.csv").exists() == ("x.csv" in arguments)


def test_export_csv(run: Run, store: str, tmp_path: Path) -> None:
    """All columns in the order of storing; a name that looks like a formula is made harmless unless told otherwise."""
    assert run("export", "bets.csv", "--store", store) == Result(0, "5 bets written to bets.csv\n", "")
    safe = [attrs.evolve(bet, first_name="'=1+1") if bet.first_name == FORMULA else bet for bet in BETS]
    assert _csv(tmp_path / "bets.csv") == _columns(safe)
    run("export", "bets.csv", "--store", store, "--raw", "--agency", "1")
    assert _csv(tmp_path / "bets.csv") == _columns([bet for bet in BETS if bet.agency == 1])
    assert {path.name for path in tmp_path.iterdir()} <= {"bets.csv", "store", "store.ledger"}


@pytest.mark.parametrize("suffix", [".db", ".sqlite", ".sqlite3"])
def test_export_sqlite(run: Run, store: str, tmp_path: Path, suffix: str) -> None:
    """A plain table with the columns of a bet, names as they are; an older file is replaced."""
    target = tmp_path / f"bets{suffix}"
    target.write_text("something else")
    assert run("export", target.name, "--store", store).code == 0
    connection = sqlite3.connect(target)
    try:
        cursor = connection.execute("SELECT * FROM bets ORDER BY rowid")
        assert tuple(name for name, *_ in cursor.description) == FIELDS
        assert cursor.fetchall() == [attrs.astuple(bet) for bet in BETS]
    finally:
        connection.close()


@pytest.mark.parametrize("target", ["no/such/folder/x.csv", "no/such/folder/x.db", "folder", "folder.db"])
def test_export_to_where_it_cannot(run: Run, store: str, tmp_path: Path, target: str) -> None:
    """Exit code 2 and the path; nothing is left behind."""
    for name in ("folder", "folder.db"):
        (tmp_path / name).mkdir()
    before = set(tmp_path.rglob("*"))
    result = run("export", target, "--store", store)
    assert result.code == 2
    assert result.err.startswith(f"bets-server: {target}: cannot be written: ")
    assert set(tmp_path.rglob("*")) - before == set()


def test_export_of_a_damaged_store(run: Run, tmp_path: Path) -> None:
    """Exit code 8 and where the damage is; the file that was there before is untouched."""
    (tmp_path / "old.csv").write_text("what was there")
    path = tmp_path / "store.db"
    with open_store(f"sqlite:///{path}") as store:
        for bet in BETS:
            append_to(store, [batch_of([bet])])
    last = encode_bets(BETS[-1:])
    assert path.read_bytes().count(last) == 1
    path.write_bytes(path.read_bytes().replace(last, last.replace(BETS[-1].document.encode(), b"no digit")))
    result = run("export", "old.csv", "--store", f"sqlite:///{path}")
    assert result.code == 8
    assert f"batch {len(BETS)} is damaged" in result.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["old.csv", "store.db"]
    assert (tmp_path / "old.csv").read_text() == "what was there"


def test_store_that_a_server_has_open(run: Run, store: str) -> None:
    """Reading is for later: exit code 2, and it says that a server has the store."""
    with open_store(store):
        for arguments in (["winners"], ["export", "x.csv"]):
            result = run(*arguments, "--store", store)
            assert result.code == 2
            assert "another server has it open (cannot connect to " in result.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_export_that_is_stopped(programs: Programs, number: signal.Signals, code: int) -> None:
    """In the middle: not exit code 0, which would say that the file is there; nothing is left behind."""
    with open_store(f"sqlite:///{programs.folder}/bets.db") as store:
        encoded = batch_of([_bet(row, 1) for row in range(200)])
        append_to(store, [encoded] * 1000)
    export = programs.start("bets-server", "export", "bets.csv")
    export.wait_until(lambda: list(programs.folder.glob(".export-*")), "the export has begun")
    export.send_signal(number)
    export.expect(code)
    assert [path.name for path in programs.folder.iterdir() if "csv" in path.name or "export-" in path.name] == []


def test_encoded_bets_of_the_store_are_those_that_are_exported(run: Run, tmp_path: Path) -> None:
    """What the export gives back encodes to the bytes that were stored."""
    url = f"sqlite:///{tmp_path}/bets.db"
    with open_store(url) as store:
        append_to(store, [batch_of(BETS)])
        assert encode_bets(store.bets()) == encode_bets(BETS)
    run("export", "bets.csv", "--store", url, "--raw")
    rows = [dict(zip(FIELDS, row, strict=True)) for row in _csv(tmp_path / "bets.csv")]
    assert [Bet(**(row | {"agency": int(row["agency"]), "number": int(row["number"])})) for row in rows] == BETS  # type: ignore[arg-type]
