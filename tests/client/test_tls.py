"""The client over TLS: every command that connects, any place of the settings, and what it says when it may not."""

from __future__ import annotations

import datetime
import json
import ssl
from pathlib import Path

import pytest
from click.testing import Result

from bets_protocol.transports import TlsFiles
from tests.certificates import DAY, LOOPBACK, Authority
from tests.client.command_line import BET_VARIABLES, run
from tests.client.scripted_server import Central, Peer, ScriptedServer
from tests.client.wire import ROW


@pytest.fixture
def agency(authority: Authority) -> TlsFiles:
    return authority.agency(1)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "agency-1.csv"
    path.write_text(ROW * 3, newline="\r\n")
    return str(path)


def side_of(files: TlsFiles) -> ssl.SSLContext:
    """A server that lets nobody in without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert files.cert is not None
    context.load_cert_chain(files.cert, files.key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return context


def options(files: TlsFiles) -> list[str]:
    return [f"--tls-{name}={getattr(files, name)}" for name in ("cert", "key", "ca")]


def echo(peer: Peer) -> None:
    while data := peer.stream.recv(65_536):
        peer.send(data)


def arguments(command: str, file: str) -> list[str]:
    given = {
        "send": ["send", file],
        "bet": ["bet", "--agency", "1"],
        "winners": ["winners", "--agency", "1"],
        "probe": ["probe"],
        "run": ["run", "--agency", "1", "--file", file],
    }
    return given[command]


COMMANDS = ("send", "bet", "winners", "probe", "run")


def run_command(command: str, file: str, *more: str) -> Result:
    env = BET_VARIABLES if command == "bet" else {}
    return run(*arguments(command, file), *more, **env)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_goes_over_tls(command: str, authority: Authority, agency: TlsFiles, file: str) -> None:
    """With the same answers as without."""
    script = echo if command == "probe" else Central(1, {1: ["30904465"]})
    with ScriptedServer(script, tls=side_of(authority.server())) as server:
        result = run_command(command, file, "--server", server.url, *options(agency))
    assert result.exit_code == 0, result.output
    assert ("30904465" in result.stdout.splitlines()) == (command in {"send", "winners", "run"})


@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_files_may_stand_anywhere(
    place: str, authority: Authority, agency: TlsFiles, file: str, tmp_path: Path
) -> None:
    """In the environment, or in the YAML file under `tls`."""
    config = tmp_path / "config.yaml"
    config.write_text(f"tls:\n  cert: {agency.cert}\n  key: {agency.key}\n  ca: {agency.ca}\n  min: '1.3'\n")
    env = {f"BETS_TLS_{name.upper()}": str(getattr(agency, name)) for name in ("cert", "key", "ca")}
    with ScriptedServer(Central(1), tls=side_of(authority.server())) as server:
        given = {"BETS_CONFIG": str(config)} if place == "file" else env
        result = run("send", file, "--server", server.url, **given)
    assert result.exit_code == 0, result.output


def test_tls_1_2_has_to_be_asked_for(authority: Authority, agency: TlsFiles, file: str) -> None:
    """A server that knows no newer one is of another time unless `--tls-min` says otherwise."""
    context = side_of(authority.server())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with ScriptedServer(Central(1), tls=context) as server:
        command = ("send", file, "--server", server.url, *options(agency))
        refused = run(*command)
        assert (refused.exit_code, server.accepted) == (5, 1)
        assert "it wants another version of TLS than we do" in refused.stderr
        assert run(*command, "--tls-min", "1.2").exit_code == 0


@pytest.mark.parametrize("revision", ["8", "9"])
@pytest.mark.parametrize("command", COMMANDS)
def test_who_is_not_let_in_does_not_try_again(
    command: str, revision: str, authority: Authority, stranger: Authority, file: str
) -> None:
    """One connection, exit code 6, and a line that says why, though a client hears it behind its handshake only."""
    theirs = stranger.agency(1)
    files = TlsFiles(cert=theirs.cert, key=theirs.key, ca=authority.ca)
    which = () if command == "probe" else ("--revision", revision)
    with ScriptedServer(echo, tls=side_of(authority.server())) as server:
        result = run_command(command, file, "--server", server.url, *which, *options(files))
        assert (result.exit_code, server.accepted) == (6, 1)
    first, *_ = [line for line in result.stderr.splitlines() if line.startswith("Error") or "tls://" in line]
    assert server.url in first
    assert "it does not know the authority of our certificate (unknown CA)" in first
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_another_gets_nothing(command: str, authority: Authority, agency: TlsFiles, file: str) -> None:
    """Exit code 6 as well, at the first attempt."""
    elsewhere = authority.issue("elsewhere", "elsewhere.example")
    with ScriptedServer(echo, tls=side_of(elsewhere)) as server:
        result = run_command(command, file, "--server", server.url, *options(agency))
        assert (result.exit_code, server.accepted) == (6, 1)
    assert "its certificate is for another address" in result.stderr


@pytest.mark.parametrize("revision", ["7", "9"])
@pytest.mark.parametrize("identities", [[2], [1, 2]])
def test_the_winners_of_another_agency_are_not_asked_for(
    revision: str, identities: list[int], authority: Authority
) -> None:
    """A server could only close the connection, which would be tried again until `--retry-for` is over."""
    uris = [f"urn:bets:agency:{number}" for number in identities]
    files = authority.issue("theirs", *uris, purposes=("client",))
    with ScriptedServer(Central(1), tls=side_of(authority.server())) as server:
        arguments = ("winners", "--agency", "1", "--server", server.url, "--revision", revision, "--format", "json")
        result = run(*arguments, *options(files))
        assert (result.exit_code, server.accepted) == (6, 0)
    named = ", ".join(map(str, identities))
    answer = json.loads(result.stdout)
    assert (answer["exit_code"], answer["error"]) == (
        6,
        f"{server.url}: {files.cert} is the certificate of agency {named}: it may not ask for the winners of agency 1; "
        "check --agency and --tls-cert",
    )
    assert "action: consulta_ganadores | result: fail | error: " in result.stderr


OTHER_NAMES = {
    "no name": (),
    "a host": ("client.example",),
    "another scheme": ("urn:bets:agency:1000", "urn:bets:agency:2:admin", "urn:bets:agent:2"),
}


@pytest.mark.parametrize("identities", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_a_certificate_that_names_no_agency_is_for_the_server_to_judge(
    identities: tuple[str, ...], authority: Authority
) -> None:
    """It may know its clients in another way."""
    files = authority.issue("nobody", *identities, purposes=("client",))
    with ScriptedServer(Central(1), tls=side_of(authority.server())) as server:
        assert run("winners", "--agency", "1", "--server", server.url, *options(files)).exit_code == 0


@pytest.mark.parametrize("content", [None, b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_names_nobody(content: bytes | None, agency: TlsFiles, tmp_path: Path) -> None:
    """To say what is wrong with it is for who connects with it."""
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_bytes(content)
    files = TlsFiles(cert=path, key=agency.key, ca=agency.ca)
    result = run("winners", "--agency", "1", "--server", "tls://127.0.0.1:1", *options(files))
    assert result.exit_code == 2
    assert str(path) in result.stderr


@pytest.mark.parametrize(
    ("starts", "ends", "words"),
    [
        (-2 * DAY, -DAY, "the certificate has expired at 20"),
        (DAY, 60 * DAY, "the certificate is not valid before 20"),
        (-DAY, 29 * DAY, "Z, in 28 days"),
        (-DAY, 31 * DAY, ""),
    ],
)
@pytest.mark.parametrize("command", ["send", "winners", "probe"])
def test_dates_of_the_own_certificate_are_watched(
    command: str, starts: datetime.timedelta, ends: datetime.timedelta, words: str, authority: Authority, file: str
) -> None:
    """One line of the log, whatever the server thinks of it."""
    files = authority.issue("agency-1", "urn:bets:agency:1", starts=starts, ends=ends)
    script = echo if command == "probe" else Central(1, {1: []})
    with ScriptedServer(script, tls=side_of(authority.server())) as server:
        result = run_command(command, file, "--server", server.url, *options(files))
    lines = [line for line in result.stdout.splitlines() if "check_certificate" in line]
    assert len(lines) == bool(words)
    assert all(
        f"WARNING  action: check_certificate | result: success | file: {files.cert} | " in line for line in lines
    )
    assert all(words in line for line in lines)


def test_a_server_whose_certificate_has_expired_gets_nothing(authority: Authority, agency: TlsFiles, file: str) -> None:
    """It says so, and does not wait until `--retry-for` is over."""
    old = authority.issue("old", *LOOPBACK, starts=-2 * DAY, ends=-DAY)
    with ScriptedServer(echo, tls=side_of(old)) as server:
        result = run("send", file, "--server", server.url, *options(agency))
        assert (result.exit_code, server.accepted) == (6, 1)
    assert "its certificate has expired" in result.stderr


def test_a_server_without_tls_is_named(agency: TlsFiles, file: str) -> None:
    """It is no matter of who it is: exit code 5."""

    def speaks_plainly(peer: Peer) -> None:
        peer.send(b"hello\n")
        peer.at_end()

    with ScriptedServer(speaks_plainly) as server:
        url = server.url.replace("tcp", "tls")
        result = run("send", file, "--server", url, *options(agency))
        assert (result.exit_code, server.accepted) == (5, 1)
    assert "it does not speak TLS" in result.stderr


def test_a_server_that_restarts_is_tried_again(authority: Authority, agency: TlsFiles, file: str) -> None:
    """A connection that ends within the handshake says nothing of who is who."""
    context = side_of(authority.server())
    went_away: list[bytes] = []

    class Restarting(ScriptedServer):
        def _run(self, script, stream) -> None:  # type: ignore[no-untyped-def]
            if not went_away:
                went_away.append(stream.recv(10))
                stream.close()
                return
            super()._run(script, stream)

    with Restarting(Central(1), tls=context) as server:
        result = run("send", file, "--server", server.url, *options(agency))
    assert result.exit_code == 0, result.output
    assert server.accepted == 2


def test_tls_needs_its_files(agency: TlsFiles, file: str) -> None:
    """Each that is missing is named by its option."""
    result = run("send", file, "--server", "tls://127.0.0.1:1", "--tls-ca", str(agency.ca))
    assert result.exit_code == 2
    assert "tls://127.0.0.1:1: TLS needs --tls-cert and --tls-key" in result.stderr
    result = run("send", file, "--server", "tls://127.0.0.1:1", *options(agency), "--tls-min", "1.1")
    assert result.exit_code == 2
    assert "--tls-min: '1.1': expected one of 1.2, 1.3" in result.stderr


def test_a_file_that_cannot_be_used_is_named(agency: TlsFiles, file: str, tmp_path: Path) -> None:
    """At once, and without a connection."""
    missing = str(tmp_path / "none.key")
    with ScriptedServer(echo) as server:
        url = server.url.replace("tcp", "tls")
        result = run("send", file, "--server", url, *options(agency), "--tls-key", missing)
        assert (result.exit_code, server.accepted) == (2, 0)
    assert f"TLS: {missing}: cannot read the private key: no such file or directory" in result.stderr


@pytest.mark.parametrize("place", ["option", "environment", "file"])
def test_certificates_without_tls_are_an_error(place: str, agency: TlsFiles, file: str, tmp_path: Path) -> None:
    """Who names a certificate means the connection to be encrypted: nothing goes out in the clear."""
    config = tmp_path / "config.yaml"
    config.write_text(f"tls: {{key: {agency.key}}}\n")
    more, env, name = {
        "option": (["--tls-cert", str(agency.cert)], {}, "--tls-cert"),
        "environment": ([], {"BETS_TLS_CA": str(agency.ca)}, "environment BETS_TLS_CA"),
        "file": (["--config", str(config)], {}, f"{config}: tls.key"),
    }[place]
    with ScriptedServer(echo) as server:
        result = run("send", file, "--server", server.url, *more, **env)
        assert (result.exit_code, server.accepted) == (2, 0)
    assert f"the connection would not be encrypted, although {name} is set" in result.stderr
    assert "write tls://HOST:PORT" in result.stderr


def test_commands_that_do_not_connect_take_no_notice(agency: TlsFiles, file: str, tmp_path: Path) -> None:
    """`check` and `sample` have no use for certificates."""
    env = {"BETS_TLS_CERT": str(agency.cert)}
    assert run("check", file, **env).exit_code == 0
    assert run("sample", str(tmp_path / "samples"), "--bets", "1", **env).exit_code == 0
