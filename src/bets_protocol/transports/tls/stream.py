"""A stream that encrypts: TLS over a stream of sockets, with the whole contract of `Stream`.

OpenSSL works on two buffers in memory (`ssl.MemoryBIO`), and all that touches the network is the plain stream below,
which never waits. That, and not `ssl.SSLSocket`, since only so

1. this side can end while the other goes on: `SSLSocket.unwrap` throws away what the peer still sends;
2. every wait is ours, for either direction and with one deadline for the call as a whole;
3. an end of the connection that TLS did not announce is told from one that it did: the first is a broken connection,
   else whoever can cut a wire could make half a file pass for a whole one.

Rules:

1. `send` counts bytes as taken once they are encrypted, for they cannot be taken back. Of those at most one record
   (16 KiB) waits here for room; `needs_write` says so.
2. What was decrypted and not asked for yet is at most what one read from the network gave; where a write has failed,
   64 KiB more.
3. What OpenSSL answers by itself, to a change of keys or an attempt at renegotiation, leaves at once. Where there is no
   room it waits, too, and a peer that does not take it and asks on is refused. So memory is bounded.
4. Records without content keep no loop busy: a peer that sends more than a few of them for each KiB is refused, and one
   `receive` reads a bounded amount; the descriptor stays readable meanwhile.
5. When the handshake fails, the peer is told why before anything is raised.
6. A first byte that begins no record is no TLS, however few bytes follow it. OpenSSL wants five before it looks, and
   what speaks another protocol may have said all that it says.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import select
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from bets_protocol.bytes_like import Octets, flat
from bets_protocol.errors import ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.transports.base import (
    DEFAULT_RECEIVE_BYTES,
    HandshakeError,
    PeerCertificate,
    Stream,
)
from bets_protocol.transports.foreign import TLS_KINDS, first_bytes_explained
from bets_protocol.transports.sockets import SocketStream, check_timeout
from bets_protocol.transports.tls.reasons import NO_TLS, tls_error
from bets_protocol.transports.tls.record_budget import RecordCount

RECORD_BYTES: Final = 16_384
"""The most that one record of TLS holds."""

READ_BYTES: Final = 8_448
"""What is taken from the network at once: the largest frame, 8192 bytes, and what TLS adds to it, so that it takes one
read. Not more, since the buffer in memory keeps the size of the largest piece that it ever held."""

_READS_A_CALL: Final = 16
_READS_AFTER_FAILURE: Final = 8
_UNASKED_BYTES: Final = 32_768
_MOST_WAITING_BYTES: Final = 2 * RECORD_BYTES
_ALERT_BYTES: Final = 7
_HEAD_BYTES: Final = 16

_UNEXPECTED: Final = b"\x15\x03\x03\x00\x02\x02\x0a"
"""The alert "unexpected message", fatal: for a peer whose bytes OpenSSL never gets to see."""


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
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._begun = False  # a byte has come
        self._shaken = False
        self._answered = False
        self._certificate: PeerCertificate | None = None
        self._records = RecordCount()
        self._decrypted = bytearray()
        self._encrypted = bytearray()  # what waits for room
        self._ended = False
        self._wants_end = False
        self._end_sent = False
        self._failure: tuple[type[TransportError] | None, str] | None = None

    # -- what a selector loop asks

    @property
    def needs_read(self) -> bool:
        return self.handshaking

    @property
    def needs_write(self) -> bool:
        waits = bool(self._encrypted or self._outgoing.pending)
        return waits and self._failure is None and not self._closed

    @property
    def handshaking(self) -> bool:
        return not self._shaken and self._failure is None and not self._closed

    @property
    def handshake_answered(self) -> bool:
        return self._answered

    @property
    def certificate(self) -> PeerCertificate | None:
        return self._certificate

    def fileno(self) -> int:
        return self._plain.fileno()

    def set_timeout(self, timeout_s: float | None) -> None:
        check_timeout(timeout_s)
        if self._closed:
            raise TransportError(f"cannot set the timeout of the stream to {self.peer}: the stream is closed")
        self._timeout_s = timeout_s

    # -- bytes in and out

    def shake_hands(self) -> None:
        """Waits for the end of the handshake, as `set_timeout` says.

        Raises:
            HandshakeError: it failed.
            ReadError, WriteError: the connection broke.
            TransportTimeout: it is not over in time.
        """
        self._waiting(self._shake, "cannot talk TLS with", self._deadline())

    def receive(self, max_bytes: int = DEFAULT_RECEIVE_BYTES) -> bytes | None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be 1 or more, not {max_bytes}")
        self._check_open(ReadError, "cannot receive from")
        received: bytes | None = None

        def attempt() -> bool:
            nonlocal received
            received = self._receive_now(max_bytes)
            return received is not None

        self._waiting(attempt, "cannot receive from", self._deadline(), reading=True)
        return received

    def send(self, data: Octets) -> int:
        data = flat(data)
        self._check_open(WriteError, "cannot send to")
        if not len(data):
            self._go_on_writing()
            return 0
        taken = 0

        def attempt() -> bool:
            nonlocal taken
            taken = self._send_now(data)
            return taken > 0

        deadline = self._deadline()
        self._waiting(attempt, "cannot send to", deadline)
        if self._timeout_s != 0:
            # Who may wait does so here, and need not come back for the last of it; it was taken all the same.
            with contextlib.suppress(TransportTimeout):
                self._waiting(self._flush, "cannot send to", deadline)
        return taken

    def send_all(self, data: Octets) -> None:
        rest = memoryview(flat(data))
        if self._timeout_s == 0 and not self._closed:
            raise ValueError("send_all is for streams that may wait; this one is non-blocking")
        self._check_open(WriteError, "cannot send to")

        def attempt() -> bool:
            nonlocal rest
            while len(rest) and (taken := self._send_now(rest)):
                rest = rest[taken:]
            return not len(rest) and self._flush()

        if len(rest):
            self._waiting(attempt, "cannot send to", self._deadline())

    def close_writing(self) -> None:
        doing = "cannot end the stream to"
        self._check_open(WriteError, doing)
        if self._failure is not None:
            self._raise_failure(WriteError)
        if not self._wants_end:
            self._wants_end = True
            self._waiting(self._finish_writing, doing, self._deadline())

    def close(self) -> None:
        if self._closed:
            return
        if self._shaken and self._failure is None:
            with contextlib.suppress(TransportError):
                if self._unread():
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
        if self._shaken:
            return True
        if self._failure is not None:
            self._raise_failure(kind)
        with _broken_as(kind):
            return self._go_on_shaking()

    def _go_on_shaking(self) -> bool:
        for _ in range(_READS_A_CALL):
            if not self._flush():
                self._take_notice()
                return False
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._answered = self._answered or self._outgoing.pending > 0
                if not self._flush() or not self._fill():
                    return False
                continue
            except ssl.SSLError as error:
                # Behind a hello that is as it should be, what follows may fail in the same call.
                self._answered = self._answered or self._outgoing.pending > _ALERT_BYTES
                self._fail(error, ReadError, "cannot talk TLS with")
            self._certificate = _peer_certificate(self._tls)
            self._shaken = self._answered = True
            self._records.begin()
            self._flush()
            return True
        return False

    def _take_notice(self) -> None:
        """Takes what comes in while the peer leaves our part of the handshake unread, so that no selector spins on it.

        Nobody in good faith says much before the answer.
        """
        if self._fill() and self._incoming.pending > _UNASKED_BYTES:
            text = f"cannot talk TLS with {self.peer}: it sends on and on, and does not take our part of the handshake"
            self._failure = (HandshakeError, text)
            raise HandshakeError(text)

    def _receive_now(self, max_bytes: int) -> bytes | None:
        data = self._received(max_bytes)
        if self._shaken and self._failure is None:
            # That it cannot write is for the next `send` to say: there may be bytes to receive.
            with contextlib.suppress(WriteError):
                self._go_on_writing()
            if data is None and (self._decrypted or self._ended):  # what came to light as it could not
                return self._received(max_bytes)
        return data

    def _received(self, max_bytes: int) -> bytes | None:
        if self._decrypted:
            first = bytes(self._decrypted[:max_bytes])
            del self._decrypted[:max_bytes]
            return first
        if self._ended:
            return b""
        if self._failure is not None:
            self._raise_failure(ReadError)
        if not self._shake():
            return None
        for _ in range(_READS_A_CALL):
            data = self._decrypt(max_bytes)
            if data is not None:
                return data
            if not self._fill():
                return None
        return None

    def _decrypt(self, max_bytes: int) -> bytes | None:
        """What is there already, b"" at the end, None when more has to come from the network first."""
        try:
            data = self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            self._check_records()
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as error:
            self._fail(error, ReadError, "cannot receive from")
        if data:
            self._records.had_content(len(data), whole=not self._tls.pending())
        self._ended = not data
        return data

    def _check_records(self) -> None:
        """Refuses a peer that sends too many records without content, or does not take what they are answered with."""
        if self._records.idle:
            what = "it sends many records without content"
        elif len(self._encrypted) + self._outgoing.pending > _MOST_WAITING_BYTES:
            what = "it does not take what its records without content are answered with"
        else:
            return
        self._failure = (None, f"cannot receive from {self.peer}: {what}")
        self._raise_failure(ReadError)

    def _fill(self) -> bool:
        """Takes from the network what is there, up to a bound; whether there was something."""
        try:
            data = self._plain.receive(READ_BYTES)
        except ReadError as error:
            self._failure = (None, str(error))
            raise
        if data is None:
            return False
        if not data:
            what = "broke off within the handshake" if not self._shaken else "ended without the end that TLS announces"
            self._failure = (None, f"cannot receive from {self.peer}: the connection {what}")
            self._raise_failure(ReadError)
        if not self._begun:
            self._begun = True
            if data[0] not in TLS_KINDS:
                self._refuse_foreign(data[:_HEAD_BYTES])
        self._records.came(data)
        self._incoming.write(data)
        return True

    def _refuse_foreign(self, head: bytes) -> NoReturn:
        """The peer does not speak TLS; a client hears so, in case that it does and something else came before."""
        if self._tls.server_side:
            self._encrypted += _UNEXPECTED
        text = f"cannot talk TLS with {self.peer}: {NO_TLS}"
        if explained := first_bytes_explained(head):
            text = f"{text}: {explained}"
        self._failure = (HandshakeError, text)
        self._end_on_failure()
        raise HandshakeError(text)

    def _send_now(self, data: Octets) -> int:
        """Encrypts and sends as long as there is room; how many bytes of `data` were taken."""
        if self._failure is not None:
            self._raise_failure(WriteError)
        if self._wants_end:
            raise WriteError(f"cannot send to {self.peer}: this side of the stream has ended")
        if not self._shake(WriteError):
            return 0
        taken = 0
        view = memoryview(data)
        while taken < len(view) and self._flush():
            try:
                taken += self._tls.write(view[taken : taken + RECORD_BYTES])
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._fail(error, WriteError, "cannot send to")
        self._flush()
        return taken

    def _flush(self) -> bool:
        """Sends what is encrypted; whether nothing of it is left."""
        try:
            return self._push()
        except WriteError as error:
            self._explain(error)
            raise

    def _push(self) -> bool:
        if self._outgoing.pending:
            made = self._outgoing.read()
            if not self._end_sent:  # behind the end nothing more may leave
                self._encrypted += made
        while self._encrypted:
            sent = self._plain.send(self._encrypted)
            if not sent:
                return False
            del self._encrypted[:sent]
        return True

    def _finish_writing(self) -> bool:
        """Says that this side ends, behind what was sent; whether that has left."""
        if not self._shake(WriteError):
            return False
        if not self._end_sent:
            # The call that says so looks for the peer's own end, and would throw away what comes before that.
            with _broken_as(WriteError):
                while data := self._decrypt(RECORD_BYTES):
                    self._decrypted += data
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._fail(error, WriteError, "cannot end the stream to")
            self._encrypted += self._outgoing.read()
            self._end_sent = True
        if not self._flush():
            return False
        self._plain.close_writing()
        return True

    def _go_on_writing(self) -> None:
        """Sends what waits for room."""
        if self._wants_end:
            self._finish_writing()
        elif self._encrypted or self._outgoing.pending:
            self._flush()

    def _unread(self) -> bool:
        """Whether bytes came in that nobody will receive now."""
        if self._decrypted:
            return True
        if self._ended:
            return False
        return bool(self._receive_now(1))

    # -- waits

    def _deadline(self) -> float | None:
        """Until when a call that begins now may wait, in monotonic seconds; None: for ever, or not at all."""
        return time.monotonic() + self._timeout_s if self._timeout_s else None

    def _waiting(
        self, attempt: Callable[[], bool], doing: str, deadline: float | None, *, reading: bool = False
    ) -> None:
        """Repeats `attempt` until it says that it is done; once only where the stream does not wait.

        Args:
            reading: whether bytes from the peer are what it waits for, beyond a handshake.
        """
        while not attempt() and self._timeout_s != 0:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TransportTimeout(f"{doing} {self.peer}: timed out")
            wanted = select.POLLIN if reading or not self._shaken else 0
            wanted |= select.POLLOUT if self._encrypted else 0
            poll = select.poll()
            poll.register(self.fileno(), wanted)
            # Rounded up: less than a millisecond would be a busy wait.
            poll.poll(None if left_s is None else left_s * 1000 + 1)

    # -- what goes wrong

    @property
    def _closed(self) -> bool:
        return self._plain.fileno() < 0

    def _check_open(self, kind: type[TransportError], doing: str) -> None:
        if self._closed:
            raise kind(f"{doing} {self.peer}: the stream is closed")

    def _raise_failure(self, kind: type[TransportError]) -> NoReturn:
        """Raises again what broke the stream."""
        own_kind, text = self._failure or (None, "")
        raise (own_kind or kind)(text)

    def _fail(self, error: ssl.SSLError, kind: type[TransportError], doing: str) -> NoReturn:
        """Tells the peer what is wrong, and then the caller."""
        found, text = tls_error(error, kind, f"{doing} {self.peer}", handshaking=not self._shaken)
        self._failure = (found if issubclass(found, HandshakeError) else None, text)
        self._end_on_failure()
        raise found(text) from error

    def _end_on_failure(self) -> None:
        """Sends what tells the peer why, and the end."""
        with contextlib.suppress(TransportError):
            self._push()
            self._plain.close_writing()
            # Bytes that nobody has read would make closing a reset, which can overtake the reason.
            for _ in range(_READS_AFTER_FAILURE):
                if not self._plain.receive(READ_BYTES):
                    break

    def _explain(self, error: WriteError) -> None:
        """Looks whether the peer's last words say why it takes nothing more, and raises that instead.

        Bytes that come before them stay to be received.
        """
        if not self._shaken:
            return
        try:
            while not self._ended and len(self._decrypted) <= DEFAULT_RECEIVE_BYTES and self._fill():
                while data := self._decrypt(RECORD_BYTES):
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


def _peer_certificate(tls: ssl.SSLObject) -> PeerCertificate | None:
    """What the peer has shown and OpenSSL has verified."""
    encoded = tls.getpeercert(binary_form=True)
    if encoded is None:
        return None
    try:
        told: Any = tls.getpeercert() or {}
    except ValueError:
        # An authority that puts names into certificates that are no UTF-8 has said nothing that counts here.
        told = {}
    names = told.get("subjectAltName", ())
    return PeerCertificate(
        uris=tuple(value for kind, value in names if kind == "URI"),
        fingerprint=hashlib.sha256(encoded).hexdigest(),
        not_after=_iso(told["notAfter"]) if "notAfter" in told else "",
    )


def _iso(text: str) -> str:
    moment = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
