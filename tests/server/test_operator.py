"""Operators' commands: the same answers from a running server and from a store that no server has open."""

from __future__ import annotations

import contextlib
import csv
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from bets_protocol import TransportTimeout
from bets_server.operator.commands import NeedsServer, OperatorBackend, answer
from bets_server.operator.export import export_rows
from bets_server.operator.live import LiveBackend as ServerBackend
from bets_server.operator.reports import report
from bets_server.store import BetStore, Parcel, open_store
from bets_server.store.conformance.samples import append_to, batch_of
from tests.server.command_line import Result, Run
from tests.server.operating import Control, LiveBackend, a_bet, controlled
from tests.server.serving import Servers, wait_until
from tests.server.wire import WINNING, batch, bet

FINISHED, UNFINISHED = bytes(15) + b"\x01", bytes(15) + b"\x03"
BETS = [a_bet(1, 1), a_bet(2, 1, WINNING), a_bet(3, 2, WINNING), a_bet(4, 3)]

UPLOADS = """\
NUMBER  AGENCY  STORED  TOTAL  CRC-32    EPOCH  STATE       UPLOAD
     1       1       2      2  {crcs[0]}      1  finished    00000000000000000000000000000001
     2       2       1      -  {crcs[1]}      {anonymous_epoch}  -           anonymous
     3       3       1      5  {crcs[2]}      1  unfinished  00000000000000000000000000000003
"""


def _fill(store: BetStore) -> None:
    """A finished upload of agency 1, bets of agency 2 without an upload, an unfinished upload of agency 3."""
    first = store.open_upload(1, FINISHED, total=2)
    store.commit([Parcel(runs=batch_of(BETS[:2]), ticket=first.ticket)])
    append_to(store, [batch_of(BETS[2:3])])
    third = store.open_upload(3, UNFINISHED, total=5)
    store.commit([Parcel(runs=batch_of(BETS[3:]), ticket=third.ticket)])


class Office:
    """A store with three uploads, and how an operator gets at it.

    Attributes:
        options: what a command needs to find it.
        control: the server that has it open; None: there is none.
    """

    def __init__(self, url: str, run: Run, control: Control | None) -> None:
        self.options = ["--store", url]
        self.control = control
        self._url = url
        self._run = run

    def run(self, *arguments: str) -> Result:
        """Runs a command for this store."""
        return self._run(*arguments, *self.options)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows of a command's JSON output."""
        result = self.run(*arguments, "--format", "json")
        assert (result.code, result.err) == (0, "")
        return [json.loads(line) for line in result.out.splitlines()]

    @contextlib.contextmanager
    def store(self) -> Iterator[BetStore]:
        """The store itself."""
        if self.control is not None:
            yield self.control.backend.store
            return
        with open_store(self._url) as store:
            yield store

    def draw(self) -> None:
        """Finishes the upload of agency 3, and makes the draw."""
        with self.store() as store:
            ticket = store.open_upload(3, UNFINISHED, total=5).ticket
            rest = [a_bet(row, 3) for row in range(5, 9)]
            store.commit([Parcel(runs=batch_of(rest), ticket=ticket, first_row=1)])
            for agency in (1, 2, 3):
                store.seal_and_draw(agency, expected=3, pick=lambda: WINNING)


@contextlib.contextmanager
def _office(url: str, path: Path, run: Run, *, live: bool) -> Iterator[Office]:
    with open_store(url) as store:
        _fill(store)
        if live:
            with controlled(path, LiveBackend(store)) as control:
                yield Office(url, run, control)
            return
    yield Office(url, run, None)


