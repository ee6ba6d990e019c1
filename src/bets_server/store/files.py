"""What every store in files needs: durable new files, and errors of the operating system as `StorageError`."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bets_protocol import StorageError
from bets_server.store.values import StoreFull

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CREATED_MODE: Final = 0o600


@contextlib.contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError`, or `StoreFull`, that names the file."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in _NO_ROOM else StorageError
        raise kind(f"{path}: cannot {doing}: {error.strerror}") from error


def create_file(path: Path) -> int | None:
    """Create an empty file with mode 0600 and make its name durable.

    Returns:
        A descriptor for reading and writing, or None if there is a file already.
    """
    with disk_errors(path, "create the file"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _CREATED_MODE)
        except FileExistsError:
            return None
        with contextlib.ExitStack() as undo:
            # If the name cannot be made durable the file is removed: the next start would take it for durable.
            undo.callback(os.close, descriptor)
            undo.callback(os.unlink, path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            undo.pop_all()
        return descriptor
