"""The client in docs/conformance/node, which was written from the protocol's page alone, against our server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bets_client.input.sample import write_samples
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.conformance.against_client.runner import Runner, program
from bets_protocol.conformance.against_client.scenarios import scenarios_of
from bets_protocol.conformance.report import Result
from bets_protocol.transports import listen
from tests.server.serving import Server, Servers
from tests.server.wire import WINNING

CLIENT = Path(__file__).resolve().parents[2] / "docs" / "conformance" / "node" / "client.js"
DEADLINE_S = 60
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: the client in JavaScript cannot run")


def _run(server: Server, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The client against a server of ours."""
    command = ["node", str(CLIENT), server.url.removeprefix("tcp://"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=DEADLINE_S, check=False)


def test_it_is_short() -> None:
    """The whole client fits in 150 lines: so small is the protocol."""
    assert len(CLIENT.read_text(encoding="utf-8").splitlines()) <= 150


def test_it_hands_a_file_in_and_gets_its_winners(serve: Servers, tmp_path: Path) -> None:
    """Two agencies at once, names with accents, one waits for each answer, one sends ahead: every bet, in order."""
    write_samples(str(tmp_path), agencies=2, bets=700, seed=1, overwrite=True)
    files = {agency: tmp_path / f"agency-{agency}.csv" for agency in (1, 2)}
    bets = {}
    for agency, file in files.items():
        source = CsvFile(str(file), agency)
        bets[agency] = list(source.bets())
        source.close()
    number = bets[1][3].number
    server = serve(agencies=2, pick=lambda: number)
    commands = {
        agency: subprocess.Popen(
            [
                "node",
                str(CLIENT),
                server.url.removeprefix("tcp://"),
                str(agency),
                str(file),
                "1" if agency == 1 else "16",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for agency, file in files.items()
    }
    ended = {agency: (*one.communicate(timeout=DEADLINE_S), one.returncode) for agency, one in commands.items()}
    for agency in files:
        winners = [bet.document for bet in bets[agency] if bet.number == number]
        assert ended[agency] == ("".join(f"{document}\n" for document in winners), "", 0)
        assert list(server.store.bets(agency)) == bets[agency]
    assert any(not bet.first_name.isascii() for bet in bets[1])


def test_it_stops_where_the_server_refuses(serve: Servers, tmp_path: Path) -> None:
    """A sealed agency: exit code 6, one line, and no second try."""
    file = tmp_path / "agency-1.csv"
    file.write_text(f"Ana María,Paz,30904465,1999-03-17,{WINNING}\n", encoding="utf-8")
    server = serve(agencies=1)
    assert _run(server, 1, file).stdout == "30904465\n"
    again = _run(server, 1, file)
    assert (again.returncode, again.stdout) == (6, "")
    assert again.stderr == "client.js: the server refused a batch of 1 bets\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Ana,Paz,30904465,2023-02-29,1", "birthdate: expected a day as YYYY-MM-DD"),
        ("Ana,,30904465,1999-03-17,1", "last_name: expected 1 to 255 bytes"),
    ],
)
def test_it_sends_nothing_of_a_bad_file(serve: Servers, tmp_path: Path, row: str, reason: str) -> None:
    """Exit code 3, the file and the line."""
    file = tmp_path / "agency-1.csv"
    file.write_text(f"Ana,Paz,30904465,1999-03-17,1\r\n{row}\r\n", encoding="utf-8", newline="")
    server = serve(agencies=1)
    ended = _run(server, 1, file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", f"client.js: {file}:2: {reason}\n")
    assert server.stored == []


def test_it_keeps_every_rule(tmp_path: Path) -> None:
    """`bets-server conform --revision 8`, all scenarios."""
    write_samples(str(tmp_path), agencies=1, bets=300, seed=2, overwrite=True)
    with listen("tcp://127.0.0.1:0") as listener:
        command = ["node", str(CLIENT), "{host}:{port}", "1", str(tmp_path / "agency-1.csv")]
        runner = Runner(
            listener=listener,
            revision=8,
            scenarios=scenarios_of(8),
            start=lambda: program(command, listener),
            notify=lambda _: None,
        )
        runner.play()
    assert [(one.rule.name, one.came) for one in runner.findings() if one.result is not Result.PASSED] == []
