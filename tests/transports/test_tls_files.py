"""The files of TLS: read anew, and named when they cannot be used."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from bets_protocol import ConfigError, TransportError
from bets_protocol.testing._driving import End, accept, drive, in_background
from bets_protocol.transports import AuthenticationError, Listener, Stream, TlsFiles, TlsTransport, connect, listen
from bets_protocol.transports.tls.files import own_certificate
from tests.certificates import LOOPBACK, Authority
from tests.transports.tls_ends import DEADLINE_S, connected, listening


def test_files_are_read_anew(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    """`reload` counts for later connections; when a file cannot be used, the old ones stay in use."""
    paths = TlsFiles(cert=tmp_path / "c", key=tmp_path / "k", ca=tmp_path / "ca")

    def put(source: TlsFiles) -> None:
        for field in ("cert", "key", "ca"):
            shutil.copy(getattr(source, field), getattr(paths, field))

    put(authority.server())
    transport = TlsTransport(paths)
    with listen("tls://127.0.0.1:0", transports={"tls": transport}) as listener, contextlib.ExitStack() as stack:

        def visit(files: TlsFiles) -> tuple[Stream, Stream]:
            future = in_background(lambda: connected(listener, files))
            server = stack.enter_context(accept(listener, future, DEADLINE_S))
            client = stack.enter_context(future.result())
            drive(End(server), until=lambda: not server.handshaking, within_s=DEADLINE_S)
            return client, server

        first = visit(authority.agency(1))
        put(stranger.server())
        shutil.copy(authority.server().key or "", paths.key or "")
        with pytest.raises(ConfigError, match=f"{tmp_path}/k: is not the private key of the certificate in"):
            transport.reload()
        second = visit(authority.agency(2))
        put(stranger.server())
        transport.reload()
        third = visit(stranger.agency(3))
        with pytest.raises(AuthenticationError, match="unknown CA"):
            connected_or_served(listener, authority.agency(4))
        for client, server in (first, second, third):
            client.send_all(b"still here")
            end = End(server)
            drive(end, until=lambda end=end: len(end.received) >= 10, within_s=DEADLINE_S)  # type: ignore[misc]


def connected_or_served(listener: Listener, files: TlsFiles) -> None:
    future = in_background(lambda: connected(listener, files))
    with accept(listener, None, DEADLINE_S) as server, contextlib.suppress(TransportError):
        drive(End(server), until=future.done, within_s=DEADLINE_S)
    future.result(DEADLINE_S).close()


def test_a_key_that_others_can_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    """The error says what to do. Its group may read it, and no more."""
    files = authority.server()
    key = tmp_path / "open.key"
    shutil.copy(files.key or "", key)
    for mode in (0o644, 0o604, 0o620, 0o660, 0o601):
        key.chmod(mode)
        with pytest.raises(ConfigError, match=rf"TLS: {key}: others .* \(mode 0{mode:o}\): chmod 600 {key}"):
            listening(TlsFiles(cert=files.cert, key=key, ca=files.ca))
    for mode in (0o400, 0o600, 0o440, 0o640):
        key.chmod(mode)
        listening(TlsFiles(cert=files.cert, key=key, ca=files.ca)).close()


@pytest.mark.parametrize("field", ["cert", "key", "ca"])
@pytest.mark.parametrize("content", ["missing", "folder", "empty", "garbage", "cut", "another's"])
def test_a_file_that_cannot_be_used_is_named(field: str, content: str, authority: Authority, tmp_path: Path) -> None:
    """Whatever is wrong with it, and before anything listens."""
    files = authority.server()
    source = getattr(files, field)
    path = tmp_path / "file"
    if content == "folder":
        path.mkdir(mode=0o700)
    elif content != "missing":
        path.touch(mode=0o600)
        text = {"empty": "", "garbage": "-----BEGIN ñ", "cut": source.read_text()[:120]}.get(content)
        path.write_text(authority.agency(9).cert.read_text() if text is None else text)  # type: ignore[union-attr]
    with pytest.raises(ConfigError) as caught:
        listening(TlsFiles(**{"cert": files.cert, "key": files.key, "ca": files.ca, field: path}))
    assert str(path) in str(caught.value)


def test_a_key_with_a_passphrase_is_refused(authority: Authority, tmp_path: Path) -> None:
    """Rather than asked for at the terminal."""
    files = authority.server()
    assert files.key is not None
    key = tmp_path / "locked.key"
    key.touch(mode=0o600)
    lines = files.key.read_text().splitlines()
    # Enough of a header for OpenSSL to ask before it decrypts.
    head = ["-----BEGIN EC PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC," + "0" * 32, ""]
    key.write_text("\n".join([*head, *lines[1:-1], "-----END EC PRIVATE KEY-----", ""]))
    with pytest.raises(ConfigError, match=f"TLS: {key}: is encrypted; remove the passphrase"):
        listening(TlsFiles(cert=files.cert, key=key, ca=files.ca))


def test_files_that_are_not_given_are_named(agency_files: TlsFiles, server_files: TlsFiles) -> None:
    """A server needs all three, a client the authority, and a certificate goes with its key."""
    url = "tls://127.0.0.1:1"
    with pytest.raises(ConfigError, match="TLS: not given: ca: "):
        listen(url, transports={"tls": TlsTransport(TlsFiles(cert=server_files.cert, key=server_files.key))})
    with pytest.raises(ConfigError, match="TLS: not given: cert, key: "):
        listen(url, transports={"tls": TlsTransport(TlsFiles(ca=server_files.ca))})
    with pytest.raises(ConfigError, match="TLS: not given: key: a certificate and its key go together"):
        connect(url, transports={"tls": TlsTransport(TlsFiles(ca=agency_files.ca, cert=agency_files.cert))})
    with pytest.raises(ConfigError, match=r"TLS version '1\.1': expected one of 1\.2, 1\.3"):
        TlsTransport(TlsFiles(), minimum="1.1")


def test_reload_of_what_was_never_used_reads_nothing(tmp_path: Path) -> None:
    """There is nothing to replace yet."""
    TlsTransport(TlsFiles(cert=tmp_path / "none")).reload()


@contextlib.contextmanager
def piped(files: TlsFiles) -> Iterator[TlsFiles]:
    """The same files, each as a shell gives it for ``<(...)``: a pipe that gives its bytes once."""
    with contextlib.ExitStack() as stack:

        def pipe(path: Path | None) -> Path:
            assert path is not None
            end, source = os.pipe()
            stack.callback(os.close, end)
            os.write(source, path.read_bytes())
            os.close(source)
            return Path(f"/dev/fd/{end}")

        yield TlsFiles(cert=pipe(files.cert), key=pipe(files.key), ca=pipe(files.ca))


def test_files_may_be_pipes(authority: Authority) -> None:
    """Each is read once, on both sides, whatever is asked of them and however often."""
    with piped(authority.server()) as server_files, piped(authority.agency(5)) as client_files:
        ends = {"server": TlsTransport(server_files), "client": TlsTransport(client_files)}
        with listen("tls://127.0.0.1:0", transports={"tls": ends["server"]}) as listener:

            def visit() -> Stream:
                return connect(listener.url, timeout_s=DEADLINE_S, transports={"tls": ends["client"]})

            for _ in range(2):
                certificates = [end.own_certificate() for end in ends.values()]
                assert [found.not_after is not None for found in certificates if found is not None] == [True, True]
                future = in_background(visit)
                with accept(listener, future, DEADLINE_S) as server, future.result():
                    end = End(server)
                    drive(end, until=lambda end=end: not end.stream.handshaking, within_s=DEADLINE_S)  # type: ignore[misc]
                    assert server.certificate is not None
            with pytest.raises(ConfigError, match="is no regular file, so what was read from it at the start cannot"):
                ends["server"].reload()


@pytest.mark.parametrize(
    "ends", [datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC), datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)]
)
def test_dates_of_the_own_certificate(authority: Authority, ends: datetime.datetime) -> None:
    """As `cryptography` reads them; what is beyond 2049 has another form."""
    now = datetime.datetime.now(datetime.UTC)
    files = authority.issue("dated", *LOOPBACK, ends=ends - now)
    assert files.cert is not None
    certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
    found = TlsTransport(files).own_certificate()
    assert found is not None
    assert (found.not_before, found.not_after) == (certificate.not_valid_before_utc, certificate.not_valid_after_utc)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_no_certificate_has_no_dates(text: bytes) -> None:
    """Bytes that are no certificate give None."""
    assert own_certificate(Path("x"), text) is None


@given(st.binary(min_size=1, max_size=60))
def test_dates_of_anything(encoded: bytes) -> None:
    """Bytes that are no certificate have none; nothing is raised."""
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(encoded) + b"\n-----END CERTIFICATE-----\n"
    found = own_certificate(Path("x"), text)
    assert found is not None
    assert (found.not_before is None) == (found.not_after is None)


def test_ssl_is_loaded_by_the_first_who_needs_it() -> None:
    """Neither the package nor a transport that is only made loads it."""
    program = (
        "import sys; from bets_protocol.transports import TlsFiles, TlsTransport, listen;"
        "TlsTransport(TlsFiles()); listen('tcp://127.0.0.1:0').close(); sys.exit('ssl' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0
