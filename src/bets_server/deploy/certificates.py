"""A certification authority of one's own, for those who have none: it signs the server's certificate and the agencies'.

    ==================================  ================================================================
    ``ca.pem``, ``ca.key``              the authority; the key stays here, everybody gets the certificate
    ``server.pem``, ``server.key``      the server's
    ``agency-N.pem``, ``agency-N.key``  for agency N, with ``ca.pem``
    ==================================  ================================================================

Rules:

1. Every key is an ECDSA key on P-256, and every certificate says what it is for and nothing else: the authority's signs
   certificates, but no further authorities; an agency's is for clients; the server's is for servers, and for clients
   too, so that the server can ask itself whether it is healthy (without an agency's name that is all it may do).
2. An agency's certificate names it in one URI, `urn:bets:agency:N`, and has no other name.
3. Files have mode 0600 from their first moment, folders that are made here 0700. What is there already is never
   replaced unless that is asked for, and then as a whole: no file is ever half written.

This module loads `cryptography`, which is an extra; nothing else does.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bets_protocol import ConfigError
from bets_protocol.cli.agency_uri import agency_uri
from bets_protocol.transports import parse_url

DEFAULT_NAMES: Final = ("localhost", "127.0.0.1", "::1")
DEFAULT_DAYS: Final = 397
"""Days that a server's or an agency's certificate is valid: a year and a month to think of the next one."""

DEFAULT_CA_DAYS: Final = 3_650

_CLOCKS_DIFFER: Final = datetime.timedelta(minutes=5)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@attrs.frozen(kw_only=True)
class Issued:
    """A certificate that was made.

    Attributes:
        cert: its file.
        key: the file of its private key.
        fingerprint: SHA-256, lower hexadecimal, as lists of pins have it.
        not_after: when it expires.
    """

    cert: Path
    key: Path
    fingerprint: str
    not_after: datetime.datetime


@attrs.frozen(kw_only=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def init_authority(
    folder: Path,
    names: Sequence[str] = DEFAULT_NAMES,
    *,
    days: int = DEFAULT_DAYS,
    ca_days: int = DEFAULT_CA_DAYS,
    force: bool = False,
) -> tuple[Issued, Issued]:
    """Makes an authority and the server's certificate.

    Args:
        folder: where; made if it is not there.
        names: host names and addresses of the server.
        force: replace what is there. Every certificate that the earlier authority has signed is worth nothing then.

    Returns:
        The authority and the server's.

    Raises:
        ConfigError: a name is none, a file is there already or cannot be written.
    """
    alternatives = _alternatives(names)
    _make_folder(folder)
    _check_free([folder / name for name in ("ca.key", "ca.pem", "server.key", "server.pem")], force=force)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"bets authority {secrets.token_hex(4)}")
    now = datetime.datetime.now(datetime.UTC)
    builder = _builder(subject, subject, key, now, now + datetime.timedelta(days=ca_days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    authority = _Authority(certificate=certificate, key=key)
    return (
        _write(folder, "ca", certificate, key, force=force),
        _issue_server(folder, authority, alternatives, days=days, force=force),
    )


def issue_server(
    folder: Path, names: Sequence[str] = DEFAULT_NAMES, *, days: int = DEFAULT_DAYS, force: bool = False
) -> Issued:
    """Makes another certificate for the server, with the authority in `folder`.

    Raises:
        ConfigError: a name is none, the authority cannot be used, a file is there already or cannot be written.
    """
    alternatives = _alternatives(names)
    return _issue_server(folder, _read_authority(folder), alternatives, days=days, force=force)


def issue_agency(folder: Path, agency: int, *, days: int = DEFAULT_DAYS, force: bool = False) -> Issued:
    """Makes a certificate for an agency, with the authority in `folder`.

    Raises:
        ConfigError: the authority cannot be used, a file is there already or cannot be written.
    """
    authority = _read_authority(folder)
    uri = x509.UniformResourceIdentifier(agency_uri(agency))
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(folder, f"agency-{agency}", authority, [uri], purposes, days=days, force=force)


def _issue_server(
    folder: Path, authority: _Authority, names: Sequence[x509.GeneralName], *, days: int, force: bool
) -> Issued:
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(folder, "server", authority, names, purposes, days=days, force=force)


def _issue(
    folder: Path,
    name: str,
    authority: _Authority,
    alternatives: Sequence[x509.GeneralName],
    purposes: Sequence[x509.ObjectIdentifier],
    *,
    days: int,
    force: bool,
) -> Issued:
    _check_free([folder / f"{name}.key", folder / f"{name}.pem"], force=force)
    now = datetime.datetime.now(datetime.UTC)
    # What outlives its authority is worth nothing from then on.
    ends = min(now + datetime.timedelta(days=days), authority.certificate.not_valid_after_utc)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), authority.certificate.subject, key, now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    builder = builder.add_extension(_identifier_of(authority.certificate, authority.key), critical=False)
    return _write(folder, name, builder.sign(authority.key, hashes.SHA256()), key, force=force)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _identifier_of(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        except ValueError:
            pass
        try:
            url = parse_url(f"tls://{name}:1")
        except ConfigError as error:
            raise ConfigError(f"{name!r}: expected a host name or an address, without a port") from error
        found.append(x509.DNSName(url.host.removesuffix(".")))
    return found


# -- files


def _read_authority(folder: Path) -> _Authority:
    cert, key = folder / "ca.pem", folder / "ca.key"
    for path in (cert, key):
        if not path.exists():
            raise ConfigError(f"{path}: there is no authority; bets-server certs init {folder} makes one")
    try:
        mode = key.stat().st_mode
        encoded, encoded_key = cert.read_bytes(), key.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot read the authority: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigError(f"{key}: others than its owner can use the authority's key: chmod 600 {key}")
    try:
        certificate = x509.load_pem_x509_certificate(encoded)
        private = serialization.load_pem_private_key(encoded_key, password=None)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise ConfigError(f"{cert}: is not the certificate of an authority") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{cert} and {key}: not the certificate and the key of an authority, in PEM form") from error
    if not constraints.ca:
        raise ConfigError(f"{cert}: is not the certificate of an authority")
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != certificate.public_key():
        raise ConfigError(f"{key}: is not the private key (ECDSA) of the authority in {cert}")
    if certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise ConfigError(f"{cert}: the authority has expired, {certificate.not_valid_after_utc:%Y-%m-%d}")
    return _Authority(certificate=certificate, key=private)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make the folder: {error.strerror}") from error


def _check_free(paths: Sequence[Path], *, force: bool) -> None:
    """Looks at all of them before any is written."""
    for path in paths:
        if not force and path.exists():
            raise ConfigError(f"{path}: exists already; --force replaces it")


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *, force: bool
) -> Issued:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    issued = Issued(
        cert=folder / f"{name}.pem",
        key=folder / f"{name}.key",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after=certificate.not_valid_after_utc,
    )
    _put(issued.key, key.private_bytes(serialization.Encoding.PEM, *form), force=force)
    _put(issued.cert, certificate.public_bytes(serialization.Encoding.PEM), force=force)
    return issued


def _put(path: Path, data: bytes, *, force: bool) -> None:
    """Writes a file of mode 0600 that is there as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if force:
                draft.replace(path)
            else:
                # Unlike a rename, it fails where somebody was faster.
                os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; --force replaces it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
