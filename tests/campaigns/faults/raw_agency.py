"""An agency without manners: speaks revision 9 byte by byte over plain sockets, and can stop anywhere."""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.campaigns.faults.witness import DRAWN, OK, OPEN_BYTES, STATUS_BYTES, Status, parse_status

DEADLINE_S = 30.0


def open_message(agency: int, upload_id: bytes, total: int, *, draw: int = 1) -> bytes:
    """An OpenUpload."""
    return struct.pack(">BBBIQ", 3, 1, agency, draw, total) + upload_id


def batch_message(bets: Sequence[bytes]) -> bytes:
    """A BetBatch of encoded bets."""
    return bytes([1, len(bets)]) + b"".join(bets)


def ask_message(agency: int) -> bytes:
    """A WinnersRequest."""
    return bytes([2, agency])


def upload_id_of(name: str) -> bytes:
    """An upload id like any other."""
    return hashlib.sha256(name.encode()).digest()[:16]


class RawAgency:
    """One connection.

    Args:
        port: of the server, or of a proxy.
    """

    def __init__(self, port: int | str, agency: int = 1) -> None:
        self.agency = agency
        self._socket = socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Ends by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def end(self) -> None:
        """Ends its side and waits for the end of the server's."""
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(65536):
            pass

    def send(self, data: bytes) -> None:
        """Sends bytes, whatever they are."""
        self._socket.sendall(data)

    def status(self) -> Status:
        """The next answer.

        Raises:
            ConnectionError: there is none.
        """
        return parse_status(self._exactly(STATUS_BYTES))

    def open(self, upload_id: bytes, total: int) -> Status:
        """Opens an upload."""
        message = open_message(self.agency, upload_id, total)
        assert len(message) == OPEN_BYTES
        self.send(message)
        return self.status()

    def store(self, bets: Sequence[bytes]) -> Status:
        """Sends one batch."""
        self.send(batch_message(bets))
        return self.status()

    def winners(self) -> list[str]:
        """Asks for the winners and waits for the draw; the signs of life before it are passed over."""
        self.send(ask_message(self.agency))
        while (status := self.status()).code != DRAWN:
            assert status.code == OK, f"waiting for the draw, agency {self.agency} is told {status}"
        return self._documents()

    def plain_store(self, bets: Sequence[bytes]) -> int:
        """Sends one batch on revision 8; gives the Ack."""
        self.send(batch_message(bets))
        return self._exactly(1)[0]

    def plain_winners(self) -> list[str]:
        """Asks for the winners on revision 8, and waits."""
        self.send(ask_message(self.agency))
        return self._documents()

    def _documents(self) -> list[str]:
        count = int.from_bytes(self._exactly(2), "big")
        found = self._exactly(8 * count)
        return [found[start : start + 8].decode("ascii") for start in range(0, len(found), 8)]

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            data = self._socket.recv(count - len(found))
            if not data:
                raise ConnectionResetError("the server has ended the connection")
            found += data
        return found
