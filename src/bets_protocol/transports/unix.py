"""`unix:///path`: stream sockets in the file system.

A path outlives the server that bound it, so listening has to tell three things apart, and gets each right under races:

1. *A file of our kind that nobody serves* (its server was killed) is replaced. Nobody serves it when a connection to it
   is refused. Looking, removing and binding happen under a lock on the directory (flock; no lock file is left), else
   of two servers started at once the second could remove what the first has just bound.
2. *A file that somebody serves* is refused: "address already in use". So is one that we may not ask.
3. *Anything else* (a file, a directory, a symbolic link, whatever it leads to) is refused and never removed.

Mode: the path is 0600 from its first moment. A chmod behind bind would leave a gap in which others connect, so the
umask of the process is changed around bind, under a lock since it is one for all threads. A file that another thread
makes in these microseconds gets fewer permissions than it asked for, never more.

Closing removes the path only while it is still ours: the same device and inode. The socket, open until then, keeps its
inode number from being given to another file. A listener whose path is not ours any more, since something that tidies
up has removed it, can be restored, by the same three rules.
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
from typing import Any, Final

from bets_protocol.errors import ConfigError, ConnectError
from bets_protocol.transports.base import ConnectTimeout, Stream, Url
from bets_protocol.transports.sockets import SocketListener, SocketStream, closed_on_error, os_errors_as

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""What fits into `sun_path` with its final NUL."""

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
                # Where TCP waits for room in the queue of the listener, this says EAGAIN at once.
                while not _try_connect(sock, url.path):
                    if time.monotonic() >= deadline:
                        raise ConnectTimeout(f"{doing}: timed out, the server does not accept")
                    time.sleep(_RETRY_S)
                return SocketStream(sock, "unix")

    def listen(self, url: Url, backlog: int) -> _UnixListener:
        doing = f"cannot listen on {url}"
        _check_length(url, doing)
        with os_errors_as(ConnectError, doing), _locked_directory(os.path.dirname(url.path)):
            _make_room(url.path, doing)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with closed_on_error(sock):
                _bind_private(sock, url.path)
                # From here on the path is ours, and goes with the listener that fails to come about.
                listener = _UnixListener(sock, url, backlog)
                try:
                    sock.listen(backlog)
                except BaseException:
                    listener.close()
                    raise
                return listener


class _UnixListener(SocketListener):
    """A socket listener that takes its path along when it closes."""

    def __init__(self, sock: socket.socket, url: Url, backlog: int) -> None:
        super().__init__(sock, str(url), _make_stream)
        self._where = url
        self._backlog = backlog
        self._identity = _identity(url.path)
        self._pid = os.getpid()

    @property
    def lost(self) -> bool:
        # What cannot be looked at may be there all the same.
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
        # A forked child that tidies up must not take the path from its parent.
        if self.fileno() >= 0 and os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                if _identity(self._where.path) == self._identity:
                    os.unlink(self._where.path)
        super().close()


def _make_stream(sock: socket.socket, _address: Any) -> Stream:
    return SocketStream(sock, "unix")


def _check_length(url: Url, doing: str) -> None:
    size = len(os.fsencode(url.path))
    if size > MAX_PATH_BYTES:
        raise ConfigError(f"{doing}: the path has {size} bytes, sockets take {MAX_PATH_BYTES} at most")


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _try_connect(sock: socket.socket, path: str) -> bool:
    """Connects a non-blocking socket; False when somebody listens and has no room now."""
    try:
        sock.connect(path)
    except BlockingIOError:
        return False
    return True


def _bind_private(sock: socket.socket, path: str) -> None:
    with _umask_lock:
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)


@contextlib.contextmanager
def _locked_directory(directory: str) -> Iterator[None]:
    """Keeps other servers of ours out of `directory`, or goes on without when somebody holds its lock for long.

    The lock guards against two servers that replace the same dead path in the same instant, which is not worth failing
    over a stranger who locks the directory for a reason of his own.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _try_lock(descriptor) and time.monotonic() < deadline:
            time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_room(path: str, doing: str) -> None:
    """Removes the socket file of a dead server.

    Raises:
        ConnectError: the path is in use or no socket; nothing was removed.
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
            # Nobody serves it, or its server closed in this moment and took it along.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError:
            # Not ours to connect to (EACCES), or a socket of another type (EPROTOTYPE): somebody's all the same.
            pass
    raise ConnectError(f"{doing}: address already in use")
