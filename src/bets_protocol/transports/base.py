"""The contract of every transport: streams, listeners and transports as abstract classes, and their errors.

The rules of the contract, which `bets_protocol.testing.transports` tests:

1. A stream has no messages: the bytes of one `send` may be split over several `receive`, or joined in one.
2. Read until it would block. A selector sees the descriptor, not the bytes that a stream has already taken from it (an
   encrypted stream decrypts whole records). So when the descriptor of a non-blocking stream is ready, call `receive`
   until it returns None. A caller that stops earlier must call `receive` again before it waits for the selector.
3. A stream may need the other direction: `needs_read` and `needs_write` say what the stream itself waits for. An
   encrypted stream whose `needs_write` is true may hold bytes that it has taken, and loses them if it is closed.
4. Only errors of the `TransportError` tree are raised, except `ValueError` and `TypeError` for an argument that no
   caller should pass, and an exception of a signal handler.
5. Streams and listeners belong to one thread at a time; only `connect` and `listen` may be called from any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import attrs

from bets_protocol.bytes_like import BytesLike
from bets_protocol.errors import ConnectError, ReadError, TransportError, TransportTimeout, WriteError

DEFAULT_RECEIVE_BYTES = 65_536
"""The default of `Stream.receive`: eight of the largest frames."""


class ConnectTimeout(ConnectError, TransportTimeout):
    """The deadline passed before the connection was made: a `ConnectError` and a `TransportTimeout` at once."""


class HandshakeError(ConnectError, ReadError, WriteError):
    """The handshake failed: the other end does not speak TLS, or no version in common.

    It comes from `connect`, or from the `receive` or `send` in which the handshake goes on, so it is an error of each.
    Trying again does not help.
    """


class AuthenticationError(HandshakeError):
    """One end has not proved its identity with a certificate, or the other does not accept the proof.

    A client may get it from its first `receive`: with TLS 1.3 its handshake is over before the server has looked at
    its certificate.
    """


class OutOfDescriptors(TransportError):
    """This process or system has no descriptor (or socket memory) left to accept a connection.

    The listener stays usable and the connection stays in its queue, so the listener also stays *readable*. A selector
    loop must leave it out until something was closed or a moment has passed; otherwise it spins.
    """


@attrs.frozen(kw_only=True)
class Url:
    """The parts of a URL; `str()` gives the text again.

    Args:
        scheme: the name of the transport, in lower case.
        host: a name or an address, IPv6 without brackets; the name of a ``memory`` endpoint; "" if there is no host.
        port: 0 to 65535, where 0 asks a listener for any free port; None if there is no port.
        path: the text after the host, from its first slash on; percent signs are not decoded.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@attrs.frozen(kw_only=True)
class PeerCertificate:
    """The verified certificate of the other end of a stream.

    Args:
        uris: the URIs among its subject alternative names, in their order.
        fingerprint: SHA-256 of the certificate (its DER form), 64 lower-case hexadecimal digits.
        not_after: when it expires, ISO 8601 in UTC, as in ``2027-01-31T12:00:00Z``.
    """

    uris: tuple[str, ...]
    fingerprint: str
    not_after: str


