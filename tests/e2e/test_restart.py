"""What survives: servers that are stopped or killed and started again, clients that die and come back."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.transports import connect
from bets_server.store import open_store
from tests.e2e.processes import DEADLINE_S, PROGRAMS, Program, Programs, ServerProgram, wait_until
from tests.server.wire import ask, batch, bet

STORED = "apuesta_recibida | result: success"


def _write_bets(folder: Path, agency: int, rows: int, *, winners: int) -> list[str]:
    """A file of an agency's bets, of which the last ones win; gives the documents of all."""
    documents = [f"{agency}{row:07d}" for row in range(rows)]
    with (folder / f"agency-{agency}.csv").open("w", encoding="utf-8", newline="") as file:
        for row, document in enumerate(documents):
            csv.writer(file).writerow(["Ana", "Paz", document, "1999-03-17", 7574 if row >= rows - winners else 1])
    return documents


def _stored(programs: Programs, agency: int) -> list[str]:
    programs.run("bets-server", "export", "export.csv", "--agency", str(agency))
    with (programs.folder / "export.csv").open(encoding="utf-8", newline="") as file:
        return [row[3] for row in csv.reader(file)]


def _end(server: ServerProgram, how: signal.Signals) -> None:
    if how is signal.SIGKILL:
        server.kill()
    else:
        server.stop(how)


def _send(programs: Programs, agency: int, url: str, *options: str) -> Program:
    return programs.client("send", f"agency-{agency}.csv", "--server", url, *options)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_restarted_server_goes_on_as_before(programs: Programs, how: signal.Signals) -> None:
    """Bets, seals, the draw and the answers are there again, at once on the same port, before the draw and after it."""
    first = _write_bets(programs.folder, 1, 300, winners=2)
    second = _write_bets(programs.folder, 2, 300, winners=3)
    server = programs.server("--agencies", "2")
    waiting = _send(programs, 1, server.url, "--log-level", "DEBUG")
    waiting.wait_for_line("consulta_ganadores | result: in_progress")
    programs.run("bets-client", "send", "agency-2.csv", "--server", server.url, "--no-winners")
    _end(server, how)

    server = programs.server("--agencies", "2", listen=server.url)
    # The agency that waits has come back by itself and is sealed still; the other one is not.
    refused = programs.client("bet", *"--agency 1 --server".split(), server.url, *BET, "--retry-for", "5")
    assert "refuse" in refused.expect(6).err
    more = programs.run("bets-client", "bet", *"--agency 2 --server".split(), server.url, *BET)
    assert more.logged("apuesta_enviada | result: success | dni: 30904465 | numero: 7574") == 1
    programs.run("bets-client", "winners", "--agency", "2", "--server", server.url)
    assert waiting.expect().results == first[-2:]
    assert server.logged("sorteo | result: success") == 1
    _end(server, how)

    server = programs.server("--agencies", "2", listen=server.url)
    again = programs.run("bets-client", "winners", "--agency", "2", "--server", server.url)
    assert again.results == [*second[-3:], "30904465"]
    programs.run("bets-client", "bet", *"--agency 2 --server".split(), server.url, *BET)  # it finds itself stored
    programs.client("bet", *"--agency 2 --label again --server".split(), server.url, *BET).expect(6)
    server.stop()
    assert server.logged("sorteo") == 0
    assert _stored(programs, 1) == first
    assert _stored(programs, 2) == [*second, "30904465"]


BET = "--first-name Ana --last-name Paz --document 30904465 --birthdate 1999-03-17 --number 7574".split()


def test_server_killed_in_the_middle_of_an_upload(programs: Programs) -> None:
    """The client goes on by itself once the server is back; what was acknowledged is there, in order."""
    sent = _write_bets(programs.folder, 1, 12_000, winners=1)
    server = programs.server("--agencies", "1")
    client = _send(programs, 1, server.url, "--batch-max", "10")
    server.wait_for_line(STORED, count=100)
    server.kill()
    server = programs.server("--agencies", "1", listen=server.url)
    assert client.expect().results == sent[-1:]
    server.stop()
    assert _stored(programs, 1) == sent


