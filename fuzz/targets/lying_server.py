"""The client's upload against a server that says anything, over one connection after the other.

The bytes are a script: each step is a byte that says what the server does, most of them with a byte or two behind it.
Honest answers are among the steps, since nobody guesses a CRC-32; so the script gets past the opening and can lie
later. What the machine may believe is kept book of here, from the bytes that it was given.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Bet,
    BetRun,
    ClientConnection,
    OpenUpload,
    RemoteProtocolError,
    SequenceError,
    SourceChanged,
    UploadRefused,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode_bets,
)
from bets_protocol.connection.upload import Upload
from bets_protocol.encoded import encoded_batches, split_bets

_DRAW = 1
_BETS = [
    Bet(agency=1, first_name="Ana", last_name="Paz", document=f"{row:08d}", birthdate="1999-03-17", number=row)
    for row in range(9)
]
_ENCODED = encode_bets(_BETS)
_SIZE = len(_ENCODED) // len(_BETS)


class _File:
    """The bets, which may have changed since the upload began."""

    def __init__(self) -> None:
        self.bets = list(_BETS)

    def resume(self, row: int) -> tuple[int, Iterator[BetRun]]:
        if row > len(self.bets):
            raise SourceChanged("there are not so many rows")
        return zlib.crc32(encode_bets(self.bets[:row])), encoded_batches(
            split_bets(encode_bets(self.bets[row:])), agency=1, max_amount=2
        )


def upload(data: bytes) -> None:
    """Whatever a server says, the client goes on or ends with an error of its own, and believes only what was said."""
    first, script = (data[0], data[1:]) if data else (0, b"")
    talk = _Talk(window=1 + first % 4, ask=bool(first & 4))
    try:
        while script and not talk.machine.finished:
            script = talk.step(script)
    except _Ended:
        ended = True
    except RemoteProtocolError:
        return
    else:
        ended = False
        talk.check()
    assert not ended or talk.machine.next_message() is None, "it goes on after the end"


class _Talk:
    """The machine, its connection, and what it was told."""

    def __init__(self, *, window: int, ask: bool) -> None:
        self._file = _File()
        self.machine = Upload(
            agency=1, draw=_DRAW, total=len(_BETS), upload_id=bytes(16), source=self._file, window=window, ask=ask
        )
        self._connection = ClientConnection(revision=9)
        self._told: UploadStatus | None = None  # the last status that says what is stored
        self._told_winners = False
        self._sent = 0  # rows behind those that were stored when this connection opened
        self._window = window
        self._connect()

    def step(self, script: bytes) -> bytes:
        """One step; gives the rest of the script."""
        kind, argument, rest = script[0], script[1] if len(script) > 1 else 0, script[2:]
        match kind % 10:
            case 0:  # any bytes
                size = argument % 40
                self._hear(rest[:size])
                return rest[size:]
            case 1:  # an honest opening, with so many rows stored
                self._hear(_status(0, argument % (len(_BETS) + 1)))
            case 2:  # an honest answer to a batch
                self._hear(_status(0, min(len(_BETS), self.machine.stored + 1 + argument % 2)))
            case 3:  # some code, with the right numbers
                self._hear(_status(argument, self.machine.stored))
            case 4:  # the right code, with wrong numbers
                self._hear(struct.pack(">BBIQI", 0x83, 0, _DRAW, argument, self.machine.stored))
            case 5:  # winners, as many as there are bytes for
                count = argument % 5
                self._hear(struct.pack(">H", count) + b"12345678" * count)
            case 6:  # the end, wherever it comes
                self._connection.receive_data(b"")
                self._take()
                self.machine.lost()
                self._connect()
            case 7:
                self.machine.ask_again()
            case 8:  # somebody writes to the file
                if argument % 4 == 0:
                    self._file.bets = self._file.bets[: argument % len(_BETS)]
            case _:  # everything that is due, honestly
                while (size := self._honest_batch()) and self.machine.awaiting and not self.machine.opening:
                    self._hear(_status(0, self.machine.stored + size))
        self._say()
        return rest

    def _honest_batch(self) -> int:
        return min(2, len(_BETS) - self.machine.stored)

    def _connect(self) -> None:
        self._connection = ClientConnection(revision=9)
        self.machine.connected()
        self._sent = -1
        self._say()

    def _say(self) -> None:
        machine = self.machine
        while (message := self._next_message()) is not None:
            encoded = self._connection.send(message)
            if isinstance(message, OpenUpload):
                assert self._sent == -1, "it opens the upload twice on one connection"
            elif isinstance(message, BetRun):
                start = self._sent if self._sent >= 0 else machine.stored
                assert encoded[2:] == _ENCODED[start * _SIZE : (start + message.count) * _SIZE], "not the next rows"
                self._sent = start + message.count
                assert machine.unanswered <= 2 * self._window, "more on the way than the window"
            else:
                assert isinstance(message, WinnersRequest)
                assert machine.uploaded, "it asks for the winners before all is stored"

    def _hear(self, data: bytes) -> None:
        if data:
            self._connection.receive_data(data)
            self._take()

    def _take(self) -> None:
        while (event := self._connection.next_event()) is not NEED_DATA and event is not CLOSED:
            assert isinstance(event, UploadStatus | Winners), f"a {type(event).__name__} on revision 9"
            opening = self.machine.opening
            if isinstance(event, UploadStatus):
                self._told = event if event.code == 0 else self._told
            else:
                self._told_winners = True
            with _endings():
                self.machine.answered(event)
            if opening:
                self._sent = self.machine.stored
            if self.machine.reconnect_for is not None:
                self._connect()
                return
            self._say()

    def _next_message(self) -> OpenUpload | BetRun | WinnersRequest | None:
        with _endings():
            return self.machine.next_message()

    def check(self) -> None:
        """It says what the server has said, and holds for stored what the server has proved to have."""
        machine = self.machine
        if self._told is None or not machine.answered_once:
            assert not machine.uploaded
            return
        assert 0 <= machine.stored <= len(_BETS)
        if machine.uploaded:
            assert self._told.stored == len(_BETS), "success with fewer bets than the file has"
            assert self._told.crc32 == zlib.crc32(_ENCODED), "success with other bets than the file has"
        assert self._told_winners or machine.winners is None, "winners that nobody has named"


class _Ended(Exception):
    """The upload has ended with an error of its own, after which it says nothing."""


@contextlib.contextmanager
def _endings() -> Iterator[None]:
    try:
        yield
    except (SequenceError, SourceChanged, UploadRefused) as error:
        raise _Ended from error


def _status(code: int, stored: int) -> bytes:
    return struct.pack(">BBIQI", 0x83, code, _DRAW, stored, zlib.crc32(_ENCODED[: stored * _SIZE]))
