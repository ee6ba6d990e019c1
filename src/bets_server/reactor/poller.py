"""What the loop waits for: streams and listeners that are ready, and wake-ups of other threads."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import TypeAlias

from bets_server.reactor.session import Session

ReadyOne: TypeAlias = tuple[selectors.SelectorKey, int]
Ready: TypeAlias = list[ReadyOne]
"""What the system's selector gives."""


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

    def wait(self, timeout_s: float) -> Ready:
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
