"""How often a peer is refused: the lines about it, and whether it has to wait for its refusals.

One peer that floods must cost the others nothing, nor fill the log: what it is refused for is written once a minute,
and then as a number.
"""

from __future__ import annotations

import attrs

from bets_server.admission.peers import MAX_PEERS, origin_of
from bets_server.intake.identity import Holder
from bets_server.limits import Limits
from bets_server.logs import ServerLog

WINDOW_S = 60.0
"""Seconds for which one line stands for all refusals of a peer."""

_OTHERS = "others"


@attrs.define
class _Record:
    """What one peer was refused for since `until` - `WINDOW_S`.

    Attributes:
        peer: as the log names it.
        second: since when `in_second` counts its connections that were made to wait.
    """

    peer: str
    until: float
    refusals: int = 0
    errors: int = 0
    repeated: int = 0
    action: str = ""
    error: str = ""
    second: float = float("-inf")
    in_second: int = 0

    def repeat(self, action: str, error: str) -> None:
        """Something is counted that has no line of its own."""
        self.repeated, self.action, self.error = self.repeated + 1, action, error


class Complaints:
    """The lines about peers that are refused: the first at once, the others as a number when a minute is over.

    A peer is known by its certificate, where it has shown one; else by its origin, which many may share, as behind a
    gateway. So nobody is made to wait for what others of its origin have done, unless they do it right now and so often
    that their connections have to be kept waiting before they have said anything.

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

    def refuse(self, peer: str, action: str, error: str, now: float, *, holder: Holder | None = None) -> None:
        """A connection of `peer` was refused or cut."""
        record = self._record(peer, holder, now)
        record.refusals += 1
        if record.refusals == 1:
            self._log.refused(action, peer, error)
        else:
            record.repeat(action, error)

    def allows_error(self, peer: str, error: str, now: float, *, holder: Holder | None = None) -> bool:
        """Whether one more error of what `peer` says is worth a line of its own; counts it."""
        record = self._record(peer, holder, now)
        record.errors += 1
        if record.errors <= self._limits.complaints_per_minute:
            return True
        record.repeat("receive_message", error)
        return False

    def misbehaves(self, peer: str, holder: Holder | None = None) -> bool:
        """Whether `peer`, or its origin where nothing is known of a `holder`, was complained about very often."""
        record = self._known(peer, holder)
        return record is not None and record.refusals + record.errors > self._limits.complaints_per_minute

    def slows_down(self, peer: str, now: float, *, holder: Holder | None = None) -> bool:
        """Whether `peer` misbehaves, so that this connection has to wait for its refusal; counts it then."""
        record = self._known(peer, holder)
        if record is None or not self.misbehaves(peer, holder):
            return False
        if now - record.second >= 1:
            record.second, record.in_second = now, 0
        record.in_second += 1
        return True

    def holds_back(self, peer: str, now: float) -> bool:
        """Whether a new connection of `peer` has to wait before it is served; counts it then.

        Those of this machine's own never do: they share no address.
        """
        record = self._records.get(_key_of(peer, None)) if origin_of(peer) else None
        if record is None or now - record.second >= 1 or record.in_second <= self._limits.penalties_per_second:
            return False
        record.repeat("accept_connections", "its connections have to wait")
        return True

    def tick(self, now: float) -> None:
        """Writes what was counted in the minutes that are over."""
        while self._records and self.next_at <= now:
            self._close(next(iter(self._records)))  # the oldest: every window is as long

    def close(self) -> None:
        """Writes what was counted up to now."""
        while self._records:
            self._close(next(iter(self._records)))

    def _close(self, key: str) -> None:
        record = self._records.pop(key)
        if record.repeated:
            self._log.refused(record.action, record.peer, record.error, repeated=record.repeated)

    def _known(self, peer: str, holder: Holder | None) -> _Record | None:
        return self._records.get(_key_of(peer, holder)) or self._records.get(_OTHERS)

    def _record(self, peer: str, holder: Holder | None, now: float) -> _Record:
        key = _key_of(peer, holder)
        named = key if holder is None else peer
        if key not in self._records and len(self._records) >= MAX_PEERS:
            key = named = _OTHERS
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(peer=named, until=now + WINDOW_S)
        return record


def _key_of(peer: str, holder: Holder | None) -> str:
    """What complaints about a peer are counted by."""
    return origin_of(peer) or peer if holder is None else holder.fingerprint