def test_killed_client_does_not_block_the_draw(programs: Programs) -> None:
    """A client dies in the middle and another while it waits; started again, everybody is answered."""
    sent = {agency: _write_bets(programs.folder, agency, 12_000, winners=agency) for agency in (1, 2)}
    server = programs.server("--agencies", "2")
    client = _send(programs, 1, server.url, "--batch-max", "10")
    server.wait_for_line(STORED, count=100)
    client.kill()
    waiting = _send(programs, 2, server.url, "--log-level", "DEBUG")
    waiting.wait_for_line("consulta_ganadores | result: in_progress")
    waiting.kill()
    assert server.logged("sorteo") == 0
    client = _send(programs, 1, server.url)
    # Agency 2 is done: sent again, its bets would be refused.
    again = programs.client("winners", "--agency", "2", "--server", server.url)
    assert client.expect().results == sent[1][-1:]
    assert again.expect().results == sent[2][-2:]
    server.stop()
    stored = _stored(programs, 1)
    assert stored[-len(sent[1]) :] == sent[1]
    assert set(stored) == set(sent[1])
    assert _stored(programs, 2) == sent[2]


def test_exit_after_draw(programs: Programs) -> None:
    """The server ends by itself when everybody has the answer; `--winning-number random` picks one that is kept."""
    _write_bets(programs.folder, 1, 20, winners=1)
    server = programs.server("--agencies", "1", "--exit-after-draw", "--winning-number", "random")
    client = programs.run("bets-client", "send", "agency-1.csv", "--server", server.url)
    server.expect()
    assert server.lines[-1] == "shutdown | result: success"
    lines = programs.run("bets-server", "winners").out.splitlines()
    assert lines == [f"1,{document}" for document in client.results]


@pytest.mark.parametrize("store", ["sqlite:///bets.db", "csv:///bets.csv"])
def test_exit_after_draw_killed_before_the_answers(programs: Programs, store: str) -> None:
    """The draw is on disk and nobody has heard of it; started again, the server tells those that come, and then ends.

    The first server is held up in the line of its log that says that the draw took place, which comes before the
    answers: nobody reads its log.
    """
    sent = _write_bets(programs.folder, 1, 20, winners=2)
    log = programs.folder / "log"
    os.mkfifo(log)
    url = f"unix://{programs.folder}/socket"
    arguments = ["serve", "--listen", url, "--store", store, "--agencies", "2", "--exit-after-draw"]
    with _raw_file(log, os.O_RDONLY) as reader:
        first = programs.python(
            f"import os; os.dup2(os.open({str(log)!r}, os.O_WRONLY), 1)\n"
            f"os.execv({str(PROGRAMS / 'bets-server')!r}, ['bets-server', *{arguments!r}])"
        )
        _wait_for(reader, b"accept_connections | result: in_progress")
        waiting = _send(programs, 1, url, "--log-level", "DEBUG")
        waiting.wait_for_line("consulta_ganadores | result: in_progress")
        with connect(url, timeout_s=DEADLINE_S) as agency:
            agency.set_timeout(DEADLINE_S)
            agency.send_all(batch(bet(1, agency=2)))
            _wait_for(reader, b"apuesta_recibida | result: success | cantidad: 1\n")
            assert agency.receive(1) == b"\x01"
            with _raw_file(log, os.O_WRONLY) as writer, contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, b"\n")
            agency.send_all(ask(2))
            status = "status", "--store", store, "--format", "json"
            wait_until(lambda: json.loads(programs.run("bets-server", *status).out)["drawn"], "the draw takes place")
            first.kill()
            assert agency.receive(1) == b""

    second = programs.server("--store", store, "--agencies", "2", "--exit-after-draw", listen=url)
    assert waiting.expect().results == sent[-2:]
    assert second.running
    programs.run("bets-client", "winners", "--agency", "2", "--server", url)
    assert second.expect().lines[-1] == "shutdown | result: success"
    assert second.logged("exit_after_draw | result: in_progress | timeout: 60") == 1


