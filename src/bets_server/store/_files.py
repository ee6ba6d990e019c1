"""Files that only grow at a known end: what a store that writes its own files stands on.

The rules:

- the owner says how long the file is; bytes beyond that are the remains of a write that nobody was told about, and
  are cut off before the next one;
- `append` returns when the bytes are on disk. A write that finds no room is undone and raises `StoreFull`;
- after any other failed write, and after any failed flush, nobody knows what is on disk (Linux calls pages clean that
  it failed to write): `StorageError`, and the owner must stop. A flush is never tried again;
- a new file is readable by its owner only, and its name is flushed to disk with the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bets_protocol import StorageError
from bets_server.store._values import StoreFull

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CREATED_MODE: Final = 0o600


@contextlib.contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn what the operating system says into a `StorageError` that names the file."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in _NO_ROOM else StorageError
        raise kind(f"{path}: cannot {doing}: {error.strerror}") from error


def create_file(path: Path) -> int | None:
    """Create an empty file with mode 0600 and make its name durable; None where there is one already.

    Returns:
        A descriptor for reading and writing.
    """
    with disk_errors(path, "create the file"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _CREATED_MODE)
        except FileExistsError:
            return None
        with contextlib.ExitStack() as undo:
            # A name that is not durable must not be there either: who finds it takes it for one that is.
            undo.callback(os.close, descriptor)
            undo.callback(os.unlink, path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            undo.pop_all()
        return descriptor


class GrowingFile:
    """An open file, of which the first `length` bytes count.

    Attributes:
        path: for messages.
        length: bytes that count, from the start of the file; set by the owner, raised by `append`.

    Thread: the owner's lock guards every call.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file, creating it where `create` says so.

        Raises:
            StorageError: it cannot be opened.
        """
        self.path = path
        self.length = 0
        descriptor = create_file(path) if create else None
        with disk_errors(path, "open the file"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC) if descriptor is None else descriptor

    def fileno(self) -> int:
        """The descriptor, for a lock."""
        return self._descriptor

    def size(self) -> int:
        """Bytes in the file, those that do not count included."""
        with disk_errors(self.path, "read the size"):
            return os.fstat(self._descriptor).st_size

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Up to `max_bytes` bytes from `offset`; none at the end of the file."""
        with disk_errors(self.path, "read"):
            return os.pread(self._descriptor, max_bytes, offset)

    def append(self, data: bytes) -> None:
        """Write at the end of what counts, wait for the disk, and count it.

        Raises:
            StoreFull: no room; the file is as it was.
            StorageError: what is on disk is unknown.
        """
        try:
            with disk_errors(self.path, "write"):
                self._write(data)
        except StoreFull:
            self.cut()
            raise
        try:
            os.fsync(self._descriptor)
        except OSError as error:  # not even "no room" can be taken back here
            raise StorageError(f"{self.path}: cannot flush to disk: {error.strerror}") from error
        self.length += len(data)

    def _write(self, data: bytes) -> None:
        rest, offset = memoryview(data), self.length
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def cut(self) -> None:
        """Remove the bytes that do not count."""
        with disk_errors(self.path, "cut the file"):
            os.ftruncate(self._descriptor, self.length)

    def close(self) -> None:
        """Close the descriptor, which also lets go of a lock on it."""
        os.close(self._descriptor)
