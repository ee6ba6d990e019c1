"""The first bytes of other protocols, and how our errors name them."""

from __future__ import annotations

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
PROXY_1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 12345\r\n"
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes(12)

NO_PROXY = "which is not read here: have the balancer send none"

FOREIGN = {
    "TLS": (TLS_HELLO, "these bytes begin TLS"),
    "PROXY 1": (PROXY_1, f"these bytes begin a PROXY header (version 1), {NO_PROXY}"),
    "PROXY 2": (PROXY_2, f"these bytes begin a PROXY header (version 2), {NO_PROXY}"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "these bytes begin HTTP"),
}
