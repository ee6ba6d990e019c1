"""One end of TLS without a socket: what the network brings goes in, what it has to carry comes out.

OpenSSL works on two buffers in memory (`ssl.MemoryBIO`). That, and not `ssl.SSLSocket`, since only so

1. this side can end while the other goes on: `SSLSocket.unwrap` throws away what the peer still sends;
2. every wait belongs to the stream, for either direction and with one deadline for the call as a whole;
3. an end of the connection that TLS did not announce is told from one that it did. The first is a broken connection:
   otherwise somebody who can cut a wire could make half a file pass for a complete one.

Rules:

1. After a failure every call raises it again.
2. A peer that sends more than a few records without content for each KiB is refused, and so is one that does not take
   what they are answered with. So memory and work are bounded.
3. A first byte that begins no record is not TLS, however few bytes follow it. OpenSSL wants five before it looks, and
   a peer that speaks another protocol may send no more.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Callable
from typing import Any, Final, NoReturn

from bets_protocol.errors import ReadError, TransportError, WriteError
from bets_protocol.transports.base import HandshakeError, PeerCertificate
from bets_protocol.transports.foreign import TLS_KINDS, first_bytes_explained
from bets_protocol.transports.tls.reasons import NO_TLS, tls_error
from bets_protocol.transports.tls.record_budget import RecordCount

RECORD_BYTES: Final = 16_384
"""The most that one record of TLS holds."""

_UNASKED_BYTES: Final = 32_768
_MOST_WAITING_BYTES: Final = 2 * RECORD_BYTES
_ALERT_BYTES: Final = 7
_HEAD_BYTES: Final = 16

_UNEXPECTED: Final = b"\x15\x03\x03\x00\x02\x02\x0a"
"""The alert "unexpected message", fatal: for a peer whose bytes OpenSSL never gets to see."""


class TlsEngine:
    """The state of one end.

    Args:
        context: the rules and the keys of this side.
        peer: names the other end in errors.
        server_name: for a client, the name or address that the server's certificate has to be for.
        on_failure: called before a failure is raised of which the peer has to be told, with the bytes that tell it.

    Attributes:
        shaken: the handshake is over.
        answered: this side has answered the handshake of the peer.
        certificate: what the peer has shown and OpenSSL has verified, if it had to show one.
        ended: the peer has announced its end.
        end_sent: this side has.
        failure: what every further call raises: its kind, if it has one of its own, and its text.
        output: encrypted bytes for the network; the stream removes what has left.
    """

    def __init__(
        self, context: ssl.SSLContext, peer: str, *, server_name: str | None, on_failure: Callable[[bytearray], None]
    ) -> None:
        self.shaken = self.answered = self.ended = self.end_sent = False
        self.certificate: PeerCertificate | None = None
        self.failure: tuple[type[TransportError] | None, str] | None = None
        self.output = bytearray()
        self._peer = peer
        self._on_failure = on_failure
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._begun = False  # a byte has come
        self._records = RecordCount()

    @property
    def has_output(self) -> bool:
        """Whether something has to be sent."""
        return bool(self.output or self._outgoing.pending)

    # -- the network's side

    def take_in(self, data: bytes) -> None:
        """Bytes of the network; none at its end.

        Raises:
            HandshakeError: the peer does not speak TLS.
            ReadError: the end came before TLS has announced it.
        """
        if not data:
            what = "broke off within the handshake" if not self.shaken else "ended without the end that TLS announces"
            self._refuse(ReadError, f"cannot receive from {self._peer}: the connection {what}")
        if not self._begun:
            self._begun = True
            if data[0] not in TLS_KINDS:
                self._refuse_foreign(data[:_HEAD_BYTES])
        self._records.came(data)
        self._incoming.write(data)

    def collect(self) -> bytearray:
        """`output`, with all that was encrypted up to now."""
        if self._outgoing.pending:
            made = self._outgoing.read()
            if not self.end_sent:  # behind the end nothing more may leave
                self.output += made
        return self.output

    def broke(self, error: TransportError) -> None:
        """The connection broke while reading; every further call says so."""
        self.failure = (None, str(error))

    def check_unasked(self) -> None:
        """Refuses a peer that sends much, and does not take this side's part of the handshake.

        Nobody in good faith says much before the answer.
        """
        if self._incoming.pending > _UNASKED_BYTES:
            what = "it sends data but does not read this side's part of the handshake"
            self._refuse(HandshakeError, f"cannot talk TLS with {self._peer}: {what}")

    # -- the program's side

    def shake(self) -> bool:
        """Goes on with the handshake; whether it is over.

        Raises:
            HandshakeError: it failed.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.answered = self.answered or self._outgoing.pending > 0
            return False
        except ssl.SSLError as error:
            # Behind a hello that is as it should be, what follows may fail in the same call.
            self.answered = self.answered or self._outgoing.pending > _ALERT_BYTES
            self._fail(error, ReadError, "cannot talk TLS with")
        self.certificate = _peer_certificate(self._tls)
        self.shaken = self.answered = True
        self._records.begin()
        return True

    def decrypt(self, max_bytes: int) -> bytes | None:
        """What is there already, b"" at the peer's end, None when more has to come from the network first.

        Raises:
            ReadError: the bytes are not what TLS allows, or the peer sends too many records without content.
        """
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
        self.ended = not data
        return data

    def encrypt(self, data: memoryview) -> int:
        """Takes bytes for the peer, a record at most; gives 0 where TLS has to hear from the peer first.

        Raises:
            WriteError: TLS failed.
        """
        try:
            return self._tls.write(data)
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            self._fail(error, WriteError, "cannot send to")

    def end(self) -> None:
        """Announces the end of this side. All that has come in must have been decrypted: it would be lost.

        Raises:
            WriteError: TLS failed.
        """
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error, WriteError, "cannot end the stream to")
        self.output += self._outgoing.read()
        self.end_sent = True

    # -- what goes wrong

    def check(self, kind: type[TransportError]) -> None:
        """Raises again what failed, if something did, as a `kind` where it has no kind of its own."""
        if self.failure is not None:
            own_kind, text = self.failure
            raise (own_kind or kind)(text)

    def _fail(self, error: ssl.SSLError, kind: type[TransportError], doing: str) -> NoReturn:
        found, text = tls_error(error, kind, f"{doing} {self._peer}", handshaking=not self.shaken)
        self._refuse(found, text, tell=True, cause=error)

    def _refuse(
        self, kind: type[TransportError], text: str, *, tell: bool = False, cause: ssl.SSLError | None = None
    ) -> NoReturn:
        """Raises an error, now and in every further call; with `tell` the peer hears of it before that."""
        self.failure = (kind if issubclass(kind, HandshakeError) else None, text)
        if tell:
            self._on_failure(self.collect())
        raise kind(text) from cause

    def _check_records(self) -> None:
        if self._records.idle:
            self._refuse(ReadError, f"cannot receive from {self._peer}: it sends many records without content")
        if len(self.output) + self._outgoing.pending > _MOST_WAITING_BYTES:
            what = "it does not take what its records without content are answered with"
            self._refuse(ReadError, f"cannot receive from {self._peer}: {what}")

    def _refuse_foreign(self, head: bytes) -> NoReturn:
        """The peer does not speak TLS; a client hears so, in case that it does and something else came before."""
        if self._tls.server_side:
            self.output += _UNEXPECTED
        text = f"cannot talk TLS with {self._peer}: {NO_TLS}"
        if explained := first_bytes_explained(head):
            text = f"{text}: {explained}"
        self._refuse(HandshakeError, text, tell=True)


def _peer_certificate(tls: ssl.SSLObject) -> PeerCertificate | None:
    encoded = tls.getpeercert(binary_form=True)
    if encoded is None:
        return None
    try:
        told: Any = tls.getpeercert() or {}
    except ValueError:
        # An authority that puts names into certificates that are not UTF-8 has said nothing that counts here.
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
