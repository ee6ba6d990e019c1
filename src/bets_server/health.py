"""The health check of a server, and how the server recognizes it.

A server of revision 7 or above sends the probe's line back. A server of revision 5 or 6 has no probe, and refuses the
line as a frame that is too long, which also proves that it answers.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping

from bets_protocol import Ack, Probe, TransportError, TransportTimeout, encode
from bets_protocol.transports import Stream, Transport, connect, first_bytes_explained

_REFUSED = encode(Ack(count=0), revision=8)
_LINE = re.compile(rb"zzzz health [0-9a-f]{16}\n")
_LINE_BEGINS = b"z"

_LEAST_S = 1.0
_SHORTEST_S = 0.001
_TIMES = 10
"""The wait for an answer to the first byte: so many times the time of the refusal, and at least `_LEAST_S`."""


def is_health_check(data: bytes) -> bool:
    """Whether `data`, the first bytes of a connection, are the line of `is_healthy`, or its first byte."""
    return data == _LINE_BEGINS or _LINE.fullmatch(data) is not None


def is_healthy(
    url: str, *, timeout_s: float = 5.0, transports: Mapping[str, Transport] | None = None
) -> tuple[bool, str]:
    """Whether the server at `url` answers a probe within `timeout_s` seconds, and the reason if not.

    Args:
        transports: as `connect` takes them.
    """
    deadline = time.monotonic() + timeout_s
    # Revisions 5 and 6 take its first letter for the start of a frame that is too long.
    line = encode(Probe(line=f"zzzz health {secrets.token_hex(8)}\n".encode()))
    try:
        with connect(url, timeout_s=timeout_s, transports=transports) as stream:
            began = time.monotonic()
            stream.set_timeout(max(_SHORTEST_S, deadline - began))
            stream.send_all(line)
            answer = _received(stream, len(line), deadline)
        # A lone Ack 0 is also the answer to a header that something in between has put before the line, and every
        # client would get it. So ask once more: a server of revision 5 or 6 does not refuse the first byte alone.
        if answer == _REFUSED:
            now = time.monotonic()
            wait_s = min(max(_LEAST_S, _TIMES * (now - began)), (deadline - now) / 2)
            with connect(url, timeout_s=max(_SHORTEST_S, deadline - now), transports=transports) as stream:
                return _refuses_the_line_only(stream, line, wait_s, deadline)
    except TransportError as error:
        return False, str(error)
    return answer == line, "" if answer == line else _not_the_line(answer)


def _refuses_the_line_only(stream: Stream, line: bytes, wait_s: float, deadline: float) -> tuple[bool, str]:
    """Whether the server refuses the whole line and not its first byte, as revisions 5 and 6 do; the reason if not."""
    stream.set_timeout(max(_SHORTEST_S, wait_s))
    stream.send_all(line[:1])
    try:
        stream.receive()
    except TransportTimeout:
        stream.set_timeout(max(_SHORTEST_S, deadline - time.monotonic()))
        stream.send_all(line[1:])
        answer = _received(stream, len(line), deadline)
        return answer == _REFUSED, "" if answer == _REFUSED else _not_the_line(answer)
    return False, (
        "it refuses a connection before anything was asked: something in between may put bytes before those of the "
        "client, such as the PROXY header of a balancer"
    )


def _received(stream: Stream, size: int, deadline: float) -> bytes:
    """Receive `size` bytes, or fewer if the peer ends."""
    answer = b""
    while len(answer) < size:
        stream.set_timeout(max(_SHORTEST_S, deadline - time.monotonic()))
        data = stream.receive()
        if not data:
            break
        answer += data
    return answer


def _not_the_line(answer: bytes) -> str:
    explained = first_bytes_explained(answer)
    return f"expected the probe's line back, not {answer[:32]!r}" + (f": {explained}" if explained else "")
