"""The legacy file as bytes, to which lines are added at its end, and the names of the files beside it.

This module does not know the content of a line or of the ledger.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from bets_protocol import StorageError
from bets_server.store.contract import require_place
from bets_server.store.files import create_file, disk_errors
from bets_server.store.place import Place, require_not_mounted_alone

MAX_LINE_BYTES: Final = 4096
"""Ample for the longest bet: two names of 255 bytes, each byte a quote that is written twice."""

LEDGER_SUFFIX: Final = ".ledger"

OLD_JOURNAL_SUFFIX: Final = ".journal"
"""Of the file in which older versions of this program kept uploads, seals and draws."""

_BYTES_PER_PIECE: Final = 65_536


def ledger_of(path: Path) -> Path:
    """The path of a legacy file's ledger: beside the file itself, so that all links to it have one ledger."""
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + LEDGER_SUFFIX)


def require_parts(path: Path, *, create: bool) -> bool:
    """Check that either all files of a store are there, or none; return whether there is a ledger.

    Raises:
        StorageError: a file is missing, or in the way; says which one.
    """
    require_place(path, create=True, suffix=LEDGER_SUFFIX)
    ledger = ledger_of(path)
    with disk_errors(path, "look for its ledger"):
        for whole in {path, Path(os.path.realpath(path))}:
            journal = whole.with_name(whole.name + OLD_JOURNAL_SUFFIX)
            if journal.exists():
                raise StorageError(
                    f"{journal}: may hold uploads, seals and draws of an older version of this program, which this one"
                    f" does not read: export the bets with that version, then move both {whole.name} and"
                    f" {journal.name} away"
                )
        has_ledger, has_file = ledger.exists() and ledger.stat().st_size > 0, path.exists()
    if has_ledger and not has_file:
        raise StorageError(f"{path}: is missing, though its ledger {ledger} is there: {advice(ledger)}")
    if not has_ledger and not create:
        why = f": {ledger.name} is missing, which `bets-server serve` makes" if has_file else ""
        raise StorageError(f"{path}: there is no such store{why}")
    return has_ledger


def advice(ledger: Path) -> str:
    """What to do if the legacy file is not what it was, for messages."""
    return (
        "put the file back as it was. Every bet is in the ledger, which serves without this file as"
        f" --store sqlite:///{ledger}"
    )


@attrs.frozen
class Account:
    """The part of the file, from its beginning on, that the ledger accounts for.

    Attributes:
        batch: the newest batch of the ledger in that part; all before it are there too, or came from the file.
        size: its bytes.
        lines: its lines.
        crc32: the CRC-32 over its bytes.
    """

    batch: int = 0
    size: int = 0
    lines: int = 0
    crc32: int = 0

    def grown(self, text: bytes, *, batch: int | None = None) -> Account:
        """The account with more whole lines: those of `batch`, or None if another program wrote them."""
        return Account(
            batch=self.batch if batch is None else batch,
            size=self.size + len(text),
            lines=self.lines + text.count(b"\n"),
            crc32=zlib.crc32(text, self.crc32),
        )


class LegacyFile:
    """The open file, with a lock that keeps other stores out. The legacy program takes no lock.

    Attributes:
        path: for messages.

    Thread: the ledger's lock guards every call but `require_in_place`.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file; with `create`, make it if it is missing.

        Args:
            path: its links are followed.

        Raises:
            StorageError: it cannot be opened, is open elsewhere, has a second name, or is not a regular file.
        """
        self.path = path
        self._real = Path(os.path.realpath(path))
        require_not_mounted_alone(self._real)
        created = create_file(self._real) if create else None
        self._is_new = created is not None
        with disk_errors(path, "open the file"):
            self._descriptor = os.open(self._real, os.O_RDWR | os.O_CLOEXEC) if created is None else created
        try:
            with disk_errors(path, "lock the file"):
                if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    raise StorageError(f"{path}: is not an ordinary file")
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise StorageError(f"{path}: another server has it open") from error
            self._place = Place(path)
        except StorageError:
            self.close()
            raise

    def require_in_place(self) -> None:
        """Check that its name leads to it, and no other name does. Thread: any."""
        self._place.require()

    def forget(self) -> None:
        """Close the file, and delete it if this object made it and it is empty."""
        if self._is_new and self.size() == 0:
            with contextlib.suppress(OSError):
                os.unlink(self._real)
        self.close()

    def size(self) -> int:
        """The size of the file in bytes."""
        with disk_errors(self.path, "read the size"):
            return os.fstat(self._descriptor).st_size

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Up to `max_bytes` bytes from `offset`; fewer at the end of the file only."""
        pieces: list[bytes] = []
        with disk_errors(self.path, "read"):
            while max_bytes and (piece := os.pread(self._descriptor, max_bytes, offset)):
                pieces.append(piece)
                offset, max_bytes = offset + len(piece), max_bytes - len(piece)
        return b"".join(pieces)

    def begins_with(self, account: Account) -> bool:
        """Whether the file begins with the bytes of the account."""
        offset, crc32 = 0, 0
        while piece := self.read(offset, min(_BYTES_PER_PIECE, account.size - offset)):
            offset, crc32 = offset + len(piece), zlib.crc32(piece, crc32)
        return (offset, crc32) == (account.size, account.crc32)

    def reader(self, start: int) -> BinaryIO:
        """A reader from the byte `start` on."""
        with disk_errors(self.path, "read"):
            file = os.fdopen(os.dup(self._descriptor), "rb")  # closing it leaves the lock with our descriptor
            file.seek(start)
        return file

    def lines(self, start: int, end: int, number: int) -> Iterator[tuple[int, bytes]]:
        """The lines between two bytes, each with its number; the first has the number `number`.

        Raises:
            StorageError: a line is too long for a bet, or the last one has no end.
        """
        with self.reader(start) as file:
            while start < end:
                with disk_errors(self.path, "read"):
                    line = file.readline(MAX_LINE_BYTES)
                if not line.endswith(b"\n"):
                    too_long = f"longer than {MAX_LINE_BYTES} bytes: not a bet"
                    why = too_long if len(line) == MAX_LINE_BYTES else "the last line has no end"
                    raise StorageError(f"{self.path}:{number}: {why}")
                yield number, line
                start, number = start + len(line), number + 1

    def write(self, text: bytes, offset: int) -> None:
        """Write at `offset`; `flush` waits for the disk.

        Raises:
            StoreFull: no room; see `cut`.
            StorageError: what is in the file is unknown.
        """
        rest = memoryview(text)
        with disk_errors(self.path, "write"):
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written

    def flush(self) -> None:
        """Wait until everything that was written is on the disk.

        Raises:
            StoreFull: no room. Some file systems notice only now; what was written since the last flush may be lost,
                so it must be cut off and written again.
            StorageError: what is on the disk is unknown, also after another flush.
        """
        with disk_errors(self.path, "flush to disk"):
            os.fdatasync(self._descriptor)

    def cut(self, size: int) -> None:
        """Remove what is beyond `size`: the part of a text for which there was no room."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:  # never `StoreFull`, not even for lack of room: a part of a line may be left
            raise StorageError(f"{self.path}: cannot cut the file: {error.strerror}") from error

    def close(self) -> None:
        """Close the file, which also releases the lock. Calling it again has no effect."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
