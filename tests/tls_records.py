"""Records of TLS that no library would send: made here, with the keys of a connection that the standard library opened.

An end of a connection that shook hands through `ssl` tells its keys (the log that Wireshark reads). With them `Forger`
encrypts whatever it is told to, as often as it is told to, in that end's name. The end itself may go on receiving, but
must not send anything more, since records are numbered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import socket
import ssl
import struct
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HANDSHAKE: Final = 22
DATA: Final = 23

_HEAD_BYTES: Final = 5
_READ_BYTES: Final = 65_536
_FORMS: Final[dict[str, tuple[type[AESGCM] | type[ChaCha20Poly1305], int, str]]] = {
    "TLS_AES_256_GCM_SHA384": (AESGCM, 32, "sha384"),
    "TLS_AES_128_GCM_SHA256": (AESGCM, 16, "sha256"),
    "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, "sha256"),
    "ECDHE-ECDSA-AES256-GCM-SHA384": (AESGCM, 32, "sha384"),
    "ECDHE-ECDSA-AES128-GCM-SHA256": (AESGCM, 16, "sha256"),
}
"""By cipher: what encrypts, the bytes of its key, and the hash that makes keys."""


class Forger:
    """One end of a connection, shaken hands with, which then says what it likes.

    Args:
        sock: connected.
        context: the rules of this end; the connection's keys are written to `keys`.
        keys: a file of its own.
        server_name: for a client, whom it wants to talk to.
        in_bytes: the first words of the handshake go out in records of one byte each.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        keys: Path,
        *,
        server_name: str | None = None,
        in_bytes: bool = False,
    ) -> None:
        self.sock = sock
        self._said = bytearray()  # all that the server has sent, of the handshake
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.keylog_filename = str(keys)
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._server = server_name is None
        self._in_bytes = in_bytes
        self._shake()
        told = {line.split()[0]: line.split()[1:] for line in keys.read_text().splitlines() if line[0] != "#"}
        cipher = self.tls.cipher()
        assert cipher is not None
        self._aead, self._key_bytes, self._hash = _FORMS[cipher[0]]
        self._is_1_3 = self.tls.version() == "TLSv1.3"
        if self._is_1_3:
            self._number = 0
            self._secret = bytes.fromhex(told[f"{'SERVER' if self._server else 'CLIENT'}_TRAFFIC_SECRET_0"][1])
            self._take_keys()
        else:
            self._number = 1  # the end of the handshake was the first that was encrypted
            self._take_keys_1_2(*map(bytes.fromhex, told["CLIENT_RANDOM"]))

    def _shake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(_READ_BYTES)
                assert data, "the peer left within the handshake"
                self._heard(data)
            else:
                self._flush()
                return

    def _heard(self, data: bytes) -> None:
        if not self._server:
            self._said += data
        self._incoming.write(data)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if self._server:
            self._said += data
        if self._in_bytes:
            self._in_bytes = False
            data = b"".join(data[:3] + b"\0\1" + bytes([byte]) for byte in data[_HEAD_BYTES:])
        if data:
            self.sock.sendall(data)

    def _take_keys(self) -> None:
        self._key = self._aead(self._expanded(b"key", self._key_bytes))
        self._salt = self._expanded(b"iv", 12)

    def _expanded(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label of TLS 1.3, for what is no longer than the hash."""
        label = b"tls13 " + label
        info = struct.pack(">HB", size, len(label)) + label + b"\0"
        return hmac.digest(self._secret, info + b"\1", self._hash)[:size]

    def _take_keys_1_2(self, client_random: bytes, master: bytes) -> None:
        seed = b"key expansion" + self._said[11:43] + client_random  # the server's number opens its first message
        block, chain = b"", seed
        while len(block) < 2 * self._key_bytes + 8:
            chain = hmac.digest(master, chain, self._hash)
            block += hmac.digest(master, chain + seed, self._hash)
        ours = int(self._server)
        self._key = self._aead(block[ours * self._key_bytes :][: self._key_bytes])
        self._salt = block[2 * self._key_bytes + 4 * ours :][:4]

    def record(self, content: bytes, kind: int = DATA, *, padding: int = 0) -> bytes:
        """The next record.

        Args:
            kind: what its content is.
            padding: bytes of nothing behind that; TLS 1.3 only.
        """
        number = struct.pack(">Q", self._number)
        self._number += 1
        if self._is_1_3:
            inner = content + bytes([kind]) + bytes(padding)
            head = struct.pack(">BHH", DATA, 0x0303, len(inner) + 16)
            nonce = bytes(a ^ b for a, b in zip(self._salt, bytes(4) + number, strict=True))
            return head + self._key.encrypt(nonce, inner, head)
        checked = number + struct.pack(">BHH", kind, 0x0303, len(content))
        sealed = self._key.encrypt(self._salt + number, content, checked)
        return struct.pack(">BHH", kind, 0x0303, len(sealed) + 8) + number + sealed

    def key_update(self, *, asks: bool = True) -> bytes:
        """The record by which this end changes its key, and `asks` the other end to change its own."""
        record = self.record(b"\x18\0\0\1" + bytes([asks]), HANDSHAKE)
        self._secret = self._expanded(b"traffic upd", hashlib.new(self._hash).digest_size)
        self._number = 0
        self._take_keys()
        return record

    def renegotiation(self) -> bytes:
        """The record by which this end of TLS 1.2 asks to begin anew."""
        request = b"\0\0\0\0" if self._server else _client_hello(ssl.TLSVersion.TLSv1_2)[_HEAD_BYTES:]
        return self.record(request, HANDSHAKE)

    def receive(self) -> bytes:
        """What the other end says next, decrypted; b"" at the end, in whatever way it comes."""
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self.tls.read(_READ_BYTES)
            try:
                data = self.sock.recv(_READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                return b""
            self._incoming.write(data)


def forging_context(*, server: bool, version: ssl.TLSVersion, files: tuple[str, str]) -> ssl.SSLContext:
    """The rules of an end that does not mind whom it talks to, with its certificate and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*files)
    if server:
        context.num_tickets = 0
    return context


def client_hello() -> bytes:
    """How a handshake begins."""
    return _client_hello(ssl.TLSVersion.TLSv1_3)


@functools.cache
def _client_hello(version: ssl.TLSVersion) -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()
