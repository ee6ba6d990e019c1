"""Loads certificates and keys into an `ssl.SSLContext`, and sets the rules of TLS for one side."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from bets_protocol.errors import ConfigError
from bets_protocol.transports.sockets import reason_of
from bets_protocol.transports.tls.files import TlsFiles

_VERSIONS: Final[dict[str, ssl.TLSVersion]] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_CIPHERS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2 only authenticated encryption, with forward secrecy: a stolen key does not decrypt old connections."""


def load_context(files: TlsFiles, texts: Mapping[Path, bytes], *, minimum: str, server: bool) -> ssl.SSLContext:
    """The context for one side, with its certificate, from complete `files` and their content.

    Raises:
        ConfigError: a file cannot be used, or does not match the others; names the file.
    """
    lowest = _VERSIONS[minimum]
    kind = _Forgetful if server and lowest < ssl.TLSVersion.TLSv1_3 else ssl.SSLContext
    context = kind(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    _set_rules(context, lowest, server=server)
    if files.ca is not None:
        _load_authority(context, files.ca, _text(texts[files.ca]))
    if files.cert is not None and files.key is not None:
        _load_own(context, files.cert, files.key, texts)
    return context


def _set_rules(context: ssl.SSLContext, lowest: ssl.TLSVersion, *, server: bool) -> None:
    context.minimum_version = lowest
    # No session is resumed, because the peer of a resumed session is not verified again. TLS 1.3 resumes by tickets
    # only; for TLS 1.2 see `_Forgetful`.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.set_ciphers(_CIPHERS_1_2)
    context.check_hostname = not server
    context.verify_mode = ssl.CERT_REQUIRED
    if server:
        context.num_tickets = 0
    else:
        context.hostname_checks_common_name = False


class _Forgetful(ssl.SSLContext):
    """The context of a server whose clients cannot resume sessions of TLS 1.2.

    TLS 1.2 also resumes by the id of a session that the server has kept. OpenSSL keeps 20,000 in each context, for
    hours, and Python cannot switch it off. A connection uses the sessions of the context that it was made from, so each
    is made from a context of its own with the same rules, and takes certificate, key and authority from this one. That
    costs 0.2 ms and 12 KB for each connection.
    """

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _set_rules(own, self.minimum_version, server=True)
        tls = own.wrap_bio(*args, **options)
        tls.context = self
        return tls


def _load_authority(context: ssl.SSLContext, path: Path, text: str) -> None:
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"TLS: {path}: holds no certificate of an authority in PEM form") from error
    if not context.cert_store_stats()["x509_ca"]:
        raise ConfigError(f"TLS: {path}: holds no certificate of an authority, only of others (basicConstraints CA)")


def _load_own(context: ssl.SSLContext, cert: Path, key: Path, texts: Mapping[Path, bytes]) -> None:
    if "BEGIN CERTIFICATE" not in _text(texts[cert]):
        raise ConfigError(f"TLS: {cert}: holds no certificate in PEM form")
    if "PRIVATE KEY" not in _text(texts[key]):
        raise ConfigError(f"TLS: {key}: holds no private key in PEM form")

    def refuse() -> NoReturn:
        raise ConfigError(f"TLS: {key}: is encrypted; remove the passphrase (`openssl pkey -in {key} -out NEW_FILE`)")

    try:
        with _in_memory(texts[cert]) as cert_file, _in_memory(texts[key]) as key_file:
            context.load_cert_chain(cert_file, key_file, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"TLS: {key}: is not the private key of the certificate in {cert}") from error
        raise ConfigError(
            f"TLS: {cert} and {key}: cannot be used: {(error.reason or str(error)).replace('_', ' ').lower()}"
        ) from error
    except OSError as error:
        raise ConfigError(f"TLS: {cert} and {key}: cannot be read: {reason_of(error)}") from error


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """The name of a file that holds `data`, in memory if the system has such files."""
    # OpenSSL reads a certificate and its key from files only. It gets the bytes that were read, because the user's
    # files may be pipes, and because its errors name no file.
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("bets-tls", os.MFD_CLOEXEC), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:  # macOS: a file for its owner only, which is deleted at once
        with tempfile.NamedTemporaryFile(prefix="bets-tls-") as file:
            file.write(data)
            file.flush()
            yield file.name


def _text(data: bytes) -> str:
    """PEM files may have any text around the encoded parts."""
    return data.decode("ascii", "ignore")
