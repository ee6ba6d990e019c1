"""Servers for tests: a real reactor in a thread, over real listeners and a real store, and clients that send raw bytes.

Every wait has a deadline and waits for a condition. A server that a test starts is stopped when the test ends; one that
does not stop in time fails the test.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bets_protocol import Bet, ReadError
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.cli.log_format import EventLog, LineHandler
from bets_protocol.transports import Stream, TlsFiles, TlsTransport, connect, listen
from bets_server.intake.handlers import Handlers
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.reactor.loop import Reactor
from bets_server.reactor.session import Session
from bets_server.store import (
    AuditEntry,
    BetStore,
    DrawState,
    Opening,
    Parcel,
    Receipt,
    SealOutcome,
    UploadState,
    open_store,
)
from tests.log_reader import read_log
from tests.server.wire import STATUS_BYTES, WINNING, opening, status

DEADLINE_S = 20.0

ROOMY = Limits(max_per_agency=1000, max_per_address=1000, complaints_per_minute=100_000)
"""For tests that are about something else: all their clients have one address, and most are of one agency."""


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for: {what}"
        time.sleep(0.002)


def captured_log() -> tuple[EventLog, io.StringIO]:
    """A log of its own, and where its lines go."""
    output = io.StringIO()
    logger = logging.Logger("server under test", logging.DEBUG)
    logger.addHandler(LineHandler(output))
    return EventLog(logger), output


@contextlib.contextmanager
def without_threads() -> Iterator[None]:
    """No thread can be started in the block."""
    before = threading.stack_size(1 << 46)  # more than there is room for
    try:
        yield
    finally:
        threading.stack_size(before)


class RawClient:
    """A client that sends what it is told and understands nothing.

    Attributes:
        stream: connected, with a timeout.
    """

    def __init__(self, url: str, files: TlsFiles | None = None) -> None:
        transports = {} if files is None else {"tls": TlsTransport(files)}
        self.stream: Stream = connect(url, timeout_s=DEADLINE_S, transports=transports)
        self.stream.set_timeout(DEADLINE_S)

    def send(self, *data: bytes) -> None:
        """Sends bytes as one piece."""
        self.stream.send_all(b"".join(data))

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        found = b""
        while len(found) < size:
            data = self.stream.receive(size - len(found))
            assert data, f"expected {size} bytes, the server ended after {found!r}"
            found += data
        return found

    def read_to_end(self) -> bytes:
        """Everything up to the server's end of its side."""
        found = b""
        while data := self.stream.receive():
            found += data
        return found

    def exchange(self, *data: bytes, size: int = 1) -> bytes:
        """Sends bytes; gives the first `size` bytes of the answer."""
        self.send(*data)
        return self.read(size)

    def send_and_end(self, *data: bytes) -> bytes:
        """Sends bytes, ends this side; gives all that the server says until it ends its own."""
        self.send(*data)
        self.stream.close_writing()
        return self.read_to_end()

    @property
    def pending(self) -> bytes | None:
        """What has come in and was not read; None: nothing. Empty: the server ended its side."""
        self.stream.set_timeout(0)
        try:
            return self.stream.receive()
        finally:
            self.stream.set_timeout(DEADLINE_S)

    def read_what_is_left(self) -> bytes:
        """The same, where the end may be a reset."""
        found = b""
        with contextlib.suppress(ReadError):
            while data := self.stream.receive():
                found += data
        return found

    def reset(self) -> None:
        """Closes the hard way (tcp only): what was not sent is dropped, and the server gets a reset."""
        with socket.socket(fileno=os.dup(self.stream.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def close(self) -> None:
        """Closes both sides."""
        self.stream.close()


class WatchedStore(BetStore):
    """A real store that can be held up and that remembers the groups that it was given.

    Attributes:
        groups: how many parcels each call of `commit` had.
        gate: while it is cleared, `commit` waits before it touches the store.
        inside: set as soon as a call of `commit` has come.
        asked: how often `winners` was called.
        failure: raised by the next `commit`, once, instead of storing.
        seal_failure: likewise by `seal_and_draw`.
        open_failure: likewise by `open_upload`.
    """

    def __init__(self, store: BetStore) -> None:
        self.groups: list[int] = []
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()
        self.failure: Exception | None = None
        self.seal_failure: Exception | None = None
        self.open_failure: Exception | None = None
        self._store = store

    def commit(self, group: Sequence[Parcel]) -> list[Receipt]:
        self.groups.append(len(group))
        self.inside.set()
        assert self.gate.wait(DEADLINE_S)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return self._store.commit(group)

    def open_upload(self, agency: int, upload_id: bytes, *, total: int, note: str = "") -> Opening:
        failure, self.open_failure = self.open_failure, None
        if failure is not None:
            raise failure
        self._store.max_uploads, self._store.max_unfinished_uploads = self.max_uploads, self.max_unfinished_uploads
        return self._store.open_upload(agency, upload_id, total=total, note=note)

    def seal_and_draw(
        self, agency: int, *, expected: int, pick: Callable[[], int], forced: bool = False, note: str = ""
    ) -> SealOutcome:
        failure, self.seal_failure = self.seal_failure, None
        if failure is not None:
            raise failure
        return self._store.seal_and_draw(agency, expected=expected, pick=pick, forced=forced, note=note)

    def void(self, number: int, *, reason: str) -> UploadState:
        return self._store.void(number, reason=reason)

    def uploads(self) -> list[UploadState]:
        return self._store.uploads()

    def audit(self) -> Iterator[AuditEntry]:
        return self._store.audit()

    def winners(self, agency: int) -> tuple[str, ...] | None:
        self.asked += 1
        return self._store.winners(agency)

    def state(self) -> DrawState:
        return self._store.state()

    def bets(self, agency: int | None = None) -> Iterator[Bet]:
        return self._store.bets(agency)

    def close(self) -> None:
        self._store.close()


class Server:
    """A reactor in a thread.

    Args:
        folder: where its store and its socket lie.
        scheme: of its listener: tcp, unix, memory, or tls with `files`.
        files: what the server proves itself with.
        store: scheme of its store.
        options: for the reactor; and `agencies`, `pick` for its handlers.

    Attributes:
        url: where it listens.
        tls: what it encrypts with, if it does.
        store: what it stores in.
        handlers: what answers.
        code: what `Reactor.run` has returned; None while it runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scheme: str = "tcp",
        store: str = "csv",
        agencies: int = 1,
        pick: Callable[[], int] = lambda: WINNING,
        files: TlsFiles | None = None,
        **options: Any,
    ) -> None:
        self.code: ExitCode | None = None
        self.error: BaseException | None = None
        self._clients: list[RawClient] = []
        self._log, self._output = captured_log()
        self.store = WatchedStore(open_store(f"{store}:///{folder}/bets"))
        where = {
            "tcp": "tcp://127.0.0.1:0",
            "tls": "tls://127.0.0.1:0",
            "unix": f"unix://{folder}/socket",
            "memory": f"memory://{folder.parent.name}-{folder.name}",
        }
        self.tls = None if files is None else TlsTransport(files)
        listener = listen(where[scheme], backlog=512, transports={} if self.tls is None else {"tls": self.tls})
        self.url = listener.url
        self.handlers = Handlers(self.store, agencies=agencies, pick=pick)
        self.reactor = Reactor(
            [listener], self.handlers, ServerLog(self._log), **{"workers": 1, "limits": ROOMY, **options}
        )
        self._thread = threading.Thread(target=self._run, name="reactor")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.code = self.reactor.run()
        except BaseException as error:  # noqa: BLE001 - `finished` raises it again
            self.error = error

    def client(self, files: TlsFiles | None = None) -> RawClient:
        """A new connection to the server, over TLS with `files`; closed at the end of the test."""
        client = RawClient(self.url, files)
        self._clients.append(client)
        return client

    # The only place of the tests that looks inside the reactor.

    @property
    def sessions(self) -> list[Session]:
        """The sessions of the reactor, the oldest first; its thread goes on changing them."""
        return list(self.reactor.conversations.sessions.values())

    @property
    def handshakes(self) -> int:
        """How many handshakes of TLS are under way."""
        return len(self.reactor.conversations._gate.handshakes._under_way)

    @property
    def lines(self) -> list[str]:
        """What it has logged, each line from `action:` on; the lines of the round that goes on included."""
        return [line.partition("action: ")[2] for line in self.raw_log.splitlines()]

    def logged(self, text: str) -> int:
        """How many lines begin with `text`."""
        return sum(line.startswith(text) for line in self.lines)

    @property
    def raw_log(self) -> str:
        """All of the log, as it was written."""
        wait_until(lambda: not self._log.holding, "the round of the reactor ends")
        return self._output.getvalue()

    @property
    def stored(self) -> list[str]:
        """The documents in the store, in its order."""
        return [bet.document for bet in self.store.bets()]

    def stop(self) -> ExitCode:
        """Asks for a stop and waits for it."""
        self.reactor.stop()
        return self.finished()

    def finished(self) -> ExitCode:
        """Waits until the reactor has ended; gives its exit code."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the reactor did not end"
        if self.error is not None:
            raise self.error
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """Ends everything. What went wrong in the reactor is raised here, unless `finished` has done so.

        Whatever it has logged meanwhile must be as documented.
        """
        for client in self._clients:
            client.close()
        self.store.gate.set()
        try:
            if self.error is None:
                self.stop()
        finally:
            self.store.close()
        read_log(self.raw_log)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float, server: Server) -> None:
        """Time passes, and the server is told so."""
        self.now += seconds
        server.reactor.wake()


class Servers:
    """Starts servers and ends them all at the end of the test.

    Args:
        folder: each server has a folder of its own in there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = contextlib.ExitStack()
        self._count = 0

    def __call__(self, **options: Any) -> Server:
        """A server that runs; see `Server`."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        server = Server(folder, **options)
        self._parts.callback(server.close)
        return server

    def close(self) -> None:
        """Ends every server."""
        self._parts.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers: `serve(agencies=2)` gives one that runs in a thread."""
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.close()


def opened(server: Server, total: int, *, agency: int = 1, name: bytes = b"a") -> RawClient:
    """A client whose new upload is open."""
    client = server.client()
    assert client.exchange(opening(total, agency=agency, name=name), size=STATUS_BYTES) == status(0)
    return client
