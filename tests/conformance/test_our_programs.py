"""Our two programs against each other's checks, and how the two commands print and end."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_client.cli.commands import cli
from bets_client.input.sample import write_samples
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.log_format import line_handler, setup_logging
from bets_protocol.conformance.against_client.runner import Runner
from bets_protocol.conformance.against_client.scenarios import scenarios_of
from bets_protocol.conformance.report import Result
from bets_protocol.transports import listen
from bets_server.cli import main as server_cli
from tests.conformance.threaded import ThreadedClient
from tests.conformance.tiny_server import TinyServer
from tests.conformance.wrong_servers import ClosesAfterAValueError, StaysOpen
from tests.e2e.processes import PROGRAMS, Programs
from tests.server.serving import Servers

ROWS = 9


@pytest.fixture(autouse=True)
def _no_handler_stays() -> Iterator[None]:
    yield
    logger = setup_logging()
    handler = line_handler(logger)
    assert handler is not None
    logger.removeHandler(handler)


@pytest.fixture
def agency_file(tmp_path: Path) -> Path:
    """A few rows of agency 1."""
    write_samples(str(tmp_path), agencies=1, bets=ROWS, seed=5, overwrite=True)
    return tmp_path / "agency-1.csv"


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_our_client_keeps_every_rule(agency_file: Path, revision: int) -> None:
    """`bets-client send` in every scenario of its revision."""
    with listen("tcp://127.0.0.1:0") as listener:
        where = ("--server", listener.url, "--revision", str(revision), "--retry-for", "5", "-q")
        runner = Runner(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision),
            start=lambda: ThreadedClient("send", str(agency_file), "--batch-max", "4", *where),
            notify=lambda _: None,
        )
        runner.play()
    assert [(one.rule.name, one.came) for one in runner.findings() if one.result is not Result.PASSED] == []


@pytest.mark.parametrize("revision", [5, 8, 9])
def test_the_two_checks_against_each_other(revision: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What `bets-client conform` breaks on purpose, `bets-server conform` sees; both give their tables and end."""
    clients: list[ThreadedClient] = []
    with listen("tcp://127.0.0.1:0") as listener:
        arguments = ("conform", listener.url, "--revision", str(revision), "--timeout", "1", "--format", "json")

        def start() -> ThreadedClient:
            clients.append(ThreadedClient(*arguments))
            return clients[-1]

        runner = Runner(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision)[:1],
            start=start,
            notify=lambda _: None,
        )
        runner.play()
    seen = {one.rule.name for one in runner.findings() if one.result is Result.FAILED}
    assert seen >= {"frames-fit-their-layout", "values-keep-their-rules", "messages-are-sent-whole"}
    found = json.loads(capsys.readouterr().out)
    assert clients[0].returncode == (ExitCode.PROTOCOL if found["failed"] else ExitCode.DONE)
    assert found["passed"] > found["failed"]


