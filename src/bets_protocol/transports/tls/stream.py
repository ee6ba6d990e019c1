"""A stream that encrypts: TLS over a stream of sockets, with the whole contract of `Stream`.

The engine does TLS without a socket; all that touches the network is the plain stream below, which never waits. In here
are the loops between the two, and the waits.

Rules:

1. `send` counts bytes as taken once they are encrypted, for they cannot be taken back. Of those at most one record
   (16 KiB) waits here for room; `needs_write` says so.
2. What was decrypted and not asked for yet is at most what one read from the network gave; where a write has failed,
   64 KiB more.
3. What OpenSSL answers by itself, to a change of keys or an attempt at renegotiation, leaves at once. Where there is no
   room it waits.
4. One `receive` reads a bounded amount from the network; the descriptor stays readable meanwhile.
5. When the handshake fails, the peer is told why before anything is raised.
"""

from __future__ import annotations

import contextlib
import functools
import select
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from bets_protocol.bytes_like import BytesLike, flat
from bets_protocol.errors import ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.transports.base import DEFAULT_RECEIVE_BYTES, HandshakeError, PeerCertificate, Stream
from bets_protocol.transports.sockets import SocketStream, check_timeout
from bets_protocol.transports.tls.engine import RECORD_BYTES, TlsEngine

if TYPE_CHECKING:
    import ssl

READ_BYTES: Final = 8_448
"""What is taken from the network at once: the largest frame, 8192 bytes, and what TLS adds to it, so that it takes one
read. Not more, since the buffer in memory keeps the size of the largest piece that it ever held."""

_Done = TypeVar("_Done")
_READS_A_CALL: Final = 16
_READS_AFTER_FAILURE: Final = 8


