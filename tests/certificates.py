"""Certificates for tests: an authority of one's own, and files in the form that TLS reads them.

Made with `cryptography` and not with the commands of `bets-server certs`, so that no mistake of theirs hides itself.
Everything can be had wrong: dates, names, purposes.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bets_protocol.transports import TlsFiles, TlsTransport

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Authority:
    """A certification authority, and the files of what it has signed.

    Args:
        folder: where to write; its own.
        ends: until when it is valid, counted from now.
    """

    def __init__(self, folder: Path, *, ends: datetime.timedelta = 90 * DAY) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        builder = _builder(self._name, self._name, self.key.public_key(), -2 * DAY, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.sign(self.key, hashes.SHA256())
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *identities: str,
        purposes: Sequence[str] = ("server", "client"),
        starts: datetime.timedelta = -HOUR,
        ends: datetime.timedelta = 60 * DAY,
    ) -> TlsFiles:
        """A certificate.

        Args:
            identities: host names, addresses, and URIs (whatever begins with ``urn:``).
            starts: from when it is valid, counted from now; not from now on, since OpenSSL reads a coarser clock, some
                milliseconds behind the one that is read here, for which the next second may not have begun.
            ends: until when.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, key.public_key(), starts, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        kinds = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
        builder = builder.add_extension(x509.ExtendedKeyUsage([kinds[one] for one in purposes]), critical=False)
        if identities:
            names = [_identity(text) for text in identities]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        files = TlsFiles(cert=self._folder / f"{name}.pem", key=self._folder / f"{name}.key", ca=self.ca)
        _path(files.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _path(files.key).touch(mode=0o600)
        _path(files.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def server(self) -> TlsFiles:
        """For the loopback addresses, and for a server only."""
        return self.issue("server", *LOOPBACK, purposes=("server",))

    def agency(self, number: int) -> TlsFiles:
        """For an agency, and for a client only."""
        return self.issue(f"agency-{number}", f"urn:bets:agency:{number}", purposes=("client",))

    def both_ends(self) -> TlsTransport:
        """A transport that can listen and connect, with one certificate for either."""
        return TlsTransport(self.issue("both", *LOOPBACK, "urn:bets:agency:1"))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    starts: datetime.timedelta,
    ends: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
    )


def _identity(text: str) -> x509.GeneralName:
    if text.startswith("urn:"):
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _path(path: Path | None) -> Path:
    assert path is not None
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of a module's tests."""
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs too, and nobody believes it."""
    return Authority(tmp_path_factory.mktemp("theirs"))
