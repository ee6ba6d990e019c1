"""The files of TLS as bytes: each is read once, whatever needs it, so that a pipe will do, too (``<(...)`` of a shell).

Nothing in here loads `ssl`: a program looks at its own certificate before it connects, or without connecting.
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
"""A key may be read by its group, as secrets of Kubernetes and Debian's ssl-cert have it; by others it may not."""

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_LONG: Final = 0x80
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


@attrs.frozen(kw_only=True)
class TlsFiles:
    """The files that one end proves itself with and knows others by, all in PEM form.

    Args:
        cert: the certificate of this end, and behind it those that lead to its authority, if any are between.
        key: its private key, without a passphrase, for the eyes of its owner, or of its group too (mode 0600 or 0640).
        ca: the certificate (or several) of the authority that the other end's certificate has to be of.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None


@attrs.frozen(kw_only=True)
class OwnCertificate:
    """The certificate of this end, as its file has it; nobody has verified it.

    Args:
        path: the file.
        encoded: in DER form.
        not_before: from when it is valid; None: that cannot be read.
        not_after: until when; likewise.
    """

    path: Path
    encoded: bytes
    not_before: datetime.datetime | None
    not_after: datetime.datetime | None


def read_files(files: TlsFiles, *, again: bool = False) -> Mapping[Path, bytes]:
    """What the files hold that are given.

    Args:
        again: they were read before; a pipe gives nothing more then.

    Raises:
        ConfigError: one cannot be read, or the key can be by others; it names the file.
    """
    kinds = {files.key: "private key", files.cert: "certificate", files.ca: "certificate of an authority"}
    given = {path: what for path, what in reversed(kinds.items()) if path is not None}
    if again:
        for path in given:
            require_file(path)
    return {path: _read(path, what, private=path == files.key) for path, what in given.items()}


def require_file(path: Path) -> None:
    """Check that what was read once can be read again.

    Raises:
        ConfigError: it is a pipe, or the like.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever reads it says so
        return
    if not stat.S_ISREG(mode):
        raise ConfigError(
            f"{path}: is no regular file, so what was read from it at the start cannot be read again; name a file, or "
            "start the server again"
        )


def own_certificate(path: Path, text: bytes) -> OwnCertificate | None:
    """The first certificate in `text`, which `path` held; None: there is none."""
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
        reason = reason_of(error) if isinstance(error, OSError) else str(error)  # a name that no file can have
        raise ConfigError(f"TLS: {path}: cannot read the {what}: {reason}") from error
    if private and mode & _NOT_FOR_A_KEY:
        raise ConfigError(
            f"TLS: {path}: others than its owner and its group can use this private key, or its group can change it "
            f"(mode {stat.S_IMODE(mode):04o}): chmod 600 {path}, or 640"
        )
    return text


def _validity(encoded: bytes) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """From when and until when a certificate in DER form is valid (RFC 5280, section 4.1.2.5)."""
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
    """Where the contents of the element at `at` begin and end."""
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
    # Two digits are of 1950 to 2049; Python takes 50 to 68 for the century behind that.
    return moment.replace(year=moment.year - 100) if data[at] == 0x17 and moment.year >= 2050 else moment
