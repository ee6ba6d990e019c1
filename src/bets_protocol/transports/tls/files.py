"""The files of TLS as bytes. Each is read only once, so it may be a pipe (``<(...)`` of a shell).

This module does not load `ssl`: a program reads its own certificate before it connects, or without connecting.
"""

from __future__ import annotations

import binascii
import datetime
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from bets_protocol.errors import ConfigError
from bets_protocol.transports.sockets import reason_of

_NOT_FOR_A_KEY: Final = stat.S_IWGRP | stat.S_IRWXO
"""A key may be readable by its group, as in secrets of Kubernetes and Debian's ssl-cert, but not by others."""

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_LONG: Final = 0x80
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


@attrs.frozen(kw_only=True)
class TlsFiles:
    """The certificate, the key and the authority of one end, all in PEM form.

    Args:
        cert: the certificate of this end, followed by the intermediate certificates, if any.
        key: its private key, without a passphrase, readable by its owner and at most its group (mode 0600 or 0640).
        ca: the certificate, or several, of the authority that must have signed the other end's certificate.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None


@attrs.frozen(kw_only=True)
class OwnCertificate:
    """The certificate of this end, read from its file and not verified.

    Args:
        path: the file.
        encoded: the certificate in DER form.
        not_before: from when it is valid, or None if that cannot be read.
        not_after: until when it is valid, or None likewise.
    """

    path: Path
    encoded: bytes
    not_before: datetime.datetime | None
    not_after: datetime.datetime | None


def read_files(files: TlsFiles, *, again: bool = False) -> Mapping[Path, bytes]:
    """The content of the given files.

    Args:
        again: they were read before, so none may be a pipe.

    Raises:
        ConfigError: a file cannot be read, or others can read the key; names the file.
    """
    kinds = {files.key: "private key", files.cert: "certificate", files.ca: "certificate of an authority"}
    given = {path: what for path, what in reversed(kinds.items()) if path is not None}
    if again:
        for path in given:
            require_file(path)
    return {path: _read(path, what, private=path == files.key) for path, what in given.items()}


def check_complete(files: TlsFiles, *, server: bool) -> None:
    """Raise `ConfigError` unless a server or a client can do with the files that are given."""
    missing = [name for name in ("cert", "key", "ca") if getattr(files, name) is None]
    if files.ca is None or (server and missing):
        raise ConfigError(
            f"TLS: not given: {', '.join(missing)}: a server needs its certificate (cert), its private key (key) and "
            "the certificate of the authority that those of its clients are of (ca); a client needs the last at least"
        )
    if (files.cert is None) != (files.key is None):
        raise ConfigError(f"TLS: not given: {missing[0]}: a certificate and its key go together")


def require_file(path: Path) -> None:
    """Check that a file can be read again.

    Raises:
        ConfigError: it is not a regular file, for example a pipe.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # reading it will raise
        return
    if not stat.S_ISREG(mode):
        raise ConfigError(
            f"{path}: is no regular file, so what was read from it at the start cannot be read again; name a file, or "
            "start the server again"
        )


def own_certificate(path: Path, text: bytes) -> OwnCertificate | None:
    """The first certificate in `text`, the content of `path`, or None."""
    found = _PEM.search(text)
    try:
        encoded = binascii.a2b_base64(found[1]) if found is not None else b""
    except ValueError:
        encoded = b""
    if not encoded:
        return None
    not_before, not_after = _validity(encoded)
    return OwnCertificate(path=path, encoded=encoded, not_before=not_before, not_after=not_after)


def _read(path: Path, what: str, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)  # ValueError: the name has a NUL
        raise ConfigError(f"TLS: {path}: cannot read the {what}: {reason}") from error
    if private and mode & _NOT_FOR_A_KEY:
        raise ConfigError(
            f"TLS: {path}: others than its owner and its group can use this private key, or its group can change it "
            f"(mode {stat.S_IMODE(mode):04o}): chmod 600 {path}, or 640"
        )
    return text


def _validity(encoded: bytes) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """The validity of a certificate in DER form: from when, until when (RFC 5280, section 4.1.2.5)."""
    try:
        at = _inside(encoded, _inside(encoded, 0))  # of tbsCertificate
        if encoded[at] == _VERSION:
            at = _behind(encoded, at)
        for _ in ("serialNumber", "signature", "issuer"):
            at = _behind(encoded, at)
        first = _inside(encoded, at)
        return _time(encoded, first), _time(encoded, _behind(encoded, first))
    except (IndexError, KeyError, ValueError):
        return None, None


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    size, start = data[at + 1], at + 2
    if size >= _LONG:
        more = size - _LONG
        size, start = int.from_bytes(data[start : start + more]), start + more
    return start, start + size


def _inside(data: bytes, at: int) -> int:
    if data[at] != _SEQUENCE:
        raise ValueError("no sequence")
    return _extent(data, at)[0]


def _behind(data: bytes, at: int) -> int:
    return _extent(data, at)[1]


def _time(data: bytes, at: int) -> datetime.datetime:
    start, end = _extent(data, at)
    text = data[start:end].decode("ascii")
    moment = datetime.datetime.strptime(text, _TIMES[data[at]]).replace(tzinfo=datetime.UTC)
    # Two digits mean 1950 to 2049 (RFC 5280); Python takes 50 to 68 for 2050 to 2068.
    return moment.replace(year=moment.year - 100) if data[at] == 0x17 and moment.year >= 2050 else moment
