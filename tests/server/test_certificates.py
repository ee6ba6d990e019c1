"""`bets-server certs`: what its certificates say, that they let in who they should, and that no file is lost."""

from __future__ import annotations

import datetime
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bets_protocol.testing._driving import End, accept, drive, in_background
from bets_protocol.transports import TlsFiles, TlsTransport, connect, listen
from bets_server.health import is_healthy
from tests.certificates import DAY, Authority
from tests.server.command_line import Run

DEADLINE_S = 10.0
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def purposes(path: Path) -> list[x509.ObjectIdentifier]:
    return list(certificate(path).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def names(path: Path) -> list[str]:
    found = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def usage(path: Path) -> set[str]:
    found = certificate(path).extensions.get_extension_for_class(x509.KeyUsage)
    assert found.critical
    kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return {kind for kind in (*kinds, "key_cert_sign", "crl_sign") if getattr(found.value, kind)}


def days_of(path: Path) -> int:
    return round((certificate(path).not_valid_after_utc - datetime.datetime.now(datetime.UTC)) / DAY)


def files_of(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(cert=folder / f"{name}.pem", key=folder / f"{name}.key", ca=folder / "ca.pem")


def test_certificates_say_what_they_are_for_and_nothing_else(run: Run, tmp_path: Path) -> None:
    """P-256, one signature deep; an agency's has its URI and no other name; files only for their owner."""
    folder = tmp_path / "made" / "certs"
    assert run("certs", "init", str(folder)).code == 0
    made = run("certs", "agency", "5", "--dir", str(folder))
    ca, server, agency = folder / "ca.pem", folder / "server.pem", folder / "agency-5.pem"
    fingerprint = certificate(agency).fingerprint(hashes.SHA256()).hex()
    assert made.out == f"{fingerprint} 5\n"
    assert made.err.startswith(f"agency 5: {agency}, {folder}/agency-5.key, valid until 20")
    basic = [
        certificate(path).extensions.get_extension_for_class(x509.BasicConstraints) for path in (ca, server, agency)
    ]
    assert [(one.critical, one.value.ca, one.value.path_length) for one in basic] == [
        (True, True, 0),
        (True, False, None),
        (True, False, None),
    ]
    assert [usage(path) for path in (ca, server, agency)] == [
        {"key_cert_sign", "crl_sign"},
        {"digital_signature"},
        {"digital_signature"},
    ]
    assert (purposes(server), purposes(agency)) == ([SERVER, CLIENT], [CLIENT])
    assert names(server) == ["localhost", "127.0.0.1", "::1"]
    assert names(agency) == ["urn:bets:agency:5"]
    assert [days_of(path) for path in (ca, server, agency)] == [3650, 397, 397]
    for path in (ca, server, agency):
        key = certificate(path).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        certificate(path).verify_directly_issued_by(certificate(ca))
    assert len({certificate(path).serial_number for path in (ca, server, agency)}) == 3
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        f"{name}.{kind}": 0o600 for name in ("ca", "server", "agency-5") for kind in ("pem", "key")
    }


def test_they_let_in_who_they_should(run: Run, tmp_path: Path) -> None:
    """A server and an agency with these files talk, by name and by address."""
    assert run("certs", "init", "certs", "--name", "127.0.0.1", "--name", "bets.example").code == 0
    assert run("certs", "agency", "255", "--dir", "certs").code == 0
    folder = tmp_path / "certs"
    assert names(folder / "server.pem") == ["127.0.0.1", "bets.example"]
    with listen("tls://127.0.0.1:0", transports={"tls": TlsTransport(files_of(folder, "server"))}) as listener:
        tls = TlsTransport(files_of(folder, "agency-255"))
        future = in_background(lambda: connect(listener.url, timeout_s=DEADLINE_S, transports={"tls": tls}))
        with accept(listener, future, DEADLINE_S) as server, future.result():
            drive(End(server), until=lambda: not server.handshaking, within_s=DEADLINE_S)
            assert server.certificate is not None
            assert server.certificate.uris == ("urn:bets:agency:255",)
            assert (
                server.certificate.fingerprint
                == certificate(folder / "agency-255.pem").fingerprint(hashes.SHA256()).hex()
            )


def test_a_server_can_ask_itself_whether_it_is_healthy(run: Run, tmp_path: Path) -> None:
    """With its own certificate, which names no agency."""
    assert run("certs", "init", "certs").code == 0
    tls = {"tls": TlsTransport(files_of(tmp_path / "certs", "server"))}
    with listen("tls://127.0.0.1:0", transports=tls) as listener:
        future = in_background(lambda: is_healthy(listener.url, timeout_s=DEADLINE_S, transports=tls))
        with accept(listener, None, DEADLINE_S) as stream:
            end = End(stream, echo=True)
            drive(end, until=future.done, within_s=DEADLINE_S)
            assert stream.certificate is not None
            assert stream.certificate.uris == ()
        assert future.result() == (True, "")


def test_nothing_is_replaced_unless_told_to(run: Run, tmp_path: Path) -> None:
    """Whichever of the files is there, and before any other is written; --force replaces all of them."""
    folder = tmp_path / "certs"
    assert run("certs", "init", "certs").code == 0
    assert run("certs", "agency", "5", "--dir", "certs").code == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for command in (["init", "certs"], ["server", "--dir", "certs"], ["agency", "5", "--dir", "certs"]):
        result = run("certs", *command)
        assert (result.code, result.out) == (2, "")
        assert "exists already; --force replaces it" in result.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "server.key").unlink()
    assert run("certs", "init", "certs").code == 2
    assert not (folder / "server.key").exists()
    assert run("certs", "server", "other.example", "--dir", "certs", "--force").code == 0
    assert names(folder / "server.pem") == ["other.example"]
    certificate(folder / "server.pem").verify_directly_issued_by(certificate(folder / "ca.pem"))
    assert run("certs", "init", "certs", "--force").code == 0
    assert (
        certificate(folder / "ca.pem").serial_number
        != x509.load_pem_x509_certificate(before[folder / "ca.pem"]).serial_number
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in before)


