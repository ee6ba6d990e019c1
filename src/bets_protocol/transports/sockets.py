"""Streams and listeners over sockets, shared by all transports; the one place where `OSError` ends.

Rules:

1. Whatever the system reports becomes an error of the `TransportError` tree, with the cause behind it (`from`). The
   kind follows what was being done; the text says what, where and why.
2. A passed deadline (`TransportTimeout`) leaves a stream usable. The system's own ETIMEDOUT, a peer that no longer
   answers, breaks it like a reset.
3. A broken connection stays broken: the kernel reports a reset once and then an end of stream that would pass for an
   orderly one. What came in before the break is still handed out.
4. No SIGPIPE, even where a program has given that signal its default action back.
5. Nothing stays open behind an exception, those of signal handlers included. Interrupted calls are taken up again by
   Python itself (PEP 475) unless the handler raises.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from bets_protocol.bytes_like import Octets, flat
from bets_protocol.errors import ConnectError, ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.transports.base import DEFAULT_RECEIVE_BYTES, ConnectTimeout, Listener, OutOfDescriptors, Stream

MAX_TIMEOUT_S: Final = 2_147_483
"""The longest wait a socket can be told: its milliseconds are a C int."""

# Not every system has the flag; those without have no signal to fear in Python, which ignores SIGPIPE by default.
_NO_SIGPIPE: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)

# What accept(2) says of a connection that went away while it waited. Linux reports errors of the network here, too,
# and asks to treat them alike.
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
    """Makes the error to raise for `error`.

    Args:
        kind: the class, unless `error` says that a deadline passed.
        doing: what failed, as in ``cannot connect to tcp://server:12345``.
    """
    if deadline_passed(error):
        timeout_kind = ConnectTimeout if issubclass(kind, ConnectError) else TransportTimeout
        return timeout_kind(f"{doing}: timed out")
    return kind(f"{doing}: {reason_of(error)}")


def deadline_passed(error: OSError) -> bool:
    """Whether `error` is a socket's own timeout, which carries no number, and not the ETIMEDOUT of the system."""
    return isinstance(error, TimeoutError) and error.errno is None


def reason_of(error: OSError) -> str:
    """What the system says of `error`, to stand in the middle of a sentence."""
    text = error.strerror or str(error) or "system error"
    # "Connection refused", but not "AF_UNIX path too long".
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


@contextlib.contextmanager
def os_errors_as(kind: type[TransportError], doing: str) -> Iterator[None]:
    """Turns an `OSError` of the body into the `TransportError` for it."""
    try:
        yield
    except TransportError:
        # `TransportTimeout` is an OSError, too, and says already what there is to say.
        raise
    except OSError as error:
        raise transport_error(kind, doing, error) from error


def check_timeout(timeout_s: float | None) -> None:
    """Raises `ValueError` for what `Stream.set_timeout` refuses."""
    # Written so that a NaN fails, too.
    if timeout_s is not None and not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise ValueError(f"timeout_s must be None or 0 to {MAX_TIMEOUT_S} seconds, not {timeout_s}")


class SocketStream(Stream):
    """A connected socket that keeps the contract; takes the socket over.

    Args:
        sock: connected.
        peer: as in `Stream.peer`.
    """

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
        if not data and self._broken:
            raise ReadError(f"cannot receive from {self.peer}: the connection broke earlier")
        return data

    def send(self, data: Octets) -> int:
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

    def send_all(self, data: Octets) -> None:
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
            # Some systems would say nothing.
            raise WriteError(f"cannot end the stream to {self.peer}: the connection broke earlier")
        if self._writing_closed and not self._closed:
            # A second shutdown fails once the peer is gone, though nothing is wrong.
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failure(WriteError, "cannot end the stream to", error) from error
        self._writing_closed = True

    def close(self) -> None:
        # The descriptor is given back even where close(2) reports that earlier bytes were lost.
        with contextlib.suppress(OSError):
            self._socket.close()

    def abort(self) -> None:
        """Closes so that the peer gets a reset: an end that nobody takes for an orderly one. Never raises."""
        with contextlib.suppress(OSError):
            # Seconds for what was not sent yet: none.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def _closed(self) -> bool:
        return self._socket.fileno() < 0

    def _nothing_in(self, data: Octets) -> bool:
        # A socket with a timeout would wait for room before it sends nothing. A closed one still has to say so.
        return not len(data) and not self._closed

    def _failure(self, kind: type[TransportError], doing: str, error: OSError) -> TransportError:
        if self._closed:
            return kind(f"{doing} {self.peer}: the stream is closed")
        failure = transport_error(kind, f"{doing} {self.peer}", error)
        # EPIPE says that nobody takes bytes any more, and nothing of those that came in: if the peer ended its side in
        # order, the end that `receive` will see is a true one.
        if not isinstance(failure, TransportTimeout) and error.errno != errno.EPIPE:
            self._broken = True
        return failure


class SocketListener(Listener):
    """A listening socket that keeps the contract; takes the socket over.

    Args:
        sock: bound and listening.
        url: where, with the real port.
        make_stream: takes the socket of an accepted connection over, with the address of the peer; an `OSError` of it
            means that the peer has left.
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
def closed_on_error(sock: socket.socket) -> Iterator[None]:
    """Closes `sock` when the body raises, whatever it is: a signal handler may raise anything."""
    try:
        yield
    except BaseException:
        sock.close()
        raise
