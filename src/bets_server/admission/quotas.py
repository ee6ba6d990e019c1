"""Who gets in: how many peers in all, from one address, for one agency.

Who waits for the draw is under no deadline and so could keep its place for ever, while the draw waits for somebody who
finds no place. Hence the rules for those that wait, which hold behind one gateway as for the whole server:

1. From one address, one connection of each expected agency that has asked for its winners does not count: the newest.
   So an address has at most `max_per_address` connections and as many as there are expected agencies.
2. The others that wait count, and give their places to newcomers where there are no more: the oldest first. In all,
   one connection of each expected agency stays, the newest, and those never fill more than `KEPT_SHARE` of the places.
3. All other connections count and are refused as ever. They are under deadlines, so their places come free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from bets_protocol import RejectCode
from bets_server.admission.peers import PeerT, origin_of
from bets_server.intake.requests import Refusal
from bets_server.limits import Limits

KEPT_SHARE = 0.75
"""Of all places, what connections that wait for the draw may keep from newcomers. By default that is 768 of 1,024, more
than the 255 agencies that there can be: it matters where an operator allows few connections to many agencies."""

_Key = TypeVar("_Key")


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


class Quotas(Generic[PeerT]):
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

    def refusal(self, peer: str) -> Refusal | None:
        """Why `peer` does not get in, or None."""
        origin = origin_of(peer)
        if self._is_full(origin):  # first: what makes room there makes it in all, and never the other way round
            kept = self._kept_at(origin)
            beside = f", and {kept} that have asked for their winners" if kept else ""
            return Refusal(RejectCode.LIMIT, f"{origin} has {self._by_origin[origin] - kept} connections{beside}")
        if self._all >= self._limits.max_connections:
            return Refusal(RejectCode.LIMIT, f"the server has {self._all} connections")
        return None

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

    def claim_agency(self, session: PeerT) -> Refusal | None:
        """Counts `session` for the agency that it speaks for; gives why it may not speak for it, or None."""
        agency = session.agency
        if agency is None or self._agency_of.get(session.number) == agency:
            return None
        others = self._by_agency.get(agency, {})
        if len(others) >= self._limits.max_per_agency:
            return Refusal(RejectCode.LIMIT, f"agency {agency} has {len(others)} connections")
        self._give_back_agency(session)
        self._agency_of[session.number] = agency
        self._by_agency.setdefault(agency, {})[session.number] = session
        return None

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
