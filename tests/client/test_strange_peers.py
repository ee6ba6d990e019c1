"""Whoever is at the address and is no server of ours, or none that answers: which exit code, and in which words.

Silence, a closed connection and half an answer may be a server that is stopped or being replaced: 4, at the deadline.
A wrong byte is 5, at once. That the draw has not taken place (7) is for a server that waits for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.client.command_line import BET_VARIABLES, run
from tests.client.scripted_server import Central, Peer, ScriptedServer, silent, waits
from tests.client.wire import ROW

ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
"""What a TLS server says of bytes that are none."""

COMMANDS = (*(f"send {revision}" for revision in range(5, 10)), "bet 9", "winners 7", "winners 8", "probe", "run 9")
HALVES = {"send 9": b"\x83\0", "bet 9": b"\x83\0", "run 9": b"\x83\0", "winners 7": b"\0", "winners 8": b"\0\x013"}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """As many rows as the first byte of `ALERT` says."""
    path = tmp_path / "agency-1.csv"
    path.write_text(ROW * ALERT[0], newline="\r\n")
    return str(path)


def run_against(url: str, command: str, file: str, *more: str, retry_for: str = "0.6") -> Result:
    name, _, revision = command.partition(" ")
    given = {"send": [file, "--no-winners"], "winners": ["--agency", "1"], "bet": ["--agency", "1"]}.get(name, [])
    if name == "run":
        given = ["--agency", "1", "--file", file]
    if revision:
        given += ["--revision", revision, "--idle-timeout", "0.2"]
    env = BET_VARIABLES if name == "bet" else {}
    return run(name, *given, "--server", url, "--retry-for", retry_for, *more, **env)


def closes(_: Peer) -> None:
    """Close at once, as a balancer does with nobody behind it."""


def resets(peer: Peer) -> None:
    peer.stream.recv(65_536)
    peer.reset()


@pytest.mark.parametrize("peer", [silent, closes, resets])
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "probe"])
def test_who_says_nothing_is_not_reached(command: str, peer: object, file: str) -> None:
    """Silence, an end or a reset before any answer ends every command with 4."""
    with ScriptedServer(peer) as server:  # type: ignore[arg-type]
        result = run_against(server.url, command, file)
        assert server.accepted > 1
    assert result.exit_code == 4, result.stderr
    assert "no answer from tcp://127.0.0.1:" in result.stderr
    assert "draw has not taken place" not in result.stderr


@pytest.mark.parametrize("peer", [silent, closes, resets])
def test_a_probe_of_who_says_nothing(peer: object, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe ends with 4 whether the peer is silent or leaves."""
    monkeypatch.setattr("bets_client.cli.probe.ECHO_S", 0.2)
    with ScriptedServer(peer) as server:  # type: ignore[arg-type]
        result = run_against(server.url, "probe", file)
    assert result.exit_code == 4
    assert "no echo: " in result.stderr


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("command", HALVES)
def test_half_an_answer_is_no_answer(command: str, file: str, *, stays: bool) -> None:
    """A part of an answer does not count, whether the peer stays or leaves."""

    def says_half(peer: Peer) -> None:
        peer.stream.recv(65_536)
        peer.send(HALVES[command])
        if stays:
            silent(peer)

    with ScriptedServer(says_half) as server:
        result = run_against(server.url, command, file)
    assert result.exit_code == 4, result.stderr
    assert "no answer from tcp://127.0.0.1:" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (ALERT, "what answers there speaks TLS: write tls://HOST:PORT"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there speaks HTTP"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "what answers there speaks SSH"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 12345\r\n", "the server sends a PROXY header back"),
        (b"220 mail.example ESMTP\r\n", ""),
    ],
)
def test_another_protocol_is_wrong_at_once(command: str, said: bytes, words: str, file: str) -> None:
    """Also where its first byte is the answer that all bets would have: so many there are in the file."""

    def says(peer: Peer) -> None:
        peer.stream.recv(65_536)
        peer.send(said)
        peer.at_end()

    with ScriptedServer(says) as server:
        result = run_against(server.url, command, file, retry_for="20")
        assert server.accepted == 1
    assert result.exit_code == 5, result.stderr
    assert words in result.stderr
    assert " 21 of 21 bets are stored" not in result.stderr


def test_json_says_the_same(file: str) -> None:
    """The JSON result has the exit code and the explanation."""
    with ScriptedServer(silent) as server:
        result = run_against(server.url, "winners 8", file, "--format", "json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["exit_code"], answer["result"]) == (4, 4, "fail")
    assert "says nothing: it is stopped or being replaced" in answer["error"]


@pytest.mark.parametrize("revision", ["7", "8"])
def test_a_server_that_waits_for_the_draw_answers_a_probe(revision: str, file: str) -> None:
    """A server that echoes while it waits is told from a silent one."""
    with ScriptedServer(waits) as server:
        result = run_against(server.url, f"winners {revision}", file)
    assert result.exit_code == 7, result.stderr
    assert "the draw has not taken place: agency 1 has waited for 0.6 s" in result.stderr


@pytest.mark.parametrize("opens", [True, False])
def test_on_revision_9_only_a_server_that_has_said_so_waits(file: str, *, opens: bool) -> None:
    """Neither one that does not answer the request, nor one that fell silent as the upload was opened once more."""
    central = Central()

    def takes_all(peer: Peer) -> None:
        central.uploads.setdefault(peer.open_upload()[3], [])
        (upload,) = central.uploads.values()
        peer.stored(upload)
        while len(upload) < ALERT[0]:
            upload += peer.batch()
            peer.stored(upload)
        peer.winners_request()
        if opens:
            silent(peer)

    with ScriptedServer(takes_all, silent) as server:
        result = run("send", file, "--server", server.url, "--retry-for", "1")
    assert result.exit_code == 4, result.stderr
    assert "says nothing: it is stopped or being replaced" in result.stderr
