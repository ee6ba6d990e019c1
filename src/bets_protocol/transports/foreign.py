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
    # The kind and the version (3.0 to 3.4) of a TLS record, as far as they are there.
    if head[:1] and head[0] in TLS_KINDS and head[1:2] in {b"", b"\x03"} and head[2:3] <= b"\x04":
        return "TLS"
    if len(head) >= _PROXY_2_ENOUGH and _PROXY_2.startswith(head[: len(_PROXY_2)]):
        return "a PROXY header (version 2)"
    return next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), "")


def first_bytes_explained(head: bytes) -> str:
    """A remark on `head`, as for `foreign_protocol`, for an error message; "" if the protocol is not known."""
    name = foreign_protocol(head)
    if not name:
        return ""
    advice = ", which is not read here: have the balancer send none" if "PROXY" in name else ""
    return f"these bytes begin {name}{advice}"
