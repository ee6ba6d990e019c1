"""Who gets in: how many peers in all, from one address, for one agency; and how often one is complained about.

One peer that floods must cost the others nothing, nor fill the log: what it is refused for is written once a minute,
and then as a number.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import Counter
from typing import TypeVar

import attrs

from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.session import Session

WINDOW_S = 60.0
"""Seconds for which one line stands for all refusals of a peer."""

MAX_PEERS = 4096
"""Peers whose refusals are counted one by one; those of more are counted together."""

_OTHERS = "others"
_Key = TypeVar("_Key")


@functools.lru_cache(maxsize=MAX_PEERS)
def origin_of(peer: str) -> str:
    """What a peer is counted by: its IPv4 address, the /64 of its IPv6 one; empty for peers of this machine's own."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class Admission:
    """Counts the connections and says which is one too many.

    Thread: reactor.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all = 0
        self._by_origin: Counter[str] = Counter()
        self._by_agency: Counter[int] = Counter()
        self._agency_of: dict[int, int] = {}

    def refusal(self, peer: str) -> str:
        """Why `peer` does not get in; empty: it does."""
        if self._all >= self._limits.max_connections:
            return f"the server has {self._all} connections"
        origin = origin_of(peer)
        if origin and self._by_origin[origin] >= self._limits.max_per_address:
            return f"{origin} has {self._by_origin[origin]} connections"
        return ""

    def enter(self, session: Session) -> None:
        """`session` is in."""
        self._all += 1
        self._by_origin[origin_of(session.stream.peer)] += 1

    def claim_agency(self, session: Session) -> str:
        """Counts `session` for the agency that it says it speaks for; gives why it may not; empty: it may."""
        agency = session.agency
        if agency is None or self._agency_of.get(session.number) == agency:
            return ""
        if self._by_agency[agency] >= self._limits.max_per_agency:
            return f"agency {agency} has {self._by_agency[agency]} connections"
        self._give_back_agency(session)
        self._agency_of[session.number] = agency
        self._by_agency[agency] += 1
        return ""

    def leave(self, session: Session) -> None:
        """`session` is gone."""
        self._all -= 1
        _take_one(self._by_origin, origin_of(session.stream.peer))
        self._give_back_agency(session)

    def _give_back_agency(self, session: Session) -> None:
        agency = self._agency_of.pop(session.number, None)
        if agency is not None:
            _take_one(self._by_agency, agency)


def _take_one(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@attrs.define
class _Record:
    """What one peer was refused for since `until` - `WINDOW_S`."""

    until: float
    refusals: int = 0
    errors: int = 0
    repeated: int = 0
    action: str = ""
    error: str = ""


class Complaints:
    """The lines about peers that are refused: the first at once, the others as a number when a minute is over.

    Thread: reactor.
    """

    def __init__(self, limits: Limits, log: ServerLog) -> None:
        self._limits = limits
        self._log = log
        self._records: dict[str, _Record] = {}

    @property
    def next_at(self) -> float:
        """When a minute is over; infinity: nobody was refused."""
        return next(iter(self._records.values())).until if self._records else float("inf")

    def refuse(self, peer: str, action: str, error: str, now: float) -> None:
        """A connection of `peer` was refused or cut."""
        record = self._record(peer, now)
        record.refusals += 1
        if record.refusals == 1:
            self._log.refused(action, peer, error)
        else:
            record.repeated, record.action, record.error = record.repeated + 1, action, error

    def allows_error(self, peer: str, error: str, now: float) -> bool:
        """Whether one more error of what `peer` says is worth a line of its own; counts it."""
        record = self._record(peer, now)
        record.errors += 1
        if record.errors <= self._limits.complaints_per_minute:
            return True
        record.repeated, record.action, record.error = record.repeated + 1, "receive_message", error
        return False

    def misbehaves(self, peer: str) -> bool:
        """Whether `peer` was complained about so often that its connections have to wait."""
        record = self._records.get(peer)
        return record is not None and record.refusals + record.errors > self._limits.complaints_per_minute

    def tick(self, now: float) -> None:
        """Writes what was counted in the minutes that are over."""
        while self._records and self.next_at <= now:
            peer = next(iter(self._records))  # the oldest: every window is as long
            self._close(peer)

    def close(self) -> None:
        """Writes what was counted up to now."""
        while self._records:
            self._close(next(iter(self._records)))

    def _close(self, peer: str) -> None:
        record = self._records.pop(peer)
        if record.repeated:
            self._log.refused(record.action, peer, record.error, repeated=record.repeated)

    def _record(self, peer: str, now: float) -> _Record:
        if peer not in self._records and len(self._records) >= MAX_PEERS:
            peer = _OTHERS
        record = self._records.get(peer)
        if record is None:
            record = self._records[peer] = _Record(until=now + WINDOW_S)
        return record
