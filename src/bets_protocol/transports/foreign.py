"""Tells other protocols by the first bytes of a connection, so that an error can name what is at the other end.

Rule: this is for words only. No byte is ever accepted, refused or answered because of what is found here.
"""

from __future__ import annotations

from typing import Final

TLS_KINDS: Final = range(20, 25)
"""The first byte of a record of TLS: its kind."""

_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_2_ENOUGH: Final = 5
"""Bytes of that which an empty line or two, typed by somebody, do not have."""

_NEWEST_TLS_MINOR: Final = 4
_PREFIXES: Final = {
    b"PROXY ": "a PROXY header (version 1)",
    b"HTTP/": "HTTP",
    b"GET ": "HTTP",
    b"HEAD ": "HTTP",
    b"POST ": "HTTP",
    b"PUT ": "HTTP",
    b"SSH-": "SSH",
}


def foreign_protocol(head: bytes) -> str:
    """The name of what begins with `head`, to stand behind "this begins"; empty where nothing known does.

    Args:
        head: the first bytes of a connection, as many as are there. For a record of TLS one is enough.
    """
    if _begins_tls(head):
        return "TLS"
    if len(head) >= _PROXY_2_ENOUGH and _PROXY_2.startswith(head[: len(_PROXY_2)]):
        return "a PROXY header (version 2)"
    return next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), "")


def first_bytes_explained(head: bytes) -> str:
    """What an error adds of the first bytes of a connection; empty where they say nothing to whoever reads it.

    Args:
        head: as for `foreign_protocol`.
    """
    name = foreign_protocol(head)
    if not name:
        return ""
    advice = ", which is not read here: have the balancer send none" if "PROXY" in name else ""
    return f"these bytes begin {name}{advice}"


def _begins_tls(head: bytes) -> bool:
    """Whether what is there of a record's kind and version (3.0 to 3.4) is that of TLS."""
    kind, major, minor = head[:1], head[1:2], head[2:3]
    if not kind or kind[0] not in TLS_KINDS:
        return False
    return major in {b"", b"\x03"} and (not minor or minor[0] <= _NEWEST_TLS_MINOR)
