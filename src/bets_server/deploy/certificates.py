"""A certification authority for installations that have none; it signs the server's and the agencies' certificates.

    ==================================  ================================================================
    ``ca.pem``, ``ca.key``              the authority: the key stays here, every peer gets the certificate
    ``server.pem``, ``server.key``      the server's
    ``agency-N.pem``, ``agency-N.key``  for agency N, with ``ca.pem``
    ==================================  ================================================================

Rules:

1. Every key is an ECDSA key on P-256, and every certificate is limited to its purpose: the authority's signs
   certificates, but no further authorities; an agency's is for clients; the server's is for servers, and for clients
   too, so that `health` can connect with it. It names no agency, so it allows nothing else.
2. An agency's certificate names it in one URI, `urn:bets:agency:N`, and has no other name.
3. Files are created with mode 0600, folders with 0700. An existing file is replaced only on request, and always as a
   whole: no file is ever half written.

Only this module loads `cryptography`, which is an optional dependency.
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

_CLOCKS_DIFFER: Final = datetime.timedelta(minutes=5)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_FOR_SERVER: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_FOR_AGENCY: Final = (ExtendedKeyUsageOID.CLIENT_AUTH,)

_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@attrs.frozen(kw_only=True)
class Issued:
    """A certificate that was made, with its files."""

    cert: Path
    key: Path
    fingerprint: str  # SHA-256 in lower-case hexadecimal, as in a list of pins
    not_after: datetime.datetime


def init_authority(
    folder: Path, names: Sequence[str], *, days: int, ca_days: int, force: bool
) -> tuple[Issued, Issued]:
    """Make an authority and the server's certificate, and return both.

    Args:
        folder: made if it does not exist.
        names: host names and addresses of the server.
        days: how long the server's certificate is valid; `ca_days` is for the authority's.
        force: replace existing files. All certificates of the earlier authority become worthless.

    Raises:
        ConfigError: a name or the authority cannot be used, or a file exists or cannot be written.
    """
    alternatives = _alternatives(names)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make the folder: {error.strerror}") from error
    _check_free([folder / name for name in ("ca.key", "ca.pem", "server.key", "server.pem")], force=force)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _builder(f"bets authority {secrets.token_hex(4)}", key, None, days=ca_days).sign(key, hashes.SHA256())
    return (
        _write(folder, "ca", certificate, key, force=force),
        _issue(folder, "server", (certificate, key), alternatives, _FOR_SERVER, days=days, force=force),
    )


def issue_server(folder: Path, names: Sequence[str], *, days: int, force: bool) -> Issued:
    """Make another certificate for the server, with the authority in `folder`; as `init_authority`."""
    alternatives = _alternatives(names)
    return _issue(folder, "server", _read_authority(folder), alternatives, _FOR_SERVER, days=days, force=force)


def issue_agency(folder: Path, agency: int, *, days: int, force: bool) -> Issued:
    """Make a certificate for an agency, with the authority in `folder`; as `init_authority`."""
    uri = x509.UniformResourceIdentifier(agency_uri(agency))
    return _issue(folder, f"agency-{agency}", _read_authority(folder), [uri], _FOR_AGENCY, days=days, force=force)


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
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, key, authority[0], days=days)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    builder = builder.add_extension(_identifier_of(*authority), critical=False)
    return _write(folder, name, builder.sign(authority[1], hashes.SHA256()), key, force=force)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, authority: x509.Certificate | None, *, days: int
) -> x509.CertificateBuilder:
    """The parts that all certificates have; without an authority, those of an authority's own certificate."""
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    if authority is not None:  # a certificate is worthless once that of its authority has expired
        ends = min(ends, authority.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signs = authority is None
    usage = x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
        .add_extension(usage, critical=True)
    )


def _identifier_of(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        with contextlib.suppress(ValueError):
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
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
        signs = any(isinstance(one.value, x509.BasicConstraints) and one.value.ca for one in certificate.extensions)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{cert} and {key}: not the certificate and the key of an authority, in PEM form") from error
    if not signs:
        raise ConfigError(f"{cert}: is not the certificate of an authority")
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != certificate.public_key():
        raise ConfigError(f"{key}: is not the private key (ECDSA) of the authority in {cert}")
    if certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
        raise ConfigError(f"{cert}: the authority has expired, {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificate, private


def _check_free(paths: Sequence[Path], *, force: bool) -> None:
    """Check all of them before any is written."""
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
    """Write a file of mode 0600, whole or not at all."""
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
                # Unlike a rename, it fails if another process has created the file meanwhile.
                os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; --force replaces it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
