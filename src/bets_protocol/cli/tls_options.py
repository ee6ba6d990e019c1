"""The options of TLS, and the transports that are made from them.

Certificates for a URL that is not encrypted are an error: the ``tls://`` was probably forgotten. `--help` declares the
options, so sockets and files are loaded by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from bets_protocol.cli.settings import FILE, Setting, choice
from bets_protocol.errors import ConfigError

if TYPE_CHECKING:
    import datetime

    from bets_protocol.transports import TlsTransport, Transport

SCHEME = "tls://"

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"

_EXPIRES_SOON_DAYS = 30


@attrs.frozen(kw_only=True)
class TlsSettings:
    """The TLS settings of both programs; empty if not given."""

    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_min: str = "1.3"


def tls_settings(cert: str, ca: str, key: Callable[[str], str] | None = None) -> tuple[Setting, ...]:
    """The four options of TLS.

    Args:
        cert: whose certificate it is, in words.
        ca: what the CA has signed, in words.
        key: makes a setting's key in the configuration file from its name; None: there is no file.
    """

    def of(name: str, text: str, default: str = "", **more: Any) -> Setting:
        return Setting(name=name, text=text, default=default, key=key(name) if key is not None else None, **more)

    file: Mapping[str, Any] = {"metavar": "FILE", "complete": FILE}
    return (
        of("tls_cert", f"{cert}, in PEM", **file),
        of("tls_key", "The key of --tls-cert, in PEM", **file),
        of("tls_ca", f"The CA that signed {ca}, in PEM", **file),
        of("tls_min", "The oldest TLS that is spoken", "1.3", **choice("1.2", "1.3")),
    )


def certificate_warning(transport: object, now: datetime.datetime) -> tuple[str, str] | None:
    """A warning about the dates of this program's own certificate, if there is one: its file and the text.

    Args:
        transport: of the connections, with or without certificates.
        now: with its time zone.

    Raises:
        ConfigError: a file cannot be read.
    """
    from bets_protocol.transports import TlsTransport

    own = transport.own_certificate() if isinstance(transport, TlsTransport) else None
    if own is None or own.not_before is None or own.not_after is None:
        return None
    if own.not_after < now:
        words = f"the certificate has expired at {own.not_after:{_MOMENT}}, and the other end will refuse it"
    elif own.not_before > now:
        words = f"the certificate is not valid before {own.not_before:{_MOMENT}}, and the other end will refuse it"
    elif (own.not_after - now).days < _EXPIRES_SOON_DAYS:
        words = f"the certificate expires at {own.not_after:{_MOMENT}}, in {(own.not_after - now).days} days"
    else:
        return None
    return str(own.path), words


def client_transports(
    url: str, *, cert: str = "", key: str = "", ca: str = "", minimum: str = "1.3", given_by: str | None = None
) -> Mapping[str, Transport]:
    """The transports to connect to `url` with; none for a URL without TLS.

    Args:
        cert: file of this end's certificate, or empty; likewise `key` and `ca`.
        minimum: the oldest version of TLS.
        given_by: where one of these was set, which is an error for a URL without TLS.

    Raises:
        ConfigError: a file is missing, or given for a URL without TLS.
    """
    if not url.lower().startswith(SCHEME):
        if given_by is not None:
            raise ConfigError(
                f"{url}: the connection would not be encrypted, although {given_by} is set; "
                f"write {SCHEME}HOST:PORT, or leave the certificates away"
            )
        return {}
    if missing := [f"--tls-{name}" for name, path in (("cert", cert), ("key", key), ("ca", ca)) if not path]:
        raise ConfigError(
            f"{url}: TLS needs {' and '.join(missing)}: the certificate of this client, its key, and the authority "
            "that the server's certificate is of"
        )
    return {"tls": _transport(cert, key, ca, minimum)}


def server_transports(
    urls: Iterable[str], *, cert: str = "", key: str = "", ca: str = "", minimum: str = "1.3", unused: bool = False
) -> dict[str, TlsTransport]:
    """The transports to listen at `urls` with; none if none of them has TLS.

    Args:
        cert: file of this server's certificate, or empty; likewise `key` and `ca`.
        minimum: the oldest version of TLS.
        unused: whether another setting was given that needs TLS.

    Raises:
        ConfigError: a file is missing, or given although no listener has TLS.
    """
    named = {"cert": cert, "key": key, "ca": ca}
    if not any(url.lower().startswith(SCHEME) for url in urls):
        if unused or any(named.values()):
            raise ConfigError(f"there are certificates, and no {SCHEME} listener that would use them; see --listen")
        return {}
    if missing := [f"--tls-{name}" for name, path in named.items() if not path]:
        raise ConfigError(f"a {SCHEME} listener needs {' and '.join(missing)}; see `bets-server certs`")
    return {"tls": _transport(cert, key, ca, minimum)}


def _transport(cert: str, key: str, ca: str, minimum: str) -> TlsTransport:
    from pathlib import Path

    from bets_protocol.transports import TlsFiles, TlsTransport

    return TlsTransport(TlsFiles(cert=Path(cert), key=Path(key), ca=Path(ca)), minimum=minimum)
