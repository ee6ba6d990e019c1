"""Urls: what is taken apart and how, and what is refused with which words."""

from __future__ import annotations

import pytest

from bets_protocol import ConfigError
from bets_protocol.transports import Url, parse_url

LONGEST_LABEL = "a" * 63
LONGEST_HOST = ".".join([LONGEST_LABEL] * 3 + ["a" * 61])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:12345", Url(scheme="tcp", host="127.0.0.1", port=12345)),
        ("TCP://server:0", Url(scheme="tcp", host="server", port=0)),
        ("server:12345", Url(scheme="tcp", host="server", port=12345)),
        ("bets_server-1.internal.:65535", Url(scheme="tcp", host="bets_server-1.internal.", port=65535)),
        ("tcp://h:1/", Url(scheme="tcp", host="h", port=1, path="/")),
        (f"{LONGEST_HOST}:1", Url(scheme="tcp", host=LONGEST_HOST, port=1)),
        ("[::1]:80", Url(scheme="tcp", host="::1", port=80)),
        ("tcp://[fe80::1%eth0]:80", Url(scheme="tcp", host="fe80::1%eth0", port=80)),
        ("tls://bets.example:443", Url(scheme="tls", host="bets.example", port=443)),
        ("unix:///run/bets/s.sock", Url(scheme="unix", path="/run/bets/s.sock")),
        ("unix:///a b/%20?x#ñ", Url(scheme="unix", path="/a b/%20?x#ñ")),
        ("memory://name-1_x.y", Url(scheme="memory", host="name-1_x.y")),
        ("carrier+v2://loft", Url(scheme="carrier+v2", host="loft")),
        ("carrier://loft:7/pigeon?fast", Url(scheme="carrier", host="loft", port=7, path="/pigeon?fast")),
        ("carrier://", Url(scheme="carrier")),
        ("carrier://[::1]/x", Url(scheme="carrier", host="::1", path="/x")),
    ],
)
def test_a_url_is_taken_apart(text: str, expected: Url) -> None:
    """Its parts are as expected, and its text gives the same parts again."""
    assert parse_url(text) == expected
    assert parse_url(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "host is missing"),
        ("12345", "port is missing"),
        ("tcp://server", "port is missing: expected tcp://host:port"),
        ("tls://server", "expected tls://host:port"),
        (":12345", "host is missing.*0.0.0.0 listens on every"),
        ("tcp://:12345", "host is missing"),
        ("tcp://[]:12345", "'' is no IPv6 address"),
        ("server:", "'' is no port"),
        ("server:http", "'http' is no port"),
        ("server:65536", r"'65536' is no port \(0 to 65535\)"),
        ("server:-1", "'-1' is no port"),
        ("server:+80", "is no port"),
        ("server: 80", "is no port"),
        ("server:0000080", "is no port"),
        ("server:8_0", "is no port"),
        ("server:٨٠", "is no port"),
        ("::1:80", "IPv6 address stands in brackets"),
        ("tcp://::1", "IPv6 address stands in brackets"),
        ("[::1:80", r"expected \[IPv6 address\]:port"),
        ("[::1]80", r"expected \[IPv6 address\]:port"),
        ("[127.0.0.1]:80", "'127.0.0.1' is no IPv6 address"),
        ("[::g]:80", "is no IPv6 address"),
        ("[::1]", "port is missing"),
        ("server:80/path", "'/path' behind the port"),
        ("user@server:80", "neither a host name nor an IPv4 address"),
        ("se rver:80", "neither a host name"),
        ("-server:80", "neither a host name"),
        ("a..b:80", "neither a host name"),
        ("ñandú:80", "neither a host name"),
        ("127.1:80", "neither a host name nor an IPv4 address"),
        ("256.0.0.1:80", "neither a host name"),
        ("127.0.0.01:80", "neither a host name"),
        ("0x7f000001:80", "neither a host name"),
        ("٣:80", "neither a host name"),
        (f"{LONGEST_LABEL}a:80", "neither a host name"),
        (f"{LONGEST_HOST}a:80", "neither a host name"),
        ("://server:80", "'' is no scheme"),
        ("1tcp://server:80", "'1tcp' is no scheme"),
        ("ñ://server:80", "is no scheme"),
        ("server:80\n", "control character"),
        ("unix:///a\0b", "control character"),
        ("unix:///a\x1b[2J", "control character"),
        ("unix:///a\u2028b", "control character"),
        ("unix://relative/path", "expected unix:///absolute/path"),
        ("unix://:80/path", "expected unix:///absolute/path"),
        ("unix://", "expected unix:///absolute/path"),
        ("unix:///", "expected unix:///absolute/path"),
        ("memory://", "expected memory://name"),
        ("memory://a/b", "expected memory://name"),
        ("memory://a:1", "expected memory://name"),
        ("memory://a b", "expected memory://name"),
        ("carrier://loft:far", "'far' is no port"),
    ],
)
def test_nonsense_is_refused(text: str, reason: str) -> None:
    """The error shows the url, escaped, and says what is wrong with it."""
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_url(text)
    assert str(caught.value).startswith(f"url {text!r}: ")
    assert str(caught.value).isprintable()