def test_nothing_outlives_its_authority(run: Run, tmp_path: Path) -> None:
    """A certificate ends with it at the latest."""
    assert run("certs", "init", "certs", "--ca-days", "10", "--days", "20").code == 0
    assert run("certs", "agency", "1", "--dir", "certs", "--days", "3").code == 0
    assert run("certs", "agency", "2", "--dir", "certs", "--days", "30").code == 0
    assert [days_of(tmp_path / "certs" / f"{name}.pem") for name in ("server", "agency-1", "agency-2")] == [10, 3, 10]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["agency", "5", "--dir", "none"], "none/ca.pem: there is no authority; bets-server certs init none makes one"),
        (["agency", "256", "--dir", "certs"], "N: '256': expected a whole number from 1 to 255"),
        (["agency", "x", "--dir", "certs"], "N: 'x': expected a whole number from 1 to 255"),
        (["agency", "5"], "--dir is missing; it may also be BETS_DIR in the environment"),
        (["agency", "5", "--dir", "certs", "--days", "0"], "--days"),
        (["init"], "Missing argument 'DIR'"),
        (["init", "file"], "file: cannot make the folder: File exists"),
        (["init", "file/folder"], "file/folder: cannot make the folder: Not a directory"),
        (["init", "new", "--name", "a b"], "'a b': expected a host name or an address, without a port"),
        (["init", "new", "--name", "host:1"], "'host:1': expected a host name or an address, without a port"),
        (["init", "new", "--name", ""], "'': expected a host name or an address, without a port"),
        (["init", "new", "--name", "ñ.example"], "'ñ.example': expected a host name or an address, without a port"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], part: str, run: Run, tmp_path: Path) -> None:
    """In one line, with exit code 2, and nothing is made."""
    (tmp_path / "file").touch()
    result = run("certs", *arguments)
    assert (result.code, result.out) == (2, "")
    assert part in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        ("open", "ca.key: others than its owner can use the authority's key: chmod 600 "),
        ("garbage", "not the certificate and the key of an authority, in PEM form"),
        ("folder", "ca.pem: cannot read the authority: Is a directory"),
        ("another key", "ca.key: is not the private key (ECDSA) of the authority in "),
        ("no authority", "ca.pem: is not the certificate of an authority"),
        ("expired", "ca.pem: the authority has expired, 20"),
    ],
)
def test_an_authority_that_cannot_be_used_is_named(damage: str, part: str, run: Run, tmp_path: Path) -> None:
    """Before anything is signed with it."""
    assert run("certs", "init", "certs").code == 0
    folder = tmp_path / "certs"
    match damage:
        case "open":
            (folder / "ca.key").chmod(0o640)
        case "garbage":
            (folder / "ca.pem").write_text("-----BEGIN")
        case "folder":
            (folder / "ca.pem").unlink()
            (folder / "ca.pem").mkdir()
        case "another key":
            shutil.copy(folder / "server.key", folder / "ca.key")
        case "no authority":
            shutil.copy(folder / "server.key", folder / "ca.key")
            shutil.copy(folder / "server.pem", folder / "ca.pem")
        case _:
            put_authority(Authority(tmp_path / "other", ends=-DAY), folder)
    result = run("certs", "agency", "5", "--dir", "certs")
    assert (result.code, result.out) == (2, "")
    assert part in result.err
    assert not (folder / "agency-5.pem").exists()


def put_authority(authority: Authority, folder: Path) -> None:
    """Makes it the one whose files are in `folder`."""
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    shutil.copy(authority.ca, folder / "ca.pem")
    (folder / "ca.key").touch(mode=0o600)
    (folder / "ca.key").write_bytes(authority.key.private_bytes(serialization.Encoding.PEM, *form))


def test_an_authority_that_was_made_elsewhere_will_do(run: Run, tmp_path: Path) -> None:
    """Also one whose certificate has the least that there can be in it."""
    folder = tmp_path / "certs"
    folder.mkdir()
    put_authority(Authority(tmp_path / "other"), folder)
    assert run("certs", "agency", "5", "--dir", "certs").code == 0
    certificate(folder / "agency-5.pem").verify_directly_issued_by(certificate(folder / "ca.pem"))


def test_without_cryptography_it_says_what_to_install() -> None:
    """It is an extra; nothing else of the program needs it."""
    program = (
        "import sys; sys.modules['cryptography'] = None; sys.argv = ['bets-server', *sys.argv[1:]];"
        "from bets_server.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "certs", "init", "certs"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "takes the package cryptography: pip install 'bets-protocol[certs]'" in done.stderr
    assert "Traceback" not in done.stderr