@pytest.fixture(params=["live-sqlite", "closed-csv"])
def office(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> Iterator[Office]:
    """With a server that has the store open, and without one."""
    how, _, scheme = request.param.partition("-")
    with _office(f"{scheme}:///{tmp_path}/bets", tmp_path / "bets.control", run, live=how == "live") as office:
        yield office


@pytest.fixture
def live(tmp_path: Path, run: Run) -> Iterator[Office]:
    """With a server that has the store open."""
    with _office(f"csv:///{tmp_path}/bets", tmp_path / "bets.control", run, live=True) as office:
        yield office


@pytest.fixture
def closed(tmp_path: Path, run: Run) -> Iterator[Office]:
    """Without a server."""
    with _office(f"csv:///{tmp_path}/bets", tmp_path / "bets.control", run, live=False) as office:
        yield office


def test_uploads(office: Office) -> None:
    """A table for people, an object a line for programs."""
    result = office.run("uploads")
    rows = office.rows("uploads")
    with office.store() as store:
        states = store.uploads()
    expected = UPLOADS.format(crcs=[f"{state.crc32:08x}" for state in states], anonymous_epoch=states[1].epoch)
    assert result == Result(0, expected, "")
    assert rows[2] == {
        "number": 3,
        "agency": 3,
        "upload_id": UNFINISHED.hex(),
        "total": 5,
        "stored": 1,
        "crc32": f"{states[2].crc32:08x}",
        "epoch": 1,
        "voided": False,
        "finished": False,
    }
    assert [(row["upload_id"], row["finished"]) for row in rows] == [
        (FINISHED.hex(), True),
        (None, False),
        (UNFINISHED.hex(), False),
    ]


def test_status_of_a_server(live: Office) -> None:
    """How the draw stands, and each agency: those that are expected, those that have sent, those that were seen."""
    assert live.control is not None
    live.control.backend.agencies = 4
    live.control.backend.seen = {
        1: {"connections": 0, "silent_s": 7203.0},
        2: {"connections": 2, "silent_s": 0.25},
        4: {"connections": 1, "silent_s": None},
        9: {"connections": 1, "silent_s": 130.0},
    }
    live.control.backend.store.seal_and_draw(1, expected=4, pick=lambda: WINNING)
    assert live.run("status").out == (
        "server: running\n"
        "draw 1: not drawn; waits for agencies 1 to 4\n"
        "missing agencies: 2, 3, 4\n"
        "connections: 4, 1 of no known agency\n"
        "bets: 4\n"
        "\n"
        "AGENCY  MODE       BETS  FINISHED  SEALED  CONNECTED  LAST SEEN\n"
        "     1  upload        2  yes       yes             0  2 h ago\n"
        "     2  anonymous     1  -         no              2  0 s ago\n"
        "     3  upload        1  no        no              0  -\n"
        "     4  -             0  -         no              1  -\n"
        "     9  -             0  -         no              1  2 min ago\n"
    )
    (row,) = live.rows("status")
    agencies = row.pop("by_agency")
    assert row == {
        "server": True,
        "draw": 1,
        "drawn": False,
        "winning_number": None,
        "bets": 4,
        "digest": None,
        "agencies": 4,
        "missing": [2, 3, 4],
        "connections": 4,
        "unknown_connections": 1,
    }
    assert agencies[1] == {
        "agency": 2,
        "mode": "anonymous",
        "uploads": 0,
        "finished": None,
        "bets": 1,
        "sealed": False,
        "connections": 2,
        "silent_s": 0.25,
    }


def test_status_counts_connections_as_soon_as_it_can(serve: Servers) -> None:
    """A connection counts for its agency from the first message on; silent ones and probes are counted apart."""
    server = serve(agencies=3)
    backend = ServerBackend(server.handlers, server.reactor)
    silent, probing, agency = (server.client() for _ in range(3))
    assert probing.exchange(b"ping\n", size=5) == b"ping\n"
    server.store.gate.clear()
    agency.send(batch(bet(1, agency=2)))
    wait_until(server.store.inside.is_set, "the store is at work")
    assert backend.status() == {
        "agencies": 3,
        "connections": 3,
        "unknown_connections": 2,
        "seen": {2: {"connections": 1, "silent_s": None}},
    }
    server.store.gate.set()
    assert agency.read(1) == b"\x01"
    silent.close()
    agency.close()
    wait_until(lambda: len(server.reactor.connections()) == 1, "two have left")
    after = backend.status()
    assert (after["connections"], after["unknown_connections"]) == (1, 1)
    assert after["seen"][2]["connections"] == 0
    assert (after["seen"][2]["silent_s"] or -1) >= 0


def test_status_of_a_store(closed: Office) -> None:
    """What the store alone knows: not how many agencies take part."""
    assert closed.run("status").out == (
        "server: not running\n"
        "draw 1: not drawn\n"
        "bets: 4\n"
        "\n"
        "AGENCY  MODE       BETS  FINISHED  SEALED  CONNECTED  LAST SEEN\n"
        "     1  upload        2  yes       no      -          -\n"
        "     2  anonymous     1  -         no      -          -\n"
        "     3  upload        1  no        no      -          -\n"
    )
    (row,) = closed.rows("status")
    live = ("agencies", "connections", "unknown_connections")
    assert [row.pop(name) for name in ("server", "missing", *live)] == [False, [], None, None, None]
    assert row["by_agency"][0] == {
        "agency": 1,
        "mode": "upload",
        "uploads": 1,
        "finished": True,
        "bets": 2,
        "sealed": False,
        "connections": None,
        "silent_s": None,
    }
    assert closed.run("status", "--draw", "2").out == "server: not running\ndraw 2: not drawn\nbets: 0\n"


def test_status_after_the_draw(office: Office) -> None:
    """The number, the row count and the digest, as the store has written them down."""
    office.draw()
    with office.store() as store:
        state = store.state()
    lines = office.run("status").out.splitlines()
    waits = ["missing agencies: none", "connections: 4, 1 of no known agency"] if office.control is not None else []
    assert lines[1:-5] == [
        f"draw 1: drawn, the winning number is {WINNING}",
        *waits,
        "bets: 8",
        f"digest: {state.digest}",
    ]
    assert len(state.digest) == 64
    (row,) = office.rows("status")
    assert (row["drawn"], row["winning_number"], row["bets"], row["digest"], row["missing"]) == (
        True,
        WINNING,
        8,
        state.digest,
        [],
    )


def test_winners(office: Office) -> None:
    """Exit code 7 before the draw; then agency,document, agencies in order."""
    assert office.run("winners") == Result(7, "", "bets-server: the draw has not taken place\n")
    office.draw()
    assert office.run("winners") == Result(0, "1,00000002\n2,00000003\n", "")
    assert office.run("winners", "--agency", "2") == Result(0, "2,00000003\n", "")
    assert office.rows("winners", "--agency", "1") == [{"agency": 1, "document": "00000002"}]


def test_export(office: Office, tmp_path: Path) -> None:
    """The bets that count, of all agencies or of one."""
    assert office.run("export", "all.csv") == Result(0, "4 bets written to all.csv\n", "")
    office.run("export", "one.csv", "--agency", "2")
    found = []
    for name in ("all.csv", "one.csv"):
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            found.append(sorted(csv.reader(file)))
    expected = [[str(value) for value in attrs.astuple(bet)] for bet in BETS]
    assert found == [expected, expected[2:3]]


def test_void(office: Office) -> None:
    """An unfinished or an anonymous upload no longer counts, and the audit says which one and why."""
    assert office.run("void", "3", "--reason", "wrong file") == Result(
        0, "upload 3 of agency 3 is void: its 1 bets count no more\n", ""
    )
    (row,) = office.rows("void", "2", "--reason", "sent twice")
    assert (row["number"], row["agency"], row["voided"]) == (2, 2, True)
    assert [row["voided"] for row in office.rows("uploads")] == [False, True, True]
    assert office.run("uploads").out.splitlines()[-1].split()[6] == "void"
    (status,) = office.rows("status")
    assert status["bets"] == 2
    if office.control is None:
        assert [agency["agency"] for agency in status["by_agency"]] == [1]
    else:
        assert [agency["mode"] for agency in status["by_agency"]] == ["upload", None, None]
    voids = [entry for entry in office.rows("audit") if entry["event"] == "void"]
    assert [entry["agency"] for entry in voids] == [3, 2]
    assert "wrong file" in voids[0]["detail"]
    assert "sent twice" in voids[1]["detail"]
    assert "wrong file" in office.run("audit").out


@pytest.mark.parametrize("number", [1, 99])
def test_void_that_is_refused(office: Office, number: int) -> None:
    """A finished upload, and an unknown one: exit code 6, one line, nothing changed."""
    result = office.run("void", str(number), "--reason", "x")
    assert (result.code, result.out) == (6, "")
    assert result.err.startswith("bets-server: ")
    assert result.err.count("\n") == 1
    assert not any(row["voided"] for row in office.rows("uploads"))


def test_void_after_the_draw(office: Office) -> None:
    """The draw is final: exit code 6."""
    office.draw()
    assert office.run("void", "2", "--reason", "x").code == 6


@pytest.mark.parametrize("reason", ["", "   ", "two\nlines", "\x1b[2J", "\udcff", "x" * 501])
def test_reason_that_is_none(live: Office, reason: str) -> None:
    """A reason is required, on one line: exit code 2."""
    result = live.run("void", "3", "--reason", reason)
    assert (result.code, result.out) == (2, "")
    assert "reason" in result.err
    assert not any(row["voided"] for row in live.rows("uploads"))


def test_close(live: Office) -> None:
    """A missing agency is sealed by force; with the last one the draw takes place, and sees all acknowledged bets."""
    assert live.control is not None
    sealed = "agency {} is sealed by force; others are still missing\n"
    assert live.run("close", "--without", "3", "--reason", "no line to them") == Result(0, sealed.format(3), "")
    assert live.run("close", "--without", "3").out == "agency 3: nothing to do; others are still missing\n"
    assert live.rows("close", "--without", "1") == [
        {"agency": 1, "newly_sealed": True, "drawn": False, "drawn_now": False}
    ]
    assert live.run("close", "--without", "2").out == (
        "agency 2 is sealed by force; it was the last one missing: the draw has taken place\n"
    )
    assert live.run("close", "--without", "2").out == "agency 2: nothing to do; the draw has taken place before\n"
    assert live.run("winners").out == "1,00000002\n2,00000003\n"
    assert live.control.backend.store.state().bets_by_agency == {1: 2, 2: 1, 3: 1}
    assert [entry["agency"] for entry in live.rows("audit") if entry["event"] == "forced_close"] == [3, 1, 2]
    assert live.run("close", "--without", "4") == Result(
        6, "", "bets-server: close: agency 4: the draw waits for agencies 1 to 3\n"
    )


def test_desk_of_a_store(tmp_path: Path) -> None:
    """Without a server nothing is sealed: how many agencies take part is not known."""
    with open_store(f"csv:///{tmp_path}/bets") as store, pytest.raises(NeedsServer):
        list(answer(OperatorBackend(store), "close", {"without": 1}))


@pytest.mark.parametrize("options", [[], ["--control", "none"]])
def test_close_needs_a_server(closed: Office, tmp_path: Path, options: list[str]) -> None:
    """Exit code 4, and where it has looked."""
    result = closed.run("close", "--without", "3", *options)
    where = "there is no control socket to ask at" if options else f"cannot connect to {tmp_path}/bets.control: "
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith(f"bets-server: close needs a running server, and none is found: {where}")


def test_file_of_a_killed_server(closed: Office, tmp_path: Path) -> None:
    """No server answers there, so the store is read."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "bets.control"))
    assert closed.run("status").out.startswith("server: not running\n")


def test_store_that_is_open_and_not_answered_for(live: Office) -> None:
    """If the socket is not found, the error says which path was tried and why the store cannot be used."""
    result = live.run("status", "--control", "elsewhere")
    assert (result.code, result.out) == (2, "")
    assert "another server has it open (cannot connect to elsewhere: no such file or directory)\n" in result.err
    assert live.run("status", "--control", "none").err.endswith("(there is no control socket to ask at)\n")


def test_another_draw_than_that_of_the_server(live: Office) -> None:
    """A server has one draw open: exit code 2, and which."""
    assert live.run("winners", "--draw", "2") == Result(2, "", "bets-server: --draw 2: the server has draw 1 open\n")


def test_settings_of_the_environment(live: Office, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option has its variable."""
    assert live.control is not None
    for name, value in {
        "BETS_CONTROL": str(live.control.path),
        "BETS_FORMAT": "json",
        "BETS_WITHOUT": "2",
        "BETS_REASON": "so be it",
        "BETS_DRAW": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert json.loads(run("close").out)["newly_sealed"] is True
    assert json.loads(run("void", "3").out)["voided"] is True
    assert "so be it" in live.control.lines[-1]


@contextlib.contextmanager
def _impostor(path: Path, answer: bytes) -> Iterator[None]:
    """What listens at the path of the socket, and says `answer` to anybody."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.recv(65_536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (b"", 4, "the server ended in the middle of its answer"),
        (b'{"rows": [[1, "Ana", "Paz", "00000001", "1999-03-17", 1]]}\n', 4, "the server ended in the middle"),
        (b'{"ok": true}', 4, "the server ended in the middle of its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 5, "what answers at the control socket is no server: b'SSH-2.0"),
        (b"[]\n", 5, "what answers at the control socket is no server: b'[]'"),
        (b'{"rows": 1}\n', 5, "what answers at the control socket is no server"),
        (b'{"error": "x", "exit_code": 77}\n', 5, "what answers at the control socket is no server"),
        (b'{"error": "the disk is gone", "exit_code": 8}\n', 8, "the disk is gone"),
        (b'{"error": "two\\nlines", "exit_code": 6}\n', 6, "two\nbets-server: lines"),
        (b"x" * 5_000_000, 5, "what answers at the control socket is no server"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_answer_that_is_none(run: Run, tmp_path: Path, answer: bytes, code: int, error: str) -> None:
    """One clear line, its exit code, and no file that could be taken for the export."""
    with _impostor(tmp_path / "bets.db.control", answer):
        result = run("export", "bets.csv")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"bets-server: {error}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bets.db.control"]


@pytest.mark.parametrize("name", ["bets.csv", "bets.db"])
def test_export_whose_source_fails(tmp_path: Path, name: str) -> None:
    """The error is the source's own, even a timeout, and no file is left."""

    def rows() -> Iterator[list[object]]:
        yield list(attrs.astuple(BETS[0]))
        raise TransportTimeout("nothing came")

    with pytest.raises(TransportTimeout, match="nothing came"):
        export_rows(rows(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_cells_stay_in_their_lines() -> None:
    """Values from a store cannot break a table or control a terminal."""
    entry = {"seq": 1, "at": "now", "draw": 1, "event": "void", "agency": None, "detail": "a\n\x1b[2Jb"}
    assert report("audit", "text", [entry]).splitlines()[1] == "  1  now     1  void   -       a\\x0a\\x1b[2Jb"
