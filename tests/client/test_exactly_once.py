"""The upload on revision 9 over real connections: resume, every code, silence, other servers; and what is said then."""

from __future__ import annotations

from pathlib import Path

import pytest

from bets_client.errors import Refused, Unreachable, WrongPeer, in_words
from bets_protocol import RejectCode
from bets_protocol.client import exactly_once as module
from bets_protocol.connection.turns import CLIENT_ACTIONS, ClientAction
from bets_protocol.errors import SourceChanged
from tests.client.scripted_server import Central, Peer, ScriptedServer, silent, unused_port
from tests.client.uploading import Stored, failed, send_exactly_once
from tests.client.wire import BETS, row

STOPS = [code for code, action in CLIENT_ACTIONS.items() if action is ClientAction.STOP]
RECONNECTS = [code for code, action in CLIENT_ACTIONS.items() if action is ClientAction.RECONNECT]


def test_every_bet_arrives_once_in_order_on_one_connection(file: Path) -> None:
    """An undisturbed upload is stored as one upload."""
    central = Central()
    with ScriptedServer(central) as server:
        machine = send_exactly_once(server, file).machine
        assert server.accepted == 1
    assert [*central.uploads.values()] == [BETS]
    assert (machine.stored, machine.already_stored, machine.sent_now) == (20, 0, 20)


def test_a_finished_upload_sends_nothing(file: Path) -> None:
    """The second run finds everything stored."""
    central = Central()
    with ScriptedServer(central) as server:
        send_exactly_once(server, file)
        machine = send_exactly_once(server, file).machine
    assert (machine.already_stored, machine.sent_now) == (20, 0)
    assert central.bets == BETS


def test_another_label_is_another_upload(file: Path) -> None:
    """The label is part of the upload's identity."""
    central = Central()
    with ScriptedServer(central) as server:
        send_exactly_once(server, file)
        send_exactly_once(server, file, label="twice")
    assert [*central.uploads.values()] == [BETS, BETS]


