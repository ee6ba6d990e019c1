"""Asks a live server whether it answers: what a container's health check runs; and how a server knows such a question.

It needs nothing but the library's transports. A server of revision 7 or above sends the probe's line back; one of
revision 5 or 6 knows no probe and refuses it as the frame that it cannot be, which proves as much. But a lone Ack 0 is
also what a server says of a header that something in between has put before the line, and would say to any client: so
whoever gives that answer is asked once more, and must not give it to the first byte, which decides nothing.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping

from bets_protocol import Ack, Probe, TransportError, TransportTimeout, encode
from bets_protocol.transports import Stream, Transport, connect, first_bytes_explained

_REFUSED = encode(Ack(count=0))
_LINE = re.compile(rb"zzzz health [0-9a-f]{16}\n")
_LINE_BEGINS = b"z"

_LEAST_S = 1.0
_SHORTEST_S = 0.001
_TIMES = 10
"""How much longer than the refusal took it must not come where it cannot be one; a second at least, since the machine
may be busy."""


def is_health_check(data: bytes) -> bool:
    """Whether `data`, the first bytes of a connection, are the question of `is_healthy`: whole, or its first byte."""
    return data == _LINE_BEGINS or _LINE.fullmatch(data) is not None


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
    try:
        with connect(url, timeout_s=timeout_s, transports=transports) as stream:
            began = time.monotonic()
            stream.set_timeout(max(_SHORTEST_S, deadline - began))
            stream.send_all(line)
            answer = _received(stream, len(line), deadline)
        if answer == _REFUSED:
            now = time.monotonic()
            wait_s = min(max(_LEAST_S, _TIMES * (now - began)), (deadline - now) / 2)
            with connect(url, timeout_s=max(_SHORTEST_S, deadline - now), transports=transports) as stream:
                return _refuses_the_line_only(stream, line, wait_s, deadline)
    except TransportError as error:
        return False, str(error)
    return answer == line, "" if answer == line else _not_the_line(answer)


def _refuses_the_line_only(stream: Stream, line: bytes, wait_s: float, deadline: float) -> tuple[bool, str]:
    """Whether it is a server of revision 5 or 6 that refuses a line, and not one that refuses whatever comes."""
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
    """What comes until there are `size` bytes, or the peer ends."""
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
