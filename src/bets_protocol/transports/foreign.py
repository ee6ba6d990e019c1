"""Recognizes other protocols by the first bytes of a connection, so that an error can name them.

This is for messages only: no byte is accepted, refused or answered because of the result.
"""

from __future__ import annotations

from typing import Final

TLS_KINDS: Final = range(20, 25)
"""The first byte of a TLS record: its kind."""

_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_2_ENOUGH: Final = 5
"""So many of these bytes cannot be one or two empty lines that somebody has typed."""

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
    """The name of the protocol that begins with `head`, or "".

    Args:
        head: the first bytes of a connection, as many as there are. For TLS one is enough.
    """
    if _begins_tls(head):
        return "TLS"
    if len(head) >= _PROXY_2_ENOUGH and _PROXY_2.startswith(head[: len(_PROXY_2)]):
        return "a PROXY header (version 2)"
    return next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), "")


def first_bytes_explained(head: bytes) -> str:
    """A remark on the first bytes of a connection for an error message, or "" if the protocol is not known.

    Args:
        head: as for `foreign_protocol`.
    """
    name = foreign_protocol(head)
    if not name:
        return ""
    advice = ", which is not read here: have the balancer send none" if "PROXY" in name else ""
    return f"these bytes begin {name}{advice}"


def _begins_tls(head: bytes) -> bool:
    """Whether the first bytes, as far as there are any, are the kind and version (3.0 to 3.4) of a TLS record."""
    kind, major, minor = head[:1], head[1:2], head[2:3]
    if not kind or kind[0] not in TLS_KINDS:
        return False
    return major in {b"", b"\x03"} and (not minor or minor[0] <= _NEWEST_TLS_MINOR)
