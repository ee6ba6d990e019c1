"""Streams and listeners over sockets, shared by all transports.

Every `OSError` of a socket becomes an error of the `TransportError` tree here, with the `OSError` as its cause. Its
class follows from the operation; its text says what failed, where and why.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from bets_protocol.bytes_like import BytesLike, flat
from bets_protocol.errors import ConnectError, ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.transports.base import (
    DEFAULT_RECEIVE_BYTES,
    Closing,
    ConnectTimeout,
    Listener,
    OutOfDescriptors,
    Stream,
)

MAX_TIMEOUT_S: Final = 2_147_483
"""The longest timeout of a socket: its milliseconds are a C int."""

# Python ignores SIGPIPE, but a program may have restored its default action, which ends the process. Not every system
# has the flag.
_NO_SIGPIPE: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)

# Errors of accept(2) for a connection that went away while it waited. Linux reports errors of the network here, too,
# and its manual says to treat them alike.
_PEER_GONE: Final = frozenset(
    number
    for name in (
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "ENETUNREACH",
    )
    if (number := getattr(errno, name, None)) is not None
)
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def transport_error(kind: type[TransportError], doing: str, error: OSError) -> TransportError:
    """The error to raise for `error`.

    Args:
        kind: its class, unless `error` says that a deadline passed.
        doing: what failed, as in ``cannot connect to tcp://server:12345``.
    """
    # A passed deadline leaves a stream usable. The system's own ETIMEDOUT (the peer no longer answers) breaks it.
    if deadline_passed(error):
        timeout_kind = ConnectTimeout if issubclass(kind, ConnectError) else TransportTimeout
        return timeout_kind(f"{doing}: timed out")
    return kind(f"{doing}: {reason_of(error)}")


def deadline_passed(error: OSError) -> bool:
    """Whether `error` is the timeout of the socket object, which has no errno, and not the system's ETIMEDOUT."""
    return isinstance(error, TimeoutError) and error.errno is None


def reason_of(error: OSError) -> str:
    """The system's text for `error`, for the middle of a sentence."""
    return mid_sentence(error.strerror or str(error) or "system error")


def mid_sentence(text: str) -> str:
    """`text` with a small first letter."""
    # "Connection refused", but not "AF_UNIX path too long".
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


@contextlib.contextmanager
def os_errors_as(kind: type[TransportError], doing: str) -> Iterator[None]:
    """Turn an `OSError` of the body into the `TransportError` for it."""
    try:
        yield
    except TransportError:
        # `TransportTimeout` is an `OSError`, too, and is complete already.
        raise
    except OSError as error:
        raise transport_error(kind, doing, error) from error


def check_timeout(timeout_s: float | None) -> None:
    """Raise `ValueError` for a timeout that `Stream.set_timeout` refuses."""
    # Written so that NaN fails, too.
    if timeout_s is not None and not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise ValueError(f"timeout_s must be None or 0 to {MAX_TIMEOUT_S} seconds, not {timeout_s}")


class SocketStream(Stream):
    """The `Stream` of a connected socket, which it owns from now on."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.peer = peer
        self._socket = sock
        self._broken = False
        self._writing_closed = False

    @property
    def hides_bytes(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_timeout(self, timeout_s: float | None) -> None:
        check_timeout(timeout_s)
        try:
            self._socket.settimeout(timeout_s)
        except OSError as error:
            raise self._failure(TransportError, "cannot set the timeout of the stream to", error) from error

    def receive(self, max_bytes: int = DEFAULT_RECEIVE_BYTES) -> bytes | None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be 1 or more, not {max_bytes}")
        try:
            data = self._socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._failure(ReadError, "cannot receive from", error) from error
        # The kernel reports a reset once, and then an end of stream that looks orderly.
        if not data and self._broken:
            raise ReadError(f"cannot receive from {self.peer}: the connection broke earlier")
        return data

    def send(self, data: BytesLike) -> int:
        if type(data) is not bytes:
            data = flat(data)
        if self._nothing_in(data):
            return 0
        try:
            return self._socket.send(data, _NO_SIGPIPE)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failure(WriteError, "cannot send to", error) from error

    def send_all(self, data: BytesLike) -> None:
        data = flat(data)
        if self._socket.gettimeout() == 0 and not self._closed:
            raise ValueError("send_all is for streams that may wait; this one is non-blocking")
        if self._nothing_in(data):
            return
        try:
            self._socket.sendall(data, _NO_SIGPIPE)
        except OSError as error:
            raise self._failure(WriteError, "cannot send to", error) from error

    def close_writing(self) -> None:
        if self._broken and not self._closed:
            # Some systems report no error here.
            raise WriteError(f"cannot end the stream to {self.peer}: the connection broke earlier")
        if self._writing_closed and not self._closed:
            # A second shutdown would fail if the peer has gone, though nothing is wrong.
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failure(WriteError, "cannot end the stream to", error) from error
        self._writing_closed = True

    def close(self) -> None:
        # The descriptor is closed even if close(2) reports that earlier bytes were lost.
        with contextlib.suppress(OSError):
            self._socket.close()

    def abort(self) -> None:
        """Close with a reset, which the peer cannot take for an orderly end. Never raises."""
        with contextlib.suppress(OSError):
            # Wait 0 seconds for what was not sent yet.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def _closed(self) -> bool:
        return self._socket.fileno() < 0

    def _nothing_in(self, data: BytesLike) -> bool:
        # A socket with a timeout would wait for room before it sends nothing. A closed one must raise.
        return not len(data) and not self._closed

    def _failure(self, kind: type[TransportError], doing: str, error: OSError) -> TransportError:
        if self._closed:
            return kind(f"{doing} {self.peer}: the stream is closed")
        failure = transport_error(kind, f"{doing} {self.peer}", error)
        # EPIPE concerns the sending side only: if the peer has ended its side in order, `receive` will see a true end.
        if not isinstance(failure, TransportTimeout) and error.errno != errno.EPIPE:
            self._broken = True
        return failure


class SocketListener(Listener):
    """The `Listener` of a listening socket, which it owns from now on.

    Args:
        sock: bound and listening.
        url: its address, with the real port.
        make_stream: makes the stream of an accepted socket and its peer's address. An `OSError` of it means that the
            peer has left.
    """

    def __init__(self, sock: socket.socket, url: str, make_stream: Callable[[socket.socket, Any], Stream]) -> None:
        sock.setblocking(False)
        self.url = url
        self._socket = sock
        self._make_stream = make_stream

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Stream | None:
        try:
            sock, address = self._socket.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _PEER_GONE:
                return None
            doing = f"cannot accept on {self.url}"
            if self._socket.fileno() < 0:
                raise TransportError(f"{doing}: the listener is closed") from error
            kind = OutOfDescriptors if error.errno in _EXHAUSTED else TransportError
            raise transport_error(kind, doing, error) from error
        with closed_on_error(sock):
            try:
                stream = self._make_stream(sock, address)
            except OSError:
                sock.close()
                return None
            stream.set_timeout(0)
            return stream

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


@contextlib.contextmanager
def closed_on_error(resource: socket.socket | Closing) -> Iterator[None]:
    """Close `resource` if the body raises. A signal handler may raise anything."""
    try:
        yield
    except BaseException:
        resource.close()
        raise
