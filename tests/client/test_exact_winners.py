"""Waiting for winners on revision 9: signs of life, INCOMPLETE, lost connections, refusals, and bets wanted again."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from bets_client.config import load_settings
from bets_client.errors import NotDrawn, Refused, Unreachable, WrongPeer
from bets_client.input.check import require_good
from bets_client.run_context import working
from bets_client.upload.running import Running
from bets_protocol.client import winners as module
from bets_protocol.client.csv_file import CsvFile
from bets_protocol.client.exactly_once import ExactlyOnce
from bets_protocol.client.winners import WinnersCollector
from tests.client.scripted_server import Central, Peer, ScriptedServer, silent
from tests.client.uploading import Stored
from tests.client.wire import BETS, row

ALL = zlib.crc32(b"".join(BETS))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files of two agencies, 20 rows each."""
    paths = []
    for agency in (1, 2):
        path = tmp_path / f"agency-{agency}.csv"
        path.write_text("".join(row(number) for number in range(1, 21)))
        paths.append(path)
    return paths


def ask(server: ScriptedServer, *files: Path, **options: str) -> dict[int, tuple[str, ...]]:
    """Upload the files, each of an agency of its own, and wait for the winners of all."""
    defaults = {"server": server.url, "batch_max": "2", "retry_for": "20", "log_level": "DEBUG"}
    with working(load_settings(defaults | options, {})) as context:
        running = Running(context)
        collector = WinnersCollector(running.options)
        for agency, file in enumerate(files, 1):
            source = CsvFile(str(file), agency)
            context.opened.add("file", source)
            machine = running.upload(source, require_good(source))
            upload = ExactlyOnce(running.options, machine, source.name)
            running.deliver(upload)
            running.ask(collector, agency, upload.take_link(), machine)
        running.collect(collector)
        return collector.found


class Waiting(Stored):
    """All is stored; asked for the winners."""

    def __init__(self) -> None:
        super().__init__(20)

    def asked(self, peer: Peer) -> None:
        """Up to the question, and its first answer."""
        self.open(peer)
        assert peer.winners_request() == 1
        peer.stored(self.bets)

    def draw(self, peer: Peer) -> None:
        """Tell the winners."""
        peer.status(16, 20, ALL)
        peer.winners("30904465")
        assert peer.at_end()

    def serve(self, peer: Peer) -> None:
        self.asked(peer)
        self.draw(peer)


def test_one_process_can_be_every_agency(files: list[Path]) -> None:
    """Two uploads wait for their winners at once."""
    central = Central(2, {1: ["30904465"], 2: []})
    with ScriptedServer(central) as server:
        assert ask(server, *files) == {1: ("30904465",), 2: ()}
        assert server.accepted == 2
    assert central.asked == [1, 2]


def test_signs_of_life_are_no_winners_and_do_not_renew_the_deadline(files: list[Path]) -> None:
    """Heartbeats keep the connection, and the wait still ends."""
    has = Waiting()

    def lives(peer: Peer) -> None:
        has.asked(peer)
        while not ended(peer):
            peer.stored(has.bets)

    with ScriptedServer(lives) as server, pytest.raises(NotDrawn, match="agency 1 has waited for 0"):
        ask(server, files[0], retry_for="0.5")


