"""The server's side of the control socket: operators ask while the server has the store open.

Strategy: one thread of its own with a selector, so that neither an operator's slow terminal nor a long export matters
to the reactor. Rules:

1. One line of an answer for each connection and round, and the next one only when the operator has taken that: an
   export holds a piece of the book in memory and nothing of the store between two pieces.
2. Everything is bounded: connections, the request, how long it may take to come, how long an answer may wait.
3. Somebody who tidies up may remove the socket's file: it is looked after, and made anew.
4. Commands come one at a time. What they raise on purpose is their answer; a failure of the store is also the
   backend's.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bets_protocol import BetsError, ConfigError, ConnectError, StorageError, TransportError
from bets_protocol.cli.exit_codes import ExitCode, exit_code_of
from bets_protocol.transports import Listener, Stream
from bets_server.limits import MAX_OPERATORS
from bets_server.logs import ServerLog
from bets_server.operator.commands import CHANGES, AgencySeen, LiveStatus, OperatorBackend, answer
from bets_server.operator.protocol import MAX_REQUEST_BYTES, control_path, line_of, listening, message_of

__all__ = ["AgencySeen", "ControlServer", "LiveStatus", "OperatorBackend", "control_server"]

REQUEST_S: Final = 10.0
"""Seconds for a request to come, from the connection on."""

ANSWER_S: Final = 60.0
"""Seconds for an operator to make room for the next piece of an answer."""

CLOSE_S: Final = 0.5
"""Seconds that a command may still take when the server stops."""

_MAX_LOGGED: Final = 1000
"""Characters of what an operator sends that a line of the log repeats."""

_REST_S: Final = 1.0
"""Seconds without accepting when there is no descriptor left to accept with."""

LOOK_S: Final = 1.0
"""Seconds between two looks whether the socket's file is still there."""


