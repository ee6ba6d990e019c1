"""The upload on revisions 5 to 8: window, refusals, lost connections, silence; what is said about what is stored."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_client.config import load_settings
from bets_client.errors import Refused, Unreachable, WrongPeer
from bets_client.run_context import working
from bets_client.upload.running import Running
from bets_protocol.client import at_least_once as uploader_module
from bets_protocol.client.at_least_once import AtLeastOnce
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.numbered_batch import NumberedBatch
from bets_protocol.client.retry import Backoff
from bets_protocol.errors import InputError
from tests.client.scripted_server import DEADLINE_S, Central, Peer, ScriptedServer, unused_port
from tests.client.uploading import send_at_least_once
from tests.client.wire import wire


def test_every_bet_arrives_once_in_order_on_one_connection(file: Path) -> None:
    """An undisturbed upload sends nothing twice."""
    central = Central()
    with ScriptedServer(central) as server:
        upload = send_at_least_once(server, file)
        assert server.accepted == 1
    assert central.bets == [wire(number) for number in range(1, 21)]
    assert central.batch_sizes == [2] * 10
    assert (upload.stored, upload.sent_twice) == (20, 0)


@pytest.mark.parametrize("window", [1, 3, 10])
def test_so_many_batches_and_no_more_are_sent_ahead(file: Path, window: int) -> None:
    """The window bounds the batches without an answer."""
    ahead: list[int] = []
    silent: list[bool] = []

    def script(peer: Peer) -> None:
        batches = [peer.batch() for _ in range(window)]
        ahead.append(len(batches))
        peer.stream.settimeout(0.2)
        try:
            silent.append(peer.stream.recv(1) == b"")
        except TimeoutError:
            silent.append(True)
        peer.stream.settimeout(DEADLINE_S)
        for batch in batches:
            peer.acknowledge(batch)
        while batch := peer.batch():
            peer.acknowledge(batch)

    with ScriptedServer(script) as server:
        assert send_at_least_once(server, file, window=str(window)).stored == 20
    assert (ahead, silent) == ([window], [True])


def test_a_lost_connection_is_made_again_and_goes_on_at_the_first_unanswered_batch(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was acknowledged is not sent again."""
    first: list[bytes] = []

    def dies(peer: Peer) -> None:
        for answered in range(4):
            batch = peer.batch()
            first.extend(batch)
            if answered < 2:
                peer.acknowledge(batch)
        peer.stream.shutdown(2)

    central = Central()
    with ScriptedServer(dies, central) as server:
        upload = send_at_least_once(server, file, window="4")
    assert first == [wire(number) for number in range(1, 9)]
    assert central.bets == [wire(number) for number in range(5, 21)]
    assert upload.stored == 20
    assert upload.sent_twice >= 4  # what the lost connection had taken and not answered
    lines = capsys.readouterr().out.splitlines()
    assert any("WARNING  action: connection | result: fail | client_id: 1 | unanswered: " in line for line in lines)
    resend = f"action: resend | result: in_progress | client_id: 1 | cantidad: {upload.sent_twice}"
    assert any(resend in line for line in lines)


def test_a_reset_connection_is_a_lost_one_too(file: Path) -> None:
    """A reset is treated like an end of the stream."""

    def resets(peer: Peer) -> None:
        peer.acknowledge(peer.batch())
        peer.batch()
        peer.reset()

    central = Central()
    with ScriptedServer(resets, resets, central) as server:
        assert send_at_least_once(server, file, window="1").stored == 20
    assert central.bets == [wire(number) for number in range(5, 21)]


def test_a_server_that_comes_late_is_waited_for(file: Path) -> None:
    """Connections that fail before the server is ready do not end the upload."""
    with unused_port() as port:
        url = f"tcp://127.0.0.1:{port}"
        with pytest.raises(Unreachable):
            send_at_least_once(url, file, retry_for="0")
    central = Central()
    with ScriptedServer(lambda peer: peer.reset(), lambda peer: peer.reset(), central) as server:
        assert send_at_least_once(server, file).stored == 20


