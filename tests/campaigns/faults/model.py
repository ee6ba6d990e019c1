"""What the checkers know by themselves: the bytes of a file's bets, their CRC-32, who wins; written again on purpose.

Nothing here uses the codec, the client or the server: a checker that asks the program whether the program is right
finds nothing. Only the sample rows come from the product; any rows would do.
"""

from __future__ import annotations

import csv
import struct
import zlib
from pathlib import Path

import attrs

from bets_client.input.sample import rows


def encoded_bet(agency: int, first_name: str, last_name: str, document: str, birthdate: str, number: str) -> bytes:
    """A bet as it travels and as the book keeps it."""
    names = b"".join(bytes([len(name.encode())]) + name.encode() for name in (first_name, last_name))
    body = bytes([agency]) + names + document.encode() + birthdate.encode() + struct.pack(">H", int(number))
    return struct.pack(">H", len(body)) + body


def split_bets(run: bytes) -> list[bytes]:
    """A run of encoded bets, one by one."""
    found = []
    while run:
        size = 2 + int.from_bytes(run[:2], "big")
        assert len(run) >= size > 2, "a stored bet is cut off"
        found.append(run[:size])
        run = run[size:]
    return found


def document_of(bet: bytes) -> str:
    """The document of an encoded bet."""
    return bet[-20:-12].decode("ascii")


def number_of(bet: bytes) -> int:
    """The number of an encoded bet."""
    return int.from_bytes(bet[-2:], "big")


@attrs.frozen
class AgencyFile:
    """A file of an agency's bets, and what must become of them.

    Attributes:
        bets: as they travel, in the order of the file.
    """

    path: Path
    agency: int
    bets: tuple[bytes, ...]

    def winners(self, number: int) -> list[str]:
        """The documents of those who bet on `number`, in order."""
        return [document_of(bet) for bet in self.bets if number_of(bet) == number]

    def crc32(self, stored: int) -> int:
        """The checksum over the first bets."""
        return zlib.crc32(b"".join(self.bets[:stored]))


def write_file(folder: Path, agency: int, *, bets: int, seed: int) -> AgencyFile:
    """A sample file of `agency` in `folder`."""
    path = folder / f"agency-{agency}.csv"
    path.write_bytes(b"".join(row.encode() + b"\r\n" for row in rows(agency, bets, seed)))
    with path.open(encoding="utf-8", newline="") as file:
        return AgencyFile(path, agency, tuple(encoded_bet(agency, *row) for row in csv.reader(file)))
