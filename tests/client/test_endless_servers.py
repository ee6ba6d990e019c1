"""Servers that talk without end: the client keeps its deadline, stops when it is told to, and stays small."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bets_client.errors import Unreachable, WrongPeer
from tests.client.scripted_server import DEADLINE_S, Peer, ScriptedServer
from tests.client.uploading import ask, failed, send_at_least_once, send_exactly_once

MOST_MB = 128
"""Far below the 256 MB that a client would hold if it took all that `Peer.flood` has for it."""

LARGEST_LIST = (65_535).to_bytes(2) + b"30904465" * 65_535

_PROGRAM = """
import json, re, sys
from pathlib import Path
from bets_client.cli.commands import cli
try: cli.main(sys.argv[1:], prog_name="bets-client")
except SystemExit as end: code = end.code
highest = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([code, int(highest[1]) // 1024]), file=sys.stderr)
"""


class Flood:
    """A server of revision 9 that stores all, is asked for the winners, and then says `answer`, over and over.

    Attributes:
        begun: once it has said it for the first time.
    """

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.begun = threading.Event()
        self._answer = answer

    def __call__(self, peer: Peer) -> None:
        peer.open_upload()
        peer.stored([])
        bets = peer.batch()
        peer.stored(bets)
        assert peer.winners_request() == 1
        status = (1).to_bytes(4) + len(bets).to_bytes(8) + zlib.crc32(b"".join(bets)).to_bytes(4)
        peer.send(b"\x83\x00" + status)
        if self._answer is lists:
            peer.send(b"\x83\x10" + status)
        answer = self._answer(status)
        peer.send(answer)
        self.begun.set()
        peer.flood(answer)


def signs_of_life(status: bytes) -> bytes:
    return (b"\x83\x00" + status) * 3000


def lists(_: bytes) -> bytes:
    return LARGEST_LIST


def ran(*arguments: str) -> tuple[int, str]:
    """The exit code of a client, and its standard error; its memory is looked at."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        check=True,
    )
    err, _, last = done.stderr.rstrip("\n").rpartition("\n")
    code, highest_mb = json.loads(last)
    assert highest_mb < MOST_MB
    return code, err


def test_signs_of_life_without_end_do_not_outlast_the_deadline(file: Path) -> None:
    """A flood of heartbeats ends at `--retry-for`."""
    with ScriptedServer(Flood(signs_of_life)) as server:
        code, err = ran("send", str(file), "--server", server.url, "--retry-for", "0.5")
    assert (code, err.splitlines()[-1]) == (
        7,
        "bets-client: the draw has not taken place: agency 1 has waited for 0.5 s (--retry-for); "
        "bets-client winners asks again",
    )


def test_winners_without_end_are_a_breach(file: Path) -> None:
    """More winners than the bound end the client with 5."""
    with ScriptedServer(Flood(lists)) as server:
        code, err = ran("send", str(file), "--server", server.url)
    assert code == 5
    assert err.splitlines()[-1].endswith(
        "the server has named 1,114,095 winners of agency 1 so far; this client takes at most 1,048,560"
    )


def test_sigterm_amid_signs_of_life_without_end(file: Path) -> None:
    """A client under a flood can be stopped."""
    flood = Flood(signs_of_life)
    with (
        ScriptedServer(flood) as server,
        subprocess.Popen(
            [sys.executable, "-m", "bets_client", "send", str(file), "--server", server.url],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert flood.begun.wait(DEADLINE_S)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, out.splitlines()[-1].split("action: ")[1]) == (143, "shutdown | result: success")


@pytest.mark.parametrize("revision", ["5", "6", "7", "8"])
def test_acknowledgements_without_end_are_a_breach(file: Path, revision: str) -> None:
    """The first answer too many ends the upload."""
    with ScriptedServer(lambda peer: peer.flood(b"\x07" * 1_000_000)) as server:
        with pytest.raises(WrongPeer, match=r"expected an Ack of [12] or 0, not 7"):
            send_at_least_once(server, file, revision=revision)
        assert server.accepted == 1


def test_openings_without_end_are_a_breach(file: Path) -> None:
    """A second answer to one opening ends the upload."""

    def floods(peer: Peer) -> None:
        peer.open_upload()
        peer.flood((b"\x83\x00" + (1).to_bytes(4) + bytes(12)) * 1000)

    with ScriptedServer(floods) as server:
        first, _ = failed(send_exactly_once(server, file), WrongPeer)
        assert server.accepted == 1
    assert "the server breaks the protocol" in first


def test_an_echo_without_end_is_a_breach() -> None:
    """An echo that is longer than the line ends the probe."""
    with ScriptedServer(lambda peer: peer.flood(b"[CLIENT 1] " * 100_000)) as server:
        code, err = ran("probe", "--server", server.url, "--agency", "1")
    assert code == 5
    assert "the server sent back something else" in err


def test_an_answer_that_drips_does_not_outlast_the_deadline(file: Path) -> None:
    """Each byte is a sign of life; an answer is what it does not become in time."""

    def drips(peer: Peer) -> None:
        peer.open_upload()
        peer.drip(b"\x83\x00" + (1).to_bytes(4) + bytes(12), 0.1)

    with ScriptedServer(drips) as server:
        first, second = failed(send_exactly_once(server, file, retry_for="0.3"), Unreachable)
    assert first.startswith(f"no answer from {server.url} for 0.3 s (--retry-for): the server has completed no answer:")
    assert second == f"agency 1: {file}: the server has not said how many of the 20 bets are stored"


def test_winners_that_drip_do_not_outlast_the_deadline() -> None:
    """Bytes that complete no answer do not renew the deadline."""

    def drips(peer: Peer) -> None:
        assert peer.winners_request() == 1
        peer.drip(LARGEST_LIST, 0.02)

    with ScriptedServer(drips) as server, pytest.raises(Unreachable, match="the server has completed no answer"):
        ask(server.url, 1, retry_for="0.3")
