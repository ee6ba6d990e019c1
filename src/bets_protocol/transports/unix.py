"""`unix:///path`: stream sockets in the file system.

The path of a server that was killed stays, so listening has to tell three cases apart:

1. *A socket that no process serves* is replaced: a connection to it is refused.
2. *A socket that a process serves* is refused: "address already in use". So is one that we may not connect to.
3. *Anything else* (a file, a directory, any symbolic link) is refused and never removed.

A listener whose path was removed by another program can be restored, by the same rules.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

from bets_protocol.errors import ConfigError, ConnectError
from bets_protocol.transports.base import ConnectTimeout, Stream, Url
from bets_protocol.transports.sockets import SocketListener, SocketStream, closed_on_error, os_errors_as

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""The size of `sun_path` without its final NUL."""

_LOCK_WAIT_S: Final = 1.0
_RETRY_S: Final = 0.01

_umask_lock = threading.Lock()


class UnixTransport:
    """The `Transport` of the scheme ``unix``."""

    def connect(self, url: Url, timeout_s: float) -> Stream:
        deadline = time.monotonic() + timeout_s
        doing = f"cannot connect to {url}"
        _check_length(url, doing)
        with os_errors_as(ConnectError, doing):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with closed_on_error(sock):
                sock.setblocking(False)
                # TCP waits for room in the listener's queue; a Unix socket returns EAGAIN at once.
                while not _try_connect(sock, url.path):
                    if time.monotonic() >= deadline:
                        raise ConnectTimeout(f"{doing}: timed out, the server does not accept")
                    time.sleep(_RETRY_S)
                return SocketStream(sock, "unix")

    def listen(self, url: Url, backlog: int) -> _UnixListener:
        doing = f"cannot listen on {url}"
        _check_length(url, doing)
        # Under a lock: of two servers that start at once, the second could remove what the first has just bound.
        with os_errors_as(ConnectError, doing), _locked_directory(os.path.dirname(url.path)):
            _make_room(url.path, doing)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with closed_on_error(sock):
                _bind_private(sock, url.path)
                # From here on the path is ours; if listening fails, closing removes it.
                listener = _UnixListener(sock, url, backlog)
                with closed_on_error(listener):
                    sock.listen(backlog)
                return listener


class _UnixListener(SocketListener):
    """A socket listener that removes its path when it closes."""

    def __init__(self, sock: socket.socket, url: Url, backlog: int) -> None:
        super().__init__(sock, str(url), lambda accepted, _: SocketStream(accepted, "unix"))
        self._where = url
        self._backlog = backlog
        self._identity = _identity(url.path)
        self._pid = os.getpid()

    @property
    def lost(self) -> bool:
        # An error other than "not found" does not say that the path is gone.
        try:
            return self.fileno() >= 0 and _identity(self._where.path) != self._identity
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def restore(self) -> None:
        if self.lost:
            other = UnixTransport().listen(self._where, self._backlog)
            super().close()
            self._socket, self._identity = other._socket, other._identity

    def close(self) -> None:
        # 1. A forked child that closes its listeners must not remove the path of its parent.
        # 2. The path is removed only if it is still ours. The open socket keeps its inode number from being used again.
        if self.fileno() >= 0 and os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                if _identity(self._where.path) == self._identity:
                    os.unlink(self._where.path)
        super().close()


def _check_length(url: Url, doing: str) -> None:
    size = len(os.fsencode(url.path))
    if size > MAX_PATH_BYTES:
        raise ConfigError(f"{doing}: the path has {size} bytes, sockets take {MAX_PATH_BYTES} at most")


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _try_connect(sock: socket.socket, path: str) -> bool:
    """Connect a non-blocking socket; return False if the listener's queue is full."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


def _bind_private(sock: socket.socket, path: str) -> None:
    # The path has mode 0600 from its first moment: after a chmod behind bind others might be connected already. The
    # umask is one for all threads, hence the lock. A file that another thread makes meanwhile gets fewer permissions
    # than it asked for, never more.
    with _umask_lock:
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)


@contextlib.contextmanager
def _locked_directory(directory: str) -> Iterator[None]:
    """Lock `directory` against other servers (flock, so no lock file is left).

    If another process holds the lock for long, go on without: the race is too rare to fail because of a foreign lock.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def _make_room(path: str, doing: str) -> None:
    """Remove the socket file of a dead server.

    Raises:
        ConnectError: the path is in use or not a socket; nothing was removed.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConnectError(f"{doing}: the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            _try_connect(probe, path)
        except (ConnectionRefusedError, FileNotFoundError):
            # No process serves it, or its server has closed and removed it in this moment.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:
            # We may not connect to it (EACCES), or it is a socket of another type (EPROTOTYPE): it is in use.
            pass
    raise ConnectError(f"{doing}: address already in use")
