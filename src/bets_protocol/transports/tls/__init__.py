"""TLS over TCP: the rules for certificates, and the encrypted stream."""

from __future__ import annotations

from bets_protocol.transports.tls.files import OwnCertificate, TlsFiles, require_file
from bets_protocol.transports.tls.transport import TLS_VERSIONS, TlsTransport

__all__ = ["TLS_VERSIONS", "OwnCertificate", "TlsFiles", "TlsTransport", "require_file"]
