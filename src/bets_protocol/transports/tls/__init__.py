"""TLS over TCP: whose certificate is taken, and the stream of bytes between the two ends."""

from __future__ import annotations

from bets_protocol.transports.tls.files import OwnCertificate, TlsFiles, require_file
from bets_protocol.transports.tls.transport import TLS_VERSIONS, TlsTransport

__all__ = ["TLS_VERSIONS", "OwnCertificate", "TlsFiles", "TlsTransport", "require_file"]
