"""`bets-client` as its user meets it: commands, output, exit codes, log lines."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bets_client.cli import probe as probe_module
from bets_protocol.client import link as link_module
from tests.client.command_line import BET_VARIABLES, lines, run, run_with_input
from tests.client.scripted_server import Central, Peer, ScriptedServer, silent, unused_port
from tests.client.wire import BET_ON_THE_WIRE, ROW


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Files of three agencies, with 3, 2 and 1 bets."""
    paths = []
    for agency in (1, 2, 3):
        path = tmp_path / f"agency-{agency}.csv"
        path.write_text(ROW * (4 - agency), newline="\r\n")
        paths.append(str(path))
    return paths


def test_send_prints_its_log_and_then_the_winners(files: list[str]) -> None:
    """The log has one line for each step, and the documents of the winners follow, each on a line."""
    central = Central(1, {1: ["30904465", "12345678"]})
    with ScriptedServer(central) as server:
        result = run("send", files[0], "--server", server.url, "--batch-max", "2", "--log-level", "debug")
    [upload] = central.uploads
    assert (result.exit_code, result.stderr) == (0, "agency 1: already stored: 0, sent now: 3\n")
    assert lines(result.stdout) == [
        f"action: config | result: success | client_id: 1 | server_address: {server.url} | loop_amount: 0 | "
        "loop_period: 5s | log_level: DEBUG | batch_max_amount: 2",
        "action: connect | result: success | client_id: 1",
        f"action: open_upload | result: success | client_id: 1 | upload: {upload.hex()} | stored: 0 | total: 3",
        "action: batch_enviado | result: success | client_id: 1 | cantidad: 2",
        "action: batch_enviado | result: success | client_id: 1 | cantidad: 1",
        "action: archivo_enviado | result: success | client_id: 1 | cantidad: 3 | already_stored: 0 | sent_now: 3",
        "action: consulta_ganadores | result: in_progress | client_id: 1",
        "action: close_connection | result: success | client_id: 1",
        f"action: close_file | result: success | file: {files[0]}",
        "action: consulta_ganadores | result: success | cant_ganadores: 2",
        "30904465",
        "12345678",
    ]


def test_one_process_can_be_every_agency(files: list[str]) -> None:
    """Files of three agencies are three uploads, and all their winners are printed."""
    central = Central(3, {1: ["11111111"], 2: [], 3: ["33333333"]})
    with ScriptedServer(central) as server:
        result = run("send", *files, "--server", f"127.0.0.1:{server.port}")
    assert (result.exit_code, sorted(central.asked), len(central.bets)) == (0, [1, 2, 3], 6)
    assert lines(result.stdout)[-5:] == [
        "action: consulta_ganadores | result: success | cant_ganadores: 1 | client_id: 1",
        "action: consulta_ganadores | result: success | cant_ganadores: 0 | client_id: 2",
        "action: consulta_ganadores | result: success | cant_ganadores: 1 | client_id: 3",
        "11111111",
        "33333333",
    ]


def test_several_files_of_one_agency_are_sealed_once_at_the_end(tmp_path: Path, files: list[str]) -> None:
    """On revision 8 the winners are asked for after the last file, once."""
    more = tmp_path / "more.csv"
    more.write_text(ROW)
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run(
            "send", str(more), files[0], str(more), "--agency", "1", "--server", server.url, "-q", "--revision", "8"
        )
    assert (result.exit_code, result.output) == (0, "")
    assert (central.batch_sizes, central.asked) == ([1, 3, 1], [1])


def test_json_is_one_object_and_the_log_goes_to_standard_error(files: list[str]) -> None:
    """`--format json` leaves standard output to the result."""
    with ScriptedServer(Central(2, {1: ["30904465"]})) as server:
        result = run("send", files[0], files[1], "--server", server.url, "--format", "json")
    answer = json.loads(result.stdout)
    assert answer.pop("seconds") >= 0
    assert answer == {
        "command": "send",
        "result": "success",
        "exit_code": 0,
        "server": server.url,
        "agencies": [
            {
                "agency": 1,
                "files": [files[0]],
                "bets": 3,
                "stored": 3,
                "sent_twice": 0,
                "already_stored": 0,
                "sent_now": 3,
                "winners": ["30904465"],
            },
            {
                "agency": 2,
                "files": [files[1]],
                "bets": 2,
                "stored": 2,
                "sent_twice": 0,
                "already_stored": 0,
                "sent_now": 2,
                "winners": [],
            },
        ],
    }
    assert result.stdout.count("\n") == 1
    assert lines(result.stderr)[0].startswith("action: config | result: success | client_id: 1,2 | ")


