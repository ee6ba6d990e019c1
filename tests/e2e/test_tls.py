"""The main job over TLS with real processes and with the certificates that `bets-server certs` makes."""

from __future__ import annotations

import hashlib
import signal
import ssl

import pytest

from bets_protocol.cli.exit_codes import ExitCode
from tests.certificates import DAY, LOOPBACK, Authority
from tests.e2e.processes import PROGRAMS, Program, Programs, ServerProgram

ROWS = [f"Ana,Páez,3090446{row},1999-03-17,{7574 if row == 4 else row}" for row in range(10)]


@pytest.fixture(autouse=True)
def _files(programs: Programs) -> None:
    """The files of agencies 1 and 2."""
    for agency in (1, 2):
        (programs.folder / f"agency-{agency}.csv").write_text("\n".join(ROWS), encoding="utf-8")


@pytest.fixture
def _made_by_us(programs: Programs) -> None:
    """An authority, the server's certificate, those of agencies 1 and 2, and their pins: by the commands for that."""
    programs.run("bets-server", "certs", "init", "certs")
    for agency in (1, 2):
        made = programs.run("bets-server", "certs", "agency", str(agency), "--dir", "certs")
        with (programs.folder / "pins").open("a") as pins:
            pins.write("".join(f"{line}\n" for line in made.results))


@pytest.fixture
def _made_for_us(programs: Programs) -> None:
    """The same, quicker."""
    authority = Authority(programs.folder / "certs")
    authority.server()
    for agency in (1, 2):
        certificate = authority.agency(agency).cert
        assert certificate is not None
        encoded = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        with (programs.folder / "pins").open("a") as pins:
            pins.write(f"{hashlib.sha256(encoded).hexdigest()} {agency}\n")


def _server(programs: Programs, *arguments: str) -> ServerProgram:
    files = ("--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key", "--tls-ca", "certs/ca.pem")
    return programs.server("--agencies", "2", *files, *arguments, listen="tls://127.0.0.1:0")


def _client(programs: Programs, server: ServerProgram, agency: int, *arguments: str, holder: int = 0) -> Program:
    name = f"certs/agency-{holder or agency}"
    files = ("--tls-cert", f"{name}.pem", "--tls-key", f"{name}.key", "--tls-ca", "certs/ca.pem")
    return programs.client(*arguments, "--agency", str(agency), "--server", server.url, *files)


@pytest.mark.usefixtures("_made_by_us")
def test_main_job(programs: Programs) -> None:
    """Two agencies, one draw, each gets its own winners; a health check with the server's own certificate."""
    server = _server(programs, "--tls-pins", "pins")
    own = ("--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key", "--tls-ca", "certs/ca.pem")
    programs.run("bets-server", "health", server.url, *own)
    clients = [_client(programs, server, agency, "send", f"agency-{agency}.csv") for agency in (1, 2)]
    assert [client.expect().results for client in clients] == [["30904464"], ["30904464"]]
    server.stop()


@pytest.mark.usefixtures("_made_for_us")
@pytest.mark.parametrize("revision", ["9", "8", "7"])
def test_certificate_of_another_agency(programs: Programs, revision: str) -> None:
    """The client ends at once and says that it was refused; nothing is stored, and nobody is sealed."""
    server = _server(programs)
    thief = _client(programs, server, 2, "send", "agency-2.csv", "--revision", revision, holder=1)
    thief.expect(ExitCode.REFUSED)
    server.stop()
    assert "the certificate speaks for agency 1 only" in server.out
    assert programs.run("bets-server", "export", "all.csv").expect().err == ""
    assert (programs.folder / "all.csv").read_text() == ""
    assert "close_connection | result: fail" not in server.out


@pytest.mark.usefixtures("_made_for_us")
def test_strangers(programs: Programs) -> None:
    """With a certificate of another authority, without one, and without TLS: no way in, and no second try."""
    server = _server(programs)
    Authority(programs.folder / "other").agency(1)
    command = ["send", "agency-1.csv", "--server", server.url, "--tls-ca", "certs/ca.pem"]
    refused = programs.client(*command, "--tls-cert", "other/agency-1.pem", "--tls-key", "other/agency-1.key")
    assert "it does not know the authority of our certificate" in refused.expect(ExitCode.REFUSED).err.splitlines()[0]
    assert "TLS needs --tls-cert and --tls-key" in programs.client(*command).expect(ExitCode.USAGE).err
    plain = server.url.replace("tls://", "tcp://")
    programs.client("send", "agency-1.csv", "--server", plain, "--retry-for", "0.5").finished()
    assert server.logged("open_upload") == 0
    server.stop()


@pytest.mark.usefixtures("_made_for_us")
def test_reload(programs: Programs) -> None:
    """SIGHUP revokes a certificate that was taken off the list, also for who waits for the draw already.

    A list that cannot be read changes nothing.
    """
    server = _server(programs, "--tls-pins", "pins")
    _client(programs, server, 1, "send", "agency-1.csv", "--no-winners").expect()
    pins = programs.folder / "pins"
    good = pins.read_text()
    pins.write_text("nonsense\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: fail | error: pins:1: expected 64 hexadecimal digits")
    waiting = _client(programs, server, 2, "send", "agency-2.csv", "--log-level", "DEBUG")
    waiting.wait_for_line("consulta_ganadores | result: in_progress")
    pins.write_text(good.splitlines()[0])
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: success")
    waiting.expect(ExitCode.REFUSED)
    _client(programs, server, 2, "send", "agency-2.csv").expect(ExitCode.REFUSED)
    _client(programs, server, 1, "send", "agency-1.csv", "--no-winners").expect()
    server.stop()


