"""The main job with real processes: five agencies send their files at once, one draw, each gets its own winners."""

from __future__ import annotations

import contextlib
import csv
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.processes import Program, Programs

WINNING = "7574"
REAL_COUNTS = {1: 2, 2: 3, 3: 3, 4: 2, 5: 0}
Row = tuple[str, ...]


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


def _sent(folder: Path, agencies: int = 5) -> dict[int, list[Row]]:
    """The rows of each agency's file."""
    return {agency: _rows(folder / f"agency-{agency}.csv") for agency in range(1, agencies + 1)}


def _winners(sent: Mapping[int, list[Row]]) -> dict[int, list[str]]:
    return {agency: [row[2] for row in rows if row[4] == WINNING] for agency, rows in sent.items()}


def _exported(programs: Programs, store: str) -> dict[int, list[Row]]:
    """The bets in a store, by agency, as their files have them."""
    programs.run("bets-server", "export", "export.csv", "--store", store, "--raw")
    found: dict[int, list[Row]] = {}
    for agency, *row in _rows(programs.folder / "export.csv"):
        found.setdefault(int(agency), []).append(tuple(row))
    return found


def _send_all(programs: Programs, folder: Path, url: str, *options: str) -> dict[int, Program]:
    """Five clients at once, each with its file."""
    clients = {
        agency: programs.client("send", str(folder / f"agency-{agency}.csv"), "--server", url, *options)
        for agency in range(1, 6)
    }
    return {agency: client.expect() for agency, client in clients.items()}


@pytest.fixture
def sample_data(programs: Programs) -> Path:
    """Five files of made-up bets, some of which win."""
    programs.run("bets-client", "sample", "data", "--agencies", "5", "--bets", "400", "--seed", "3")
    folder = programs.folder / "data"
    for agency in range(1, 6):
        path = folder / f"agency-{agency}.csv"
        lines = path.read_bytes().splitlines(keepends=True)
        lines[agency * 7 :: 97] = [line.rpartition(b",")[0] + b",7574\r\n" for line in lines[agency * 7 :: 97]]
        path.write_bytes(b"".join(lines))
    return folder


def test_sample_data(programs: Programs, sample_data: Path) -> None:
    """Each client prints its own winners; the store has every row, in order; `winners` tells the same afterwards."""
    server = programs.server("--workers", "1")
    clients = _send_all(programs, sample_data, server.url)
    sent = _sent(sample_data)
    expected = _winners(sent)
    assert expected == {agency: client.results for agency, client in clients.items()}
    assert all(expected.values())
    for agency, client in clients.items():
        assert client.logged(f"consulta_ganadores | result: success | cant_ganadores: {len(expected[agency])}") == 1
    assert server.logged("sorteo | result: success") == 1
    server.stop()
    assert _exported(programs, "sqlite:///bets.db") == sent
    lines = programs.run("bets-server", "winners").out.splitlines()
    assert lines == [f"{agency},{document}" for agency, documents in expected.items() for document in documents]
    programs.run("bets-server", "export", "plain.db", "--agency", "3")
    with contextlib.closing(sqlite3.connect(programs.folder / "plain.db")) as connection:
        rows = connection.execute("SELECT first_name, last_name, document, birthdate, number FROM bets").fetchall()
    assert [(*row[:4], str(row[4])) for row in rows] == sent[3]


def test_five_agencies_in_one_process(programs: Programs, sample_data: Path) -> None:
    """One command with all five files, a unix socket, a CSV store: all winners in order, all rows in `bets.csv`."""
    server = programs.server("--store", "csv:///bets.csv", listen=f"unix://{programs.folder}/s")
    files = [str(sample_data / f"agency-{agency}.csv") for agency in range(1, 6)]
    client = programs.run("bets-client", "send", *files, "--server", server.url)
    sent = _sent(sample_data)
    assert client.results == [document for documents in _winners(sent).values() for document in documents]
    server.stop()
    assert not (programs.folder / "s").exists()
    assert _exported(programs, "csv:///bets.csv") == sent
    assert _rows(programs.folder / "bets.csv") == [(str(a), *row) for a, rows in sent.items() for row in rows]


@pytest.mark.parametrize("store", ["sqlite:///bets.db", "csv:///bets.csv"])
def test_real_data(programs: Programs, real_data: Path, store: str) -> None:
    """The five real files: 2, 3, 3, 2 and 0 winners, and all 78,697 bets in the store, per agency in order."""
    server = programs.server("--store", store)
    clients = _send_all(programs, real_data, server.url)
    sent = _sent(real_data)
    assert {agency: client.results for agency, client in clients.items()} == _winners(sent)
    assert {agency: len(client.results) for agency, client in clients.items()} == REAL_COUNTS
    server.stop()
    found = _exported(programs, store)
    assert found == sent
    assert sum(map(len, found.values())) == 78_697


@pytest.mark.parametrize("revision", ["7", "8", "9"])
def test_one_client_sends_for_every_agency(programs: Programs, revision: str) -> None:
    """255 files in one command, from one address, at the defaults: those that wait already keep nobody out."""
    programs.run("bets-client", "sample", "data", "--agencies", "255", "--bets", "3", "--quiet")
    server = programs.server("--agencies", "255")
    files = [str(programs.folder / "data" / f"agency-{agency}.csv") for agency in range(1, 256)]
    client = programs.run(
        "bets-client", "send", *files, "--server", server.url, "--revision", revision, "--retry-for", "30"
    )
    assert client.logged("consulta_ganadores | result: success") == 255
    programs.run("bets-server", "health", server.url)
    server.stop()
    assert server.logged("sorteo | result: success") == 1
