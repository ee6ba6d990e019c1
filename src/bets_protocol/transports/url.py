"""Parses a text to a `Url`: one grammar for all schemes, and stricter checks for the schemes of this project.

The grammar is ``scheme://[host][:port][/path]``; a text without ``://`` means ``tcp://``. Nothing is decoded or
guessed: IPv6 is in brackets, a port is in ASCII digits, and control characters are refused before they can reach a log
line or a resolver. The parts of other schemes are not checked, because only their transport knows what they mean.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from bets_protocol.errors import ConfigError
from bets_protocol.transports.base import Url

MAX_PORT: Final = 65_535

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_MEMORY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
# C0, DEL, C1 and two separators that some log readers take for the end of a line.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_HOST_CHARACTERS: Final = 253


class UrlError(ConfigError):
    """A text is not a URL.

    Attributes:
        reason: the message without the text of the URL.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"url {url!r}: {reason}")
        self.reason = reason


def parse_url(url: str) -> Url:
    """Parse a URL; a bare ``host:port`` means tcp.

    Args:
        url: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``memory://name`` or ``scheme://...`` of
            another transport. IPv6 addresses are in brackets. Paths are not decoded.

    Raises:
        UrlError: it is not a URL; says what is wrong and what was expected.
    """
    if _UNPRINTABLE.search(url):
        raise UrlError(url, "it holds a control character")
    before, separator, rest = url.partition("://")
    scheme = before.lower() if separator else "tcp"
    if not separator:
        rest = url
    if not valid_scheme(scheme):
        raise UrlError(url, f"{before!r} is no scheme (a letter, then letters, digits, + . -)")
    authority, slash, tail = rest.partition("/")
    host, port = _split_authority(url, authority)
    parsed = Url(scheme=scheme, host=host, port=port, path=slash + tail)
    if check := _SHAPES.get(scheme):
        check(url, parsed)
    return parsed


def valid_scheme(scheme: str) -> bool:
    """Whether `scheme` is a valid scheme in lower case."""
    return _SCHEME.fullmatch(scheme) is not None


def _split_authority(url: str, authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise UrlError(url, "expected [IPv6 address]:port")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise UrlError(url, f"{host!r} is no IPv6 address") from None
        return host, _port(url, after[1:]) if after else None
    host, colon, port = authority.rpartition(":")
    if not colon:
        return authority, None
    if ":" in host:
        raise UrlError(url, "an IPv6 address stands in brackets, as in tcp://[::1]:12345")
    return host, _port(url, port)


def _port(url: str, text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > MAX_PORT:
        raise UrlError(url, f"{text!r} is no port (0 to {MAX_PORT})")
    return int(text)


def _check_host_and_port(url: str, parsed: Url) -> None:
    expected = f"expected {parsed.scheme}://host:port"
    if not parsed.host:
        raise UrlError(
            url, f"the host is missing: {expected} (0.0.0.0 listens on every IPv4 address, [::] on every IPv6 one)"
        )
    if parsed.port is None:
        raise UrlError(url, f"the port is missing: {expected}")
    if parsed.path not in ("", "/"):
        raise UrlError(url, f"{parsed.path!r} behind the port: {expected}")
    if ":" not in parsed.host and not _valid_host(parsed.host):
        raise UrlError(url, f"{parsed.host!r} is neither a host name nor an IPv4 address")


def _valid_host(host: str) -> bool:
    """An IPv4 address or a name of ASCII labels (international names are written in their ``xn--`` form)."""
    labels = host.removesuffix(".").split(".")
    # The C library accepts 127.1 and 0x7f.1 as addresses. A text whose last label is a number is never a host name.
    if labels[-1].isdigit() or labels[-1].lower().startswith("0x"):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= _MAX_HOST_CHARACTERS and all(_HOST_LABEL.fullmatch(label) for label in labels)


def _check_path(url: str, parsed: Url) -> None:
    if parsed.host or parsed.port is not None or parsed.path in ("", "/"):
        raise UrlError(url, f"expected {parsed.scheme}:///absolute/path")


def _check_name(url: str, parsed: Url) -> None:
    if parsed.port is not None or parsed.path or not _MEMORY_NAME.fullmatch(parsed.host):
        raise UrlError(url, f"expected {parsed.scheme}://name (letters, digits, . _ -)")


_SHAPES: Final[dict[str, Callable[[str, Url], None]]] = {
    "tcp": _check_host_and_port,
    "tls": _check_host_and_port,
    "unix": _check_path,
    "memory": _check_name,
}
