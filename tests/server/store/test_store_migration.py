"""A book of version 1 becomes one of today when it is opened: nothing is lost, and at no moment is it anything else.

`book_v1.sql` is what a program that wrote version 1 left behind: draw 1 is over, draw 2 is open, draw 3 is over and had
no bets.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bets_protocol import StorageError, encode_bets
from bets_server.store import DrawState, Verdict, open_store
from bets_server.store.conformance.samples import (
    WINNING,
    append_to,
    batch_of,
    documents,
    opened,
    rows_of,
    sample_batch,
    sample_bet,
    winning,
)

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0
DUMP = Path(__file__).with_name("book_v1.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A book of version 1."""
    return old_book(tmp_path / "bets.db")


def old_book(path: Path) -> Path:
    """Makes a book of version 1."""
    with contextlib.closing(sqlite3.connect(path)) as book:
        book.executescript(DUMP.read_text(encoding="utf-8"))
        book.execute("PRAGMA journal_mode = WAL").fetchall()
    return path


def rows(path: Path, question: str) -> list[tuple[object, ...]]:
    """What the file answers to any other program."""
    with contextlib.closing(sqlite3.connect(path)) as book:
        return book.execute(question).fetchall()


CLOSED = DrawState(draw=1, number=WINNING, sealed=frozenset({1, 2}), bets_by_agency={1: 3, 2: 2}, bets=5, digest="")


def test_an_old_book_is_read_as_it_is(path: Path) -> None:
    """A reader changes not a byte of it, and leaves nothing beside it; who writes without `create` refuses it."""
    url, before = f"sqlite:///{path}", path.read_bytes()
    with open_store(url, readonly=True) as store:
        assert store.upgraded_from == 1
        assert store.state() == CLOSED
        assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5)
    reading = open_store(url, draw=4, readonly=True)
    with reading as store, pytest.raises(StorageError, match="was opened for reading only"):
        opened(store, total=1)
    with pytest.raises(StorageError, match=r"tables have version 1, needed is 3: `bets-server serve` brings them up"):
        open_store(url, create=False)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_old_book_keeps_all_that_it_held(path: Path) -> None:
    """Bets, their order and their bytes, seals, draws and winners; the server can say what it has done to the book."""
    url = f"sqlite:///{path}"
    before = rows(path, "SELECT * FROM batch"), rows(path, "SELECT * FROM winner"), rows(path, "SELECT * FROM seal")
    uploads = rows(path, "SELECT * FROM upload")
    with open_store(url) as store:
        assert store.upgraded_from == 1
        assert store.state() == CLOSED
        assert [store.winners(agency) for agency in (1, 2)] == [tuple(rows_of(1, 2)), tuple(rows_of(4))]
        assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5)
        assert [*store.audit()] == []
        assert append_to(store, [sample_batch([9])]) == [Verdict.DRAW_CLOSED]
    with open_store(url, draw=3) as store:
        assert store.upgraded_from is None
        assert store.state() == DrawState(draw=3, number=WINNING, sealed=frozenset({1}), bets_by_agency={})
    assert rows(path, "PRAGMA user_version") == [(3,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "SELECT * FROM draw") == [(1, WINNING, 5, None), (2, None, None, None), (3, WINNING, 0, None)]
    tables = rows(path, "SELECT * FROM batch"), rows(path, "SELECT * FROM winner"), rows(path, "SELECT * FROM seal")
    assert tables == before
    assert rows(path, "SELECT * FROM upload") == [(*upload, 0) for upload in uploads]


def test_an_open_draw_of_an_old_book_goes_on(path: Path) -> None:
    """Its anonymous uploads grow, can be voided, and the draw sees what is left of them."""
    url = f"sqlite:///{path}"
    with open_store(url, draw=2) as store:
        assert [(upload.number, upload.agency, upload.stored) for upload in store.uploads()] == [(3, 1, 1), (4, 2, 2)]
        assert append_to(store, [sample_batch([9]), sample_batch([9], agency=2)]) == [Verdict.SEALED, Verdict.STORED]
        store.void(3, reason="old")
        store.commit([])
        assert opened(store, total=0).upload == 5
        store.seal_and_draw(1, expected=2, pick=winning)
        store.seal_and_draw(2, expected=2, pick=winning)
        expected = [sample_bet(7, agency=2, number=WINNING), sample_bet(8, agency=2, number=WINNING)]
        assert list(store.bets()) == [*expected, sample_bet(9, agency=2)]
        assert store.winners(2) == tuple(rows_of(7, 8))
        assert store.state().bets == 3
        assert encode_bets(expected) == batch_of(expected)[0].encoded
    with open_store(url) as store:
        assert store.state() == CLOSED


def shape(path: Path) -> object:
    """Tables with their columns, indexes and triggers."""
    tables = sorted(str(name) for (name,) in rows(path, "SELECT name FROM sqlite_schema WHERE type = 'table'"))
    columns = [rows(path, f"SELECT * FROM pragma_table_xinfo('{table}')") for table in tables]
    guards = rows(path, "SELECT name, sql FROM sqlite_schema WHERE type != 'table' ORDER BY name")
    kinds = rows(path, "SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    return tables, columns, guards, kinds


def test_an_old_book_becomes_what_a_new_one_is(path: Path, tmp_path: Path) -> None:
    """The same tables, columns, indexes and triggers; a closed draw of the old one cannot be changed either."""
    open_store(f"sqlite:///{path}").close()
    open_store(f"sqlite:///{tmp_path}/new.db").close()
    assert shape(path) == shape(tmp_path / "new.db")
    with contextlib.closing(sqlite3.connect(path)) as book:
        for statement in [
            "UPDATE draw SET digest = 'x' WHERE id = 1",
            "UPDATE upload SET voided = 1 WHERE id = 1",
            "UPDATE batch SET count = 1",
        ]:
            with pytest.raises(sqlite3.IntegrityError, match=r"the draw is over|never changes"):
                book.execute(statement)


# Each child is killed by itself, right before one more statement than the child before it.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from bets_server.store import open_store
from bets_server.store.sqlite import schema
source, folder = Path(sys.argv[1]), Path(sys.argv[2])
bring_up_to_date = schema.bring_up_to_date

def until_killed(connection, version):
    left = [statements]
    def count(statement):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    connection.set_trace_callback(count)
    bring_up_to_date(connection, version)

schema.bring_up_to_date = until_killed
for statements in range(1000):
    path = folder / str(statements)
    path.mkdir()
    shutil.copy(source, path / "bets.db")
    child = os.fork()
    if child == 0:
        open_store(f"sqlite:///{path}/bets.db").close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_move_to_the_new_version_that_is_killed_took_place_or_did_not(path: Path, tmp_path: Path) -> None:
    """Or it did: killed before any of its statements, the file is of one version or the other, and holds everything."""
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", KILLED, str(path), str(folder)]
    subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=True)
    killed = sorted(folder.iterdir(), key=lambda each: int(each.name))
    versions = []
    for each in killed:
        shutil.copytree(each, tmp_path / "look" / each.name)
        versions += rows(tmp_path / "look" / each.name / "bets.db", "PRAGMA user_version")
        with open_store(f"sqlite:///{each}/bets.db") as store:
            assert store.state() == CLOSED
            assert documents(store.bets()) == rows_of(1, 2, 3, 4, 5)
    assert versions == sorted(versions)  # up to the commit the old one, from then on the new one
    assert versions[40] == (1,)
    assert versions[-1] == (3,)
