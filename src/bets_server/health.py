"""Asks a live server whether it answers: what a container's health check runs.

It needs nothing but the library's transports. A server of revision 7 or above sends the probe's line back; one of
revision 5 or 6 knows no probe and refuses it as the frame that it cannot be, which proves as much.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from bets_protocol import Ack, Probe, TransportError, encode
from bets_protocol.transports import Transport, connect

_REFUSED = encode(Ack(count=0))


def is_healthy(
    url: str, *, timeout_s: float = 5.0, transports: Mapping[str, Transport] | None = None
) -> tuple[bool, str]:
    """Whether the server at `url` answers a probe within `timeout_s` seconds, and what was wrong if not.

    Args:
        transports: as `connect` takes them.
    """
    deadline = time.monotonic() + timeout_s
    # It begins with a letter that revisions 5 and 6 take for the start of a frame which is too long to be one.
    line = encode(Probe(line=f"zzzz health {secrets.token_hex(8)}\n".encode()))
    answer = b""
    try:
        with connect(url, timeout_s=timeout_s, transports=transports) as stream:
            stream.set_timeout(timeout_s)
            stream.send_all(line)
            while len(answer) < len(line):
                stream.set_timeout(max(0.001, deadline - time.monotonic()))
                data = stream.receive()
                if not data:
                    break
                answer += data
    except TransportError as error:
        return False, str(error)
    if answer in (line, _REFUSED):
        return True, ""
    return False, f"expected the probe's line back, not {answer[:32]!r}"