def test_nobody_there_until_the_deadline_is_said_with_what_is_stored(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error has the address, the time and the count of bets."""
    with unused_port() as port, pytest.raises(Unreachable) as caught:
        send_at_least_once(f"tcp://127.0.0.1:{port}", file, retry_for="0.5")
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"no answer from tcp://127.0.0.1:{port} for 0.5 s (--retry-for): ")
    assert second == "agency 1: 0 of 20 bets are stored; 20 not sent"
    lines = capsys.readouterr().out.splitlines()
    assert sum("WARNING  action: connect | result: fail | client_id: 1 | error: " in line for line in lines) >= 2


def test_a_refused_batch_stops_the_upload_and_names_its_rows(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent behind a refusal, and its rows are named."""
    came: list[list[bytes]] = []

    def refuses_the_second(peer: Peer) -> None:
        while batch := peer.batch():
            came.append(batch)
            peer.send(b"\x00" if len(came) == 2 else bytes([len(batch)]))

    with ScriptedServer(refuses_the_second) as server, pytest.raises(Refused) as caught:
        send_at_least_once(server, file, window="1")
    assert len(came) == 2
    assert str(caught.value).split("\n") == [
        f"{server.url}: the server refuses bets",
        f"agency 1: 2 of 20 bets are stored; 2 refused ({file}:3-4); 16 not sent",
    ]
    assert (
        f"ERROR    action: batch_enviado | result: fail | client_id: 1 | cantidad: 2 | rows: {file}:3-4 | error: "
        in capsys.readouterr().out
    )


def test_after_a_refusal_the_answers_to_what_has_left_are_heard(file: Path) -> None:
    """Batches sent ahead of a refusal are still counted by their answers."""

    def refuses_some(peer: Peer) -> None:
        sent_ahead = [peer.batch() for _ in range(4)]
        for number, batch in enumerate(sent_ahead):
            peer.send(b"\x00" if number in (0, 2) else bytes([len(batch)]))
        assert peer.batch() == []

    with ScriptedServer(refuses_some) as server, pytest.raises(Refused) as caught:
        send_at_least_once(server, file, window="4")
    assert f"4 of 20 bets are stored; 4 refused ({file}:1-2, {file}:5-6); 12 not sent" in str(caught.value)


def test_a_connection_that_ends_after_a_refusal_leaves_the_rest_unknown_and_is_not_made_again(file: Path) -> None:
    """A refusal is final."""

    def refuses_and_closes(peer: Peer) -> None:
        for _ in range(4):
            peer.batch()
        peer.send(b"\x02\x00")
        peer.stream.shutdown(1)
        peer.at_end()

    with ScriptedServer(refuses_and_closes) as server:
        with pytest.raises(Refused) as caught:
            send_at_least_once(server, file, window="4")
        assert server.accepted == 1
    assert (
        f"2 of 20 bets are stored; 2 refused ({file}:3-4); "
        f"4 without an answer, so perhaps stored ({file}:5-8); 12 not sent"
    ) in str(caught.value)


def test_silence_after_a_refusal_ends_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the last answers has a deadline."""
    monkeypatch.setattr(uploader_module, "DRAIN_S", 0.2)

    def refuses_and_is_silent(peer: Peer) -> None:
        for _ in range(2):
            peer.batch()
        peer.send(b"\x00")
        peer.at_end()

    with ScriptedServer(refuses_and_is_silent) as server, pytest.raises(Refused, match="2 without an answer"):
        send_at_least_once(server, file, window="2")


def test_what_waits_to_leave_when_a_refusal_comes_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that are still in memory are dropped and counted as not sent."""
    monkeypatch.setattr(uploader_module, "DRAIN_S", 0.2)
    path = tmp_path / "agency-1.csv"
    long = f"{'x' * 255},{'y' * 255},30904465,1999-03-17,1\n"
    path.write_text(long * 15 * 1000)
    release = threading.Event()
    uploads: list[AtLeastOnce] = []

    def refuses_without_reading(peer: Peer) -> None:
        peer.batch()
        release.wait(DEADLINE_S)
        peer.send(b"\x00")
        until = time.monotonic() + DEADLINE_S
        while not uploads[0]._refused and time.monotonic() < until:
            time.sleep(0.001)
        with contextlib.suppress(ConnectionResetError):
            while peer.stream.recv(1 << 20):
                pass

    def queue(running: Running, source: CsvFile) -> Iterator[NumberedBatch]:
        for number, numbered_batch in enumerate(running.batches([source])):
            if number == 999:
                release.set()
            yield numbered_batch

    with ScriptedServer(refuses_without_reading) as server:
        options = {"server": server.url, "window": "1000", "log_level": "DEBUG", "revision": "8"}
        with working(load_settings(options, {})) as context:
            source = CsvFile(str(path), 1)
            context.opened.add("file", source)
            running = Running(context)
            uploads.append(AtLeastOnce(running.options, 1, queue(running, source), 15_000))
            with pytest.raises(Refused) as caught:
                running.deliver(uploads[0])
    assert "15 refused" in str(caught.value)
    assert "not sent" in str(caught.value)


@pytest.mark.parametrize("answer", [b"\x01", b"\xff", b"H", b"\x02\x02\x02\x02\x02"])
def test_an_answer_that_fits_nothing_ends_the_upload(file: Path, answer: bytes) -> None:
    """An answer that no batch can have is a breach, and nobody connects again."""

    def babbles(peer: Peer) -> None:
        peer.batch()
        peer.send(answer)
        peer.at_end()

    with ScriptedServer(babbles) as server:
        with pytest.raises(WrongPeer) as caught:
            send_at_least_once(server, file, window="1")
        assert server.accepted == 1
    assert f"{server.url}: the server breaks the protocol, or speaks another revision than 8" in str(caught.value)


def test_silence_counts_as_a_lost_connection(file: Path) -> None:
    """After `--idle-timeout` without an answer a new connection is made."""

    def is_silent(peer: Peer) -> None:
        peer.batch()
        peer.at_end()

    central = Central()
    with ScriptedServer(is_silent, central) as server:
        upload = send_at_least_once(server, file, idle_timeout="0.2")
        assert server.accepted == 2
    assert (upload.stored, central.bets) == (20, [wire(number) for number in range(1, 21)])


def test_silence_until_the_deadline_is_unreachable(file: Path) -> None:
    """The error counts what is stored, perhaps stored and not sent."""

    def is_silent(peer: Peer) -> None:
        peer.acknowledge(peer.batch())
        while peer.batch():
            pass

    with ScriptedServer(is_silent) as server, pytest.raises(Unreachable) as caught:
        send_at_least_once(server, file, retry_for="0.5", window="1")
    assert "for 0.5 s (--retry-for): the server has been silent for 0.5 s" in str(caught.value)
    assert str(caught.value).endswith(
        f"2 of 20 bets are stored; 2 without an answer, so perhaps stored ({file}:3-4); 16 not sent"
    )


def test_progress_renews_the_deadline(file: Path) -> None:
    """The whole takes longer than --retry-for, and then a connection is lost; no step of it takes so long."""

    def is_slow(peer: Peer) -> None:
        for _ in range(8):
            time.sleep(0.1)
            peer.acknowledge(peer.batch())

    with ScriptedServer(is_slow, Central()) as server:
        assert send_at_least_once(server, file, retry_for="0.6", window="1").stored == 20


def test_a_row_that_has_gone_bad_since_it_was_checked_ends_the_upload_with_what_is_stored(file: Path) -> None:
    """The batches before it are answered first."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:5], "bad\n", *lines[6:]]))
    central = Central()
    with ScriptedServer(central) as server, pytest.raises(InputError) as caught:
        send_at_least_once(server, file)
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"{file}:6: row: expected 5 fields")
    assert second == "agency 1: 4 of 20 bets are stored; 16 not sent"
    assert central.bets == [wire(number) for number in range(1, 5)]


def test_revision_7_uses_a_connection_for_each_batch(file: Path) -> None:
    """Ten batches take ten connections."""
    came: list[bytes] = []

    def one_message(peer: Peer) -> None:
        came.extend(batch := peer.batch())
        peer.acknowledge(batch)
        assert peer.at_end()

    with ScriptedServer(one_message) as server:
        assert send_at_least_once(server, file, revision="7").stored == 20
        assert server.accepted == 10
    assert came == [wire(number) for number in range(1, 21)]


def test_revision_6_sends_batches_without_a_type(file: Path) -> None:
    """The frame begins with the count."""
    came: list[bytes] = []

    def one_batch(peer: Peer) -> None:
        came.extend(batch := peer.batch_6())
        peer.acknowledge(batch)

    with ScriptedServer(one_batch) as server:
        assert send_at_least_once(server, file, revision="6", batch_max="20").stored == 20
        assert server.accepted == 1
    assert came == [wire(number) for number in range(1, 21)]


def test_revision_5_sends_bare_bets(file: Path) -> None:
    """Each bet is a connection and a frame of its own."""
    came: list[bytes] = []

    def one_bet(peer: Peer) -> None:
        came.append(peer.bet())
        peer.send(b"\x01")

    with ScriptedServer(one_bet) as server:
        assert send_at_least_once(server, file, revision="5").stored == 20
        assert server.accepted == 20
    assert came == [wire(number) for number in range(1, 21)]


@pytest.mark.parametrize("revision", ["5", "6", "7"])
def test_a_lost_answer_is_asked_for_again_and_a_refusal_is_final_on_every_revision(file: Path, revision: str) -> None:
    """Revisions 5 to 7 send again after a loss only."""

    def read(peer: Peer) -> None:
        {"5": peer.bet, "6": peer.batch_6, "7": peer.batch}[revision]()

    def loses(peer: Peer) -> None:
        read(peer)

    def refuses(peer: Peer) -> None:
        read(peer)
        peer.send(b"\x00")

    with ScriptedServer(loses, refuses) as server:
        with pytest.raises(Refused) as caught:
            send_at_least_once(server, file, revision=revision, batch_max="20")
        assert server.accepted == 2
    refused = "1 refused" if revision == "5" else "20 refused"
    assert f"0 of 20 bets are stored; {refused}" in str(caught.value)
    assert "sent again after a lost connection, so perhaps stored twice" in str(caught.value)


def test_rests_between_attempts_are_bounded_by_the_deadline(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long back-off does not outlast `--retry-for`."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: 1000.0)
    with unused_port() as port, pytest.raises(Unreachable):
        send_at_least_once(f"tcp://127.0.0.1:{port}", file, retry_for="0.2")
