"""Whether a name still leads to the file that was opened by it.

A program goes on writing into an open file after the file was moved, deleted or replaced; what it acknowledges then is
lost to the next process. So an open store checks its names again and again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bets_protocol import StorageError

_MOUNTS: Final = Path("/proc/self/mountinfo")
"""Linux's list of mounts. The fifth field of a line is the place, in which white space is written as octal escapes."""


class Place:
    """A name, the file that it led to, and the folder of that file.

    Attributes:
        file: device and inode.
    """

    def __init__(self, path: Path) -> None:
        """Remember the file that `path` leads to now.

        Raises:
            StorageError: the file or its folder cannot be read, or it has more than one name.
        """
        # Strings, because `os.stat` would convert a `Path` at each of many calls.
        self._path = os.path.abspath(path)
        self._folder_path = os.path.dirname(self._path)
        file, folder = _look(self._path), _look(self._folder_path)
        _require_one_name(self._path, file)
        self.file = file.st_dev, file.st_ino
        self._folder = folder.st_dev, folder.st_ino

    def require(self) -> None:
        """Check that the name leads to the same file in the same folder, and that the file has no other name.

        Costs two system calls. Thread: any.

        Raises:
            StorageError: it does not.
        """
        self.require_file()
        folder = _look(self._folder_path)
        if (folder.st_dev, folder.st_ino) != self._folder:
            raise StorageError(f"{self._folder_path}: another folder is there now than the one in use: {_ADVICE}")

    def require_file(self) -> None:
        """Like `require`, without the folder."""
        file = _look(self._path)
        if (file.st_dev, file.st_ino) != self.file:
            raise StorageError(f"{self._path}: another file is there now than the one that is open: {_ADVICE}")
        if file.st_nlink != 1:
            _require_one_name(self._path, file)


_ADVICE: Final = "put back what was moved, with every file of the store, and start again"


def require_not_mounted_alone(path: Path) -> None:
    """Check that a file is not mounted by itself, as into a container.

    Its write-ahead log would stay behind in a folder of another file system.

    Args:
        path: absolute, links resolved.

    Raises:
        StorageError: it is mounted by itself.
    """
    try:
        mounts = _MOUNTS.read_bytes()
    except OSError:  # not Linux, or a sandbox that hides it
        return
    places = {line.split(b" ", 5)[4] for line in mounts.splitlines() if line.count(b" ") >= 5}
    if b"".join(_escaped(byte) for byte in os.fsencode(path)) in places:
        raise StorageError(
            f"{path}: is mounted as a single file, and the files beside it would stay behind: mount its folder"
        )


def _escaped(byte: int) -> bytes:
    return b"\\%03o" % byte if byte in b" \t\n\\" else bytes((byte,))


def _look(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise StorageError(f"{path}: is not where it was: {error.strerror}: {_ADVICE}") from error


def _require_one_name(path: str, status: os.stat_result) -> None:
    # The write-ahead log is beside one of the names, so a program that opens the file by another does not find it.
    # A symbolic link is fine: SQLite resolves it.
    if status.st_nlink != 1:
        raise StorageError(
            f"{path}: has {status.st_nlink} names (hard links), and what lies beside one of them is not found by the"
            " others: keep one of them, and make the others symbolic links"
        )
