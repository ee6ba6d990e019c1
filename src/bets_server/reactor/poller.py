"""What the loop waits for: streams and listeners that are ready, and wake-ups of other threads."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from bets_server.reactor.session import Session

NEWCOMERS_A_ROUND = 4
"""Peers that have not said whom they work for, and listeners, that are served in one round."""

NEWCOMERS_BESIDE_A_JOB = 1
"""The same while the store's job runs: those that wait for it are to be answered as soon as it has ended."""

CROWD_ROUNDS = 64
"""Rounds in which a crowd has its turn, however large it is: to look at it costs time in each."""

Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]
"""What the system's selector gives."""


def oldest_first(chosen: Sequence[tuple[selectors.SelectorKey, int]], ready: Ready) -> Ready:
    """As many of `ready` as were chosen, with the oldest new session of an address in the place of any other new one.

    What a client has left behind must not be read after what it sends now: on an upload, it would fence that client.
    """
    new = [each for each in ready if _is_new(each[0].data)]
    if len(new) < 2:
        return list(chosen)
    by_address: dict[str, list[tuple[selectors.SelectorKey, int]]] = {}
    for each in sorted(new, key=lambda each: each[0].data.number):
        by_address.setdefault(each[0].data.stream.peer, []).append(each)
    waiting: dict[str, Iterator[tuple[selectors.SelectorKey, int]]] = {
        address: iter(sessions) for address, sessions in by_address.items()
    }
    return [next(waiting[each[0].data.stream.peer]) if _is_new(each[0].data) else each for each in chosen]


def _is_new(peer: object) -> bool:
    return isinstance(peer, Session) and peer.is_new


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


class Poller:
    """A selector that any thread can wake.

    Attributes:
        selector: the system's; listeners stand in it, each with itself as its data.

    Raises:
        OSError: no descriptor is left; none of its own is open.

    Thread: the reactor; `wake` any.
    """

    def __init__(self) -> None:
        self._interest: dict[int, int] = {}  # by number of the session: what it waits for
        self._wake_reader, self._wake_writer = socket.socketpair()
        try:
            self.selector = selectors.DefaultSelector()
        except BaseException:
            self._wake_reader.close()
            self._wake_writer.close()
            raise
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self.selector.register(self._wake_reader, selectors.EVENT_READ)

    def wake(self) -> None:
        """Ends the wait that goes on, or the next one. Thread: any; signal-safe."""
        # Full of wake-ups that were not taken yet, of which one is enough; or closed, since the reactor has ended.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def wait(self, timeout_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, as the selector gives it, without the wake-ups."""
        ready = self.selector.select(timeout_s)
        for position, (key, _) in enumerate(ready):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_reader.recv(65_536)  # what is left keeps it readable
                del ready[position]
                break
        return ready

    def watch(self, session: Session, wanted: int) -> None:
        """From now on `session` waits for `wanted`, events of the selector; 0: for none."""
        known = self._interest.get(session.number, 0)
        if wanted == known:
            return
        if not known:
            self.selector.register(session.stream.fileno(), wanted, session)
        elif not wanted:
            self.selector.unregister(session.stream.fileno())
        else:
            self.selector.modify(session.stream.fileno(), wanted, session)
        self._interest[session.number] = wanted

    def forget(self, session: Session) -> None:
        """`session` is about to be closed. Twice is harmless."""
        if self._interest.pop(session.number, 0):
            self.selector.unregister(session.stream.fileno())

    def close(self) -> None:
        """Gives the descriptors back."""
        self.selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
