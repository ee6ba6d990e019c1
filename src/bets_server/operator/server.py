"""The server's side of the control socket: it answers operators while the server has the store open.

Strategy: one thread accepts, and each operator has a thread of its own, so that neither an operator's slow terminal nor
a long export delays the reactor. Rules:

1. Commands run one at a time, and each gives way to the others after a piece of its answer. The next piece is read
   from the store when the operator has taken the one before: an export holds one piece of the book in memory, and
   nothing of the store between two pieces.
2. Everything is bounded: the operators, the request, the time for it to arrive, and the time that a piece of the answer
   may wait. An operator that is above the limit waits in the system's queue.
3. A program that tidies up may remove the socket's file: the server looks after it and creates it again.
4. An error that a command raises is its answer. A failure of the store is reported to the backend first.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bets_protocol import (
    BetsError,
    ConfigError,
    ConnectError,
    PeerClosed,
    StorageError,
    TransportError,
    TransportTimeout,
)
from bets_protocol.cli.exit_codes import ExitCode, exit_code_of
from bets_protocol.transports import Listener, Stream
from bets_server.limits import MAX_OPERATORS
from bets_server.logs import ServerLog
from bets_server.operator.commands import CHANGES, OperatorBackend, answer
from bets_server.operator.protocol import MAX_REQUEST_BYTES, line_of, listening, request_of

REQUEST_S: Final = 10.0  # from the connection until the request is complete
ANSWER_S: Final = 60.0  # for an operator to make room for more of an answer
CLOSE_S: Final = 0.5  # that a command may still take when the server stops
LOOK_S: Final = 1.0  # between two checks that the socket's file exists
_REST_S: Final = 1.0  # without accepting when no descriptor is left to accept with

_MAX_LOGGED: Final = 1000
"""Characters of an operator's request that a line of the log repeats."""


