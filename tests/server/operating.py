"""Operators for tests: a backend over a real store, a real control socket, and a raw client of it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bets_protocol import Bet, StorageError
from bets_server.logs import ServerLog
from bets_server.operator.commands import AgencySeen, LiveStatus, OperatorBackend
from bets_server.operator.server import ControlServer
from bets_server.store import BetStore, SealOutcome
from tests.server.serving import DEADLINE_S, captured_log
from tests.server.wire import WINNING


def a_bet(row: int, agency: int, number: int = 1, first_name: str = "Ana", last_name: str = "Peña") -> Bet:
    """A bet with a document of its own."""
    return Bet(
        agency=agency,
        first_name=first_name,
        last_name=last_name,
        document=f"{row:08d}",
        birthdate="1999-03-17",
        number=number,
    )


class LiveBackend(OperatorBackend):
    """The backend of a server for so many agencies, without the server.

    Attributes:
        failure: raised by the next forced close, instead of making it.
        failed_with: what the server was told to end for.
        gate: while it is cleared, `status` waits.
        asked: set when `status` has come.
        seen: what `status` says of agencies.
    """

    def __init__(self, store: BetStore, agencies: int = 3) -> None:
        super().__init__(store)
        self.agencies = agencies
        self.seen: dict[int, AgencySeen] = {}
        self.failure: Exception | None = None
        self.failed_with: StorageError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def status(self) -> LiveStatus | None:
        self.asked.set()
        assert self.gate.wait(DEADLINE_S)
        return LiveStatus(agencies=self.agencies, connections=4, unknown_connections=1, seen=self.seen)

    def close_without(self, agency: int, reason: str) -> SealOutcome:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return self.store.seal_and_draw(agency, expected=self.agencies, pick=lambda: WINNING, forced=True, note=reason)

    def failed(self, error: StorageError) -> None:
        self.failed_with = error


class Operator:
    """A connection to a control socket that sends what it is told.

    Attributes:
        socket: connected, with a timeout.
    """

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(str(path))

    def send(self, **request: Any) -> None:
        """Sends a request."""
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def read_to_end(self) -> bytes:
        """Everything until the server closes."""
        found = b""
        while data := self.socket.recv(65_536):
            found += data
        return found

    @property
    def answer(self) -> list[dict[str, Any]]:
        """The lines of the answer."""
        return [json.loads(line) for line in self.read_to_end().splitlines()]

    def ask(self, **request: Any) -> list[dict[str, Any]]:
        """Sends a request and returns the lines of the answer."""
        self.send(**request)
        return self.answer

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()


class Control:
    """A control server, its backend, its log, and the operators that connect to it."""

    def __init__(self, path: Path, backend: LiveBackend, **options: Any) -> None:
        self.path = path
        self.backend = backend
        log, self._output = captured_log()
        self.server = ControlServer(path, backend, ServerLog(log), **options)
        self._operators: list[Operator] = []

    def operator(self) -> Operator:
        """A new connection."""
        operator = Operator(self.path)
        self._operators.append(operator)
        return operator

    def ask(self, **request: Any) -> list[dict[str, Any]]:
        """The lines of the answer to one request."""
        return self.operator().ask(**request)

    @property
    def lines(self) -> list[str]:
        """What was logged, each line from `action:` on."""
        return [line.partition("action: ")[2] for line in self._output.getvalue().splitlines()]

    def close_operators(self) -> None:
        """Closes every connection on this side."""
        for operator in self._operators:
            operator.close()


@contextlib.contextmanager
def controlled(path: Path, backend: LiveBackend, **options: Any) -> Iterator[Control]:
    """A control server that runs for as long as the block."""
    control = Control(path, backend, **options)
    try:
        with control.server:
            yield control
    finally:
        control.close_operators()