@pytest.mark.usefixtures("_made_for_us")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--listen", "tls://127.0.0.1:0", "--tls-ca", "certs/ca.pem"],
            "a tls:// listener needs --tls-cert and --tls-key; see `bets-server certs`",
        ),
        (["--tls-cert", "certs/server.pem"], "there are certificates, and no tls:// listener that would use them"),
        (
            [
                *("--listen", "tls://127.0.0.1:0", "--tls-ca", "certs/ca.pem"),
                *("--tls-cert", "certs/server.pem", "--tls-key", "certs/agency-1.key"),
            ],
            "certs/agency-1.key",
        ),
    ],
)
def test_wrong_settings(programs: Programs, arguments: list[str], error: str) -> None:
    """The error says what is missing, or which file is wrong."""
    failed = programs.run("bets-server", "serve", *arguments, code=ExitCode.USAGE)
    assert error in failed.err
    assert len(failed.err.splitlines()) == 1


COMMANDS = (
    ("send", "agency-1.csv"),
    *(("send", "agency-1.csv", "--revision", revision) for revision in "5678"),
    (
        "bet",
        "--first-name",
        "A",
        "--last-name",
        "B",
        "--document",
        "30904465",
        "--birthdate",
        "1999-03-17",
        "--number=1",
    ),
    ("winners",),
    ("probe",),
    ("run", "--file", "agency-1.csv"),
)


@pytest.mark.usefixtures("_made_for_us")
def test_tls_at_a_plain_port_and_plain_at_a_tls_port(programs: Programs) -> None:
    """Each command ends with 5 at once and says what is wrong; so do the lines of the servers."""
    encrypted = _server(programs)
    plain = programs.server("--store", "sqlite:///plain.db")
    files = ("--tls-cert", "certs/agency-1.pem", "--tls-key", "certs/agency-1.key", "--tls-ca", "certs/ca.pem")
    for command in COMMANDS:
        where = ("--agency", "1", "--server")
        wrong = programs.client(*command, *where, encrypted.url.replace("tls", "tcp")).expect(ExitCode.PROTOCOL)
        assert "what answers there speaks TLS: write tls://" in wrong.err
        wrong = programs.client(*command, *where, plain.url.replace("tcp", "tls"), *files).expect(ExitCode.PROTOCOL)
        assert "it does not speak TLS" in wrong.err
    told = (
        "receive_message | result: fail | ip: 127.0.0.1 | error: type at byte 0: expected the type of a message, not 22"
    )
    plain.wait_for_line(f"{told}: these bytes begin TLS")
    encrypted.wait_for_line(
        "accept_connections | result: fail | ip: 127.0.0.1 | error: cannot talk TLS with 127.0.0.1: it"
    )


def _in_shell(programs: Programs, command: str) -> Program:
    """A command line with ``<(...)``, which bash reads."""
    return programs.start("python", "-c", "import os, sys; os.execvp('bash', ['bash', '-c', sys.argv[1]])", command)


@pytest.mark.usefixtures("_made_for_us")
def test_certificates_from_pipes(programs: Programs) -> None:
    """Both programs read each once. SIGHUP says that it cannot be read again, and locks nobody out."""
    pipes = "--tls-cert <(cat certs/{0}.pem) --tls-key <(cat certs/{0}.key) --tls-ca <(cat certs/ca.pem)"
    bets_server = f"exec {PROGRAMS}/bets-server serve --listen tls://127.0.0.1:0 --log-level DEBUG --agencies 1"
    server = _in_shell(programs, f"{bets_server} --tls-pins <(cat pins) {pipes.format('server')}")
    server.wait_for_line("accept_connections | result: in_progress")
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: fail | error: /dev/fd/")
    assert "is no regular file, so what was read from it at the start cannot be read again" in server.out
    url = server.out.partition("listen: ")[2].split()[0]
    files = pipes.format("agency-1")
    for command in ("send agency-1.csv", "winners --agency 1"):
        client = _in_shell(programs, f"exec {PROGRAMS}/bets-client {command} --server {url} {files}").expect()
        assert client.results == ["30904464"]
    server.stop()


def test_dates_of_the_servers_certificate(programs: Programs) -> None:
    """At the start and when it is read anew; a client is told by its own error."""
    authority = Authority(programs.folder / "certs")
    authority.issue("server", *LOOPBACK, starts=-2 * DAY, ends=-DAY)
    server = _server(programs)
    server.wait_for_line(
        "check_certificate | result: success | file: certs/server.pem | warning: the certificate has exp"
    )
    authority.issue("server", *LOOPBACK, ends=10 * DAY)
    server.send_signal(signal.SIGHUP)
    server.wait_for_line(
        "check_certificate | result: success | file: certs/server.pem | warning: the certificate expires"
    )
    authority.issue("server", *LOOPBACK, ends=40 * DAY)
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: success", 2)
    server.stop()
    assert server.logged("check_certificate") == 2