def test_quiet_is_the_answer_alone(files: list[str]) -> None:
    """`-q` prints the winners and no log, in text and in JSON."""
    with ScriptedServer(Central(1, {1: ["30904465"]})) as server:
        result = run("send", files[0], "--server", server.url, "-q")
        as_json = run("winners", "--agency", "1", "--server", server.url, "-q", "--format", "json")
    assert (result.exit_code, result.output) == (0, "30904465\n")
    assert json.loads(as_json.output)["agencies"] == [{"agency": 1, "winners": ["30904465"]}]


def test_without_winners_nothing_is_sealed(files: list[str]) -> None:
    """`--no-winners` sends the file and does not ask."""
    central = Central(5)
    with ScriptedServer(central) as server:
        result = run("send", files[0], "--server", server.url, "--no-winners")
    assert (result.exit_code, central.asked, len(central.bets)) == (0, [], 3)
    assert lines(result.stdout)[-1] == (
        "action: archivo_enviado | result: success | client_id: 1 | cantidad: 3 | already_stored: 0 | sent_now: 3"
    )


def test_without_winners_revision_8_is_not_sealed_either(files: list[str]) -> None:
    """On revision 8 `--no-winners` sends no request for winners."""
    central = Central(5)
    with ScriptedServer(central) as server:
        result = run("send", files[0], "--server", server.url, "--no-winners", "--revision", "8")
    assert (result.exit_code, central.asked, len(central.bets), result.stderr) == (0, [], 3, "")
    assert lines(result.stdout)[-1] == "action: archivo_enviado | result: success | client_id: 1 | cantidad: 3"


def test_standard_input_is_a_file_like_any_other() -> None:
    """`send -` stores the bets that come on standard input."""
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run_with_input(ROW, "send", "-", "--server", server.url, AGENCIA="1")
    assert (result.exit_code, central.bets) == (0, [BET_ON_THE_WIRE])


@pytest.mark.parametrize("revision", ["5", "6"])
def test_revisions_without_winners_end_with_the_upload(files: list[str], revision: str) -> None:
    """On revisions 5 and 6 the run succeeds and logs that no winners are asked for."""

    def stores(peer: Peer) -> None:
        if revision == "5":
            peer.bet()
            peer.send(b"\x01")
        else:
            peer.acknowledge(peer.batch_6())

    with ScriptedServer(stores) as server:
        result = run("send", files[0], "--server", server.url, "--revision", revision)
    assert result.exit_code == 0
    assert f"action: winners_skipped | result: success | revision: {revision}" in lines(result.stdout)


def test_revision_7_asks_on_a_connection_of_its_own(files: list[str]) -> None:
    """The request for winners opens a second connection."""

    def answers(peer: Peer) -> None:
        assert peer.winners_request() == 1
        peer.winners("30904465")

    with ScriptedServer(lambda peer: peer.acknowledge(peer.batch()), answers) as server:
        result = run("send", files[0], "--server", server.url, "--revision", "7", "-q")
        assert server.accepted == 2
    assert (result.exit_code, result.output) == (0, "30904465\n")


def test_running_it_again_sends_nothing_and_prints_the_winners_again(files: list[str]) -> None:
    """A finished upload is opened again, and only asks."""
    central = Central(1, {1: ["30904465"]})
    with ScriptedServer(central) as server:
        results = [run("send", files[0], "--server", server.url) for _ in range(2)]
    assert [result.exit_code for result in results] == [0, 0]
    assert [result.stdout.splitlines()[-1] for result in results] == ["30904465", "30904465"]
    assert len(central.bets) == 3
    assert results[1].stderr == "agency 1: already stored: 3, sent now: 0\n"
    sent = "action: archivo_enviado | result: success | client_id: 1 | cantidad: 3 | already_stored: 3 | sent_now: 0"
    assert sent in lines(results[1].stdout)


def test_an_intended_second_upload_has_a_label(files: list[str]) -> None:
    """The same file under another label is stored once more, and once only."""
    central = Central(1)
    with ScriptedServer(central) as server:
        for label in ("", "again", "again"):
            assert run("send", files[0], "--server", server.url, "--label", label).exit_code == 0
    assert [len(bets) for bets in central.uploads.values()] == [3, 3]


def test_every_file_is_an_upload_of_its_own_and_the_winners_are_asked_on_the_last(
    tmp_path: Path, files: list[str]
) -> None:
    """Two files of an agency are two uploads and one request."""
    more = tmp_path / "more.csv"
    more.write_text(ROW)
    central = Central(1, {1: ["30904465"]})
    with ScriptedServer(central) as server:
        result = run("send", str(more), files[0], "--agency", "1", "--server", server.url)
        assert server.accepted == 2
    assert (result.exit_code, result.stderr) == (0, "agency 1: already stored: 0, sent now: 4\n")
    assert ([len(bets) for bets in central.uploads.values()], central.asked) == ([1, 3], [1])
    counts = [line.partition("cantidad: ")[2] for line in lines(result.stdout) if "archivo_enviado" in line]
    assert counts == [
        f"1 | already_stored: 0 | sent_now: 1 | file: {more}",
        f"3 | already_stored: 0 | sent_now: 3 | file: {files[0]}",
    ]


