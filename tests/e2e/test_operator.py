"""Operators of a running server: what they see, what they change, and what a killed server leaves."""

from __future__ import annotations

import csv
import json
import os
import signal
import stat
import struct
from pathlib import Path
from typing import Any

from bets_protocol.transports import connect
from tests.e2e.processes import DEADLINE_S, Program, Programs, ServerProgram
from tests.server.wire import WINNING, ask, batch, bets

CONTROL = "bets.db.control"


def _documents(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[3] for row in csv.reader(file)]


def _operator(programs: Programs, *arguments: str, code: int = 0) -> Program:
    """Runs a command to its end."""
    return programs.run("bets-server", *arguments, code=code)


def _status(programs: Programs) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_operator(programs, "status", "--format", "json").out)
    found["by_agency"] = {each.pop("agency"): each for each in found["by_agency"]}
    return found


def _raw(server: ServerProgram, *frames: bytes, size: int) -> bytes:
    """The first bytes of the answer to some frames; the connection is closed behind them."""
    with connect(server.url, timeout_s=DEADLINE_S) as stream:
        stream.set_timeout(DEADLINE_S)
        stream.send_all(b"".join(frames))
        found = b""
        while len(found) < size:
            data = stream.receive()
            assert data, f"the server ended after {found!r}"
            found += data
        return found


def _open_upload(agency: int, total: int, name: bytes = b"u") -> bytes:
    return struct.pack(">BBBIQ16s", 3, 1, agency, 1, total, name)


def _waiting(programs: Programs, agency: int, rows: int, server: ServerProgram) -> Program:
    """A client that has sent everything, the last bet a winning one, and waits for the draw."""
    path = programs.folder / f"agency-{agency}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in range(rows):
            number = WINNING if row == rows - 1 else 1
            csv.writer(file).writerow(["Ana", "Paz", f"{agency}{row:07d}", "1999-03-17", number])
    options = ["--revision", "8", "--log-level", "DEBUG"]
    client = programs.client("send", path.name, "--server", server.url, *options)
    client.wait_for_line("consulta_ganadores | result: in_progress")
    return client


def test_draw_without_an_agency(programs: Programs) -> None:
    """The missing agency is sealed by force; its bets take part, and the client that waits gets its winners."""
    server = programs.server("--agencies", "2")
    assert stat.S_IMODE(os.lstat(programs.folder / CONTROL).st_mode) == 0o600
    client = _waiting(programs, 1, 300, server)
    assert _raw(server, _open_upload(2, 5), batch(*bets([1, 2], agency=2, number=WINNING)), size=36)[19] == 0

    before = _status(programs)
    assert (before["server"], before["agencies"], before["missing"], before["drawn"]) == (True, 2, [2], False)
    assert before["bets"] == 302
    one, two = before["by_agency"][1], before["by_agency"][2]
    assert (one["mode"], one["bets"], one["sealed"], one["connections"]) == ("anonymous", 300, True, 1)
    assert (two["mode"], two["bets"], two["finished"], two["sealed"]) == ("upload", 2, False, False)
    assert two["silent_s"] >= 0
    assert _operator(programs, "winners", code=7).err == "bets-server: the draw has not taken place\n"
    _operator(programs, "export", "before.csv")

    done = _operator(programs, "close", "--without", "2", "--reason", "line is down").out
    assert done == "agency 2 is sealed by force; it was the last one missing: the draw has taken place\n"
    assert client.expect().results == ["10000299"]
    assert _operator(programs, "winners").out == "1,10000299\n2,00000001\n2,00000002\n"
    _operator(programs, "export", "after.csv")
    assert _documents(programs.folder / "after.csv") == _documents(programs.folder / "before.csv")
    assert len(_documents(programs.folder / "after.csv")) == 302
    after = _status(programs)
    assert (after["drawn"], after["winning_number"], after["bets"], after["missing"]) == (True, WINNING, 302, [])
    # The upload goes no further, not even by a byte.
    assert _raw(server, _open_upload(2, 5), size=18)[1] == 8

    server.stop()
    assert not (programs.folder / CONTROL).exists()
    assert server.logged("sorteo | result: success") == 1
    assert server.logged('operator | result: success | command: close | arguments: {"without": 2, "reason": "line') == 1
    assert server.logged("close_control | result: success") == 1
    closed = _status(programs)
    assert (closed["server"], closed["digest"], closed["bets"]) == (False, after["digest"], 302)
    assert "forced_close" in _operator(programs, "audit").out


