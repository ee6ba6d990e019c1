"""Both checks over `tls://`, with real certificates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bets_client.cli.commands import cli
from bets_client.input.sample import write_samples
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.conformance.against_server import rules_draw
from bets_protocol.conformance.against_server.target import NotTried, ServerRule, Target
from bets_protocol.transports import TlsFiles
from bets_server.cli import main as server_cli
from tests.certificates import Authority
from tests.e2e.processes import PROGRAMS, Programs
from tests.server.serving import Servers


def _options(files: TlsFiles) -> list[str]:
    return [f"--tls-{name}={getattr(files, name)}" for name in ("cert", "key", "ca")]


def _conform(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int | str | None, dict[str, tuple[str, str]], str]:
    """`bets-client conform`: exit code; by rule its result and what came; errors."""
    with pytest.raises(SystemExit) as end:
        cli.main(["conform", *arguments, "--format", "json"], "bets-client")
    printed = capsys.readouterr()
    rules = json.loads(printed.out)["rules"] if printed.out else []
    return end.value.code, {one["rule"]: (one["result"], one["came"]) for one in rules}, printed.err


def test_our_server(serve: Servers, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    """With the certificate of agency 1 every rule is kept but those that take other agencies, which say so."""
    server = serve(scheme="tls", files=authority.server(), agencies=1)
    more = ("--agencies", "1", "--draw-too", *_options(authority.agency(1)))
    code, rules, err = _conform(capsys, server.url, *more)
    assert (code, err) == (ExitCode.DONE, "")
    left_out = {came for result, came in rules.values() if result != "passed"}
    assert left_out == {
        "it takes more than one agency, and a certificate speaks for one",
        "it takes a server that waits for two agencies or more",
    }
    assert rules["draw-takes-place-when-all-have-asked"] == ("passed", "")


@pytest.mark.parametrize("rule", rules_draw.RULES, ids=[rule.name for rule in rules_draw.RULES])
def test_a_draw_of_several_agencies(rule: ServerRule) -> None:
    """One certificate cannot bring it about, so nothing of it is tried, and nobody is connected to."""
    target = Target(url="tls://127.0.0.1:1", revision=9, agencies=2)
    with pytest.raises(NotTried, match="a certificate speaks for one agency, so it takes a server that waits for one"):
        rule.check(target)


def test_certificates_for_a_server_without_tls(authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    """An error, as for every other command, and not a check in the open."""
    code, _, err = _conform(capsys, "tcp://127.0.0.1:1", *_options(authority.agency(1)))
    assert code == ExitCode.USAGE
    assert "the connection would not be encrypted, although --tls-cert is set" in err


def test_a_server_that_believes_another_authority(
    serve: Servers, authority: Authority, stranger: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody that could be checked is there: exit code 4 and the reason."""
    server = serve(scheme="tls", files=stranger.server())
    code, rules, err = _conform(capsys, server.url, *_options(authority.agency(1)))
    assert (code, rules) == (ExitCode.UNREACHABLE, {})
    assert "its certificate is of another authority than ours" in err


def test_our_client(programs: Programs, authority: Authority, tmp_path: Path) -> None:
    """The real programs: `bets-client send` keeps every rule over TLS as well."""
    write_samples(str(tmp_path), agencies=1, bets=9, seed=5, overwrite=True)
    program = programs.run(
        "bets-server",
        *("conform", "--listen", "tls://127.0.0.1:0", *_options(authority.server())),
        *("--scenario", "cut", "--format", "json", "--"),
        *(str(PROGRAMS / "bets-client"), "send", str(tmp_path / "agency-1.csv"), "--server", "{url}", "-q"),
        *_options(authority.agency(1)),
    )
    found = json.loads(program.out)
    assert (found["listen"].partition("://")[0], found["failed"]) == ("tls", 0)
    passed = {one["rule"] for one in found["rules"] if one["result"] == "passed"}
    assert passed >= {"job-is-done", "answers-are-read-before-the-end", "upload-goes-on-at-stored"}


def test_a_client_without_a_certificate(programs: Programs, authority: Authority, tmp_path: Path) -> None:
    """It breaks no rule of the protocol, since it has not said a word; the reason is on standard error."""
    write_samples(str(tmp_path), agencies=1, bets=1, seed=5, overwrite=True)
    program = programs.run(
        "bets-server",
        *("conform", "--listen", "tls://127.0.0.1:0", *_options(authority.server()), "--clients", "1", "--"),
        *(str(PROGRAMS / "bets-client"), "send", str(tmp_path / "agency-1.csv"), "--server", "{url}"),
        *("--retry-for", "0", *_options(authority.issue("old", "urn:bets:agency:1", purposes=("server",)))),
        code=ExitCode.PROTOCOL,
    )
    assert "conform: a connection was of no use: " in program.err
    broken = [line.split()[1] for line in program.out.splitlines() if line.startswith("failed")]
    assert broken == ["job-is-done"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--listen", "tls://127.0.0.1:0"), "a tls:// listener needs --tls-cert and --tls-key and --tls-ca"),
        (("--listen", "tcp://127.0.0.1:0", "--tls-ca", "ca.pem"), "no tls:// listener that would use them"),
        (("--listen", "tls://[::1", "--tls-ca=a", "--tls-cert=b", "--tls-key=c"), "expected [IPv6 address]:port"),
    ],
)
def test_what_cannot_be_listened_with(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    """Exit code 2 and the reason, as for `serve`."""
    with pytest.raises(SystemExit) as end:
        server_cli.main(["conform", *arguments], "bets-server")
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (ExitCode.USAGE, "")
    assert reason in printed.err