class ControlServer:
    """Answers operators from its own thread, from `__enter__` to `__exit__`.

    Args:
        path: of the socket; None: there is none, and nothing is done.
        backend: carries the commands out.
        log: where commands are written down.
        required: whether a socket that cannot be opened is an error, or only worth a line of the log.

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

    @property
    def store_in_use(self) -> bool:
        """Whether a command still runs after `__exit__`: then the store must not be closed under it."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        """Open the socket and begin.

        Raises:
            ConfigError: it cannot be opened, and is required.
        """
        if self._path is None:
            return self
        with contextlib.ExitStack() as parts:
            try:
                self._thread = self._begun(self._path, parts)
            except (ConfigError, ConnectError) as error:
                if self._required:
                    raise ConfigError(f"--control: {error}") from error
                parts.close()
                self._log.no_control(error)
            else:
                self._parts = parts.pop_all()
        return self

    def _begun(self, path: Path, parts: contextlib.ExitStack) -> threading.Thread:
        """Opens what is needed, into `parts`, and starts the thread.

        Raises:
            ConfigError: the path cannot be one.
            ConnectError: something cannot be opened, or no thread be started.
        """
        listener = parts.enter_context(listening(path))
        try:
            stop, self._stop = (parts.enter_context(end) for end in socket.socketpair())
            selector = parts.enter_context(selectors.DefaultSelector())
        except OSError as error:
            raise ConnectError(f"cannot listen at {path}: {error.strerror}") from error
        loop = _Loop(path, listener, stop, selector, self._backend, self._log, self._clock)
        thread = threading.Thread(target=loop.run, name="control", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # how `threading` says that the system allows no further one
            raise ConnectError(f"cannot listen at {path}: {error}") from error
        return thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._stop.send(b"\0")
        self._thread.join(CLOSE_S)
        if self.store_in_use:  # what the thread has open ends with the process
            self._log.failed_to_close("control", "a command still runs")
            return
        self._parts.close()
        self._thread = None
        self._log.closed("control")


def control_server(control: str, store: str, backend: OperatorBackend, log: ServerLog) -> ControlServer:
    """The control server that the settings `control` and `store` ask for; one that is named must come about.

    Raises:
        ConfigError: the path cannot be one.
    """
    return ControlServer(control_path(control, store), backend, log, required=bool(control))


class _Call:
    """One connection: first the request comes, then the answer goes.

    Attributes:
        deadline: when it is given up, in seconds of the clock.
        lines: the answer; None as long as the request is not complete.
        outbox: what of the current line has to go yet.
    """

    def __init__(self, stream: Stream, deadline: float) -> None:
        self.stream = stream
        self.deadline = deadline
        self.lines: Iterator[bytes] | None = None
        self.outbox = memoryview(b"")
        self._received = bytearray()

    def read(self) -> bytes | None:
        """Takes what has come; gives the request once it is complete or too long.

        Raises:
            TransportError: the connection broke, or ended without a request.
        """
        while (data := self.stream.receive()) is not None:
            self._received += data
            if b"\n" in data or len(self._received) > MAX_REQUEST_BYTES or (not data and self._received):
                return bytes(self._received)
            if not data:
                raise TransportError("ended without a request")
        return None

    def write(self) -> bool:
        """Sends at most one line of the answer; returns whether that was all of it.

        Raises:
            TransportError: the connection broke.
        """
        if not self.outbox:
            line = next(self.lines or iter(()), None)
            if line is None:
                return True
            self.outbox = memoryview(line)
        self.outbox = self.outbox[self.stream.send(self.outbox) :]
        return False


class _Loop:
    """The thread's work: everything in here belongs to it."""

    def __init__(
        self,
        path: Path,
        listener: Listener,
        stop: socket.socket,
        selector: selectors.BaseSelector,
        backend: OperatorBackend,
        log: ServerLog,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._listener = listener
        self._stop = stop
        self._backend = backend
        self._log = log
        self._clock = clock
        self._selector = selector
        self._calls: set[_Call] = set()
        self._accepting = False
        self._rests_until = 0.0
        self._look_at = clock() + LOOK_S
        self._complained = False  # that the file is gone and cannot be made anew

    def run(self) -> None:
        """Serves until the stop socket is readable."""
        self._selector.register(self._stop, selectors.EVENT_READ)
        try:
            while self._round():
                pass
        finally:
            for call in list(self._calls):
                self._drop(call)

    def _round(self) -> bool:
        now = self._clock()
        for call in [call for call in self._calls if now >= call.deadline]:
            self._drop(call)
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()
        self._accept_or_not(now)
        ready = self._selector.select(self._timeout(now))
        for key, _ in ready:
            if key.fileobj is self._stop:
                return False
            if isinstance(key.data, _Call):
                self._serve(key.data)
            else:
                self._accept()
        return True

    def _timeout(self, now: float) -> float:
        times = [self._look_at, *(call.deadline for call in self._calls)]
        if now < self._rests_until:
            times.append(self._rests_until)
        return max(0.0, min(times) - now)

    def _look(self) -> None:
        """Makes the file anew where it is gone, as far as nobody else's is there."""
        if not self._listener.lost:
            return
        if self._accepting:
            self._selector.unregister(self._listener.fileno())
            self._accepting = False
        try:
            self._listener.restore()
        except ConnectError as error:
            if not self._complained:
                # A long path is listened at by another name, see `control_socket`.
                self._log.no_control(ConnectError(str(error).replace(self._listener.url, str(self._path))))
            self._complained = True
        else:
            self._log.restored("control", path=str(self._path))
            self._complained = False

    def _accept_or_not(self, now: float) -> None:
        wanted = len(self._calls) < MAX_OPERATORS and now >= self._rests_until
        if wanted and not self._accepting:
            self._selector.register(self._listener.fileno(), selectors.EVENT_READ)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listener.fileno())
        self._accepting = wanted

    def _accept(self) -> None:
        try:
            stream = self._listener.accept()
        except TransportError:  # no descriptor left; the connection waits in its queue
            self._rests_until = self._clock() + _REST_S
            return
        if stream is not None:
            call = _Call(stream, self._clock() + REQUEST_S)
            self._calls.add(call)
            self._selector.register(stream.fileno(), selectors.EVENT_READ, call)

    def _serve(self, call: _Call) -> None:
        try:
            if call.lines is None:
                request = call.read()
                if request is None:
                    return
                call.lines = self._answer(request)
                self._selector.modify(call.stream.fileno(), selectors.EVENT_WRITE, call)
            if call.write():
                self._drop(call)
            else:
                call.deadline = self._clock() + ANSWER_S
        except TransportError:
            self._drop(call)

    def _drop(self, call: _Call) -> None:
        self._calls.discard(call)
        self._selector.unregister(call.stream.fileno())
        call.stream.close()

    def _answer(self, request: bytes) -> Iterator[bytes]:
        """The lines of an answer, the last one included."""
        command, arguments = "", dict[str, Any]()
        try:
            command, arguments = _parsed(request)
            pieces = answer(self._backend, command, arguments)
            if command in CHANGES:  # made and written down, whether or not anybody waits to hear of it
                pieces = iter(list(pieces))
                self._commanded(command, arguments)
            for rows in pieces:
                yield line_of({"rows": rows})
            if command not in CHANGES:
                self._commanded(command, arguments)
            yield line_of({"ok": True})
        except BetsError as error:
            self._commanded(command, arguments, str(error))
            if isinstance(error, StorageError):
                # Before anything else: whoever asked may not be there any more.
                self._backend.failed(error)
            yield line_of({"error": str(error), "exit_code": int(exit_code_of(error))})
        except Exception as error:  # noqa: BLE001 - the thread's top: a bug of one command must not end the others
            text = f"this is a bug of the server: {type(error).__name__}: {error}"
            self._commanded(command, arguments, text)
            yield line_of({"error": text, "exit_code": int(ExitCode.BUG)})

    def _commanded(self, command: str, arguments: dict[str, Any], error: str = "") -> None:
        text = json.dumps(arguments, ensure_ascii=False)[:_MAX_LOGGED]
        self._log.commanded(command[:_MAX_LOGGED], text, change=command in CHANGES, error=error[:_MAX_LOGGED])


def _parsed(request: bytes) -> tuple[str, dict[str, Any]]:
    """The command and its arguments.

    Raises:
        ConfigError: it is none.
    """
    line, _, _ = request.partition(b"\n")
    if len(line) > MAX_REQUEST_BYTES:
        raise ConfigError(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        arguments = message_of(line)
    except ValueError as error:
        raise ConfigError(f"the request is not a JSON object on one line: {error}") from error
    command = arguments.pop("command", None)
    if not isinstance(command, str):
        raise ConfigError('the request has no "command", which is a text')
    return command, arguments
