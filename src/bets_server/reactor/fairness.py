"""Whose turn it is of all that are ready: no peer keeps the others waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bets_server.reactor.poller import Ready, ReadyOne
from bets_server.reactor.session import Session

NEWCOMERS_A_ROUND = 4
"""Peers that have not said whom they work for, and listeners, that are served in one round."""

NEWCOMERS_BESIDE_A_JOB = 1
"""The same while the store's job runs: those that wait for it are to be answered as soon as it has ended."""

CROWD_ROUNDS = 64
"""Rounds in which a crowd has its turn, however large it is: to look at it costs time in each."""


def oldest_first(chosen: Sequence[ReadyOne], ready: Ready) -> Ready:
    """As many of `ready` as were chosen, with the oldest new session of an address in the place of any other new one.

    What a client has left behind must not be read after what it sends now: on an upload, it would fence that client.
    """
    new = [each for each in ready if _is_new(each[0].data)]
    if len(new) < 2:
        return list(chosen)
    by_address: dict[str, list[ReadyOne]] = {}
    for each in sorted(new, key=lambda each: each[0].data.number):
        by_address.setdefault(each[0].data.stream.peer, []).append(each)
    waiting: dict[str, Iterator[ReadyOne]] = {address: iter(sessions) for address, sessions in by_address.items()}
    return [next(waiting[each[0].data.stream.peer]) if _is_new(each[0].data) else each for each in chosen]


def _is_new(peer: object) -> bool:
    return isinstance(peer, Session) and peer.inbox.is_new


class Turns:
    """Whose turn it is of all that are ready: all that work for an agency, and some of the others.

    A round must be short: answers wait for its end. What has no turn stays ready, and has it soon.

    Thread: the reactor.
    """

    def __init__(self) -> None:
        self._next = 0  # of those that work for no agency yet: whose turn comes next

    def of(self, ready: Ready, *, beside_a_job: bool) -> Ready:
        """Those of `ready` that have their turn in this round.

        Args:
            beside_a_job: the store's job runs.
        """
        share = NEWCOMERS_BESIDE_A_JOB if beside_a_job else NEWCOMERS_A_ROUND
        if len(ready) <= share:
            return oldest_first(ready, ready)
        known: Ready = []
        others: Ready = []
        for each in ready:
            peer = each[0].data
            (known if isinstance(peer, Session) and peer.agency is not None else others).append(each)
        share += len(others) // CROWD_ROUNDS
        start = self._next % max(1, len(others))
        self._next += share
        return known + oldest_first((others[start:] + others[:start])[:share], others)