def _conform(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    """`bets-client conform` in this process: exit code, output, errors."""
    with pytest.raises(SystemExit) as end:
        cli.main(["conform", *arguments], "bets-client")
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_a_table_of_rules_that_were_kept(serve: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each rule with its section, a summary, exit code 0; without --draw-too it says what was left out."""
    code, out, err = _conform(capsys, serve(agencies=1).url, "--revision", "7", "--agencies", "1")
    lines = out.splitlines()
    assert (code, err) == (ExitCode.DONE, "")
    assert lines[0].split() == ["RESULT", "RULE", "SECTION"]
    rows = [line.split() for line in lines]
    assert ["passed", "bets-are-acknowledged-with-their-count", "Ack"] in rows
    assert ["not", "tried", "winners-can-be-asked-for-again", "WinnersRequest"] in rows
    assert lines[-1] == "not tried: rules about the draw seal agencies and bring the draw about: --draw-too tries them"
    assert ", 0 failed, " in lines[-2]


def test_rules_that_were_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """What was expected and what came stand below the rule; exit code 5; the same as one JSON object."""
    server = ClosesAfterAValueError()
    try:
        code, out, _ = _conform(capsys, server.url, "--revision", "8", "--timeout", "1")
        assert code == ExitCode.PROTOCOL
        at = next(n for n, line in enumerate(out.splitlines()) if "connection-goes-on-after-a-value-error" in line)
        assert out.splitlines()[at].split() == ["failed", "connection-goes-on-after-a-value-error", "Ack"]
        assert out.splitlines()[at + 1 : at + 3] == [
            "    expected: A value error gets Ack 0, and the next batch on the same connection is stored.",
            "    came:     the end of the stream",
        ]
        code, out, _ = _conform(capsys, server.url, "--revision", "8", "--timeout", "1", "--format", "json")
    finally:
        server.close()
    assert code == ExitCode.PROTOCOL
    found = json.loads(out)
    assert (found["command"], found["revision"], found["failed"]) == ("conform", 8, 2)
    broken = next(one for one in found["rules"] if one["result"] == "failed")
    assert broken == {
        "rule": "connection-goes-on-after-a-value-error",
        "section": "Ack",
        "expected": "A value error gets Ack 0, and the next batch on the same connection is stored.",
        "result": "failed",
        "came": "the end of the stream",
    }


def test_a_server_of_one_agency(capsys: pytest.CaptureFixture[str]) -> None:
    """What takes two agencies is not tried, and says so; the draw takes place all the same."""
    server = TinyServer(agencies=1)
    try:
        code, out, _ = _conform(capsys, server.url, "--revision", "8", "--agencies", "1", "--draw-too")
    finally:
        server.close()
    assert code == ExitCode.DONE
    assert "passed     draw-takes-place-when-all-have-asked" in out
    assert out.endswith("not tried: it takes a server that waits for two agencies or more\n")


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4 and one line."""
    with listen("tcp://127.0.0.1:0") as listener:
        url = listener.url
    code, out, err = _conform(capsys, url)
    assert (code, out) == (ExitCode.UNREACHABLE, "")
    assert err.startswith(f"bets-client: {url}: ")
    assert err.count("\n") == 1


def test_a_server_of_another_revision(capsys: pytest.CaptureFixture[str]) -> None:
    """It breaks rules, and that is the answer: no traceback."""
    server = StaysOpen(revision=5)
    try:
        code, out, _ = _conform(capsys, server.url, "--revision", "9", "--timeout", "0.1", "--draw-too")
    finally:
        server.close()
    assert code == ExitCode.PROTOCOL
    assert "failed     status-counts-and-sums-what-is-stored" in out


def test_a_command_is_started_for_each_scenario(programs: Programs, agency_file: Path) -> None:
    """The real programs: the table on standard output, scenarios and what the client says on standard error."""
    program = programs.run(
        "bets-server",
        *("conform", "--listen", "tcp://127.0.0.1:0", "--scenario", "cut", "--"),
        *(str(PROGRAMS / "bets-client"), "send", str(agency_file), "--server", "{url}", "-q"),
    )
    assert "passed  upload-goes-on-at-stored" in program.out
    assert [line for line in program.err.splitlines() if "scenario" in line] == [
        "conform: scenario usual (1 of 2): everything is stored",
        "conform: scenario cut (2 of 2): the connection is cut when the first bets are stored and not answered",
    ]


def test_clients_that_others_start(programs: Programs, agency_file: Path) -> None:
    """Without a command it waits, a run ends with silence, and SIGTERM gives what is known."""
    server = programs.start(
        "bets-server",
        *("conform", "--listen", f"unix://{programs.folder}/socket", "--revision", "8", "--quiet-for", "0.05"),
        *("--scenario", "ends", "--scenario", "refused", "--format", "json"),
    )
    server.wait_until(lambda: "scenario usual" in server.err, "the first scenario")
    client = ("send", str(agency_file), "--server", f"unix://{programs.folder}/socket", "--revision", "8", "-q")
    programs.run("bets-client", *client)
    server.wait_until(lambda: "scenario ends" in server.err, "the second scenario")
    server.stop(signal.SIGTERM)
    found = {one["rule"]: one["result"] for one in json.loads(server.out)["rules"]}
    assert found["job-is-done"] == "passed"
    assert found["server-may-end-behind-the-winners"] == found["refused-bets-are-not-sent-again"] == "not tried"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--scenario", "flood"), "expected one of usual, pieces, "),
        (("--listen", "tcp://127.0.0.1:0", "--", "/no/such/program"), "cannot start '/no/such/program'"),
        (("--listen", "carrier://pigeon"), "unknown scheme"),
        (("--", "true", "{adress}"), "{adress}: expected one of {url}, {host}, {port}"),
        (
            ("--listen", "unix:///nowhere/x", "--", "true", "{port}", "x{what}y", "{port}"),
            "{port}, {what}: expected one of {url}, which unix:///nowhere/x has",
        ),
    ],
)
def test_what_cannot_be_done(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str) -> None:
    """Exit code 2 and the reason."""
    with pytest.raises(SystemExit) as end:
        server_cli.main(["conform", *arguments], "bets-server")
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (ExitCode.USAGE, "")
    assert reason in printed.err
