"""Frames put together by hand from docs/protocol.md, without the library that the tests are about."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

WINNING = 7574
"""The number that servers draw in these tests."""

ACK_0 = b"\x00"

STATUS_BYTES = 18
"""What an UploadStatus takes."""


def document(row: int) -> str:
    """The document of the bet of a row: it tells which bet it is."""
    return f"{row:08d}"


def bet(
    row: int = 1,
    *,
    agency: int = 1,
    number: int = 1,
    first_name: bytes = "Tomás".encode(),
    last_name: bytes = b"Paz",
    birthdate: bytes = b"1999-03-17",
    document_bytes: bytes | None = None,
) -> bytes:
    """A bet with its length in front; what is not given is sound."""
    who = bytes([len(first_name)]) + first_name + bytes([len(last_name)]) + last_name
    papers = (document(row).encode() if document_bytes is None else document_bytes) + birthdate
    body = bytes([agency]) + who + papers + struct.pack(">H", number)
    return struct.pack(">H", len(body)) + body


def bets(rows: Iterable[int], *, agency: int = 1, number: int = 1) -> list[bytes]:
    """The bets of several rows."""
    return [bet(row, agency=agency, number=number) for row in rows]


def untyped_batch(*some: bytes) -> bytes:
    """A batch as revision 6 sends it."""
    return bytes([len(some)]) + b"".join(some)


def batch(*some: bytes) -> bytes:
    """A batch as revisions 7 and 8 send it."""
    return b"\x01" + untyped_batch(*some)


def ask(agency: int) -> bytes:
    """A request for an agency's winners."""
    return bytes([2, agency])


def winners(*documents: str) -> bytes:
    """The answer to `ask`."""
    return struct.pack(">H", len(documents)) + "".join(documents).encode()


def opening(total: int, *, agency: int = 1, draw: int = 1, name: bytes = b"a") -> bytes:
    """An OpenUpload; the upload id is `name`, a byte, 16 times."""
    return struct.pack(">BBBIQ16s", 3, 1, agency, draw, total, name * 16)


def status(code: int, *stored: bytes, draw: int = 1) -> bytes:
    """The UploadStatus once the bets `stored` are on disk."""
    return struct.pack(">BBIQI", 0x83, code, draw, len(stored), zlib.crc32(b"".join(stored)))