@pytest.mark.parametrize(("code", "exit_code"), [(4, 6), (7, 6), (8, 6), (14, 6), (15, 6), (10, 4), (13, 4)])
def test_codes_become_exit_codes(files: list[str], code: int, exit_code: int) -> None:
    """A refusal ends with 6, a trouble that lasts until the deadline with 4."""

    def answers(peer: Peer) -> None:
        peer.open_upload()
        peer.status(code, 0)
        peer.at_end()

    with ScriptedServer(answers) as server:
        result = run("send", files[0], "--server", server.url, "--retry-for", "0.3", "--format", "json", "-q")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["exit_code"], answer["result"]) == (exit_code, exit_code, "fail")
    assert f"(code {code}, " in answer["error"]


def test_a_server_of_an_older_revision_ends_with_5_and_names_the_switch(files: list[str]) -> None:
    """It takes the first byte for a framing error: Ack 0, then it closes."""

    def is_older(peer: Peer) -> None:
        peer.exactly(1)
        peer.send(b"\x00")

    with ScriptedServer(is_older) as server:
        result = run("send", files[0], "--server", server.url)
        assert server.accepted == 1
    assert result.exit_code == 5
    assert "does not seem to know revision 9" in result.stderr
    assert "--revision 8" in result.stderr


def test_a_file_that_differs_from_what_was_sent_before_ends_with_3(files: list[str]) -> None:
    """A CRC-32 of the server that does not fit the file stops the upload."""

    def has_other_bets(peer: Peer) -> None:
        peer.open_upload()
        peer.status(0, 2, 12345)
        peer.at_end()

    with ScriptedServer(has_other_bets) as server:
        result = run("send", files[0], "--server", server.url)
    assert result.exit_code == 3
    assert "the input has changed since the upload began" in result.stderr


BAD_ROWS = "Ana,Paz,3090446,1999-03-17,1\n"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (ROW + "Ana,Paz\n" + ROW, ":2: row: expected 5 fields"),
        (ROW + "Ana,Paz,30904465,1999-02-30,1\n", ":2: birthdate: expected a day that exists, as YYYY-MM-DD"),
        (ROW + "Ana,Paz,30904465,1999-03-17,10000\n", ":2: number: expected "),
        ("", ": the file is empty"),
    ],
)
def test_bad_input_sends_nothing_and_ends_with_3(tmp_path: Path, files: list[str], content: str, error: str) -> None:
    """All files are checked before the first connection is made."""
    bad = tmp_path / "bad.csv"
    bad.write_text(content)
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run("send", files[0], str(bad), "--agency", "1", "--server", server.url)
        assert server.accepted == 0
    assert result.exit_code == 3
    assert result.stderr.startswith(f"bets-client: {bad}{error}")


def test_of_many_bad_rows_the_first_are_shown(tmp_path: Path) -> None:
    """Ten bad rows are shown, and the number of the others."""
    bad = tmp_path / "agency-1.csv"
    bad.write_text(BAD_ROWS * 15)
    result = run("send", str(bad))
    shown = result.stderr.splitlines()
    assert result.exit_code == 3
    assert len(shown) == 12
    assert shown[9].startswith(f"bets-client: {bad}:10: document: ")
    assert shown[10:] == [
        f"bets-client: {bad}: 5 more bad rows; bets-client check shows them all",
        f"bets-client: {bad}: nothing was sent",
    ]


A_FOLDER = "Is a directory; Docker makes one where a file that it is to mount is missing"


@pytest.mark.parametrize(("name", "reason"), [("missing.csv", "No such file or directory"), ("", A_FOLDER)])
def test_a_file_that_cannot_be_read_ends_with_3(tmp_path: Path, name: str, reason: str) -> None:
    """A missing file and a folder are named with the reason."""
    path = str(tmp_path / name)
    result = run("send", path, "--agency", "1")
    assert (result.exit_code, result.stderr) == (3, f"bets-client: {path}: cannot read it: {reason}\n")


