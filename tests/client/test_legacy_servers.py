"""Servers of old, of revisions 5 to 8: they end after the draw, or once all is stored; our client ends well."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from bets_client.cli.commands import cli
from bets_protocol import CLOSED, NEED_DATA, Ack, Bet, BetBatch, ServerConnection, Winners, WinnersRequest
from bets_protocol.cli.exit_codes import ExitCode
from tests.log_reader import read_answers

AGENCIES, ROWS = 2, 9
DEADLINE_S = 20.0


class ServerThatEnds:
    """One thread after another for each connection; when the work is done it closes everything at once, and is gone.

    Args:
        revision: 5 to 8; on 5 and 6 the work is done when all bets are stored, else when the winners are told.
    """

    def __init__(self, revision: int) -> None:
        self.bets: list[Bet] = []
        self._revision = revision
        self._waiting: dict[int, tuple[socket.socket, ServerConnection]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """It has ended by itself."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._listener.settimeout(DEADLINE_S)
        with contextlib.ExitStack() as sockets, self._listener:
            while not self._is_done():
                sock, _ = self._listener.accept()
                sockets.enter_context(sock)
                sock.settimeout(DEADLINE_S)
                self._serve(sock)
            for agency, (sock, connection) in self._waiting.items():
                documents = [bet.document for bet in self.bets if bet.agency == agency][:1]
                sock.sendall(connection.send(Winners(documents=documents)))

    def _is_done(self) -> bool:
        return len(self._waiting) == AGENCIES if self._revision >= 7 else len(self.bets) == AGENCIES * ROWS

    def _serve(self, sock: socket.socket) -> None:
        connection = ServerConnection(revision=self._revision if self._revision < 7 else 8)
        while data := sock.recv(65536):
            connection.receive_data(data)
            while (event := connection.next_event()) is not NEED_DATA and event is not CLOSED:
                if isinstance(event, WinnersRequest):
                    self._waiting[event.agency] = sock, connection
                    return
                bets = event.bets if isinstance(event, BetBatch) else (event,)
                self.bets += [bet for bet in bets if isinstance(bet, Bet)]
                sock.sendall(connection.send(Ack(count=len(bets))))
            if connection.finished:
                sock.close()
                return


@pytest.mark.parametrize("revision", [5, 6, 7, 8])
def test_a_server_that_ends_after_the_draw(tmp_path: Path, revision: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is stored once, the winners are printed, the exit code is 0, though the server has gone."""
    files = []
    for agency in range(1, AGENCIES + 1):
        file = tmp_path / f"agency-{agency}.csv"
        file.write_text("".join(f"Ana,Paz,{agency}000000{row},1999-03-17,7574\n" for row in range(ROWS)))
        files.append(str(file))
    server = ServerThatEnds(revision)
    try:
        where = ("--server", server.address, "--revision", str(revision), "--retry-for", "10")
        with pytest.raises(SystemExit) as end:
            cli.main(["send", *files, *where, "--batch-max", "4"], "bets-client")
    finally:
        server.close()
    out, err = capsys.readouterr()
    assert (end.value.code, [line for line in err.splitlines() if "error" in line]) == (ExitCode.DONE, [])
    log = read_answers(out)
    assert [line for line in log if line.result == "fail"] == []
    answers = [line for line in out.splitlines() if "action:" not in line]
    assert answers == (["10000000", "20000000"] if revision >= 7 else [])
    assert sorted(bet.document for bet in server.bets) == [f"{a}000000{row}" for a in (1, 2) for row in range(ROWS)]
