"""Who saw what was said: reads revision 9 off the wire, as a chaos proxy shows it, with code of its own.

What counts as acknowledged is what the server *sent*, whether or not it arrived: a promise that was lost on the way is
still a promise.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable

import attrs

OPEN_UPLOAD, UPLOAD_STATUS = 3, 0x83
OPEN_BYTES, STATUS_BYTES = 31, 18
OK, FENCED, INCOMPLETE, DRAWN = 0, 4, 9, 16
_MOST_WINNERS = 65_535


@attrs.frozen
class Status:
    """An UploadStatus."""

    code: int
    draw: int
    stored: int
    crc32: int


def parse_status(data: bytes) -> Status:
    """The status in 18 bytes."""
    first, code, draw, stored, crc32 = struct.unpack(">BBIQI", data)
    assert first == UPLOAD_STATUS, f"the server sent {data.hex()} where a status was due"
    return Status(code, draw, stored, crc32)


@attrs.define
class Talk:
    """One connection: what the client opened, and what the server said.

    Attributes:
        opened: agency and upload id; None where no whole OpenUpload came.
        sent_by_client: bytes so far.
        problem: what cannot be what a server says; empty where there is nothing.
    """

    opened: tuple[int, bytes] | None = None
    total: int = 0
    sent_by_client: int = 0
    statuses: list[Status] = attrs.Factory(list)
    winners: list[str] | None = None
    problem: str = ""
    from_client: bytes = b""
    from_server: bytes = b""
    _winners_follow: bool = False

    def client_said(self, data: bytes) -> None:
        """Takes what the client sent; only the beginning matters, and how much it is."""
        self.sent_by_client += len(data)
        if self.opened is not None or len(self.from_client) >= OPEN_BYTES:
            return
        self.from_client += data
        if len(self.from_client) >= OPEN_BYTES and self.from_client[0] == OPEN_UPLOAD:
            _, _, agency, _, self.total = struct.unpack(">BBBIQ", self.from_client[:15])
            self.opened = (agency, self.from_client[15:OPEN_BYTES])

    def server_said(self, data: bytes) -> None:
        """Takes what the server sent. Winners follow their status; after them a status may come unasked (fenced)."""
        self.from_server += data
        while self.from_server and not self.problem:
            if self._winners_follow:
                if not self._take_winners():
                    return
            elif len(self.from_server) < STATUS_BYTES:
                return
            else:
                self._take_status()

    def _take_status(self) -> None:
        data, self.from_server = self.from_server[:STATUS_BYTES], self.from_server[STATUS_BYTES:]
        try:
            status = parse_status(data)
        except AssertionError as error:
            self.problem = str(error)
            return
        self.statuses.append(status)
        if status.code == DRAWN:
            self._winners_follow, self.winners = True, []
        elif self.winners is not None and status.code in (OK, INCOMPLETE):
            self.problem = f"{status} behind the winners"

    def _take_winners(self) -> bool:
        count = int.from_bytes(self.from_server[:2], "big")
        end = 2 + 8 * count
        if len(self.from_server) < max(2, end):
            return False
        found = [self.from_server[start : start + 8].decode("ascii") for start in range(2, end, 8)]
        self.from_server = self.from_server[end:]
        self.winners = (self.winners or []) + found
        self._winners_follow = count == _MOST_WINNERS
        return True

    def acknowledged(self) -> list[tuple[int, int]]:
        """The runs of rows that were acknowledged on this connection: first row, and the row behind the last."""
        good = [status for status in self.statuses if status.code == OK]
        pairs = itertools.pairwise(good)
        return [(before.stored, after.stored) for before, after in pairs if after.stored != before.stored]


class Witness:
    """Sees every connection of a proxy: give `saw` to it.

    Args:
        on_bytes: is told how many bytes clients and server have sent so far, after each piece.

    Thread: `saw` on the proxy's, the rest on any.
    """

    def __init__(self, on_bytes: Callable[[int, int], None] | None = None) -> None:
        self._talks: dict[int, Talk] = {}
        self._lock = threading.Lock()
        self._bytes = [0, 0]
        self.on_bytes = on_bytes

    def saw(self, connection: int, to_server: bool, data: bytes) -> None:
        """Bytes came from one end."""
        with self._lock:
            talk = self._talks.setdefault(connection, Talk())
            (talk.client_said if to_server else talk.server_said)(data)
        self._bytes[0 if to_server else 1] += len(data)
        if self.on_bytes is not None:
            self.on_bytes(*self._bytes)

    @property
    def sent_by_clients(self) -> int:
        """Bytes of all clients so far."""
        return self._bytes[0]

    @property
    def talks(self) -> list[Talk]:
        """Every connection so far, in the order of accepting."""
        with self._lock:
            return [talk for _, talk in sorted(self._talks.items())]

    def of_upload(self, agency: int, upload_id: bytes) -> list[Talk]:
        """The connections that opened an upload."""
        return [talk for talk in self.talks if talk.opened == (agency, upload_id)]