class ControlServer:
    """Answers operators from threads of its own, from `__enter__` to `__exit__`.

    Args:
        path: of the socket; without one, nothing is opened.
        required: whether a socket that cannot be opened is an error, or only a line of the log.
        clock: monotonic seconds.

    Thread: the one that also closes it.
    """

    def __init__(
        self,
        path: Path | None,
        backend: OperatorBackend,
        log: ServerLog,
        *,
        required: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._backend = backend
        self._log = log
        self._required = required
        self._clock = clock
        self._parts = contextlib.ExitStack()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._places = threading.Semaphore(MAX_OPERATORS)
        self._turn = threading.Lock()  # held while one piece of an answer is made
        self._complained = False  # that the file is gone and cannot be created

    @property
    def store_in_use(self) -> bool:
        """Whether a command still runs after `__exit__`: then the store must not be closed."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        """Open the socket and start to accept.

        Raises:
            ConfigError: the socket cannot be opened, and is required.
        """
        if self._path is None:
            return self
        try:
            with contextlib.ExitStack() as parts:
                listener = parts.enter_context(listening(self._path))
                self._stopped, self._stop = (parts.enter_context(end) for end in socket.socketpair())
                thread = threading.Thread(target=self._serve, args=(listener,), name="control", daemon=True)
                thread.start()
                self._thread, self._parts = thread, parts.pop_all()
        except (BetsError, OSError, RuntimeError) as error:
            failure: Exception = error
            if not isinstance(error, BetsError):  # no descriptor, or no thread is left
                reason = error.strerror if isinstance(error, OSError) else error
                failure = ConnectError(f"cannot listen at {self._path}: {reason}")
            if self._required:
                raise ConfigError(f"--control: {failure}") from error
            self._log.no_control(failure)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._stopping.set()
        self._stop.send(b"\0")  # never received, so it wakes every thread that waits
        self._thread.join(CLOSE_S)
        if self.store_in_use:  # what the threads have open ends with the process
            self._log.failed_to_close("control", "a command still runs")
            return
        self._parts.close()
        self._thread = None
        self._log.closed("control")

    def _serve(self, listener: Listener) -> None:
        """The accepting thread: it ends when all operators' threads have ended."""
        operators: list[threading.Thread] = []
        look_at = self._clock() + LOOK_S
        while not self._stopping.is_set():
            if self._clock() >= look_at:
                self._look(listener)
                look_at = self._clock() + LOOK_S
            stream = self._accepted(listener, look_at)
            if stream is None:
                continue
            thread = threading.Thread(target=self._converse, args=(stream,), name="operator", daemon=True)
            operators = [each for each in operators if each.is_alive()]
            try:
                thread.start()
            except RuntimeError:  # no thread is left: this one answers, and accepts nobody else meanwhile
                self._converse(stream)
            else:
                operators.append(thread)
        for thread in operators:
            thread.join()

    def _look(self, listener: Listener) -> None:
        """Creates the file again where it is gone and its place is free."""
        if not listener.lost:
            return
        try:
            listener.restore()
        except ConnectError as error:
            if not self._complained:
                # The listener knows a long path by another name, see `protocol.listening`.
                self._log.no_control(ConnectError(str(error).replace(listener.url, str(self._path))))
            self._complained = True
        else:
            self._log.restored("control", path=str(self._path))
            self._complained = False

    def _accepted(self, listener: Listener, until: float) -> Stream | None:
        """Accepts the next operator and takes a place for it; None if none came in time or the server stops."""
        if not self._places.acquire(timeout=max(0.0, until - self._clock())):
            return None
        stream = None
        with contextlib.suppress(TransportTimeout):
            self._wait(listener.fileno(), select.POLLIN, until)
            try:
                stream = listener.accept()
            except TransportError:  # no descriptor is left, and the connection stays in the queue
                self._stopping.wait(_REST_S)
        if stream is None:
            self._places.release()
        return stream

    def _converse(self, stream: Stream) -> None:
        """An operator's thread: receives the request and sends the answer."""
        try:
            with stream, contextlib.suppress(TransportError):
                lines = self._answer(self._received(stream))
                while (line := self._next(lines)) is not None:
                    self._send(stream, line)
        finally:
            self._places.release()

    def _received(self, stream: Stream) -> bytes:
        """The request, complete or too long."""
        until = self._clock() + REQUEST_S
        received = bytearray()
        while b"\n" not in received and len(received) <= MAX_REQUEST_BYTES:
            data = stream.receive()
            if data is None:
                self._wait(stream.fileno(), select.POLLIN, until)
            elif data:
                received += data
            elif received:  # ended without a line feed
                break
            else:
                raise PeerClosed("the operator left without a request")
        return bytes(received)

    def _next(self, lines: Iterator[bytes]) -> bytes | None:
        """The next line of an answer; None at its end or if the server stops."""
        with self._turn:
            return None if self._stopping.is_set() else next(lines, None)

    def _send(self, stream: Stream, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[stream.send(rest) :]
            if rest:
                self._wait(stream.fileno(), select.POLLOUT, self._clock() + ANSWER_S)

    def _wait(self, descriptor: int, event: int, until: float) -> None:
        """Waits until a descriptor is ready; streams are non-blocking, so that a stop can end every wait.

        Raises:
            TransportTimeout: the time is over, or the server stops.
        """
        poll = select.poll()
        poll.register(descriptor, event)
        poll.register(self._stopped, select.POLLIN)
        ready = {number for number, _ in poll.poll(max(0.0, until - self._clock()) * 1000)}
        if ready != {descriptor}:
            raise TransportTimeout("the time is over, or the server stops")

    # -- commands

    def _answer(self, request: bytes) -> Iterator[bytes]:
        """The lines of an answer, the last one included."""
        command, arguments = "", dict[str, Any]()
        try:
            command, arguments = request_of(request)
            pieces = answer(self._backend, command, arguments)
            if command in CHANGES:  # made and logged even if the operator has left
                pieces = iter(list(pieces))
                self._commanded(command, arguments)
            for rows in pieces:
                yield line_of({"rows": rows})
            if command not in CHANGES:
                self._commanded(command, arguments)
            yield line_of({"ok": True})
        except Exception as error:  # noqa: BLE001 - the thread's top: a bug of one command must not end the others
            text, code = f"this is a bug of the server: {type(error).__name__}: {error}", ExitCode.BUG
            if isinstance(error, BetsError):
                text, code = str(error), exit_code_of(error)
            self._commanded(command, arguments, text)
            if isinstance(error, StorageError):  # before the answer, which may reach nobody
                self._backend.failed(error)
            yield line_of({"error": text, "exit_code": int(code)})

    def _commanded(self, command: str, arguments: dict[str, Any], error: str = "") -> None:
        text = json.dumps(arguments, ensure_ascii=False)[:_MAX_LOGGED]
        self._log.commanded(command[:_MAX_LOGGED], text, change=command in CHANGES, error=error[:_MAX_LOGGED])
