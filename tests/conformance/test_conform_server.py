"""`bets-client conform`: right servers keep every rule, and of wrong ones those rules fail that they break."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from bets_protocol import OpenUpload, Probe, RejectCode, UploadStatus, WinnersRequest, encode
from bets_protocol.conformance.against_server.draw_scenario import collect
from bets_protocol.conformance.against_server.runner import RULES, examine
from bets_protocol.conformance.against_server.target import Target
from bets_protocol.conformance.against_server.wire_client import Broken, WireClient
from bets_protocol.conformance.report import Result
from tests.conformance.tiny_server import TinyServer
from tests.conformance.wrong_servers import WRONG
from tests.effort import PROFILE
from tests.server.serving import Servers

TIMEOUT_S = 10.0
"""For an answer that will come."""

NONSENSE = [
    bytes([0x83, 16]) + bytes(40),
    bytes([0x83, 0, 0, 0, 0, 1]) + bytes(12),
    bytes([1]),
    bytes([3, 0]),
    b"\x00\x01" + b"x" * 8,
    b"hello\n",
    b"",
]
"""Pieces of answers, and what is none."""

TRIED = WRONG if PROFILE != "few" else WRONG[::4]
"""On one Python all of them: what they show is the same on every other."""

SHORT_S = 2.0
"""For one that a wrong server does not give."""


@contextlib.contextmanager
def running(server: TinyServer) -> Iterator[TinyServer]:
    """Closes it."""
    try:
        yield server
    finally:
        server.close()


def _broken(url: str, revision: int, *, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """The rules that a server breaks, and how; every other one is kept."""
    target = Target(url=url, revision=revision, agencies=2, timeout_s=timeout_s)
    findings = list(examine(target, draw_too=True))
    assert [rule.name for rule in RULES if revision in rule.revisions] == [finding.rule.name for finding in findings]
    return {finding.rule.name: finding.came for finding in findings if finding.result is not Result.PASSED}


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_our_server_keeps_every_rule(serve: Servers, revision: int) -> None:
    """The real server, revision by revision, the draw included."""
    server = serve(agencies=2, revision=revision if revision < 7 else 9)
    assert _broken(server.url, revision) == {}


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_another_server_keeps_every_rule(revision: int) -> None:
    """A server that shares nothing with ours but the messages: what the wrong ones are made from."""
    with running(TinyServer(revision=revision if revision < 7 else 9)) as server:
        assert _broken(server.url, revision) == {}


def test_answers_without_end_are_told() -> None:
    """Each of them alone would be a good one."""
    going_on = encode(UploadStatus(code=RejectCode.OK, draw=1, stored=0, crc32=0), revision=9)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with WireClient(url, 9, timeout_s=TIMEOUT_S) as client, listener.accept()[0] as server:
            client.send(OpenUpload(draw=1, agency=1, upload_id=bytes(16), total=0), WinnersRequest(agency=1))
            server.sendall(going_on * 101)
            client.receive()
            with pytest.raises(Broken, match=r"^no end of the winners after 64 answers with 0 documents$"):
                collect(client, revision=9)


def test_part_of_an_answer_is_told() -> None:
    """How many bytes came, and how many are missing; and of nothing, nothing."""
    for sent, expected in (
        (b"\0\3" + b"1" * 8, ": 10 bytes of one came, expected 16 more bytes of a Winners$"),
        (b"", "$"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            with WireClient(url, 8, timeout_s=1.0) as client, listener.accept()[0] as server:
                server.sendall(sent)
                client.send(WinnersRequest(agency=1))
                with pytest.raises(Broken, match=f"^no whole answer within 1 s{expected}"):
                    client.receive()


def test_an_answer_that_drips_is_none_in_time() -> None:
    """A byte now and then is no sign that the rest will come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with WireClient(url, 8, timeout_s=0.2) as client, listener.accept()[0] as server:
            stop = threading.Event()
            text = encode(Probe(line=b"x" * 1000 + b"\n"))

            def drip() -> None:
                for byte in text:
                    if stop.wait(0.01):
                        return
                    server.sendall(bytes([byte]))

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                client.send(Probe(line=text))
                with pytest.raises(Broken, match=r"^no whole answer within 0.2 s: \d+ bytes of one came$"):
                    client.receive()
            finally:
                stop.set()
                dripping.join(TIMEOUT_S)


def _talk_nonsense(listener: socket.socket, said: list[bytes]) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock, contextlib.suppress(OSError):
            sock.settimeout(TIMEOUT_S)
            said.append(sock.recv(65536))
            sock.sendall(NONSENSE[len(said) % len(NONSENSE)])


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_a_server_that_talks_nonsense(revision: int) -> None:
    """Whatever comes, each rule gets its finding, and nothing is raised."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    said: list[bytes] = []
    thread = threading.Thread(target=_talk_nonsense, args=(listener, said))
    thread.start()
    try:
        broken = _broken(f"tcp://127.0.0.1:{listener.getsockname()[1]}", revision, timeout_s=SHORT_S)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT_S)
    assert len(broken) > 10
    assert said


@pytest.mark.parametrize(("kind", "revision", "rules"), TRIED, ids=[kind.__name__ for kind, _, _ in TRIED])
def test_a_wrong_server_breaks_its_rules_and_no_others(kind: type[TinyServer], revision: int, rules: set[str]) -> None:
    """Each is wrong in one way."""
    with running(kind(revision=9 if revision >= 7 else revision)) as server:
        broken = _broken(server.url, revision, timeout_s=SHORT_S)
    assert rules == set(broken), broken