def ended(peer: Peer) -> bool:
    """Whether the client has left, after a moment."""
    peer.stream.settimeout(0.05)
    try:
        return peer.stream.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_silence_is_a_lost_connection(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without heartbeats a new connection is made and asks again."""
    monkeypatch.setattr(module, "HEARTBEAT_LIMIT_S", 0.2)
    monkeypatch.setattr(module, "TICK_S", 0.05)
    has = Waiting()

    def falls_silent(peer: Peer) -> None:
        has.asked(peer)
        silent(peer)

    with ScriptedServer(falls_silent, silent, has.serve) as server:
        assert ask(server, files[0]) == {1: ("30904465",)}
        assert server.accepted == 3


def test_incomplete_is_asked_again_on_the_same_connection(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 9 means that the request is repeated later."""
    monkeypatch.setattr(module, "ASK_AGAIN_S", 0.05)
    has = Waiting()

    def is_incomplete(peer: Peer) -> None:
        has.open(peer)
        for _ in range(3):
            assert peer.winners_request() == 1
            peer.status(9, 20, ALL)
        assert peer.winners_request() == 1
        peer.stored(has.bets)
        has.draw(peer)

    with ScriptedServer(is_incomplete) as server:
        assert ask(server, files[0]) == {1: ("30904465",)}
        assert server.accepted == 1


def test_incomplete_until_the_deadline_is_not_drawn_and_says_why(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that the agency is incomplete."""
    monkeypatch.setattr(module, "ASK_AGAIN_S", 0.05)
    has = Waiting()

    def is_incomplete(peer: Peer) -> None:
        has.open(peer)
        while peer.exactly(2):
            peer.status(9, 20, ALL)

    with ScriptedServer(is_incomplete) as server, pytest.raises(NotDrawn) as caught:
        ask(server, files[0], retry_for="0.5")
    assert str(caught.value) == (
        "the draw has not taken place, and cannot: agency 1: another upload of the agency is unfinished; finish it, "
        "or have the operator void it"
    )


@pytest.mark.parametrize("code", [10, 11, 12, 13])
@pytest.mark.parametrize("when", ["opening", "waiting"])
def test_a_passing_trouble_is_waited_out(
    files: list[Path], when: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """While waiting, too, a passing trouble leads to a new connection."""
    has = Waiting()

    def is_in_trouble(peer: Peer) -> None:
        has.asked(peer)
        if when == "waiting":
            peer.status(code, 20)
            silent(peer)

    def does_not_open(peer: Peer) -> None:
        peer.open_upload()
        peer.status(code, 0)
        silent(peer)

    scripts = [is_in_trouble, does_not_open, has.serve] if when == "opening" else [is_in_trouble, has.serve]
    with ScriptedServer(*scripts) as server:
        assert ask(server, files[0]) == {1: ("30904465",)}
        assert server.accepted == len(scripts)
    assert f"(code {code}, " in capsys.readouterr().out


def test_a_refusal_while_waiting_is_final(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A fenced client does not connect again."""
    has = Waiting()

    def is_fenced(peer: Peer) -> None:
        has.asked(peer)
        peer.status(4, 20)
        silent(peer)

    with ScriptedServer(is_fenced) as server:
        with pytest.raises(Refused, match="agency 1 asked for its winners: the server refuses: another client"):
            ask(server, files[0])
        assert server.accepted == 1
    assert "ERROR    action: consulta_ganadores | result: fail | error: the server refuses" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"\x00", b"\x83\x10\x00\x00\x00\x02" + bytes(12)])
def test_what_cannot_be_said_ends_the_wait(files: list[Path], answer: bytes) -> None:
    """An answer that breaks the protocol names the agency."""
    has = Waiting()

    def babbles(peer: Peer) -> None:
        has.asked(peer)
        peer.send(answer)
        silent(peer)

    with ScriptedServer(babbles) as server:
        with pytest.raises(WrongPeer, match="agency 1 asked for its winners"):
            ask(server, files[0])
        assert server.accepted == 1


def test_a_server_that_is_gone_is_unreachable(files: list[Path]) -> None:
    """A server that does not come back is no success."""
    has = Waiting()

    def leaves(peer: Peer) -> None:
        has.asked(peer)

    with ScriptedServer(leaves, lambda _: None) as server, pytest.raises((Unreachable, NotDrawn)):
        ask(server, files[0], retry_for="0.5")


def test_bets_that_the_server_has_lost_meanwhile_are_sent_again(files: list[Path]) -> None:
    """The upload was voided while its agency waited: it is sent and asked for once more."""
    has = Waiting()

    def asks_and_leaves(peer: Peer) -> None:
        has.asked(peer)
        has.bets = BETS[:5]

    def takes_the_rest(peer: Peer) -> None:
        has.open(peer)
        has.take(peer, 8)
        assert peer.winners_request() == 1
        peer.stored(has.bets)
        has.draw(peer)

    with ScriptedServer(asks_and_leaves, takes_the_rest) as server:
        assert ask(server, files[0], window="3") == {1: ("30904465",)}
    assert has.bets == BETS


def test_more_winners_than_one_list_holds(files: list[Path]) -> None:
    """A full list is followed by another one, and both are given."""
    has = Waiting()
    full = ["30000001"] * 65_535

    def has_many(peer: Peer) -> None:
        has.asked(peer)
        peer.status(16, 20, ALL)
        peer.winners(*full)
        peer.winners("30000002")
        assert peer.at_end()

    with ScriptedServer(has_many) as server:
        assert ask(server, files[0]) == {1: (*full, "30000002")}
