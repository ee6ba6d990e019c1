"""`tls://host:port`: TLS over TCP, where both ends prove their identity.

1. Both sides trust only the user's own certification authority, never those of the system, from which any owner of a
   web site gets a certificate. A server refuses every client without a certificate of that authority. A client
   accepts only a server whose certificate of it is for the host of the URL, name or address.
2. TLS 1.3, or 1.2 if that is asked for. No compression, no renegotiation, no resumption, no early data.
3. A file that cannot be used is an error that names it, before anything listens or connects. So is a key that others
   on the machine can read, except its group.
4. Each file is read once, and again only by `reload`.

`ssl` (20 ms, 6 MB) is loaded only when a connection or a listener needs it.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bets_protocol.errors import ConfigError, ConnectError, ReadError, TransportTimeout, WriteError
from bets_protocol.transports.base import ConnectTimeout, HandshakeError, Listener, Stream, Url
from bets_protocol.transports.sockets import SocketStream, closed_on_error
from bets_protocol.transports.tcp import TcpTransport
from bets_protocol.transports.tls.files import OwnCertificate, TlsFiles, check_complete, own_certificate, read_files

if TYPE_CHECKING:
    import ssl

    from bets_protocol.transports.tls.stream import TlsStream

TLS_VERSIONS: Final = ("1.2", "1.3")
DEFAULT_TLS_VERSION: Final = "1.3"


class TlsTransport:
    """The `Transport` of the scheme ``tls``.

    A server needs all three files. A client needs `ca`; without `cert` and `key` it can only connect to servers that
    do not ask for them, and ours do.

    Args:
        files: read when the first connection or listener needs them, and by `reload`.
        minimum: the oldest accepted version of TLS, ``"1.3"`` or ``"1.2"``.
        tcp: makes the TCP connections.

    Raises:
        ConfigError: `minimum` is not a version.

    Thread: any, several at once.
    """

    def __init__(self, files: TlsFiles, *, minimum: str = DEFAULT_TLS_VERSION, tcp: TcpTransport | None = None) -> None:
        if minimum not in TLS_VERSIONS:
            raise ConfigError(f"TLS version {minimum!r}: expected one of {', '.join(TLS_VERSIONS)}")
        self._files = files
        self._minimum = minimum
        self._tcp = tcp or TcpTransport()
        # Guards the attributes below: the content of the files, and the contexts made from it, by whether they are
        # a server's.
        self._lock = threading.Lock()
        self._texts: Mapping[Path, bytes] | None = None
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def connect(self, url: Url, timeout_s: float) -> Stream:
        deadline = time.monotonic() + timeout_s
        context = self._context(server=False)
        plain = self._tcp.connect(url, timeout_s)
        with closed_on_error(plain):
            try:
                stream = _stream(plain, context, _name_of(url.host))
                # Not 0, which would mean non-blocking.
                stream.set_timeout(max(deadline - time.monotonic(), 0.001))
                stream.shake_hands()
            except HandshakeError as error:
                raise type(error)(f"cannot connect to {url}: {error}") from error
            except TransportTimeout as error:
                raise ConnectTimeout(f"cannot connect to {url}: timed out within the TLS handshake") from error
            except (ReadError, WriteError) as error:
                raise ConnectError(f"cannot connect to {url}: {error}") from error
            return stream

    def listen(self, url: Url, backlog: int) -> Listener:
        # An error in the files must be raised now, and not at the first connection.
        self._context(server=True)
        return self._tcp.listen(url, backlog, lambda plain: _stream(plain, self._context(server=True), None))

    def reload(self) -> None:
        """Read the files again, for later connections; open connections go on unchanged.

        Raises:
            ConfigError: a file cannot be used, or is a pipe, which can be read only once; the old content stays in use.
        """
        with self._lock:
            if self._texts is None:
                return
            texts = read_files(self._files, again=True)
            self._contexts = {server: self._load(texts, server=server) for server in self._contexts}
            self._texts = texts

    def own_certificate(self) -> OwnCertificate | None:
        """The certificate of this end, or None if there is none or it is not in PEM form.

        Raises:
            ConfigError: a file cannot be read.
        """
        if self._files.cert is None:
            return None
        with self._lock:
            return own_certificate(self._files.cert, self._read()[self._files.cert])

    def _context(self, *, server: bool) -> ssl.SSLContext:
        with self._lock:
            if server not in self._contexts:
                check_complete(self._files, server=server)
                self._contexts[server] = self._load(self._read(), server=server)
            return self._contexts[server]

    def _read(self) -> Mapping[Path, bytes]:
        if self._texts is None:
            self._texts = read_files(self._files)
        return self._texts

    def _load(self, texts: Mapping[Path, bytes], *, server: bool) -> ssl.SSLContext:
        from bets_protocol.transports.tls.contexts import load_context  # noqa: PLC0415 - loads `ssl`

        return load_context(self._files, texts, minimum=self._minimum, server=server)


def _stream(plain: SocketStream, context: ssl.SSLContext, server_name: str | None) -> TlsStream:
    from bets_protocol.transports.tls.stream import TlsStream  # noqa: PLC0415 - loads `ssl`

    return TlsStream(plain, context, server_name=server_name)


def _name_of(host: str) -> str:
    """The name for the server's certificate: a host name without its final dot, or an address without its zone."""
    address = host.partition("%")[0]
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return host.removesuffix(".")