class Closing(ABC):
    """What a with-statement closes."""

    @abstractmethod
    def close(self) -> None:
        """Close the descriptor."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Stream(Closing):
    """One end of a connection that carries bytes in both directions.

    Attributes:
        peer: the other end for the log: the address without its port for network transports, else the name of the
            transport. It is not empty and has no control characters.

    Thread: one at a time.
    """

    peer: str

    @property
    def needs_read(self) -> bool:
        """Whether the stream itself waits for its descriptor to be readable.

        An encrypted stream may have to read before it can write (a handshake, a change of keys). A selector loop asks
        for readability if it wants bytes *or* this is true, and repeats the call that would block when the descriptor
        is ready. Read it again after every `receive` and `send`. It is always False on plain streams.
        """
        return False

    @property
    def needs_write(self) -> bool:
        """Whether the stream itself waits for its descriptor to be writable.

        The mirror image of `needs_read`: when the descriptor is writable, repeat the `receive` that would block, or
        `send` ``b""``. While it is true, an encrypted stream may hold bytes that it has taken; `close` loses them.
        """
        return False

    @property
    def hides_bytes(self) -> bool:
        """Whether the stream may hold bytes to receive that a selector does not see.

        If False, a `receive` that returns less than it was asked for has drained the stream, so the caller need not
        call it again until the selector reports more.
        """
        return True

    @property
    def handshaking(self) -> bool:
        """Whether the handshake is not over; until then no bytes of the user go in or out.

        The handshake goes on inside `receive` and `send`, which return None and 0 meanwhile on a non-blocking stream.
        A server gives it a deadline. It is False on plain streams, and on a stream that `connect` returned.
        """
        return False

    @property
    def handshake_answered(self) -> bool:
        """Whether this side has sent its part of the handshake, which is the costly part. True if unknown."""
        return True

    @property
    def certificate(self) -> PeerCertificate | None:
        """The peer's verified certificate; None while `handshaking`, and on streams without certificates."""
        return None

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor for a selector; -1 after `close`."""

    @abstractmethod
    def set_timeout(self, timeout_s: float | None) -> None:
        """Set how long each later call may wait.

        Args:
            timeout_s: seconds. None waits for ever; 0 never waits (non-blocking); with more than 0 each call as a
                whole may wait so long, and then raises `TransportTimeout`.

        Raises:
            ValueError: it is negative, not a number or beyond 2147483 (24 days); nothing has changed.
            TransportError: the stream is closed.
        """

    @abstractmethod
    def receive(self, max_bytes: int = DEFAULT_RECEIVE_BYTES) -> bytes | None:
        """Receive bytes, waiting for the first one as `set_timeout` says.

        Args:
            max_bytes: 1 or more; what does not fit stays for the next call.

        Returns:
            1 to `max_bytes` bytes; ``b""`` if the peer has ended its side (and on every later call); None if there are
            no bytes now, on a non-blocking stream only. Only None says that the stream is drained.

        Raises:
            ValueError: `max_bytes` is less than 1.
            ReadError: the connection broke or this stream is closed. A broken connection never turns into ``b""``.
            TransportTimeout: nothing came in time; nothing is lost and the stream stays usable.
        """

    @abstractmethod
    def send(self, data: BytesLike) -> int:
        """Send as much of `data` as there is room for, waiting for the first byte of room as `set_timeout` says.

        Returns:
            How many bytes were taken, from the start. 0 if there is no room, on a non-blocking stream only, or if
            `data` is empty.

        Raises:
            TypeError: `data` is not bytes, bytearray or memoryview; nothing was taken and the stream stays usable.
            WriteError: the connection broke, its writing side or this stream is closed. How much of the bytes taken
                earlier the peer has is unknown. What the peer sent before may still be received.
            TransportTimeout: no room in time; nothing was taken and the stream stays usable.
        """

    @abstractmethod
    def send_all(self, data: BytesLike) -> None:
        """Send the whole of `data`, on a stream that may wait.

        Raises:
            TypeError, WriteError: as in `send`.
            ValueError: the stream is non-blocking; nothing was sent.
            TransportTimeout: not all was taken in time, counted over the whole call. How much was taken is unknown, so
                only `receive` and `close` make sense afterwards.
        """

    @abstractmethod
    def close_writing(self) -> None:
        """End this side: the peer gets ``b""`` after what was sent. This stream can still receive.

        Calling it again has no effect.

        Raises:
            WriteError: the connection broke earlier or the stream is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the descriptor. It never raises, and calling it again has no effect.

        What was sent still travels, unless bytes that came in were never received: then the peer may get a reset that
        overtakes it. To be sure that the last bytes arrive, call `close_writing` and then `receive` until ``b""``. A
        non-blocking stream whose `needs_write` is true still holds some of them.
        """

    def abort(self) -> None:
        """Close the descriptor at once and, if the transport can, drop what the peer has not taken yet.

        For a peer that does not read: after `close` the system would hold its answers for a minute or more. It never
        raises, and calling it again has no effect.
        """
        self.close()


class Listener(Closing):
    """Accepts connections at one address, and never blocks.

    Attributes:
        url: the real address, with the port that was bound; `connect` takes it unchanged.

    Thread: one at a time.
    """

    url: str

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor for a selector, readable while a connection waits; -1 after `close`."""

    @abstractmethod
    def accept(self) -> Stream | None:
        """Accept the next connection, if there is one.

        Returns:
            A non-blocking stream, or None if no connection waits or its peer has left. Another connection may wait
            after a None; the selector says so. A handshake goes on inside the stream's `receive` and `send`.

        Raises:
            OutOfDescriptors: there is no descriptor left; see that class. The listener stays usable.
            TransportError: the listener is closed or cannot go on.
        """

    @property
    def lost(self) -> bool:
        """Whether its address no longer leads to it, so that no client can connect; `restore` repairs that.

        That happens to a socket in the file system if its file was removed or replaced, and to no other.
        """
        return False

    def restore(self) -> None:
        """If it is `lost`, listen at the same address again, on another descriptor.

        The old descriptor is closed, so take it out of the selector. Accepted connections go on.

        Raises:
            ConnectError: it cannot listen there now; it is unchanged.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop listening and drop connections that were not accepted; accepted ones go on.

        It never raises, and calling it again has no effect. The same URL can be listened at again at once.
        """


@runtime_checkable
class Transport(Protocol):
    """The implementation of a scheme. One object serves any number of calls.

    Thread: any, several at once.
    """

    def connect(self, url: Url, timeout_s: float) -> Stream:
        """Connect as a client.

        Args:
            url: its scheme is the one that this transport is registered for; the transport checks the rest.
            timeout_s: more than 0; one deadline for all steps: names, addresses, handshakes.

        Returns:
            A stream; its timeout is set by the caller.

        Raises:
            ConfigError: the URL is not valid for this transport.
            ConnectError: the peer cannot be reached; `ConnectTimeout` if the deadline passed. Nothing is left open.
        """
        ...

    def listen(self, url: Url, backlog: int) -> Listener:
        """Listen as a server.

        Args:
            url: as in `connect`.
            backlog: 1 or more; connections that may wait to be accepted.

        Raises:
            ConfigError: the URL is not valid for this transport.
            ConnectError: it cannot listen there ("address already in use"). Nothing is left open.
        """
        ...
