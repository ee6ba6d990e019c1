"""The command line's side of operators' commands: asks the running server, or opens the store if no server runs.

If a server takes the connection at the control socket, its answer counts, even if it is an error. Otherwise the store
is opened, which works only while no server has it open. Either way `commands` makes the answer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from bets_protocol import ConfigError, PeerClosed, StorageError, TransportError, WriteError
from bets_protocol.cli.exit_codes import ExitCode, ProgramError
from bets_protocol.cli.settings import resolve
from bets_protocol.cli.signals import interruptible, raise_if_stopped
from bets_protocol.transports import Stream
from bets_server.config import SETTINGS
from bets_server.operator.commands import CHANGES, NeedsServer, OperatorBackend, Row, answer
from bets_server.operator.protocol import MAX_ANSWER_BYTES, connected, control_path, line_of, message_of
from bets_server.store import open_store, path_of

CONNECT_S: Final = 5.0  # to a server on the same machine
SILENCE_S: Final = 300.0  # without a byte of an answer: the draw of a hundred million bets takes less

_EXIT_CODES: Final = {int(code): code for code in ExitCode}


class ServerError(ProgramError):
    """An error that the server has answered, with its exit code."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        self.exit_code = exit_code
        super().__init__(text)


@attrs.frozen(kw_only=True)
class Place:
    """Where to ask: at a server's control socket if there is one, or in a store."""

    store: str
    draw: int | None
    control: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The control socket, and the store if it is a file."""
        files = [] if self.control is None else [self.control]
        with contextlib.suppress(ConfigError):  # another scheme's URL, which need not name a file
            files.append(path_of(self.store))
        return tuple(files)


def place_of(store: str | None, draw: str | None, control: str | None) -> Place:
    """The place that options and environment name.

    Raises:
        ConfigError: one of them cannot be used.
    """
    settings = [setting for setting in SETTINGS if setting.name in ("store", "draw", "control")]
    values = resolve(settings, {"store": store, "draw": draw, "control": control}, os.environ)
    return Place(
        store=values["store"],
        draw=values["draw"] if values.origin("draw") is not None else None,
        control=control_path(values["control"], values["store"]),
    )


@contextlib.contextmanager
def asked(place: Place, command: str, **arguments: Any) -> Iterator[Iterator[Row]]:
    """The rows of a command's answer, as they come; the connection or the store is closed at the end of the block.

    A stop is raised between two rows, so this may be used in `deferred_stops`.

    Raises:
        ConfigError: the store cannot be opened.
        ServerError: the server's answer.
        TransportError: the connection to the server broke; a command may have been carried out all the same.
        BetsError: as `commands.answer`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    stream, why_not = _server(place)
    if stream is not None:
        if place.draw is not None:
            given["draw"] = place.draw
        with stream:
            yield _one_by_one(_answer_of(stream, {"command": command, **given}))
        return
    if command == "close":
        raise NeedsServer(f"{command} needs a running server, and none is found: {why_not}")
    try:
        draw = 1 if place.draw is None else place.draw
        store = open_store(place.store, draw=draw, create=False, readonly=command not in CHANGES)
    except StorageError as error:
        raise ConfigError(f"--store {place.store}: {error} ({why_not})") from error
    with store:
        yield _one_by_one(answer(OperatorBackend(store), command, given))


def _server(place: Place) -> tuple[Stream | None, str]:
    """A connection to the server, or None with the reason."""
    if place.control is None:
        return None, "there is no control socket to ask at"
    try:
        with interruptible():
            return connected(place.control, CONNECT_S), ""
    except (ConfigError, TransportError) as error:
        return None, str(error)


def _one_by_one(pieces: Iterator[list[Row]]) -> Iterator[Row]:
    for rows in pieces:
        for row in rows:
            raise_if_stopped()
            yield row


def _answer_of(stream: Stream, request: dict[str, Any]) -> Iterator[list[Row]]:
    """Sends a request and yields the pieces of its answer."""
    stream.set_timeout(SILENCE_S)
    with contextlib.suppress(WriteError), interruptible():  # its answer may be there to receive
        stream.send_all(line_of(request))
    for line in _lines(stream):
        try:
            message = message_of(line)
        except ValueError as error:
            raise _nonsense(line) from error
        rows, text, code = message.get("rows"), message.get("error"), message.get("exit_code")
        if isinstance(rows, list):
            yield rows
        elif message.get("ok") is True:
            return
        elif isinstance(text, str) and isinstance(code, int) and code in _EXIT_CODES:
            raise ServerError(text, _EXIT_CODES[code])
        else:
            raise _nonsense(line)
    raise PeerClosed("the server ended in the middle of its answer")


def _lines(stream: Stream) -> Iterator[bytes]:
    rest = b""
    while True:
        with interruptible():
            data = stream.receive()
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > MAX_ANSWER_BYTES:
            raise _nonsense(rest)


def _nonsense(line: bytes) -> ServerError:
    return ServerError(f"what answers at the control socket is no server: {line[:100]!r}", ExitCode.PROTOCOL)
