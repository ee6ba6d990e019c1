"""The server's lines, exactly as docs/operations.md lists them, whatever a peer puts into them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol import (
    BetBatch,
    BetRun,
    ConfigError,
    DecodeError,
    EncodedBatch,
    InvalidFrame,
    InvalidValue,
    OpenUpload,
    StorageError,
)
from bets_protocol import WinnersRequest as Ask
from bets_server.logs import ServerLog
from tests.log_reader import LogLine, read_answers, read_line, read_log, read_output
from tests.server.serving import captured_log
from tests.server.wire import bet

IP = "1.2.3.4"
ONE = EncodedBatch(count=1, runs=(BetRun(agency=1, count=1, encoded=bet(30904465, number=7574)),))
TWO = EncodedBatch(count=2, runs=(BetRun(agency=1, count=2, encoded=bet(1) + bet(2)),))
BAD_VALUE = InvalidValue("expected a day that exists", path="bets[1].birthdate", offset=61, found="2000-02-30")
BAD_BATCH = InvalidFrame(kind=BetBatch, count=2, error=BAD_VALUE)
BAD_ASK = InvalidFrame(kind=Ask, count=0, error=InvalidValue("expected 1 to 255", path="agency", offset=1))
BAD_FRAME = DecodeError("expected the type of a message, not 255", path="type", offset=0)


def _logged(call: Callable[[ServerLog], None]) -> list[str]:
    """The lines of a call, from the level on."""
    log, output = captured_log()
    call(ServerLog(log))
    read_log(output.getvalue())
    return [line.split(" ", 2)[2] for line in output.getvalue().splitlines()]


LINES: list[tuple[Callable[[ServerLog], None], list[str]]] = [
    (
        lambda log: log.started(port=12345, backlog=5, level="DEBUG", urls=["tcp://127.0.0.1:12345", "unix:///s"]),
        [
            "DEBUG    action: config | result: success | port: 12345 | listen_backlog: 5 | logging_level: DEBUG"
            " | listen: tcp://127.0.0.1:12345 unix:///s",
            "INFO     action: accept_connections | result: in_progress",
        ],
    ),
    (
        lambda log: log.plain_listener("tcp://0.0.0.0:1"),
        [
            "WARNING  action: open_listener | result: success | url: tcp://0.0.0.0:1"
            " | warning: reachable from outside and not encrypted"
        ],
    ),
    (lambda log: log.accepted(IP), ["INFO     action: accept_connections | result: success | ip: 1.2.3.4"]),
    (
        lambda log: log.restored("control", path="bets.db.control"),
        [
            "WARNING  action: open_control | result: success | path: bets.db.control"
            " | warning: its file was gone: made anew"
        ],
    ),
    (
        lambda log: log.not_restored("listener", "unix:///s", OSError("address already in use")),
        ["WARNING  action: open_listener | result: fail | url: unix:///s | error: address already in use"],
    ),
    (
        lambda log: log.store_upgraded("sqlite:///bets.db", 1),
        ["INFO     action: upgrade_store | result: success | store: sqlite:///bets.db | from_version: 1"],
    ),
    (
        lambda log: log.accept_failed(OSError("too many open files")),
        ["ERROR    action: accept_connections | result: fail | error: too many open files"],
    ),
    (
        lambda log: log.probed(IP, b"hello\r\n"),
        ["INFO     action: receive_message | result: success | ip: 1.2.3.4 | msg: hello"],
    ),
    (
        lambda log: log.answered(IP, ONE, "", revision=5),
        ["INFO     action: apuesta_almacenada | result: success | dni: 30904465 | numero: 7574"],
    ),
    (
        lambda log: log.answered(IP, ONE, "", revision=8),
        [
            "INFO     action: apuesta_almacenada | result: success | dni: 30904465 | numero: 7574",
            "INFO     action: apuesta_recibida | result: success | cantidad: 1",
        ],
    ),
    (
        lambda log: log.answered(IP, TWO, "", revision=6),
        ["INFO     action: apuesta_recibida | result: success | cantidad: 2"],
    ),
    (
        lambda log: log.answered(IP, TWO, "the agency is sealed", revision=8),
        ["ERROR    action: apuesta_recibida | result: fail | cantidad: 2 | error: the agency is sealed"],
    ),
    (
        lambda log: log.answered(IP, BAD_BATCH, BAD_VALUE.summary, revision=8),
        [
            "ERROR    action: apuesta_recibida | result: fail | cantidad: 2"
            " | error: bets[1].birthdate at byte 61: expected a day that exists"
        ],
    ),
    (
        lambda log: log.answered(IP, BAD_ASK, BAD_ASK.error.summary, revision=8),
        [
            "ERROR    action: consulta_ganadores | result: fail | ip: 1.2.3.4"
            " | error: agency at byte 1: expected 1 to 255"
        ],
    ),
    (lambda log: log.answered(IP, Ask(agency=1), "", revision=8), []),
    (
        lambda log: log.answered(IP, Ask(agency=1), "the store is full", revision=8),
        ["ERROR    action: consulta_ganadores | result: fail | ip: 1.2.3.4 | error: the store is full"],
    ),
    (
        lambda log: log.bad_frame(IP, BAD_FRAME),
        [
            "ERROR    action: receive_message | result: fail | ip: 1.2.3.4"
            " | error: type at byte 0: expected the type of a message, not 255"
        ],
    ),
    (
        lambda log: log.sealed_in_vain(9, expected=5),
        [
            "WARNING  action: consulta_ganadores | result: success | agencia: 9"
            " | warning: the draw waits for agencies 1 to 5"
        ],
    ),
    (
        lambda log: log.opened(IP, OpenUpload(agency=1, draw=1, total=9, upload_id=bytes(16)), 3, ""),
        ["INFO     action: open_upload | result: success | ip: 1.2.3.4 | agencia: 1 | total: 9 | stored: 3"],
    ),
    (
        lambda log: log.opened(IP, OpenUpload(agency=1, draw=1, total=9, upload_id=bytes(16)), 0, "no"),
        ["ERROR    action: open_upload | result: fail | ip: 1.2.3.4 | agencia: 1 | total: 9 | error: no"],
    ),
    (lambda log: log.drawn(), ["INFO     action: sorteo | result: success"]),
    (lambda log: log.serves_after_draw(60.0), ["INFO     action: exit_after_draw | result: in_progress | timeout: 60"]),
    (lambda log: log.closed_connection(IP), ["DEBUG    action: close_connection | result: success | ip: 1.2.3.4"]),
    (
        lambda log: log.closed_connection(IP, level=logging.INFO),
        ["INFO     action: close_connection | result: success | ip: 1.2.3.4"],
    ),
    (lambda log: log.closed("workers"), ["INFO     action: close_workers | result: success"]),
    (
        lambda log: log.closed_listener("unix:///s"),
        ["INFO     action: close_listener | result: success | url: unix:///s"],
    ),
    (
        lambda log: log.failed_to_close("workers", "a job still runs"),
        ["ERROR    action: close_workers | result: fail | error: a job still runs"],
    ),
    (
        lambda log: log.store_failed(StorageError("bets.db: disk I/O error")),
        ["ERROR    action: store | result: fail | error: bets.db: disk I/O error"],
    ),
    (
        lambda log: log.no_control(OSError("the path is no socket")),
        ["WARNING  action: open_control | result: fail | error: the path is no socket"],
    ),
    (
        lambda log: log.restored("control", path="bets.db.control"),
        [
            "WARNING  action: open_control | result: success | path: bets.db.control"
            " | warning: its file was gone: made anew"
        ],
    ),
    (
        lambda log: log.not_restored("listener", "unix:///s", ConfigError("the path is no socket")),
        ["WARNING  action: open_listener | result: fail | url: unix:///s | error: the path is no socket"],
    ),
    (
        lambda log: log.commanded("void", '{"number": 3}', change=True),
        ['INFO     action: operator | result: success | command: void | arguments: {"number": 3}'],
    ),
    (
        lambda log: log.commanded("void", '{"number": 3}', change=True, error="it is finished"),
        ['INFO     action: operator | result: fail | command: void | arguments: {"number": 3} | error: it is finished'],
    ),
    (
        lambda log: log.commanded("status", "{}", change=False),
        ["DEBUG    action: operator | result: success | command: status | arguments: {}"],
    ),
    (
        lambda log: log.refused("accept_connections", IP, "1.2.3.4 has 64 connections"),
        ["WARNING  action: accept_connections | result: fail | ip: 1.2.3.4 | error: 1.2.3.4 has 64 connections"],
    ),
    (
        lambda log: log.refused("close_connection", IP, "it said nothing for too long", repeated=7),
        [
            "WARNING  action: close_connection | result: fail | ip: 1.2.3.4 | error: it said nothing for too long"
            " | repeated: 7"
        ],
    ),
    (lambda log: log.reloaded(), ["INFO     action: reload_certificates | result: success"]),
    (
        lambda log: log.nothing_to_reload(),
        ["WARNING  action: reload_certificates | result: success | warning: there are none: no listener is encrypted"],
    ),
    (
        lambda log: log.failed_to_reload(ConfigError("ca.pem: no such file")),
        ["ERROR    action: reload_certificates | result: fail | error: ca.pem: no such file"],
    ),
    (
        lambda log: log.certificate_is_out_of_date("a.pem", "it has expired"),
        ["WARNING  action: check_certificate | result: success | file: a.pem | warning: it has expired"],
    ),
    (lambda log: log.shut_down(), ["INFO     action: shutdown | result: success"]),
]


@pytest.mark.parametrize(("call", "lines"), LINES, ids=[" ".join(lines)[9:50] or "none" for _, lines in LINES])
def test_lines(call: Callable[[ServerLog], None], lines: list[str]) -> None:
    """Each event has the line that scripts expect."""
    assert _logged(call) == lines


def test_lines_may_be_held_back() -> None:
    """They come later, in their order; what follows comes at once again."""
    log, output = captured_log()
    server_log = ServerLog(log)
    server_log.hold()
    server_log.drawn()
    server_log.closed("store")
    assert output.getvalue() == ""
    server_log.write_held()
    server_log.shut_down()
    server_log.write_held()
    assert [line.action for line in read_log(output.getvalue())] == ["sorteo", "close_store", "shutdown"]


def test_every_event_is_listed_here() -> None:
    """No line of the server is untested."""
    names = {name for name in vars(ServerLog) if not name.startswith("_")}
    used = {name for call, _ in LINES for name in call.__code__.co_names} | {"hold", "write_held"}
    assert names <= used


@given(st.binary(max_size=100) | st.text(max_size=50).map(str.encode), st.text(max_size=50))
def test_whatever_a_peer_sends_is_one_line(line: bytes, error: str) -> None:
    """No bytes of a probe and no text of an error make a second line or another field."""
    (probed,) = _logged(lambda log: log.probed(IP, line))
    (refused,) = _logged(lambda log: log.answered(IP, TWO, error or "refused", revision=8))
    warned = ["warning"] if line.startswith(b"PROXY ") else []  # what some balancers say first is explained
    assert sorted(read_line(f"2026-11-23 03:27:42 {probed}").fields) == ["ip", "msg", *warned]
    assert sorted(read_line(f"2026-11-23 03:27:42 {refused}").fields) == ["cantidad", "error"]


def test_no_personal_data_in_errors() -> None:
    """What was found in a field stands in no line."""
    assert "2000-02-30" in str(BAD_VALUE)
    assert "2000-02-30" not in str(_logged(lambda log: log.answered(IP, BAD_BATCH, BAD_VALUE.summary, revision=8)))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2026-11-23 03:27:42 INFO action: a | result: success",
        "2026-11-23 03:27:42 INFO     action: a",
        "2026-11-23 03:27:42 INFO     action: a | result: done",
        "2026-11-23 03:27:42 INFO     action: a | result: success | x",
        "2026-11-23 03:27:42 INFO     action: a | result: success | x: 1|2",
        "2026-11-23 03:27:42 INFO     action: a | result: success | x: 1 | x: 2",
        "2026-11-23 03:27:42 INFO     action: a | result: success | x: \x1b",
        "2026-13-23 03:27:42 INFO     action: a | result: success",
        "2026-11-23T03:27:42 INFO     action: a | result: success",
    ],
)
def test_the_reader_is_strict(line: str) -> None:
    """What the tests read lines with takes nothing else."""
    with pytest.raises((AssertionError, ValueError)):
        read_line(line)


def test_the_reader_gives_the_fields() -> None:
    """And takes what it should."""
    line = "2026-11-23 03:27:42 WARNING  action: a_b | result: fail | x: 1: 2 | y_z: "
    assert read_line(line) == LogLine("WARNING", "a_b", "fail", {"x": "1: 2", "y_z": ""})


@pytest.mark.parametrize("rest", ["half a value", "2026-11-23 03:27:42 INFO     done", " | key: value", "1234567"])
def test_what_a_client_prints_is_a_log_or_an_answer(rest: str) -> None:
    """Nothing that a broken line would leave behind passes for a document or a JSON object."""
    line = "2026-11-23 03:27:42 INFO     action: a | result: success"
    assert [found.action for found in read_answers(f'{line}\n30904465\n{{"result": "fail"}}\n')] == ["a"]
    with pytest.raises(AssertionError):
        read_answers(f"{line}\n{rest}\n")


def test_json_is_no_log_line() -> None:
    """What has the words in quotes is an answer."""
    assert read_output('{"action": 1, "result": 2}\n') == []
