"""Real clients of revisions 5 to 8 against real servers, and `bets-client run` as a container runs it."""

from __future__ import annotations

import socket

import pytest

from bets_protocol.cli.exit_codes import ExitCode
from tests.e2e.processes import Programs

ROWS = [f"Ana María,Paz,{row:08d},1999-03-17,{7574 if row == 3 else 1}" for row in range(12)]
BET = {
    "NOMBRE": "Santiago Lionel",
    "APELLIDO": "Lorca",
    "DOCUMENTO": "30904465",
    "NACIMIENTO": "1999-03-17",
    "NUMERO": "7574",
}


@pytest.mark.parametrize("revision", [5, 6, 7, 8])
def test_send(programs: Programs, revision: int) -> None:
    """A file of twelve rows arrives whole and in order; revisions 7 and 8 print the winners; health finds it well."""
    (programs.folder / "agency-1.csv").write_text("\r\n".join(ROWS), encoding="utf-8", newline="")
    serve = ["--revision", str(revision)] if revision < 7 else []
    server = programs.server("--agencies", "1", "--store", "csv:///bets.csv", *serve)
    client = programs.client(
        *("send", "agency-1.csv", "--server", server.url, "--revision", str(revision)),
        *("--batch-max", "5", "--log-level", "DEBUG"),
    )
    health = programs.start("bets-server", "health", server.url)
    client.expect()
    health.expect()
    assert client.results == (["00000003"] if revision >= 7 else [])
    sizes = [1] * 12 if revision == 5 else [5, 5, 2]
    assert [line for line in client.lines if line.startswith("batch_enviado")] == [
        f"batch_enviado | result: success | client_id: 1 | cantidad: {size}" for size in sizes
    ]
    server.stop()
    assert server.logged("apuesta_almacenada | result: success") == (12 if revision == 5 else 0)
    stored = [int(line.rpartition(": ")[2]) for line in server.lines if line.startswith("apuesta_recibida")]
    assert stored == ([] if revision == 5 else sizes)
    assert (programs.folder / "bets.csv").read_text(encoding="utf-8").splitlines() == [f"1,{row}" for row in ROWS]


def test_send_to_a_server_of_another_revision(programs: Programs) -> None:
    """It is told that the server speaks another revision or refuses; nothing is stored; exit code 5 or 6, never 0."""
    (programs.folder / "agency-1.csv").write_text("\n".join(ROWS), encoding="utf-8")
    servers = {
        revision: programs.server("--revision", str(revision), "--store", f"csv:///{revision}.csv")
        for revision in (5, 6, 9)
    }
    clients = [
        programs.client("send", "agency-1.csv", "--server", servers[spoken].url, "--revision", str(revision))
        for spoken, revision in ((5, 8), (5, 6), (6, 5), (6, 8), (9, 5), (9, 6))
    ]
    for client in clients:
        assert client.finished() in (ExitCode.PROTOCOL, ExitCode.REFUSED), client.err
        assert "Traceback" not in client.err
    for revision, server in servers.items():
        server.stop()
        assert (programs.folder / f"{revision}.csv").read_bytes() == b""


def test_run_as_a_container_does(programs: Programs) -> None:
    """Probes as often as the file says, then the bet of the environment; without a bet, the data file."""
    (programs.folder / "agency.csv").write_text("\n".join(ROWS), encoding="utf-8")
    server = programs.server("--store", "csv:///bets.csv", EXPECTED_CLIENTS="2")
    (programs.folder / "config.yaml").write_text(
        f'server:\n  address: "127.0.0.1:{server.port}"\nloop:\n  amount: 2\n  period: "10ms"\nlog:\n  level: "DEBUG"\n'
        "batch:\n  maxAmount: 7\n"
    )
    one_bet = programs.client("run", "--config", "config.yaml", CLI_ID="1", **BET)
    a_file = programs.client("run", "--config", "config.yaml", AGENCIA="2", CLI_LOOP_AMOUNT="0")
    one_bet.expect()
    assert one_bet.lines[0] == (
        "config | result: success | client_id: 1 | "
        f"server_address: 127.0.0.1:{server.port} | loop_amount: 2 | loop_period: 10ms | log_level: DEBUG | "
        "batch_max_amount: 7"
    )
    for number in (1, 2):
        line = f"receive_message | result: success | client_id: 1 | msg: [CLIENT 1] Message N°{number}"
        assert one_bet.logged(line) == 1
        assert server.logged(f"receive_message | result: success | ip: 127.0.0.1 | msg: [CLIENT 1] Message N°{number}")
    assert one_bet.logged("loop_finished | result: success | client_id: 1") == 1
    assert one_bet.logged("apuesta_enviada | result: success | dni: 30904465 | numero: 7574") == 1
    assert server.logged("apuesta_almacenada | result: success | dni: 30904465 | numero: 7574") == 1
    programs.run("bets-client", "winners", "--agency", "1", "--server", server.url)
    a_file.expect()
    assert a_file.results == ["00000003"]
    assert a_file.logged("receive_message") == 0
    assert [line for line in a_file.lines if line.startswith("batch_enviado")] == [
        f"batch_enviado | result: success | client_id: 2 | cantidad: {size}" for size in (7, 5)
    ]
    server.stop()


def test_probe_of_a_shell(programs: Programs) -> None:
    """What `echo hello | nc HOST PORT` sends comes back, whether or not the sender ends its side; and it is logged."""
    server = programs.server("--store", "csv:///bets.csv")
    for half_closes in (True, False):
        with socket.create_connection(("127.0.0.1", int(server.port)), timeout=20) as client:
            client.sendall(b"hello | there\n")
            if half_closes:
                client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b"hello | there\n"
            assert client.recv(100) == b""
    server.stop()
    assert server.logged(r"receive_message | result: success | ip: 127.0.0.1 | msg: hello \x7c there") == 2


def test_winners_wait_longer_than_their_deadline(programs: Programs) -> None:
    """The draw does not take place in time: exit code 7, and what was sent is stored."""
    (programs.folder / "agency-1.csv").write_text("\n".join(ROWS), encoding="utf-8")
    server = programs.server("--agencies", "2")
    client = programs.client("send", "agency-1.csv", "--server", server.url, "--retry-for", "0.5")
    client.expect(ExitCode.NOT_DRAWN)
    server.stop()
    assert server.logged("apuesta_recibida | result: success | cantidad: 12") == 1
    programs.run("bets-server", "winners", code=ExitCode.NOT_DRAWN)
