"""`bets-server conform`: right clients keep every rule, and of wrong ones those rules fail that they break."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bets_protocol.conformance.against_client.runner import Runner, unknown_placeholders
from bets_protocol.conformance.against_client.scenarios import Scenario, scenarios_of
from bets_protocol.conformance.report import Finding, Result
from bets_protocol.transports import Listener, connect, listen, parse_url
from tests.conformance.tiny_client import TinyClient
from tests.conformance.wrong_clients import WRONG, TalksNonsense
from tests.effort import PROFILE

TRIED = WRONG if PROFILE != "few" else WRONG[::4]
"""On one Python all of them: what they show is the same on every other."""


SLOW = {"pieces", "overload", "incomplete", "waits", "lists"}
"""Of revision 9 those that take their time: a wrong client plays them where they are about what is wrong with it."""


def _scenarios(revision: int, rules: set[str]) -> list[Scenario]:
    return [one for one in scenarios_of(revision) if revision < 9 or one.name not in SLOW or one.rule.name in rules]


def _checked(kind: type[TinyClient], revision: int, scenarios: list[Scenario] | None = None) -> list[Finding]:
    """What is found of a client that runs once for each scenario."""
    with listen("tcp://127.0.0.1:0") as listener:
        runner = Runner(
            listener=listener,
            revision=revision,
            scenarios=scenarios_of(revision) if scenarios is None else scenarios,
            start=lambda: kind(listener.url, revision),
            limit_s=5.0,
            notify=lambda _: None,
        )
        runner.play()
    return runner.findings()


@pytest.mark.parametrize("revision", [5, 6, 7, 8, 9])
def test_a_right_client_keeps_every_rule(revision: int) -> None:
    """None fails, and none is left out."""
    findings = _checked(TinyClient, revision)
    assert [(one.rule.name, one.came) for one in findings if one.result is not Result.PASSED] == []


@pytest.mark.parametrize("revision", [5, 8, 9])
def test_a_client_that_talks_nonsense(revision: int) -> None:
    """Whatever comes, each rule gets its finding, and nothing is raised."""
    broken = {one.rule.name for one in _checked(TalksNonsense, revision) if one.result is Result.FAILED}
    assert broken >= {"frames-fit-their-layout", "messages-are-sent-whole"}


@pytest.mark.parametrize(("kind", "revision", "rules"), TRIED, ids=[kind.__name__ for kind, _, _ in TRIED])
def test_a_wrong_client_breaks_its_rules_and_no_others(kind: type[TinyClient], revision: int, rules: set[str]) -> None:
    """Each is wrong in one way."""
    findings = _checked(kind, revision, _scenarios(revision, rules))
    broken = {one.rule.name: one.came for one in findings if one.result is Result.FAILED}
    assert rules == set(broken), broken


PROGRAM = """
import socket, sys, time
from bets_protocol import Bet, BetBatch, encode, encode_bets
host, port, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
bets = [Bet(agency=1, first_name=n, last_name="Paz", document="30904465", birthdate="1999-03-17", number=7)
        for n in ("Ana", "Eva", "Ian")]
body = [encode_bets([bet]) for bet in bets]
data = {
    "too-long": body[0][:1] + bytes([body[0][1] + 2]) + body[0][2:] + body[1] + body[2],
    "little-endian": b"".join(bet[1::-1] + bet[2:] for bet in body),
    "last-too-long": body[0] + body[1] + body[2][:1] + bytes([body[2][1] + 2]) + body[2][2:],
    "count": body[0] + body[1],
    "nothing": b"",
    "abort": b"",
}[what]
with socket.create_connection((host, port)) as sock:
    if data:
        sock.sendall(b"\\1\\3" + data)
    print("said", flush=True)
    if what == "abort":
        import os; os.abort()
    time.sleep(60)
"""


def said_all(listener: Listener, what: str) -> subprocess.Popen[bytes]:
    """The program, once it has said what it says: a slow machine must not take its start for silence."""
    url = parse_url(listener.url)
    words = [sys.executable, "-c", PROGRAM, url.host, str(url.port), what]
    client = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline() == b"said\n"
    return client


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("too-long", [r"bets\[0\] at byte 2: its length says 31 bytes \(.*\), its fields take 29"]),
        ("little-endian", [r"bets\[0\] at byte 2: its length says 7424 bytes \(.*\), its fields take 29"]),
        (
            "last-too-long",
            [
                r"95 bytes of a message came \(01 03 00 1d 01 .* \.\.\.\), then nothing: expected 2 more bytes",
                r"bets\[2\] at byte 64: its length says 31 bytes \(.*\), its fields take 29",
            ],
        ),
        (
            "count",
            [
                "64 bytes of a message came .*, then nothing: expected 2 more bytes of a BetBatch;",
                "a length or a count that is too large makes both ends wait for each other",
            ],
        ),
        (
            "nothing",
            ["nothing was sent; the client did not end within --timeout: 1 s without a byte of it; it was killed"],
        ),
        ("abort", ["nothing was sent; the client was killed by SIGABRT"]),
    ],
)
def test_a_client_that_stops_half_way_is_told_what_came(what: str, expected: list[str]) -> None:
    """What came, what is missing and which length is to blame; and how the program ended, in words."""
    with listen("tcp://127.0.0.1:0") as listener:
        runner = Runner(
            listener=listener,
            revision=8,
            scenarios=scenarios_of(8)[:1],
            start=lambda: said_all(listener, what),
            limit_s=1.0,
            notify=lambda _: None,
        )
        runner.play()
    came = "\n".join(one.came for one in runner.findings() if one.result is Result.FAILED)
    for text in expected:
        assert re.search(text, came), came
    assert "-9" not in came


def test_half_a_message_is_enough_to_end_a_run() -> None:
    """Also of a client that somebody else has started."""
    with listen("tcp://127.0.0.1:0") as listener, connect(listener.url) as stream:
        stream.send_all(b"\1\3\0")
        runner = Runner(
            listener=listener,
            revision=8,
            scenarios=scenarios_of(8)[:1],
            quiet_s=0.1,
            limit_s=0.3,
            notify=lambda _: None,
        )
        runner.play()
    came = [one.came for one in runner.findings() if one.result is Result.FAILED]
    assert len(came) == 1
    assert came[0].startswith("3 bytes of a message came (01 03 00), then nothing: expected 1 more bytes of a BetBatch")


def test_only_what_looks_like_a_placeholder_is_one() -> None:
    """Braces of shells, JSON and awk stay as they are."""
    words = ["${HOME}", "{url}", '{"a": 1}', "{print $1}", "{}"]
    for url in ("tcp://127.0.0.1:0", "unix:///nowhere"):
        assert unknown_placeholders(words, url) == []
