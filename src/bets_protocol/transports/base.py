"""The contract of every transport: what a stream, a listener and a transport promise, and the errors of their own.

Nothing in here touches a socket. The abstract classes say what callers may rely on and what an implementation owes;
`bets_protocol.testing.transports` holds the same promises as tests.

Rules of the contract:

1. A stream has no messages: what one `send` took may come out of several `receive`, and the other way round.
2. Read until it would block. A selector sees the descriptor, not what a stream has already taken from it (an encrypted
   stream decrypts whole records), so on a non-blocking stream a ready descriptor means: call `receive` until it returns
   None. Who stops earlier, because enough is enough for now, calls `receive` again before it trusts the selector again.
3. A stream may need the other direction: `needs_read` and `needs_write` say what the stream itself waits for. An
   encrypted one whose `needs_write` is true may hold the last of what it has taken: who closes it then loses that.
4. Only errors of the `TransportError` tree come out, save `ValueError` for an argument that no caller should pass, and
   whatever a signal handler raises.
5. Streams and listeners belong to one thread at a time; only `connect` and `listen` may be called from any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import attrs

from bets_protocol.bytes_like import Octets
from bets_protocol.errors import ConnectError, ReadError, TransportError, TransportTimeout, WriteError

DEFAULT_RECEIVE_BYTES = 65_536
"""Bytes that one `receive` takes at most, unless told otherwise: eight of the largest frames."""


class ConnectTimeout(ConnectError, TransportTimeout):
    """The deadline passed before a connection came about: a `ConnectError` and a `TransportTimeout` at once."""


class HandshakeError(ConnectError, ReadError, WriteError):
    """The two ends could not agree on how to talk: no TLS at the other end, no version of it in common.

    It comes from `connect`, or from the `receive` or `send` in which the handshake goes on, and so is an error of each.
    Trying again does not help.
    """


class AuthenticationError(HandshakeError):
    """One end has not proved who it is, or the other does not take the proof: certificates, and nothing else.

    A client may hear of it at its first `receive` only: with TLS 1.3 its own handshake is over before the server has
    looked at its certificate.
    """


class OutOfDescriptors(TransportError):
    """This process or system has no descriptor (or socket memory) left to accept a connection with.

    The listener stays usable and the connection stays in its queue, so the listener also stays *readable*: who selects
    on it must leave it out until something was closed or a moment has passed, or it spins.
    """


@attrs.frozen(kw_only=True)
class Url:
    """Where a transport connects to or listens at, in its parts; `str()` gives the text again.

    Args:
        scheme: names the transport; lower case.
        host: a name or an address, IPv6 without brackets; the name of a ``memory`` endpoint; empty where there is none.
        port: 0 to 65535, where 0 asks a listener for any free port; None where there is none.
        path: what follows the host, from its first slash on, taken as it is: no percent sign is decoded.
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
    """What the other end of a stream has proved of itself.

    Args:
        uris: the URIs among its subject's alternative names, in their order.
        fingerprint: SHA-256 of the certificate (its DER form), 64 lower-case hexadecimal digits.
        not_after: when it expires, ISO 8601 in UTC, as in ``2027-01-31T12:00:00Z``.
    """

    uris: tuple[str, ...]
    fingerprint: str
    not_after: str


