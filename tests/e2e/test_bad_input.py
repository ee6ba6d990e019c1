"""Bad input to real programs: each with its clear error and its exit code, and nothing stored."""

from __future__ import annotations

import socket
from pathlib import Path

from bets_protocol.cli.exit_codes import ExitCode
from tests.e2e.processes import Program, Programs

GOOD = b"Ana,Paz,30904465,1999-03-17,7574\n"

ROWS = {
    "missing-field": (b"Ana,Paz,30904465,1999-03-17\n", "row"),
    "30-february": (b"Ana,Paz,30904465,1999-02-30,1\n", "birthdate"),
    "date-by-weeks": (b"Ana,Paz,30904465,2020-W01-1,1\n", "birthdate"),
    "7-digits": (b"Ana,Paz,3090446,1999-03-17,1\n", "document"),
    "number-10000": (b"Ana,Paz,30904465,1999-03-17,10000\n", "number"),
    "empty-name": (b",Paz,30904465,1999-03-17,1\n", "first_name"),
    "256-bytes": (b"Ana," + b"x" * 256 + b",30904465,1999-03-17,1\n", "last_name"),
    "nul": (b"A\x00na,Paz,30904465,1999-03-17,1\n", "first_name"),
    "utf-8": (b"An\xff,Paz,30904465,1999-03-17,1\n", "row"),
}
"""Rows that are no bets, and the field that the error names."""


def _one_error(program: Program, code: int, *parts: str) -> None:
    """It ended with `code` and said so on standard error, in words that hold all `parts`, without a traceback."""
    program.expect(code)
    for part in parts:
        assert part in program.err, (part, program.err)
    assert "Traceback" not in program.err + program.out
    assert "this is a bug" not in program.err


def test_files_that_hold_no_bets(programs: Programs) -> None:
    """Rows with each kind of fault, and files that are none: exit code 3, file, line and field, nothing sent."""
    server = programs.server("--agencies", "1")
    send = ("send", "--server", server.url, "--agency", "1")
    bad_rows = {}
    for name, (row, _) in ROWS.items():
        (programs.folder / f"{name}.csv").write_bytes(GOOD * 2 + row + GOOD)
        bad_rows[name] = programs.client(*send, f"{name}.csv")
    (programs.folder / "empty.csv").write_bytes(b"")
    (programs.folder / "agency-2.csv").write_bytes(GOOD)
    (programs.folder / "directory").mkdir()
    empty, missing, directory = (programs.client(*send, name) for name in ("empty.csv", "missing.csv", "directory"))
    other_agency = programs.client(*send, "agency-2.csv")
    second_bad = programs.client("send", "--server", server.url, "agency-2.csv", "missing.csv", "--agency", "2")
    for name, (_, field) in ROWS.items():
        _one_error(bad_rows[name], ExitCode.BAD_INPUT, f"{name}.csv:3: {field}: ", "nothing was sent")
    _one_error(empty, ExitCode.BAD_INPUT, "empty.csv")
    _one_error(missing, ExitCode.BAD_INPUT, "missing.csv", "o such file")
    _one_error(directory, ExitCode.BAD_INPUT, "directory")
    _one_error(other_agency, ExitCode.USAGE, "agency-2.csv", "--agency")
    _one_error(second_bad, ExitCode.BAD_INPUT, "missing.csv")
    server.stop()
    assert server.logged("accept_connections | result: success") == 0
    programs.run("bets-server", "export", "export.csv")
    assert (programs.folder / "export.csv").read_bytes() == b""


def test_places_that_cannot_be_used(programs: Programs) -> None:
    """A port in use, a file that is no database, an unknown key, bad settings, nobody there: error and exit code."""
    server = programs.server("--store", "csv:///bets.csv", listen=f"unix://{programs.folder}/s")
    folder: Path = programs.folder
    (folder / "text.db").write_text("This is no database, whatever its name may say. " * 100)
    (folder / "unknown.ini").write_text("[DEFAULT]\nSERVER_PORT = 0\nSERVER_PROT = 1\n")
    (folder / "unknown.yaml").write_text("server:\n  adress: x:1\n")
    (folder / "agency-1.csv").write_bytes(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        cases = {
            "port": programs.start("bets-server", "serve", "--listen", url, "--store", "csv:///a.csv"),
            "path": programs.start("bets-server", "serve", "--listen", server.url, "--store", "csv:///b.csv"),
            "store": programs.start("bets-server", "serve", "--listen", "127.0.0.1:0", "--store", "sqlite:///text.db"),
            "locked": programs.start("bets-server", "serve", "--listen", "127.0.0.1:0", "--store", "csv:///bets.csv"),
            "ini": programs.start("bets-server", "serve", "--config", "unknown.ini"),
            "yaml": programs.client("send", "agency-1.csv", "--config", "unknown.yaml"),
            "environment": programs.start("bets-server", "serve", EXPECTED_CLIENTS="many"),
            "url": programs.client("send", "agency-1.csv", "--server", "tcp://127.0.0.1"),
        }
        _one_error(cases["port"], ExitCode.USAGE, url, "address already in use")
    _one_error(cases["path"], ExitCode.USAGE, server.url, "address already in use")
    _one_error(cases["store"], ExitCode.USAGE, "text.db", "not a SQLite database")
    _one_error(cases["locked"], ExitCode.USAGE, "bets.csv", "another server runs for it")
    _one_error(cases["ini"], ExitCode.USAGE, "unknown.ini", "SERVER_PROT", "'1'")
    _one_error(cases["yaml"], ExitCode.USAGE, "unknown.yaml", "server.adress", "'x:1'")
    _one_error(cases["environment"], ExitCode.USAGE, "EXPECTED_CLIENTS", "'many'")
    _one_error(cases["url"], ExitCode.USAGE, "tcp://127.0.0.1", "port")
    nobody = programs.client("send", "agency-1.csv", "--server", url, "--retry-for", "0.3")
    _one_error(nobody, ExitCode.UNREACHABLE, url, "connection refused")
    health = programs.run("bets-server", "health", url, code=1)
    assert url in health.err
    assert programs.run("bets-server", "health", server.url).err == ""
    server.stop()
