"""Translates errors of OpenSSL into error classes and plain messages.

1. `AuthenticationError` is about certificates: one is missing, unknown, out of date, or of another name. It may come at
   any time: with TLS 1.3 a client learns only after its own handshake that the server refuses it.
2. `HandshakeError` is every other error of a handshake: no TLS at all, no version in common.
3. An error after the handshake is that of a broken connection.

In the messages "it" is the peer.
"""

from __future__ import annotations

import ssl
from typing import Final

from bets_protocol.errors import TransportError
from bets_protocol.transports.base import AuthenticationError, HandshakeError
from bets_protocol.transports.sockets import mid_sentence

# Errors of the peer's certificate; the numbers are X509_V_ERR_* of OpenSSL.
_CERTIFICATES: Final = {
    7: "its certificate is not signed by the authority that it names",
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed, not of our authority (unknown CA)",
    19: "its certificate is of another authority than ours (unknown CA)",
    20: "its certificate is of another authority than ours (unknown CA)",
    21: "its certificate is of another authority than ours (unknown CA)",
    26: "its certificate is not meant for this side of a connection (extended key usage)",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}

_TOLD: Final = _CERTIFICATES.keys() - {62, 64}

# A client without a certificate, and alerts of the peer about our certificate.
_REFUSALS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it lets nobody in without a certificate, and we show none",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of our certificate (unknown CA)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired, or is not valid yet",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says that our certificate was revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it says that our certificate is not meant for this side of a connection",
    "SSLV3_ALERT_NO_CERTIFICATE": "it lets nobody in without a certificate, and we show none",
    "TLSV1_ALERT_ACCESS_DENIED": "it does not let us in",
    "TLSV1_ALERT_DECRYPT_ERROR": "it says that our certificate and our key do not go together",
}

NO_TLS: Final = "it does not speak TLS: plain bytes, or another protocol"
_TOO_OLD: Final = "its version of TLS is too old"
_DISAGREEMENTS: Final = {
    "HTTP_REQUEST": NO_TLS,
    "HTTPS_PROXY_REQUEST": NO_TLS,
    "WRONG_VERSION_NUMBER": NO_TLS,
    "PACKET_LENGTH_TOO_LONG": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "UNKNOWN_PROTOCOL": NO_TLS,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "VERSION_TOO_LOW": _TOO_OLD,
    "WRONG_SSL_VERSION": _TOO_OLD,
    "NO_SHARED_CIPHER": "it knows no cipher that we know",
    "NO_SUITABLE_KEY_SHARE": "it knows no curve that we know",
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": "it got bytes that are no TLS, such as the PROXY header of a balancer in between",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it wants another version of TLS than we do",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it finds nothing that both ends know, or misses a certificate of ours",
}


def tls_error(
    error: ssl.SSLError, kind: type[TransportError], doing: str, *, handshaking: bool
) -> tuple[type[TransportError], str]:
    """The class and the message of the error to raise for `error`.

    Args:
        kind: the class for a broken connection.
        doing: what failed, with the name of the peer.
        handshaking: whether the handshake was not over.
    """
    # The type stub says that there always is a reason, but an error without a name in OpenSSL has none.
    reason: str | None = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _CERTIFICATES.get(error.verify_code, "its certificate cannot be verified")
        if error.verify_code not in _TOLD:
            # OpenSSL's text has the expected name, or an error that is not in the table.
            words = f"{words}: {mid_sentence(error.verify_message.rstrip('.'))}"
        return AuthenticationError, f"{doing}: {words}"
    if reason in _REFUSALS:
        return AuthenticationError, f"{doing}: {_REFUSALS[reason]}"
    words = _DISAGREEMENTS.get(reason or "", "TLS broke")
    told = (reason or str(error) or "no reason given").replace("_", " ").lower()
    return HandshakeError if handshaking else kind, f"{doing}: {words} ({told})"