@pytest.mark.parametrize(
    ("arguments", "env", "error"),
    [
        (("agency-2.csv", "--agency", "1"), {}, "agency-2.csv: the file name says agency 2, --agency says 1"),
        (("agency-2.csv",), {"CLI_ID": "1"}, "agency-2.csv: the file name says agency 2, environment CLI_ID says 1"),
        (("agency-1.csv", "agency-2.csv", "--agency", "1"), {}, "agency-2.csv: the file name says agency 2"),
        (("bets.csv",), {}, "bets.csv: whose bets are these?"),
        (("agency-0.csv",), {}, "agency-0.csv: the file name says agency 0: expected a number from 1 to 255"),
        (("-", "-", "--agency", "1"), {}, "standard input (-) can be sent only once"),
        (("agency-1.csv", "--revision", "10"), {}, "--revision: '10': expected one of the revisions"),
        (("agency-1.csv", "--server", "nonsense://x"), {}, "nonsense"),
        (("agency-1.csv", "--config", ""), {}, "--config: '': expected the name of a file"),
        (("agency-1.csv", "--revision", "8", "--draw", "3"), {}, "--draw: it has an effect only from revision 9 on"),
        (("agency-1.csv", "--label", "x"), {"BETS_REVISION": "7"}, "--label: it has an effect only from revision 9 on"),
        (("agency-1.csv", "--revision", "7", "--window", "16"), {}, "--window: it has an effect only from revision 8 "),
        ((), {}, "Missing argument 'FILE...'"),
        (("x", "--nonsense"), {}, "No such option"),
    ],
)
def test_what_makes_no_sense_ends_with_2(
    files: list[str], arguments: tuple[str, ...], env: dict[str, str], error: str
) -> None:
    """Contradictions and bad settings are usage errors that name their place."""
    here = Path(files[0]).parent
    placed = [str(here / one) if one.endswith(".csv") and not one.startswith("bets") else one for one in arguments]
    result = run("send", *placed, **env)
    assert result.exit_code == 2
    assert error in result.stderr
    assert "Traceback" not in result.output


def test_a_refusal_ends_with_6_and_asks_nobody_for_winners(files: list[str]) -> None:
    """After a refused batch no other file is sent and no winners are asked for."""

    def refuses(peer: Peer) -> None:
        peer.batch()
        peer.send(b"\x00")
        assert peer.at_end()

    with ScriptedServer(refuses) as server:
        result = run(*("send", files[0], files[1], "--server", server.url, "--format", "json", "-q", "--revision", "8"))
        assert server.accepted == 1
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["result"], answer["exit_code"]) == (6, "fail", 6)
    assert f"0 of 3 bets are stored; 3 refused ({files[0]}:1-3)" in answer["error"]
    assert [agency["winners"] for agency in answer["agencies"]] == [None, None]
    assert result.stderr.splitlines()[-1].startswith("bets-client: agency 1: 0 of 3 bets are stored; 3 refused")


def test_nobody_there_ends_with_4(files: list[str]) -> None:
    """A server that cannot be reached until `--retry-for` ends the run with 4."""
    with unused_port() as port:
        result = run("send", files[0], "--server", f"127.0.0.1:{port}", "--retry-for", "0.3")
    assert result.exit_code == 4
    assert "bets-client: no answer from 127.0.0.1:" in result.stderr
    failed = "action: archivo_enviado | result: fail | client_id: 1 | cantidad: 0 | error: no answer from 127.0.0.1:"
    assert lines(result.stdout)[-1].startswith(failed)


def test_a_peer_of_another_kind_ends_with_5(files: list[str]) -> None:
    """An answer that is none of the protocol ends the run at once."""

    def is_a_web_server(peer: Peer) -> None:
        peer.batch()
        peer.send(b"421 Bad command\r\n\r\n")

    with ScriptedServer(is_a_web_server) as server:
        result = run("send", files[0], "--server", server.url, "--revision", "8")
    assert result.exit_code == 5
    assert "speaks another revision than 8" in result.stderr


def test_a_draw_that_does_not_come_ends_with_7(files: list[str]) -> None:
    """Waiting for the draw ends at `--retry-for`."""

    def holds(peer: Peer) -> None:
        peer.acknowledge(peer.batch())
        peer.winners_request()
        peer.at_end()

    with ScriptedServer(holds) as server:
        result = run("send", files[0], "--server", server.url, "--retry-for", "0.3", "--revision", "8")
    assert result.exit_code == 7
    assert "the draw has not taken place: agency 1 has waited" in result.stderr


def test_winners_asks_for_one_agency() -> None:
    """`winners` asks on revisions 8 and 7, and opens no upload."""
    central = Central(1, {4: ["30904465"]})
    with ScriptedServer(central) as server:
        result = run("winners", "--server", server.url, CLI_ID="4")
        assert run("winners", "--server", server.url, "--revision", "7", CLI_ID="4").exit_code == 0
    assert (result.exit_code, central.asked, central.uploads) == (0, [4, 4], {})
    assert lines(result.stdout)[1:] == ["action: consulta_ganadores | result: success | cant_ganadores: 1", "30904465"]


