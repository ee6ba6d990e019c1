"""An operator's slips with the files of a store, under real servers: nothing that was acknowledged is lost unsaid."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from bets_protocol.cli.exit_codes import ExitCode
from tests.e2e.processes import Programs, ServerProgram

WHOSE = ["--first-name", "Ana", "--last-name", "Paz", "--birthdate", "1999-03-17", "--number", "7574"]
STORES = ["sqlite:///data/bets.db", "csv:///data/bets.csv"]


def main_file(programs: Programs, store: str) -> Path:
    """The file that the store's URL names."""
    return programs.folder / store.partition(":///")[2]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, programs: Programs) -> str:
    """A store's URL, in a folder of its own."""
    (programs.folder / "data").mkdir()
    return str(request.param)


def bet(programs: Programs, server: ServerProgram, document: str, code: int = ExitCode.DONE) -> None:
    """One bet of agency 1."""
    options = ["--agency", "1", "--server", server.url, "--retry-for", "5", "--document", document]
    programs.run("bets-client", "bet", *options, *WHOSE, code=code)


@pytest.mark.parametrize("slip", ["moved", "deleted", "folder moved"])
@pytest.mark.parametrize("idle", [True, False])
def test_a_server_whose_book_was_moved_ends(programs: Programs, store: str, slip: str, *, idle: bool) -> None:
    """Within a second by itself, and before it acknowledges anything more; with exit code 8 and one line."""
    server = programs.server("--store", store)
    bet(programs, server, "00000001")
    path = main_file(programs, store)
    match slip:
        case "moved":
            path.rename(path.with_name("week"))
        case "deleted":
            for part in path.parent.iterdir():
                part.unlink()
        case _:
            path.parent.rename(path.parent.with_name("old"))
            path.parent.mkdir()
    if not idle:
        bet(programs, server, "00000002", code=ExitCode.UNREACHABLE)
    server.expect(ExitCode.STORE_FAILED)
    failures = [line for line in server.lines if line.startswith("store | result: fail")]
    assert len(failures) == 1, server.out
    assert "is not where it was" in failures[0]
    if slip == "moved":
        path.with_name("week").rename(path)
        again = programs.server("--store", store)
        again.stop()
        exported = programs.run("bets-server", "export", "-", "--store", store).out
        assert exported.count("00000001") == 1


def test_a_second_server_does_not_begin_beside_the_first(programs: Programs, store: str) -> None:
    """Not even where the name is free: the first one answers at the control socket of this store."""
    server = programs.server("--store", store)
    path = main_file(programs, store)
    kept = path.read_bytes()
    server.send_signal(signal.SIGSTOP)  # it has not looked yet
    try:
        path.rename(path.with_name("week"))
        second = programs.run("bets-server", "serve", "--listen", "tcp://127.0.0.1:0", "--store", store, code=2)
        assert f"--store {store}: another server runs for it, and answers at data/{path.name}.control" in second.err
        assert not path.exists()
        path.with_name("week").rename(path)
        assert path.read_bytes() == kept
    finally:
        server.send_signal(signal.SIGCONT)
    bet(programs, server, "00000001")
    server.stop()


def names(folder: Path) -> list[str]:
    """Of the files in a folder; the ledger of a CSV store may have taken its log in before the file is looked at."""
    return sorted(each.name for each in folder.iterdir() if not each.name.endswith(".ledger-wal"))


def test_a_start_without_the_main_file_is_refused(programs: Programs, store: str) -> None:
    """The log of a server that was killed holds its bets; with the file back, they are all there."""
    server = programs.server("--store", store)
    for number in range(3):
        bet(programs, server, f"0000000{number}")
    server.kill()
    path = main_file(programs, store)
    for leave_empty in (False, True):
        path.rename(path.with_name("elsewhere"))
        if leave_empty:
            path.touch()
        before = names(path.parent)
        refused = programs.run("bets-server", "serve", "--listen", "tcp://127.0.0.1:0", "--store", store, code=2)
        assert len(refused.err.splitlines()) == 1, refused.err
        assert f"data/{path.name}:" in refused.err
        assert names(path.parent) == before
        path.with_name("elsewhere").replace(path)
    exported = programs.run("bets-server", "export", "-", "--store", store).out
    assert [exported.count(f"0000000{number}") for number in range(3)] == [1, 1, 1]


def test_a_copy_of_a_book_in_use_is_told(programs: Programs) -> None:
    """`cp bets.db` while a server runs: every command says that it is not whole, and how to make a copy that is."""
    server = programs.server()
    bet(programs, server, "00000001")
    shutil.copy(programs.folder / "bets.db", programs.folder / "copy.db")
    for command in (["status"], ["export", "-"], ["winners"], ["serve", "--listen", "tcp://127.0.0.1:0"]):
        refused = programs.run("bets-server", *command, "--store", "sqlite:///copy.db", code=2)
        assert "copy.db: is not whole without copy.db-wal, which is missing or empty" in refused.err
    server.stop()
    shutil.copy(programs.folder / "bets.db", programs.folder / "copy.db")
    assert "00000001" in programs.run("bets-server", "export", "-", "--store", "sqlite:///copy.db").out


def test_operators_read_a_book_as_it_is(programs: Programs) -> None:
    """Of a server that was killed: not a byte of it changes."""
    server = programs.server()
    bet(programs, server, "00000001")
    server.kill()
    kept = {part: part.read_bytes() for part in programs.folder.glob("bets.db*") if part.is_file()}
    for command in (["status"], ["uploads"], ["audit"], ["export", "-"]):
        programs.run("bets-server", *command)
    assert {part: part.read_bytes() for part in programs.folder.glob("bets.db*") if part.is_file()} == kept
