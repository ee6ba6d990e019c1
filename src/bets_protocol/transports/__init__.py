"""Streams of bytes between a client and a server, selected by URL.

    ========================  ======================================================
    ``tcp://host:port``       TCP; also a bare ``host:port``; ``[::1]:port`` for IPv6
    ``tls://host:port``       TLS over TCP; both ends show a certificate; see `TlsTransport`
    ``unix:///path``          a socket in the file system, mode 0600
    ``memory://name``         inside this process
    ========================  ======================================================

`connect` gives a client its `Stream`, `listen` gives a server its `Listener`. Other transports are added by an entry
point in the group ``bets_protocol.transports`` or by `register_transport`; `bets_protocol.testing.transports` tests
them. This package and the codec do not import each other.
"""

from __future__ import annotations

from bets_protocol.transports.base import (
    AuthenticationError,
    ConnectTimeout,
    HandshakeError,
    Listener,
    OutOfDescriptors,
    PeerCertificate,
    Stream,
    Transport,
    Url,
)
from bets_protocol.transports.foreign import first_bytes_explained, foreign_protocol
from bets_protocol.transports.registry import connect, known_url, listen, register_transport, transport_schemes
from bets_protocol.transports.tls import TLS_VERSIONS, OwnCertificate, TlsFiles, TlsTransport, require_file
from bets_protocol.transports.url import UrlError, parse_url

__all__ = [
    "TLS_VERSIONS",
    "AuthenticationError",
    "ConnectTimeout",
    "HandshakeError",
    "Listener",
    "OutOfDescriptors",
    "OwnCertificate",
    "PeerCertificate",
    "Stream",
    "TlsFiles",
    "TlsTransport",
    "Transport",
    "Url",
    "UrlError",
    "connect",
    "first_bytes_explained",
    "foreign_protocol",
    "known_url",
    "listen",
    "parse_url",
    "register_transport",
    "require_file",
    "transport_schemes",
]
