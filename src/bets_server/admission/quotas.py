"""Who gets in: how many peers in all, from one address, for one agency; and how often one is complained about.

One peer that floods must cost the others nothing, nor fill the log: what it is refused for is written once a minute,
and then as a number.

Who waits for the draw is under no deadline and so could keep its place for ever, while the draw waits for somebody who
finds no place. Hence the rules for those that wait, which hold behind one gateway as for the whole server:

1. From one address, one connection of each expected agency that has asked for its winners does not count: the newest.
   So an address has at most `max_per_address` connections and as many as there are expected agencies.
2. The others that wait count, and give their places to newcomers where there are no more: the oldest first. In all,
   one connection of each expected agency stays, the newest, and those never fill more than `KEPT_SHARE` of the places.
3. All other connections count and are refused as ever. They are under deadlines, so their places come free.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from bets_server.admission.peers import PeerT
from bets_server.intake.identity import Holder
from bets_server.limits import Limits
from bets_server.logs import ServerLog

WINDOW_S = 60.0
"""Seconds for which one line stands for all refusals of a peer."""

MAX_PEERS = 4096
"""Peers whose refusals are counted one by one; those of more are counted together."""

KEPT_SHARE = 0.75
"""Of all places, what connections that wait for the draw may keep from newcomers. By default that is 768 of 1,024, more
than the 255 agencies that there can be: it matters where an operator allows few connections to many agencies."""

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


class _Waiting(Generic[PeerT]):
    """The sessions that have waited for the draw, of one origin or of all.

    Args:
        at_most: how many may keep their places.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._kept: dict[int, PeerT] = {}  # by agency; whose began to wait last stands last
        self._others: dict[int, PeerT] = {}  # by number, in the order in which they have to give their places up

    @property
    def kept(self) -> int:
        """How many keep their places: at most one of each expected agency."""
        return len(self._kept)

    def add(self, session: PeerT, agency: int, *, expected: bool) -> None:
        """`session` waits from now on; the older one of its agency has to give its place up if one is needed."""
        if not expected:
            self._others[session.number] = session
            return
        self._give_up(agency)
        self._kept[agency] = session
        if len(self._kept) > self._at_most:
            self._give_up(next(iter(self._kept)))

    def remove(self, session: PeerT, agency: int) -> None:
        """`session` is gone, or waits for something else."""
        self._others.pop(session.number, None)
        if self._kept.get(agency) is session:
            del self._kept[agency]

    def first_to_go(self) -> PeerT | None:
        """The one that gives its place up before all others, if there is one."""
        while self._others:
            number, session = next(iter(self._others.items()))
            if session.waiting is not None:
                return session
            del self._others[number]  # it has its answer: from then on it is under deadlines as everybody is
        return None

    def _give_up(self, agency: int) -> None:
        session = self._kept.pop(agency, None)
        if session is not None:
            self._others[session.number] = session


class Admission(Generic[PeerT]):
    """Counts the connections and says which is one too many.

    Args:
        expects: whether the draw waits for an agency; None: for every one.

    Thread: reactor.
    """

    def __init__(self, limits: Limits, expects: Callable[[int], bool] | None = None) -> None:
        self._limits = limits
        self._expects = expects or (lambda _agency: True)
        self._all = 0
        self._by_origin: Counter[str] = Counter()
        self._at_most_kept = max(1, int(limits.max_connections * KEPT_SHARE))
        self._waiting = _Waiting[PeerT](self._at_most_kept)
        self._waiting_at: dict[str, _Waiting[PeerT]] = {}  # by origin
        self._asked_for: dict[int, int] = {}  # by number: the agency for which a session has waited
        self._by_agency: dict[int | None, dict[int, PeerT]] = {}  # and by number; who claimed it first stands first
        self._agency_of: dict[int, int] = {}

    def refusal(self, peer: str) -> str:
        """Why `peer` does not get in; empty: it does."""
        origin = origin_of(peer)
        if self._is_full(origin):  # first: what makes room there makes it in all, and never the other way round
            kept = self._kept_at(origin)
            beside = f", and {kept} that have asked for their winners" if kept else ""
            return f"{origin} has {self._by_origin[origin] - kept} connections{beside}"
        if self._all >= self._limits.max_connections:
            return f"the server has {self._all} connections"
        return ""

    def yields_to(self, peer: str) -> PeerT | None:
        """Where `peer` is refused: the session that waits for the draw and has to give its place to it, if any."""
        origin = origin_of(peer)
        if not self._is_full(origin):
            return self._waiting.first_to_go()
        waiting = self._waiting_at.get(origin)
        return None if waiting is None else waiting.first_to_go()

    def enter(self, session: PeerT) -> None:
        """`session` is in."""
        self._all += 1
        self._by_origin[origin_of(session.stream.peer)] += 1

    def claim_agency(self, session: PeerT) -> str:
        """Counts `session` for the agency that it says it speaks for; gives why it may not; empty: it may."""
        agency = session.agency
        if agency is None or self._agency_of.get(session.number) == agency:
            return ""
        others = self._by_agency.get(agency, {})
        if len(others) >= self._limits.max_per_agency:
            return f"agency {agency} has {len(others)} connections"
        self._give_back_agency(session)
        self._agency_of[session.number] = agency
        self._by_agency.setdefault(agency, {})[session.number] = session
        return ""

    def wait(self, session: PeerT) -> None:
        """`session` waits for the draw: what it has asked for is on disk."""
        if session.waiting is None:
            return
        agency, origin = session.waiting.agency, origin_of(session.stream.peer)
        self._wait_no_more(session)
        self._asked_for[session.number] = agency
        expected = self._expects(agency)
        self._waiting.add(session, agency, expected=expected)
        if origin:
            waiting = self._waiting_at.setdefault(origin, _Waiting[PeerT](self._at_most_kept))
            waiting.add(session, agency, expected=expected)

    def gone_waiter(self, agency: int | None) -> PeerT | None:
        """The oldest session of an agency that waits for the draw and whose peer has ended its side, if there is one.

        Such a peer may still be there, and listen. But one that has asked and given up looks the same, and without a
        sign of life to be sent, nobody can tell for over a minute. So where there is no room, it makes some.
        """
        sessions = self._by_agency.get(agency, {}).values()
        return next((session for session in sessions if session.ended and session.waiting is not None), None)

    def leave(self, session: PeerT) -> None:
        """`session` is gone."""
        self._all -= 1
        origin = origin_of(session.stream.peer)
        self._wait_no_more(session)
        _take_one(self._by_origin, origin)
        if origin not in self._by_origin:
            self._waiting_at.pop(origin, None)
        self._give_back_agency(session)

    def _is_full(self, origin: str) -> bool:
        return bool(origin) and self._by_origin[origin] - self._kept_at(origin) >= self._limits.max_per_address

    def _kept_at(self, origin: str) -> int:
        waiting = self._waiting_at.get(origin)
        return 0 if waiting is None else waiting.kept

    def _wait_no_more(self, session: PeerT) -> None:
        agency = self._asked_for.pop(session.number, None)
        if agency is None:
            return
        for waiting in (self._waiting, self._waiting_at.get(origin_of(session.stream.peer))):
            if waiting is not None:
                waiting.remove(session, agency)

    def _give_back_agency(self, session: PeerT) -> None:
        agency = self._agency_of.pop(session.number, None)
        if agency is not None:
            sessions = self._by_agency[agency]
            del sessions[session.number]
            if not sessions:
                del self._by_agency[agency]


def _take_one(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


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