@pytest.mark.parametrize("arguments", [("winners",), ("winners", "--agency", "1", "--revision", "6"), ("bet",)])
def test_a_command_that_lacks_something_ends_with_2(arguments: tuple[str, ...]) -> None:
    """A missing agency, bet, or revision with winners is a usage error."""
    assert run(*arguments).exit_code == 2


def test_bet_sends_the_one_bet_of_the_environment() -> None:
    """The bet comes from NOMBRE, APELLIDO, DOCUMENTO, NACIMIENTO and NUMERO."""
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run("bet", "--server", server.url, AGENCIA="1", **BET_VARIABLES)
    assert (result.exit_code, central.bets, central.asked) == (0, [BET_ON_THE_WIRE], [])
    assert lines(result.stdout)[1:] == ["action: apuesta_enviada | result: success | dni: 30904465 | numero: 7574"]


def test_the_same_bet_sent_again_is_stored_once() -> None:
    """A second `bet` with the same values sends nothing, unless its label differs."""
    central = Central(1)
    with ScriptedServer(central) as server:
        results = [
            run("bet", "--server", server.url, "--label", label, AGENCIA="1", **BET_VARIABLES)
            for label in ("", "", "meant")
        ]
        as_json = run("bet", "--server", server.url, "--format", "json", "-q", AGENCIA="1", **BET_VARIABLES)
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert central.bets == [BET_ON_THE_WIRE] * 2
    assert [lines(result.stdout)[-1].partition("numero: 7574")[2] for result in results] == [
        "",
        " | already_stored: 1",
        "",
    ]
    said = "bets-client: this bet was stored already, nothing was sent; --label TEXT makes it another bet\n"
    assert [result.stderr for result in results] == ["", said, ""]
    answer = json.loads(as_json.stdout)
    assert (answer["already_stored"], answer["sent_now"], as_json.stderr) == (1, 0, "")


def test_bet_takes_options_and_speaks_revision_5() -> None:
    """Options and variables together make the bet, which travels bare on revision 5."""
    came: list[bytes] = []

    def stores(peer: Peer) -> None:
        came.append(peer.bet())
        peer.send(b"\x01")

    bet = ("--first-name", "Ana", "--last-name", "Paz", "--document", "30904465", "--birthdate", "1999-03-17")
    with ScriptedServer(stores) as server:
        options = ("--agency", "1", "--server", server.url, "--revision", "5", "--format", "json")
        result = run("bet", *options, *bet, NUMERO="7574")
    answer = json.loads(result.stdout)
    assert (result.exit_code, came) == (0, [BET_ON_THE_WIRE])
    assert (answer["agency"], answer["document"], answer["number"]) == (1, "30904465", 7574)


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [
        ("NACIMIENTO", "1999-02-30", "environment NACIMIENTO: expected a day that exists, as YYYY-MM-DD"),
        ("NUMERO", "10000", "environment NUMERO: expected "),
        ("NUMERO", "1_0", "environment NUMERO: expected ASCII digits only, found '1_0'"),
        ("NUMERO", "12345678901", "environment NUMERO: expected a number from 0 to 9999, found '12345678901'"),
        ("DOCUMENTO", "3090446", "environment DOCUMENTO: expected "),
        ("NOMBRE", "A\x1bna", "environment NOMBRE: expected "),
        ("NOMBRE", os.fsdecode(b"An\xff"), "environment NOMBRE: expected UTF-8, found byte 0xff at column 3\n"),
    ],
)
def test_a_bet_with_a_bad_value_ends_with_3(variable: str, value: str, error: str) -> None:
    """The error names the variable and what was expected."""
    result = run("bet", AGENCIA="1", **{**BET_VARIABLES, variable: value})
    assert result.exit_code == 3
    assert result.stderr.startswith(f"bets-client: {error}")


def test_a_bet_that_lacks_parts_names_them() -> None:
    """Each missing value is named by its option and its variable."""
    result = run("bet", AGENCIA="1", NOMBRE="Ana", APELLIDO="Paz", NUMERO="")
    assert (result.exit_code, result.stderr) == (
        2,
        "bets-client: a bet needs --document (DOCUMENTO), --birthdate (NACIMIENTO), --number (NUMERO)\n",
    )


