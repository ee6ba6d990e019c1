"""The files of TLS: read anew, and named when they cannot be used."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from bets_protocol import ConfigError, TransportError
from bets_protocol.testing._driving import End, accept, drive, in_background
from bets_protocol.transports import (
    AuthenticationError,
    Listener,
    Stream,
    TlsFiles,
    TlsTransport,
    connect,
    listen,
)
from tests.certificates import Authority
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
    """The error says what to do."""
    files = authority.server()
    key = tmp_path / "open.key"
    shutil.copy(files.key or "", key)
    for mode in (0o640, 0o604, 0o620):
        key.chmod(mode)
        with pytest.raises(ConfigError, match=rf"TLS: {key}: others .* \(mode 0{mode:o}\): chmod 600 {key}"):
            listening(TlsFiles(cert=files.cert, key=key, ca=files.ca))
    key.chmod(0o400)
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
    with pytest.raises(ConfigError, match=f"TLS: {key}: the private key has a passphrase"):
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


def test_ssl_is_loaded_by_the_first_who_needs_it() -> None:
    """Neither the package nor a transport that is only made loads it."""
    program = (
        "import sys; from bets_protocol.transports import TlsFiles, TlsTransport, listen;"
        "TlsTransport(TlsFiles()); listen('tcp://127.0.0.1:0').close(); sys.exit('ssl' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0