def test_void_while_the_server_runs(programs: Programs) -> None:
    """Bets that were sent by mistake no longer count; the agency sends the right ones, which take part in the draw."""
    server = programs.server("--agencies", "1")
    wrong = bets(range(10), number=WINNING)
    assert _raw(server, batch(*wrong), size=1) == b"\x0a"
    (upload,) = _operator(programs, "uploads", "--format", "json").out.splitlines()
    number = str(json.loads(upload)["number"])
    assert _operator(programs, "void", number, "--reason", "wrong file").out == (
        f"upload {number} of agency 1 is void: its 10 bets count no more\n"
    )
    assert _operator(programs, "void", "77", "--reason", "x", code=6).out == ""
    assert _status(programs)["bets"] == 0
    right = bets([50, 51], number=WINNING)
    answer = _raw(server, batch(*right), ask(1), size=1 + 2 + 16)
    assert answer == b"\x02\x00\x02" + b"00000050" + b"00000051"
    _operator(programs, "export", "bets.csv")
    assert _documents(programs.folder / "bets.csv") == ["00000050", "00000051"]
    assert _operator(programs, "void", number, "--reason", "again", code=6).out == ""
    server.stop()
    assert "wrong file" in _operator(programs, "audit").out


def test_void_of_an_upload_in_use(programs: Programs) -> None:
    """A client that still sends to the upload is fenced, and nothing of it is stored."""
    server = programs.server("--agencies", "1")
    with connect(server.url, timeout_s=DEADLINE_S) as stream:
        stream.set_timeout(DEADLINE_S)
        stream.send_all(_open_upload(1, 10) + batch(*bets([1, 2])))
        answers = b""
        while len(answers) < 36:
            answers += stream.receive() or b""
        assert answers[1] == answers[19] == 0
        _operator(programs, "void", "1", "--reason", "x")
        stream.send_all(batch(*bets([3])))
        answers = b""
        while data := stream.receive():
            answers += data
    assert answers[:2] == b"\x83\x04"
    assert _status(programs)["bets"] == 0
    server.stop()


def test_server_that_was_killed(programs: Programs) -> None:
    """Its socket blocks nobody: operators read the store, and the next server takes over the path."""
    server = programs.server("--agencies", "2")
    assert _raw(server, batch(*bets([1])), size=1) == b"\x01"
    server.kill()
    assert (programs.folder / CONTROL).exists()
    assert _status(programs)["server"] is False
    assert _operator(programs, "close", "--without", "2", code=4).out == ""
    server = programs.server("--agencies", "2")
    found = _status(programs)
    assert (found["server"], found["bets"]) == (True, 1)
    server.stop(signal.SIGINT, 130)
    assert not (programs.folder / CONTROL).exists()


def test_without_a_socket(programs: Programs) -> None:
    """If the socket is switched off, there is no file, and operators are told why they get no answer."""
    server = programs.server("--control", "none")
    assert not (programs.folder / CONTROL).exists()
    result = _operator(programs, "status", code=2)
    assert "another server has it open (cannot connect to bets.db.control: no such file or directory)" in result.err
    server.stop()
    assert server.logged("close_control") == 0


def test_socket_elsewhere(programs: Programs) -> None:
    """At the path in the setting, up to the longest one; a path that cannot be used is an error at the start."""
    folder = programs.folder / ("f" * 120)
    folder.mkdir()
    path = str(folder / "control")
    server = programs.server(BETS_CONTROL=path)
    assert _operator(programs, "status", "--control", path).out.startswith("server: running\n")
    server.stop()
    assert list(folder.iterdir()) == []
    refused = programs.run("bets-server", "serve", "--control", "no/such/folder/x", "--listen", "127.0.0.1:0", code=2)
    assert refused.err.startswith("bets-server: --control: ")
    assert "no/such/folder/x" in refused.err
