"""The control socket: its path, how both ends open it, and the lines that travel on it.

It is a Unix stream socket beside the store, with mode 0600 from its first moment (see `bets_protocol.transports`). The
address of such a socket takes 107 bytes: a longer path is named through an open descriptor of its folder.

A line is one JSON object in UTF-8. The operator sends one, the request: `{"command": ..., argument: value, ...}`. Any
number of `{"rows": [...]}` come back, and at the end `{"ok": true}` or `{"error": text, "exit_code": number}`. If this
last line is missing, the answer was cut off. There is one request for each connection.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bets_protocol import ConfigError, ConnectError, TransportError
from bets_protocol.transports import ConnectTimeout, Listener, Stream, Url, connect, listen
from bets_server.store import path_of

MAX_REQUEST_BYTES: Final = 65_536
"""The longest request, a void with a reason of 500 escaped characters, takes 3 KB."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""For one line: 256 bets take at most 300 KB, a status with 255 agencies 60 KB."""

NO_CONTROL: Final = "none"
"""The value of the setting that switches the socket off."""

_ADDRESS_BYTES: Final = 107
_DESCRIPTORS: Final = Path("/proc/self/fd")


def control_path(control: str, store: str) -> Path | None:
    """The path of the control socket, or None if it is switched off or the store is not a file.

    Args:
        control: the setting: a path, `NO_CONTROL`, or empty for beside the store.
        store: the store's URL.

    Raises:
        ConfigError: the path cannot be used.
    """
    if control == NO_CONTROL:
        return None
    if control:
        if not control.isprintable():
            raise ConfigError(f"--control: {control!r}: expected a printable path in UTF-8, or {NO_CONTROL!r}")
        path = Path(control)
    else:
        try:
            path = path_of(store)
        except ConfigError:
            return None
        path = path.with_name(path.name + ".control")
    if not path.is_absolute():
        try:
            os.getcwd()
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: the working folder was deleted; go to another one") from error
    return path


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Listener]:
    """A listener at `path`; it replaces the file of a dead server, and removes its own at the end.

    Raises:
        ConfigError: the path cannot be used for a socket.
        ConnectError: the path is in use, or no socket can be made there.
    """
    with _address(path, f"cannot listen at {path}") as address:
        with _told_of(path, address):
            listener = listen(Url(scheme="unix", path=address))
        with listener:  # its file goes by the same address, so that must live as long
            yield listener


def connected(path: Path, timeout_s: float) -> Stream:
    """A connection to the server that listens at `path`.

    Raises:
        ConfigError: the path cannot be used for a socket.
        ConnectError: no server listens there, or connecting is not allowed.
    """
    with _address(path, f"cannot connect to {path}") as address, _told_of(path, address):
        return connect(Url(scheme="unix", path=address), timeout_s=timeout_s)


def is_answered(path: Path, timeout_s: float) -> bool:
    """Whether a server listens at `path`."""
    try:
        connected(path, timeout_s).close()
    except ConnectTimeout:
        return True  # the queue is full: the server is suspended, and operators went on connecting
    except (ConfigError, TransportError):
        return False
    return True


@contextlib.contextmanager
def _address(path: Path, doing: str) -> Iterator[str]:
    """A name of `path` that fits into the address of a socket, valid in the block."""
    whole = os.path.abspath(path)
    if len(os.fsencode(whole)) <= _ADDRESS_BYTES or not _DESCRIPTORS.is_dir():
        yield whole
        return
    try:
        folder = os.open(os.path.dirname(whole), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConnectError(f"{doing}: {error.strerror}") from error
    try:
        short = str(_DESCRIPTORS / str(folder) / os.path.basename(whole))
        excess = len(os.fsencode(short)) - _ADDRESS_BYTES
        if excess > 0:
            raise ConnectError(f"{doing}: the name is {excess} bytes too long for a socket; see --control")
        yield short
    finally:
        os.close(folder)


@contextlib.contextmanager
def _told_of(path: Path, address: str) -> Iterator[None]:
    """Replaces the address in errors by the path as it was given."""
    try:
        yield
    except (ConfigError, TransportError) as error:
        raise type(error)(str(error).replace(f"unix://{address}", str(path))) from error


def line_of(message: Mapping[str, Any]) -> bytes:
    """The line for a message, with its line feed."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def message_of(line: bytes) -> dict[str, Any]:
    """The message in a line.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        message = json.loads(line.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(message, dict):
        raise ValueError("expected a JSON object")
    return message


def request_of(received: bytes) -> tuple[str, dict[str, Any]]:
    """The command and its arguments, from the first line of what an operator has sent.

    Raises:
        ConfigError: it is not a request.
    """
    line, _, _ = received.partition(b"\n")
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
