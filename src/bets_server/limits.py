"""What one peer, or many, may cost: every bound of the server, with its unit, its default and its reason.

The table below is the only one. The options of `bets-server serve`, their environment names, the keys of the INI file
and the table of docs/operations.md are made from it. The bounds of one connection's buffers are not settable and stand
in `session`; those of the wire stand in `bets_protocol.limits`.

The defaults bound the worst case: 1,024 connections with at most 64 KB in work, 64 KB read ahead and 64 KB of unread
answers each, and 37 KB more for one that is encrypted, make less than 240 MB.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

MAX_OPERATORS: Final = 8
"""Operators that are answered at the same time: people and their scripts. Others wait in the system's queue."""


def _bound(default: float, low: float, high: float, text: str, *, option: bool = True) -> Any:
    metadata = {"low": low, "high": high, "text": text} if option else {}
    return attrs.field(default=default, metadata=metadata)


def _seconds(default: float, text: str, *, option: bool = True) -> Any:
    return _bound(default, 0.1, 86_400, text, option=option)


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds. Names that end in `_s` are seconds, all of them absolute: a byte now and then buys no time.

    Attributes:
        max_connections: how many peers may be connected; more are let in and closed at once, so that they know.
        max_per_agency: of those, how many may speak for one agency.
        max_per_address: of those, how many may come from one address (of IPv6: from one /64, which one peer has),
            beside one of each expected agency that has asked for its winners, see `admission`.
        max_handshakes: encrypted connections that may agree on keys at the same time; each holds about 28 KB.
        handshakes_per_second: how many of them may begin each second; each costs a core some 2 ms.
        handshake_timeout_s: from the first byte to the last of that.
        first_message_timeout_s: until a peer has said its first whole message.
        frame_timeout_s: from the first byte of a message to its last: 8 KB in 10 s is the slowest line that is served.
        idle_timeout_s: between two messages. Who waits for the draw is not idle.
        resume_timeout_s: the same behind the opening of an upload of which something is stored: the client reads its
            file up to there, which of a gigabyte takes minutes.
        drain_timeout_s: how long a peer may take nothing of its answers; with `min_rate`.
        min_rate: bytes a second that a peer must take of its answers, on the whole, once it has taken none for a while.
        after_draw_timeout_s: with `--exit-after-draw`, how long a server that was started after the draw waits for
            agencies that have not got their winners: longer than a client rests between two attempts, which is 10 s.
        linger_timeout_s: how long a peer may still send after its last answer, so that no reset overtakes it.
        stop_linger_timeout_s: the same while the server stops: shorter, since a stop must be quick.
        heartbeat_s: between two signs of life to those that wait for the draw, and two looks whether they are there.
        complaints_per_minute: errors of one peer that are logged each minute; what is beyond is counted.
        penalty_s: how long a peer beyond that waits for each further refusal, and for what it sends behind that.
        penalties_per_second: how many connections of one address may begin to wait so in one second; with more of them
            its new ones wait, too, before they are served. So do only programs that await no answer, or are many.
        reopenings_per_minute: how often an upload may be opened again while nothing is added to it. A client that finds
            nobody there doubles its rests from 0.1 s to 10 s, which makes less than 30 attempts in a minute.
    """

    max_connections: int = _bound(1024, 1, 1_000_000, "connections in all")
    max_per_agency: int = _bound(16, 1, 1_000_000, "connections of one agency")
    max_per_address: int = _bound(
        64, 1, 1_000_000, "connections from one address, beside those that have asked for their winners"
    )
    max_handshakes: int = _bound(64, 1, 1_000_000, "TLS handshakes at the same time")
    handshakes_per_second: int = _bound(50, 1, 1_000_000, "TLS handshakes begun each second")
    handshake_timeout_s: float = _seconds(5.0, "for a TLS handshake")
    first_message_timeout_s: float = _seconds(10.0, "until the first message is whole")
    frame_timeout_s: float = _seconds(10.0, "from the first byte of a message to its last")
    idle_timeout_s: float = _seconds(60.0, "between two messages")
    resume_timeout_s: float = _seconds(600.0, "until the first batch of an upload that goes on")
    drain_timeout_s: float = _seconds(10.0, "that a peer may leave its answers unread")
    min_rate: int = _bound(1000, 1, 1_000_000_000, "bytes a second that a peer must take of its answers")
    after_draw_timeout_s: float = _seconds(
        60.0, "without a question for winners until a server that was started after its draw ends (`--exit-after-draw`)"
    )
    linger_timeout_s: float = _seconds(1.0, "after the last answer", option=False)
    stop_linger_timeout_s: float = _seconds(0.3, "after the last answer while the server stops", option=False)
    heartbeat_s: float = _seconds(30.0, "between two signs of life", option=False)
    complaints_per_minute: int = _bound(60, 1, 1_000_000, "errors of one peer logged a minute", option=False)
    penalty_s: float = _seconds(1.0, "that a peer beyond that waits for a refusal", option=False)
    penalties_per_second: int = _bound(16, 1, 1_000_000, "connections of one address that wait", option=False)
    reopenings_per_minute: int = _bound(120, 1, 1_000_000, "openings of one upload a minute", option=False)