@pytest.mark.parametrize("stored", [0, 1, 6, 19, 20])
def test_an_upload_goes_on_at_the_row_that_the_server_names(
    file: Path, stored: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any row may be named, also in the middle of a batch."""
    has = Stored(stored)
    with ScriptedServer(has.rest) as server:
        machine = send_exactly_once(server, file).machine
    assert has.bets == BETS
    assert (machine.already_stored, machine.sent_now) == (stored, 20 - stored)
    assert "action: open_upload | result: success | client_id: 1 | upload: " in capsys.readouterr().out


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_lost_answers_are_no_bets_twice(file: Path, answers: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The server stores four batches, answers some, and the connection breaks, one way or the other."""
    has = Stored()

    def dies(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 4, answers)

    def resets(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 1, 0)
        peer.reset()

    with ScriptedServer(dies, resets, has.rest) as server:
        machine = send_exactly_once(server, file).machine
        assert server.accepted == 3
    assert has.bets == BETS
    assert (machine.stored, machine.already_stored, machine.sent_now) == (20, 0, 20)
    assert "WARNING  action: connection | result: fail | client_id: 1 | unanswered: " in capsys.readouterr().out


def test_connections_that_end_before_any_answer_are_lost_ones(file: Path) -> None:
    """A reset or an early end is retried."""
    has = Stored()

    def reads_and_closes(peer: Peer) -> None:
        peer.open_upload()

    with ScriptedServer(lambda peer: peer.reset(), reads_and_closes, lambda _: None, has.rest) as server:
        assert send_exactly_once(server, file).machine.uploaded
        assert server.accepted == 4


@pytest.mark.parametrize("code", RECONNECTS)
@pytest.mark.parametrize("after", ["opening", "sending"])
def test_a_passing_trouble_is_waited_out(
    file: Path, code: RejectCode, after: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client connects again after codes that mean a passing trouble."""
    has = Stored()

    def is_in_trouble(peer: Peer) -> None:
        if after == "opening":
            peer.open_upload()
        else:
            has.open(peer)
            has.take(peer, 2)
        peer.status(code, len(has.bets))
        silent(peer)

    with ScriptedServer(is_in_trouble, has.rest) as server:
        assert send_exactly_once(server, file).machine.uploaded
        assert server.accepted == 2
    assert has.bets == BETS
    assert f"error: {in_words(code)}" in capsys.readouterr().out


def test_a_trouble_that_does_not_pass_ends_at_the_deadline(file: Path) -> None:
    """The error names the trouble and its code."""

    def is_full(peer: Peer) -> None:
        peer.open_upload()
        peer.status(11, 0)
        silent(peer)

    with ScriptedServer(is_full) as server:
        outcome = send_exactly_once(server, file, retry_for="0.4")
        assert server.accepted >= 2
        assert failed(outcome, Unreachable) == [
            f"no answer from {server.url} for 0.4 s (--retry-for): the server's disk is full (code 11, STORE_FULL)",
            f"agency 1: {file}: the server says that 0 of the 20 bets are stored",
        ]


@pytest.mark.parametrize("code", STOPS)
def test_a_refusal_is_final_and_nobody_connects_again(file: Path, code: RejectCode) -> None:
    """Each code that stops an upload ends it at once."""
    has = Stored()

    def refuses(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 2)
        peer.status(code, 4)
        silent(peer)

    with ScriptedServer(refuses) as server:
        first, second = failed(send_exactly_once(server, file, window="2"), Refused)
        assert server.accepted == 1
    assert first == f"the server refuses: {in_words(code)}"
    assert second == f"agency 1: {file}: 4 of 20 bets are stored; 16 are not"


@pytest.mark.parametrize("code", STOPS)
def test_a_refusal_to_open_says_what_is_stored(file: Path, code: RejectCode) -> None:
    """It is heard although the server has closed."""

    def refuses(peer: Peer) -> None:
        peer.open_upload()
        peer.status(code, 6)

    with ScriptedServer(refuses) as server:
        first, second = failed(send_exactly_once(server, file), Refused)
    assert first == f"the server refuses: {in_words(code)}"
    assert second == f"agency 1: {file}: the server says that 6 of the 20 bets are stored"


def test_a_server_that_was_busy_at_first_is_none_of_another_revision(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be silent afterwards: that is a lost connection."""
    monkeypatch.setattr(module, "FIRST_ANSWER_S", 0.3)

    def is_busy(peer: Peer) -> None:
        peer.open_upload()
        peer.status(RejectCode.BUSY, 0)

    has = Stored()
    with ScriptedServer(is_busy, silent, has.rest) as server:
        assert send_exactly_once(server, file, idle_timeout="0.4").machine.uploaded
        assert server.accepted == 3


@pytest.mark.parametrize("stored", [2, 3])
def test_rows_that_differ_from_those_of_before_stop_the_upload(file: Path, stored: int) -> None:
    """The CRC-32 of the stored rows is compared before anything is sent."""

    def has_others(peer: Peer) -> None:
        peer.open_upload()
        peer.stored(BETS[1 : stored + 1])
        assert peer.at_end()

    with ScriptedServer(has_others) as server:
        first, _ = failed(send_exactly_once(server, file), SourceChanged)
        assert server.accepted == 1
    assert first.startswith(f"the input has changed since the upload began: its first {stored} bets are not those")


def test_a_file_that_changes_while_it_is_sent_stops_the_upload(file: Path) -> None:
    """A row that is added during the upload is found."""
    has = Stored()

    def changes_the_file(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 2)
        with file.open("a") as appended:
            appended.write(row(21))
        has.take(peer, 1)
        assert peer.at_end()

    with ScriptedServer(changes_the_file) as server:
        first, second = failed(send_exactly_once(server, file, window="1"), SourceChanged)
        assert server.accepted == 1
    assert first == f"{file}: the file has changed since it was checked: it was written to"
    assert second.startswith(f"agency 1: {file}: ")
    assert has.bets == BETS[: len(has.bets)]
    assert len(has.bets) < 20


def test_a_server_that_has_fewer_bets_than_before_gets_them_again(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An upload that was voided, or a store that was put back: what is missing is sent once more, with a warning."""
    has = Stored()

    def takes_some(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 3)

    def forgets(peer: Peer) -> None:
        has.bets = []
        has.rest(peer)

    with ScriptedServer(takes_some, forgets) as server:
        machine = send_exactly_once(server, file, window="1").machine
    assert has.bets == BETS
    assert (machine.already_stored, machine.sent_now) == (0, 20)
    warning = "WARNING  action: open_upload | result: fail | client_id: 1 | stored: 0 | error: the server had 6 bets"
    assert warning in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"\x00", b"\x01", b"H", b"\x83\x00\x00", b"EHLO 400 Bad Request\r\n\r\n"])
def test_another_first_byte_is_a_server_of_another_revision(file: Path, answer: bytes) -> None:
    """An older one answers Ack 0 and closes. Half a status is a lost connection; no more than that is tried here."""
    has = Stored()

    def is_older(peer: Peer) -> None:
        peer.open_upload()
        peer.send(answer)

    with ScriptedServer(is_older, has.rest) as server:
        outcome = send_exactly_once(server, file)
        if answer.startswith(b"\x83"):
            assert outcome.machine.uploaded
            return
        first, second = failed(outcome, WrongPeer)
        assert server.accepted == 1
    assert first.startswith(f"{server.url}: the server does not seem to know revision 9: ")
    assert first.endswith("with --revision 8, which cannot promise to store every bet once only")
    assert second == f"agency 1: {file}: the server has not said how many of the 20 bets are stored"


def test_silence_instead_of_the_first_answer_is_tried_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a server of another revision, and may be one that is stopped for a moment."""
    monkeypatch.setattr(module, "FIRST_ANSWER_S", 0.3)
    has = Stored()
    with ScriptedServer(silent, silent, has.rest) as server:
        assert send_exactly_once(server, file).machine.uploaded
        assert server.accepted == 3


@pytest.mark.parametrize("start", [b"", b"\x83\x00\x00"])
def test_silence_until_the_deadline_is_no_server_and_says_what_it_may_mean(file: Path, start: bytes) -> None:
    """A server that never answers is unreachable."""

    def stops(peer: Peer) -> None:
        peer.send(start)
        silent(peer)

    with ScriptedServer(stops) as server:
        first, second = failed(send_exactly_once(server, file, idle_timeout="0.2", retry_for="1"), Unreachable)
        assert server.accepted > 1
    assert first.startswith(f"no answer from {server.url} for 1 s (--retry-for): the server has ")
    assert "it is stopped or being replaced, or it does not know revision 9" in first
    assert "--revision 8" in first
    assert second == f"agency 1: {file}: the server has not said how many of the 20 bets are stored"


def test_silence_of_a_server_that_has_answered_before_is_a_lost_connection(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent connection is replaced by a new one."""
    monkeypatch.setattr(module, "FIRST_ANSWER_S", 0.3)
    has = Stored()

    def falls_silent(peer: Peer) -> None:
        has.open(peer)
        silent(peer)

    with ScriptedServer(falls_silent, silent, has.rest) as server:
        assert send_exactly_once(server, file, idle_timeout="0.4").machine.uploaded
        assert server.accepted == 3


def test_the_deadline_may_be_shorter_than_the_wait_for_the_first_answer(file: Path) -> None:
    """`--retry-for` ends the wait for the first answer too."""
    with ScriptedServer(silent) as server:
        first, _ = failed(send_exactly_once(server, file, retry_for="0.3"), Unreachable)
    assert "(--retry-for): the server has been silent for 0.3 s" in first


def test_all_that_is_on_its_way_is_said(file: Path) -> None:
    """The error counts the bets that may be stored."""
    has = Stored()

    def babbles_at_the_end(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 10, 1)
        peer.send(b"H")
        silent(peer)

    with ScriptedServer(babbles_at_the_end) as server:
        _, second = failed(send_exactly_once(server, file), WrongPeer)
    assert second == f"agency 1: {file}: 2 of 20 bets are stored; 18 without an answer, so perhaps stored"


def test_nobody_there_is_unreachable(file: Path) -> None:
    """A refused connection is retried until the deadline."""
    with unused_port() as port:
        first, _ = failed(send_exactly_once(f"tcp://127.0.0.1:{port}", file, retry_for="0.3"), Unreachable)
    assert first.startswith(f"no answer from tcp://127.0.0.1:{port} for 0.3 s")


@pytest.mark.parametrize("breach", ["crc", "stored", "draw", "code"])
def test_an_answer_that_cannot_be_is_a_breach(file: Path, breach: str) -> None:
    """A wrong CRC-32, count, draw or code ends the upload."""
    has = Stored()

    def breaks_the_protocol(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 1)
        match breach:
            case "crc":
                peer.status(0, 4, 1)
            case "stored":
                peer.stored(BETS[:5])
            case "draw":
                peer.status(0, 4, 0, draw=2)
            case _:
                peer.status(17, 4)
        silent(peer)

    with ScriptedServer(breaks_the_protocol) as server:
        first, second = failed(send_exactly_once(server, file), WrongPeer)
        assert server.accepted == 1
    assert first.startswith(f"{server.url}: the server breaks the protocol, or speaks another revision than 9: ")
    assert second.startswith(f"agency 1: {file}: 2 of 20 bets are stored; ")