@contextlib.contextmanager
def _raw_file(path: Path, mode: int) -> Iterator[int]:
    descriptor = os.open(path, mode | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for(pipe: int, text: bytes) -> None:
    """Reads until `text` has come."""
    found = bytearray()

    def has_come() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.extend(os.read(pipe, 65_536))
        return text in found

    wait_until(has_come, repr(text))


def test_out_of_descriptors(programs: Programs) -> None:
    """More connections than descriptors: those that are there are served, by a store that opens its files only now;
    the loop rests; and as soon as some leave, others get in."""
    server = programs.server("--agencies", "1", "--store", "csv:///bets.csv", descriptors=64)
    with contextlib.ExitStack() as opened:
        address = ("127.0.0.1", int(server.port))
        clients = [opened.enter_context(socket.create_connection(address, timeout=20)) for _ in range(100)]
        server.wait_for_line("accept_connections | result: fail")
        before = _cpu_s(server.pid)
        time.sleep(1.0)
        assert _cpu_s(server.pid) - before < 0.2
        assert server.logged("accept_connections | result: fail") <= 4
        clients[0].sendall(batch(bet(1)))
        assert clients[0].recv(1) == b"\x01"
        for client in clients[1:60]:
            client.close()
        for client in clients[60:]:
            client.sendall(b"hello\n")
        assert [client.recv(6) for client in clients[60:]] == [b"hello\n"] * 40
    server.stop()


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_full_disk_refuses_and_the_server_lives(programs: Programs) -> None:
    """No room: the client is told that its batch is refused, exit code 6; with room again the next one is stored."""
    sent = _write_bets(programs.folder, 1, 9000, winners=1)
    # Lines of another program, so that `bets.csv` is larger than what the ledger writes: it alone finds no room.
    others = [f"{row:08d}" for row in range(20_000)]
    with (programs.folder / "bets.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([2, "Ana", "Paz", document, "1999-03-17", 1] for document in others)
    open_store(f"csv:///{programs.folder}/bets.csv").close()
    server = programs.server("--agencies", "1", "--store", "csv:///bets.csv")
    limit = (programs.folder / "bets.csv").stat().st_size + 20_000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    refused = _send(programs, 1, server.url, "--window", "1", "--revision", "8").expect(6)
    assert "the server refuses bets" in refused.err
    assert server.logged("apuesta_recibida | result: fail | cantidad: 130 | error: the store is full") == 1
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    stored = server.logged(STORED) * 130
    assert _send(programs, 1, server.url, "--revision", "8").expect().results == sent[-1:]
    server.stop()
    rows = (programs.folder / "bets.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[3] for row in rows] == others + sent[:stored] + sent


def test_server_whose_files_may_not_grow_goes_on_when_they_may(programs: Programs) -> None:
    """SQLite calls that an I/O error; it is a full store: refused, nothing of it stored, and the client comes back."""
    sent = _write_bets(programs.folder, 1, 12_000, winners=1)
    server = programs.server("--agencies", "1")
    client = _send(programs, 1, server.url, "--batch-max", "10")
    server.wait_for_line(STORED, count=50)
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (500_000, hard))
    server.wait_for_line("apuesta_recibida | result: fail")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    client.expect()
    server.stop()
    assert _stored(programs, 1) == sent


def test_a_server_that_stands_still_is_waited_for(programs: Programs) -> None:
    """The system takes connections for it. It is none of another revision, and none that waits for the draw."""
    _write_bets(programs.folder, 1, 300, winners=2)
    server = programs.server("--agencies", "2")
    ask = ("winners", "--agency", "2", "--server", server.url, "--retry-for", "1")
    server.send_signal(signal.SIGSTOP)
    try:
        sending = _send(programs, 1, server.url, "--idle-timeout", "0.3", "--no-winners")
        asking = programs.client(*ask).expect(ExitCode.UNREACHABLE)
        assert "says nothing: it is stopped or being replaced" in asking.err
        sending.wait_until(
            lambda: sending.out.count("the server has been silent for 0.3 s: it is stopped") > 1, "rests"
        )
    finally:
        server.send_signal(signal.SIGCONT)
    sending.expect()
    assert "the draw has not taken place" in programs.client(*ask).expect(ExitCode.NOT_DRAWN).err
    server.stop()