def test_a_refused_bet_ends_with_6_and_is_logged() -> None:
    """The refusal is an `apuesta_enviada` line with the result fail."""

    def refuses(peer: Peer) -> None:
        peer.batch()
        peer.send(b"\x00")

    with ScriptedServer(refuses) as server:
        result = run("bet", "--server", server.url, "--revision", "8", AGENCIA="1", **BET_VARIABLES)
    assert result.exit_code == 6
    assert lines(result.stdout)[-1] == (
        f"action: apuesta_enviada | result: fail | dni: 30904465 | numero: 7574 | error: {server.url}: "
        "the server refuses bets"
    )
    assert "1 refused (the bet)" in result.stderr


def test_check_shows_every_bad_row_and_ends_with_3(tmp_path: Path, files: list[str]) -> None:
    """All bad rows of all files are on standard output, the counts on standard error."""
    bad = tmp_path / "bad.csv"
    bad.write_bytes(ROW.encode() + b"x\n" + b"\xff,Paz,30904465,1999-03-17,1\n" + BAD_ROWS.encode() * 12)
    result = run("check", files[0], str(bad), str(tmp_path / "missing.csv"))
    found = result.stdout.splitlines()
    assert result.exit_code == 3
    assert found[0].startswith(f"{bad}:2: row: expected 5 fields")
    assert found[1] == f"{bad}:3: row: expected UTF-8, found byte 0xff at column 1"
    places = [line.split(": ")[:2] for line in found[2:14]]
    assert places == [[f"{bad}:{number}", "document"] for number in range(4, 16)]
    assert found[14:] == [f"{tmp_path}/missing.csv: cannot read it: No such file or directory"]
    assert result.stderr == f"{files[0]}: 3 rows, 0 bad\n{bad}: 15 rows, 14 bad\n"


def test_check_of_good_files_is_silent_when_told(files: list[str]) -> None:
    """`check -q` of good files prints nothing and ends with 0."""
    result = run("check", "-q", *files)
    assert (result.exit_code, result.output) == (0, "")


def test_check_takes_standard_input_and_refuses_an_empty_one() -> None:
    """`check -` reads standard input, and an empty one is bad input."""
    good = run_with_input(ROW, "check", "-")
    assert (good.exit_code, good.stderr) == (0, "<stdin>: 1 row, 0 bad\n")
    empty = run_with_input("", "check", "-")
    assert (empty.exit_code, empty.stdout.startswith("<stdin>: the file is empty")) == (3, True)


def echo(peer: Peer) -> None:
    """Send the line back and close, as every server does."""
    line = b""
    while not line.endswith(b"\n"):
        line += peer.stream.recv(1)
    peer.send(line)


def test_probe_sends_numbered_lines_on_connections_of_their_own() -> None:
    """Each probe is a connection, a line with its number, and its echo."""
    with ScriptedServer(echo) as server:
        result = run("probe", "--amount", "3", "--period", "1ms", "--server", server.url, CLI_ID="2")
        assert server.accepted == 3
    assert result.exit_code == 0
    assert lines(result.stdout)[1:] == [
        "action: receive_message | result: success | client_id: 2 | msg: [CLIENT 2] Message N°1",
        "action: receive_message | result: success | client_id: 2 | msg: [CLIENT 2] Message N°2",
        "action: receive_message | result: success | client_id: 2 | msg: [CLIENT 2] Message N°3",
        "action: loop_finished | result: success | client_id: 2",
    ]


def test_probe_sends_one_line_unless_told_and_counts_in_json() -> None:
    """Without `--amount` one probe is sent, and JSON tells how many came back."""
    with ScriptedServer(echo) as server:
        result = run("probe", "--server", server.url, "--format", "json", "--log-level", "DEBUG")
    assert json.loads(result.stdout)["echoed"] == 1
    assert "loop_amount: 1 | loop_period: 5s" in result.stderr
    assert "action: config | result: success | client_id: 0 | " in result.stderr
    assert "client_id: none" not in result.stderr
    assert "msg: [CLIENT 0] Message N°1" in result.stderr


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (b"[CLIENT 0] Message N\xc2\xb02\n", 5, "the server sent back something else"),
        (b"[CLIENT", 4, "no echo: the server closed the connection"),
        (b"", 4, "no echo: the server closed the connection"),
    ],
)
def test_a_wrong_or_missing_echo_is_no_success(answer: bytes, code: int, error: str) -> None:
    """Other bytes end with 5, a connection that ends early with 4."""

    def answers(peer: Peer) -> None:
        peer.exactly(len("[CLIENT 0] Message N°1\n".encode()))
        peer.send(answer)

    with ScriptedServer(answers) as server:
        result = run("probe", "--server", server.url)
    assert result.exit_code == code
    assert error in result.stderr
    assert "action: receive_message | result: fail | client_id: 0 | error: " in result.stdout