class TlsStream(Stream):
    """One end of a TLS connection; takes the plain stream over.

    Args:
        plain: connected, and nothing was received from it yet.
        context: the rules and the keys of this side.
        server_name: for a client, the name or address that the server's certificate has to be for.
    """

    def __init__(self, plain: SocketStream, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        plain.set_timeout(0)
        self.peer = plain.peer
        self._plain = plain
        self._timeout_s: float | None = 0
        tell = functools.partial(_end_after, plain)
        self._engine = TlsEngine(context, plain.peer, server_name=server_name, on_failure=tell)
        self._decrypted = bytearray()  # what nobody has asked for yet
        self._wants_end = False

    # -- what a selector loop asks

    @property
    def needs_read(self) -> bool:
        return self.handshaking

    @property
    def needs_write(self) -> bool:
        return self._engine.has_output and self._engine.failure is None and not self._closed

    @property
    def handshaking(self) -> bool:
        return not self._engine.shaken and self._engine.failure is None and not self._closed

    @property
    def handshake_answered(self) -> bool:
        return self._engine.answered

    @property
    def certificate(self) -> PeerCertificate | None:
        return self._engine.certificate

    def fileno(self) -> int:
        return self._plain.fileno()

    def set_timeout(self, timeout_s: float | None) -> None:
        check_timeout(timeout_s)
        if self._closed:
            raise TransportError(f"cannot set the timeout of the stream to {self.peer}: the stream is closed")
        self._timeout_s = timeout_s

    # -- bytes in and out

    def shake_hands(self) -> None:
        """Waits for the end of the handshake, as `set_timeout` says; raises what `receive` would."""
        self._waiting(lambda: self._shake() or None, "cannot talk TLS with", self._deadline())

    def receive(self, max_bytes: int = DEFAULT_RECEIVE_BYTES) -> bytes | None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be 1 or more, not {max_bytes}")
        self._check_open(ReadError, "cannot receive from")
        return self._waiting(
            lambda: self._receive_now(max_bytes), "cannot receive from", self._deadline(), reading=True
        )

    def send(self, data: BytesLike) -> int:
        data = flat(data)
        self._check_open(WriteError, "cannot send to")
        if not len(data):
            self._go_on_writing()
            return 0
        deadline = self._deadline()
        taken = self._waiting(lambda: self._send_now(data) or None, "cannot send to", deadline) or 0
        if self._timeout_s != 0:
            # Who may wait does so here, and need not come back for the last of it; it was taken all the same.
            with contextlib.suppress(TransportTimeout):
                self._waiting(lambda: self._flush() or None, "cannot send to", deadline)
        return taken

    def send_all(self, data: BytesLike) -> None:
        rest = memoryview(flat(data))
        if self._timeout_s == 0 and not self._closed:
            raise ValueError("send_all is for streams that may wait; this one is non-blocking")
        self._check_open(WriteError, "cannot send to")

        def attempt() -> bool | None:
            nonlocal rest
            while len(rest) and (taken := self._send_now(rest)):
                rest = rest[taken:]
            return (not len(rest) and self._flush()) or None

        if len(rest):
            self._waiting(attempt, "cannot send to", self._deadline())

    def close_writing(self) -> None:
        doing = "cannot end the stream to"
        self._check_open(WriteError, doing)
        self._engine.check(WriteError)
        if not self._wants_end:
            self._wants_end = True
            self._waiting(lambda: self._finish_writing() or None, doing, self._deadline())

    def close(self) -> None:
        if self._closed:
            return
        if self._engine.shaken and self._engine.failure is None:
            with contextlib.suppress(TransportError):
                # Bytes that came in and that nobody will receive now.
                if self._decrypted or (not self._engine.ended and self._receive_now(1)):
                    self._plain.abort()
                    return
                self._wants_end = True
                self._finish_writing()
        self._plain.close()

    def abort(self) -> None:
        self._plain.abort()

    # -- one attempt at each, without a wait

    def _shake(self, kind: type[TransportError] = ReadError) -> bool:
        """Goes on with the handshake; whether it is over. A connection that breaks meanwhile is a `kind`."""
        if self._engine.shaken:
            return True
        self._engine.check(kind)
        with _broken_as(kind):
            for _ in range(_READS_A_CALL):
                if not self._flush():
                    # What comes in while the peer leaves our part unread is taken, so that no selector spins on it.
                    if self._fill():
                        self._engine.check_unasked()
                    return False
                if self._engine.shake():
                    self._flush()
                    return True
                if not self._flush() or not self._fill():
                    return False
        return False

    def _receive_now(self, max_bytes: int) -> bytes | None:
        data = self._received(max_bytes)
        if self._engine.shaken and self._engine.failure is None:
            # That it cannot write is for the next `send` to say: there may be bytes to receive.
            with contextlib.suppress(WriteError):
                self._go_on_writing()
            if data is None and (self._decrypted or self._engine.ended):  # what came to light as it could not
                return self._received(max_bytes)
        return data

    def _received(self, max_bytes: int) -> bytes | None:
        if self._decrypted:
            first = bytes(self._decrypted[:max_bytes])
            del self._decrypted[:max_bytes]
            return first
        if self._engine.ended:
            return b""
        self._engine.check(ReadError)
        if not self._shake():
            return None
        for _ in range(_READS_A_CALL):
            data = self._engine.decrypt(max_bytes)
            if data is not None:
                return data
            if not self._fill():
                return None
        return None

    def _fill(self) -> bool:
        """Takes from the network what is there, up to a bound; whether there was something."""
        try:
            data = self._plain.receive(READ_BYTES)
        except ReadError as error:
            self._engine.broke(error)
            raise
        if data is None:
            return False
        self._engine.take_in(data)
        return True

    def _send_now(self, data: BytesLike) -> int:
        """Encrypts and sends as long as there is room; how many bytes of `data` were taken."""
        self._engine.check(WriteError)
        if self._wants_end:
            raise WriteError(f"cannot send to {self.peer}: this side of the stream has ended")
        if not self._shake(WriteError):
            return 0
        taken = 0
        view = memoryview(data)
        while taken < len(view) and self._flush():
            more = self._engine.encrypt(view[taken : taken + RECORD_BYTES])
            if not more:
                break
            taken += more
        self._flush()
        return taken

    def _flush(self) -> bool:
        """Sends what is encrypted; whether nothing of it is left."""
        output = self._engine.collect()
        try:
            while output:
                sent = self._plain.send(output)
                if not sent:
                    return False
                del output[:sent]
        except WriteError as error:
            self._explain(error)
            raise
        return True

    def _finish_writing(self) -> bool:
        """Says that this side ends, behind what was sent; whether that has left."""
        if not self._shake(WriteError):
            return False
        if not self._engine.end_sent:
            # The call that says so looks for the peer's own end, and would throw away what comes before that.
            with _broken_as(WriteError):
                while data := self._engine.decrypt(RECORD_BYTES):
                    self._decrypted += data
            self._engine.end()
        if not self._flush():
            return False
        self._plain.close_writing()
        return True

    def _go_on_writing(self) -> None:
        if self._wants_end:
            self._finish_writing()
        elif self._engine.has_output:
            self._flush()

    # -- waits

    def _deadline(self) -> float | None:
        """Until when a call that begins now may wait, in monotonic seconds; None: for ever, or not at all."""
        return time.monotonic() + self._timeout_s if self._timeout_s else None

    def _waiting(
        self, attempt: Callable[[], _Done | None], doing: str, deadline: float | None, *, reading: bool = False
    ) -> _Done | None:
        """Repeats `attempt` until its result is not None; once only where the stream does not wait.

        Args:
            reading: whether bytes from the peer are what it waits for, beyond a handshake.
        """
        while (done := attempt()) is None and self._timeout_s != 0:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TransportTimeout(f"{doing} {self.peer}: timed out")
            wanted = select.POLLIN if reading or not self._engine.shaken else 0
            wanted |= select.POLLOUT if self._engine.output else 0
            poll = select.poll()
            poll.register(self.fileno(), wanted)
            # Rounded up: less than a millisecond would be a busy wait.
            poll.poll(None if left_s is None else left_s * 1000 + 1)
        return done

    # -- what goes wrong

    @property
    def _closed(self) -> bool:
        return self._plain.fileno() < 0

    def _check_open(self, kind: type[TransportError], doing: str) -> None:
        if self._closed:
            raise kind(f"{doing} {self.peer}: the stream is closed")

    def _explain(self, error: WriteError) -> None:
        """Looks whether the peer's last words say why it takes nothing more, and raises that instead.

        Bytes that come before them stay to be received.
        """
        if not self._engine.shaken:
            return
        try:
            while not self._engine.ended and len(self._decrypted) <= DEFAULT_RECEIVE_BYTES and self._fill():
                while data := self._engine.decrypt(RECORD_BYTES):
                    self._decrypted += data
        except HandshakeError as reason:
            raise reason from error
        except ReadError:
            # What had to be heard was heard; `receive` will say that the connection broke.
            return


@contextlib.contextmanager
def _broken_as(kind: type[TransportError]) -> Iterator[None]:
    """Turns a connection that breaks in the other direction into what the caller was doing."""
    try:
        yield
    except (ReadError, WriteError) as error:
        if isinstance(error, kind):
            raise
        raise kind(str(error)) from error


def _end_after(plain: SocketStream, last_words: bytearray) -> None:
    """Sends what tells the peer why, and the end."""
    with contextlib.suppress(TransportError):
        while last_words and (sent := plain.send(last_words)):
            del last_words[:sent]
        plain.close_writing()
        # Bytes that nobody has read would make closing a reset, which can overtake the reason.
        for _ in range(_READS_AFTER_FAILURE):
            if not plain.receive(READ_BYTES):
                break
