"""Where an export may be written: to an ordinary file or standard output, and never over a store."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_server.store import open_store
from bets_server.store.conformance.samples import append_to, batch_of
from tests.e2e.processes import DEADLINE_S, clean_environment
from tests.server.command_line import Result, Run
from tests.server.operating import a_bet

BETS = [a_bet(1, 1), a_bet(2, 1), a_bet(3, 2)]
ROWS = "".join(
    f"{bet.agency},{bet.first_name},{bet.last_name},{bet.document},{bet.birthdate},{bet.number}\r\n" for bet in BETS
)


def _filled(url: str) -> None:
    with open_store(url) as store:
        append_to(store, [batch_of(BETS)])


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(params=["sqlite:///bets.db", "csv:///bets.csv"])
def store(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> str:  # noqa: ARG001 - `run` is in the folder
    """A store in the working folder with three bets; beside it another book and another CSV store."""
    for url in (request.param, "sqlite:///other.db", "csv:///other.csv"):
        _filled(url)
    Path("link.db").symlink_to("other.db")
    Path(request.param.rpartition("/")[2] + "-link").symlink_to(request.param.rpartition("/")[2])
    os.link({"bets.csv": "bets.csv.ledger"}.get(Path(request.param).name, "bets.db"), "hard")
    return str(request.param)


_OWN = ["{own}", "./{own}", "{own}-link", "hard", "{own}.control"]
_PARTS = ["{own}-wal", "{own}-shm", "{own}-journal", "{own}.journal", "{own}.ledger", "{own}.ledger-wal"]
_OTHERS = ["other.db", "link.db", "other.db-wal", "other.csv", "other.csv.journal", "other.csv.ledger"]


@pytest.mark.parametrize("name", [*_OWN, *_PARTS, *_OTHERS])
def test_no_export_takes_the_place_of_a_store(run: Run, store: str, tmp_path: Path, name: str) -> None:
    """Not of its own store nor of another, under any name: exit code 2, and no byte changes."""
    own = store.rpartition("/")[2]
    target = name.format(own=own)
    holds_bets = name != "hard" or own == "bets.db"
    before = _contents(tmp_path)
    result = run("export", target, "--store", store)
    assert (result.code, result.out) == (2, "")
    reason = "the bets come from there" if name in _OWN and holds_bets else "it belongs to the store "
    assert result.err.startswith(f"bets-server: {target.removeprefix('./')}: cannot be written: {reason}")
    after = _contents(tmp_path)
    assert before.keys() == after.keys()
    with open_store(store, readonly=True) as opened:
        assert list(opened.bets()) == BETS
    for name, holds in before.items():
        if name.startswith("other"):
            assert holds == after[name]


def test_a_file_that_is_no_store_yet_is_not_exported(run: Run, tmp_path: Path) -> None:
    """Of a legacy `bets.csv` without a ledger nothing is known: `serve` makes one."""
    holds = b"1,Ana,Paz,00000001,1999-03-17,1\n"
    (tmp_path / "bets.csv").write_bytes(holds)
    result = run("export", "bets.csv", "--store", "csv:///bets.csv")
    assert (result.code, result.out) == (2, "")
    assert "there is no such store: bets.csv.ledger is missing, which `bets-server serve` makes" in result.err
    assert _contents(tmp_path) == {"bets.csv": holds}


def test_an_earlier_export_is_replaced(run: Run, tmp_path: Path) -> None:
    """Also through a link, which stays a link; a database without our application id is not a store."""
    _filled("sqlite:///bets.db")
    (tmp_path / "link.db").symlink_to("plain")  # the name that is given says what is written
    for _ in range(2):
        assert run("export", "link.db") == Result(0, "3 bets written to link.db\n", "")
    assert (tmp_path / "link.db").is_symlink()
    with contextlib.closing(sqlite3.connect(tmp_path / "plain")) as connection:
        assert connection.execute("SELECT count(*) FROM bets").fetchall() == [(3,)]


@contextlib.contextmanager
def _reader(fifo: Path) -> Iterator[None]:
    """A reader of `fifo`, which must get nothing."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield
        assert os.read(descriptor, 1) == b""
    finally:
        os.close(descriptor)


def test_what_is_no_file_is_left_alone(run: Run, tmp_path: Path) -> None:
    """A pipe, a device, a folder: exit code 2, and it is still there."""
    _filled("sqlite:///bets.db")
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    (tmp_path / "null.csv").symlink_to(os.devnull)
    no_file = "it is no ordinary file; - stands for standard output"
    with _reader(fifo):
        for name, reason in (("fifo.csv", no_file), ("null.csv", no_file), (".", "Is a directory")):
            expected = Result(2, "", f"bets-server: {name}: cannot be written: {reason}\n")
            assert expected == run("export", name)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("target", ["", "/", "x" * 300, "bets.db/x.csv"])
def test_a_name_that_is_none(run: Run, tmp_path: Path, target: str) -> None:
    """A name that no file can have: exit code 2 and one line."""
    _filled("sqlite:///bets.db")
    result = run("export", target)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot be written: " in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["bets.db"]


@pytest.mark.parametrize("name", ["x.csv", "x.db", "n" * 250 + ".csv"])
def test_only_the_owner_reads_an_export(run: Run, tmp_path: Path, name: str) -> None:
    """Names and documents are in it: mode 0600, whatever was there before."""
    _filled("sqlite:///bets.db")
    (tmp_path / name).touch(0o644)
    assert run("export", name).code == 0
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_standard_output(run: Run, tmp_path: Path) -> None:
    """`-` is CSV and nothing else; `./-` is a file."""
    _filled("sqlite:///bets.db")
    assert run("export", "-") == Result(0, ROWS, "")
    assert run("export", "./-") == Result(0, "3 bets written to ./-\n", "")
    assert (tmp_path / "-").read_bytes() == ROWS.encode()


def _process(folder: Path, file: str, stdout: int, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "bets_server", "export", file],
        cwd=folder,
        env=clean_environment(**environment),
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def test_standard_output_is_utf_8(tmp_path: Path) -> None:
    """In any locale the CSV is the same as in a file."""
    _filled(f"sqlite:///{tmp_path}/bets.db")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with _process(tmp_path, "-", subprocess.PIPE, **ascii_only) as export:
        assert export.communicate(timeout=DEADLINE_S) == (ROWS.encode(), b"")
    assert export.returncode == 0


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_the_device_of_standard_output_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """`/dev/stdout` leads to an open file: exit code 2, and the error names `-`."""
    _filled(f"sqlite:///{tmp_path}/bets.db")
    with (tmp_path / "out").open("wb") as out:
        stdout = subprocess.PIPE if kind == "pipe" else out.fileno()
        with _process(tmp_path, "/dev/stdout", stdout) as export:
            printed, said = export.communicate(timeout=DEADLINE_S)
        assert (export.returncode, printed or b"") == (2, b"")
        assert said.endswith(b"it is no ordinary file; - stands for standard output\n")
        assert os.path.samestat(os.fstat(out.fileno()), (tmp_path / "out").stat())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_stop_while_nobody_reads(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The stop works although the pipe is full, and no log line follows the CSV."""
    with open_store(f"sqlite:///{tmp_path}/bets.db") as store:
        append_to(store, [batch_of([a_bet(row, 1) for row in range(200)])] * 20)
    with _process(tmp_path, "-", subprocess.PIPE) as export:
        assert export.stdout is not None
        assert select.select([export.stdout], [], [], DEADLINE_S)[0]
        export.send_signal(number)
        assert code == export.wait(DEADLINE_S)
        assert b"action" not in export.stdout.read()