class Stream(ABC):
    """Bytes in and out, between two ends.

    Attributes:
        peer: the other end for the log: the bare address without its port for network transports, else the name of the
            transport. Neither empty nor with control characters.

    Thread: one at a time.
    """

    peer: str

    @property
    def needs_read(self) -> bool:
        """Whether the stream itself waits for its descriptor to be readable, beyond what its user wants to receive.

        An encrypted stream may have to read before it can write (a handshake, a change of keys). A selector loop asks
        for readability when it wants bytes *or* this is true, and when the descriptor is ready it repeats the call
        that would block. Look again after every `receive` and `send`. Plain streams leave it False.
        """
        return False

    @property
    def needs_write(self) -> bool:
        """Whether the stream itself waits for its descriptor to be writable, beyond what its user wants to send.

        The mirror image of `needs_read`: when the descriptor is writable, repeat the `receive` that would block, or
        `send` nothing (``b""``) where nothing is to be received. An encrypted stream may so hold the last of what it
        has taken; until this is false again, closing loses that.
        """
        return False

    @property
    def hides_bytes(self) -> bool:
        """Whether the stream may hold bytes to receive that a selector does not see.

        Where it does not, a `receive` that gives less than it was asked for has drained the stream for now, and the
        selector tells when more is there; the call that would give None can be saved.
        """
        return True

    @property
    def handshaking(self) -> bool:
        """Whether the two ends still agree on how to talk: until then nothing of the user's goes in or out.

        The handshake goes on inside `receive` and `send`, which on a non-blocking stream give None and 0 meanwhile. A
        server gives it a deadline. Plain streams have none, and a stream that `connect` gave is through with it.
        """
        return False

    @property
    def handshake_answered(self) -> bool:
        """Whether this side has said its part of the handshake, which is what makes one costly. Or cannot tell."""
        return True

    @property
    def certificate(self) -> PeerCertificate | None:
        """What the peer has proved of itself; None while `handshaking`, and on streams without certificates."""
        return None

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor to select on, -1 once closed."""

    @abstractmethod
    def set_timeout(self, timeout_s: float | None) -> None:
        """Sets how long each later call may wait.

        Args:
            timeout_s: seconds; None waits for ever, 0 never waits (non-blocking), more than 0 lets each call wait so
                long as a whole and then raise `TransportTimeout`.

        Raises:
            ValueError: it is negative, not a number or beyond 2147483 (24 days); nothing has changed.
            TransportError: the stream is closed.
        """

    @abstractmethod
    def receive(self, max_bytes: int = DEFAULT_RECEIVE_BYTES) -> bytes | None:
        """Takes what is there, waiting for the first byte as `set_timeout` says.

        Args:
            max_bytes: 1 or more; what does not fit stays for the next call.

        Returns:
            1 to `max_bytes` bytes; ``b""`` when the peer has ended its side (and on every later call); None when
            nothing is there, which only a non-blocking stream says. None is the only sign that the stream is drained.

        Raises:
            ValueError: `max_bytes` is less than 1.
            ReadError: the connection broke or this stream is closed. A broken connection never turns into ``b""``.
            TransportTimeout: nothing came in time; nothing is lost and the stream stays usable.
        """

    @abstractmethod
    def send(self, data: Octets) -> int:
        """Takes as much of `data` as there is room for, waiting for the first byte of room as `set_timeout` says.

        Returns:
            How many bytes were taken, from the start. 0 when there is no room, which only a non-blocking stream says,
            or when `data` is empty.

        Raises:
            TypeError: `data` is no bytes, bytearray or memoryview; nothing was taken and the stream stays usable.
            WriteError: the connection broke, its writing side or this stream is closed. Which of the bytes taken
                earlier the peer has is unknown. What the peer sent before may still be received.
            TransportTimeout: no room in time; nothing was taken and the stream stays usable.
        """

    @abstractmethod
    def send_all(self, data: Octets) -> None:
        """Sends the whole of `data`; for streams that may wait.

        Raises:
            TypeError, WriteError: as in `send`.
            ValueError: the stream is non-blocking; nothing was sent.
            TransportTimeout: not all was taken in time, counted over the whole call. How much was is unknown, so the
                stream is good for nothing but `receive` and `close`.
        """

    @abstractmethod
    def close_writing(self) -> None:
        """Ends this side: the peer gets ``b""`` behind what was sent. Twice is harmless; this stream still receives.

        Raises:
            WriteError: the connection broke earlier or the stream is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Gives the descriptor back. Twice is harmless, and it never raises.

        What was sent still travels, unless bytes that came in were never received: then the peer may get a reset that
        overtakes it. Who needs the last bytes to arrive ends its side with `close_writing` and receives until ``b""``.
        A non-blocking stream whose `needs_write` is true still holds some of it.
        """

    def abort(self) -> None:
        """Gives the descriptor back at once and, where the transport can, drops what the peer has not taken yet.

        For a peer that does not read: after `close` the system would hold its answers for a minute or more. Twice is
        harmless, and it never raises.
        """
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Listener(ABC):
    """Takes connections at one place; never blocks.

    Attributes:
        url: where it really listens, with the port that was bound; `connect` takes it as it is.

    Thread: one at a time.
    """

    url: str

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor to select on, readable while a connection waits; -1 once closed."""

    @abstractmethod
    def accept(self) -> Stream | None:
        """Takes the next connection, if there is one.

        Returns:
            A non-blocking stream (a handshake, if the transport has one, goes on inside its `receive` and `send`), or
            None: nobody is there, or who was has left. Another may wait all the same: the selector says so.

        Raises:
            OutOfDescriptors: no descriptor left; see there what to do. The listener stays usable.
            TransportError: the listener is closed or cannot go on.
        """

    @property
    def lost(self) -> bool:
        """Whether its place no longer leads here, so that nobody can connect any more; then there is `restore`.

        A socket in the file system is so once its file was removed or replaced. Others never are.
        """
        return False

    def restore(self) -> None:  # noqa: B027 - no duty: there is nothing to do where none is ever lost
        """Where it is `lost`: listens at the same place anew, as if it had just been opened, on another descriptor.

        The old descriptor is closed: it must not be selected on any more. Connections that were accepted live on.

        Raises:
            ConnectError: it cannot listen there now; it stays as it is.
        """

    @abstractmethod
    def close(self) -> None:
        """Stops listening and drops connections that nobody accepted; accepted ones live on.

        Twice is harmless, and it never raises. The same url can be listened at again at once.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Transport(Protocol):
    """What stands behind a scheme. One object serves any number of calls.

    Thread: any, several at once.
    """

    def connect(self, url: Url, timeout_s: float) -> Stream:
        """Connects as a client.

        Args:
            url: its scheme is the one this transport is registered for; the rest is the transport's to check.
            timeout_s: more than 0; one deadline for all that it takes: names, addresses, handshakes.

        Returns:
            A stream; its timeout is set by the caller.

        Raises:
            ConfigError: the url makes no sense for this transport.
            ConnectError: nobody there, or it cannot be reached; `ConnectTimeout` when the deadline passed. Nothing
                is left open.
        """
        ...

    def listen(self, url: Url, backlog: int) -> Listener:
        """Listens as a server.

        Args:
            url: as in `connect`.
            backlog: 1 or more; connections that may wait to be accepted.

        Raises:
            ConfigError: the url makes no sense for this transport.
            ConnectError: it cannot listen there ("address already in use"). Nothing is left open.
        """
        ...