def test_a_silent_server_is_no_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """An echo that does not come in time ends with 4."""
    monkeypatch.setattr(probe_module, "ECHO_S", 0.2)
    with ScriptedServer(silent) as server:
        result = run("probe", "--server", server.url)
    assert result.exit_code == 4
    assert "no echo: nothing came back within 0.2 s" in result.stderr


def test_probe_of_nobody_ends_with_4() -> None:
    """A server that cannot be reached is exit code 4 for a probe too."""
    with unused_port() as port:
        result = run("probe", "--server", f"127.0.0.1:{port}", "--retry-for", "0.2")
    assert result.exit_code == 4


def test_no_patience_at_all_is_reported_as_that() -> None:
    """One attempt is made all the same."""
    with unused_port() as port:
        result = run("probe", "--server", f"127.0.0.1:{port}", "--retry-for", "0")
    assert result.exit_code == 4
    assert f"no answer from 127.0.0.1:{port} for 0 s (--retry-for): " in result.stderr


def test_run_probes_and_then_sends_the_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` follows the legacy settings: its probes first, then the file and the winners."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agency.csv").write_text(ROW)
    (tmp_path / "config.yaml").write_text("loop: {amount: 2, period: 1ms}\nid: 3\n")
    central = Central(1)
    with ScriptedServer(echo, echo, central) as server:
        result = run("run", "--config", "config.yaml", CLI_SERVER_ADDRESS=server.url)
    assert result.exit_code == 0
    actions = [line.split(" | ")[0] for line in lines(result.stdout)]
    assert actions == [
        "action: config",
        "action: receive_message",
        "action: receive_message",
        "action: loop_finished",
        "action: archivo_enviado",
        "action: consulta_ganadores",
    ]
    assert (len(central.bets), central.asked) == (1, [3])


def test_run_sends_the_file_that_is_named(files: list[str]) -> None:
    """BETS_FILE names the file, whose name tells the agency."""
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run("run", "--server", server.url, BETS_FILE=files[1])
    assert (result.exit_code, len(central.bets), central.asked) == (0, 2, [2])


def test_run_sends_the_bet_of_the_environment_instead() -> None:
    """With a whole bet in the environment `run` sends it and reads no file."""
    central = Central(1)
    with ScriptedServer(central) as server:
        result = run("run", "--server", server.url, CLI_ID="1", BETS_FILE="missing.csv", **BET_VARIABLES)
    assert (result.exit_code, central.bets) == (0, [BET_ON_THE_WIRE])


def test_run_warns_of_a_bet_that_lacks_parts(files: list[str]) -> None:
    """With some values of a bet `run` names the missing ones and sends the file."""
    with ScriptedServer(Central(1)) as server:
        result = run("run", "--server", server.url, BETS_FILE=files[0], NOMBRE="Ana", NUMERO="1")
    assert result.exit_code == 0
    assert (
        "action: apuesta_enviada | result: fail | error: not set: APELLIDO, DOCUMENTO, NACIMIENTO; sending the file"
    ) in lines(result.stdout)


@pytest.mark.parametrize(("there", "reason"), [(None, "there is no such file"), (Path.touch, "the file is empty")])
def test_run_without_anything_to_send_is_done_after_its_probes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: Callable[[Path], None] | None, reason: str
) -> None:
    """Without a file, or with an empty one, it warns: that may be meant."""
    monkeypatch.chdir(tmp_path)
    if there is not None:
        there(tmp_path / "agency.csv")
    with ScriptedServer(echo) as server:
        result = run("run", "--server", server.url, "--amount", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert "WARNING" in last
    assert last.endswith(f"action: data_file_skipped | result: success | file: agency.csv | reason: {reason}")


def links_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (Path.mkdir, A_FOLDER),
        (links_to("missing.csv"), "No such file or directory"),
        (links_to("agency.csv"), "Too many levels of symbolic links"),
    ],
    ids=["folder", "dangling", "loop"],
)
def test_run_takes_a_data_file_that_went_wrong_for_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: Callable[[Path], None], reason: str
) -> None:
    """Docker makes a folder where a file that is to be mounted is missing: bets were to be sent, and are not."""
    monkeypatch.chdir(tmp_path)
    there(tmp_path / "agency.csv")
    with ScriptedServer(echo) as server:
        result = run("run", "--server", server.url, "--amount", "1", CLI_ID="1")
    assert (result.exit_code, result.stderr) == (3, f"bets-client: agency.csv: cannot read it: {reason}\n")


def test_run_names_a_data_file_that_it_may_not_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be searched is no bug of the program."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are not for everybody, as a container's are
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "locked").mkdir(mode=0)
        (folder / "agency.csv").symlink_to("locked/agency.csv")
        monkeypatch.chdir(folder)
        myself = os.geteuid()
        if myself == 0:
            os.seteuid(65534)
        try:
            with ScriptedServer(echo) as server:
                result = run("run", "--server", server.url, "--amount", "1", CLI_ID="1")
        finally:
            os.seteuid(myself)
            (folder / "locked").chmod(0o700)
    assert (result.exit_code, result.stderr) == (3, "bets-client: agency.csv: cannot read it: Permission denied\n")


@pytest.mark.parametrize(
    ("env", "error"),
    [({}, "agency.csv: cannot read it"), ({"CLI_LOOP_AMOUNT": "1", "BETS_FILE": "x.csv"}, "x.csv: cannot read it")],
)
def test_run_without_its_data_file_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], error: str
) -> None:
    """A data file that does not exist is bad input."""
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(echo) as server:
        result = run("run", "--server", server.url, CLI_ID="1", **env)
    assert result.exit_code == 3
    assert error in result.stderr


def test_settings_of_the_environment_that_a_revision_does_not_have_are_worth_a_warning(files: list[str]) -> None:
    """They may be meant for other runs; an empty label says nothing in any case."""
    with ScriptedServer(Central(1)) as server:
        arguments = ("send", files[0], "--server", server.url, "--revision", "8", "--window", "4", "--label", "")
        result = run(*arguments, BETS_DRAW="3")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("setting_skipped") == 1
    assert (
        "WARNING  action: setting_skipped | result: success | setting: environment BETS_DRAW | "
        "reason: it has an effect only from revision 9 on, and this is 8\n"
    ) in result.stdout


def test_bet_and_run_refuse_what_their_revision_does_not_have(files: list[str]) -> None:
    """`--draw` is refused before revision 9, a useless variable is logged."""
    for command in ("bet", "run"):
        env = {"AGENCIA": "1", "BETS_WINDOW": "2", "BETS_FILE": files[0], **BET_VARIABLES}
        result = run(command, "--revision", "5", "--draw", "2", **env)
        assert (result.exit_code, result.stderr) == (
            2,
            "bets-client: --draw: it has an effect only from revision 9 on, and this is 5\n",
        )
        assert ("setting: environment BETS_WINDOW" in result.stdout) == (command == "run"), "one bet has no window"


@pytest.mark.parametrize("arguments", [("sample", ""), ("sample", "x", "--config", ""), ("run", "--file", "")])
def test_an_empty_name_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """An empty name of a folder or file is a usage error, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, CLI_ID="1")
    assert result.exit_code == 2
    assert "'': expected the name of a f" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_sample_writes_files_and_names_them(tmp_path: Path) -> None:
    """The names are printed, and a file that differs is replaced with `--overwrite` only."""
    result = run("sample", str(tmp_path), "--agencies", "2", "--bets", "5", "--seed", "3")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/agency-1.csv\n{tmp_path}/agency-2.csv\n")
    again = run("sample", str(tmp_path), "-q", BETS_AGENCIES="2", BETS_BETS="5", BETS_SEED="3")
    assert (again.exit_code, again.output) == (0, "")
    other = run("sample", str(tmp_path), "--seed", "4")
    assert other.exit_code == 2
    assert "--overwrite replaces it" in other.stderr
    assert run("sample", str(tmp_path), "--seed", "4", "--overwrite").exit_code == 0


@pytest.mark.parametrize("command", ["send", "bet", "winners", "probe", "run", "sample"])
def test_a_bad_setting_ends_with_2_in_every_command(command: str, files: list[str]) -> None:
    """Every command reads all settings before it does anything."""
    arguments = {"send": files[:1], "sample": ["x"]}.get(command, [])
    result = run(command, *arguments, CLI_LOOP_PERIOD="5")
    assert (result.exit_code, result.stderr) == (
        2,
        "bets-client: environment CLI_LOOP_PERIOD: '5': expected a duration such as 5s, 150ms or 1m30s\n",
    )


def test_a_bug_is_one_line_and_exit_1(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is shown without a traceback."""

    def breaks(*_: Any) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(link_module.Link, "queue", breaks)
    with ScriptedServer(silent) as server:
        result = run("send", files[0], "--server", server.url)
    assert result.exit_code == 1
    assert "this is a bug: KeyError: 'oops' at " in result.stderr
    assert "Traceback" not in result.output


def test_version_and_help() -> None:
    """`--version` names the codec, and every command has its help."""
    assert re.fullmatch(r"bets-client [0-9]+\.[0-9]+\.[0-9]+, (native|pure) codec.*\n", run("--version").stdout)
    shown = run("--help").stdout
    assert all(f"\n  {command} " in shown for command in ("send", "bet", "winners", "check", "probe", "run", "sample"))
    for command in ("send", "bet", "winners", "check", "probe", "run", "sample"):
        assert run(command, "--help").exit_code == 0
