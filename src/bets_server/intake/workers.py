"""A fixed number of threads for what blocks: a job in, its outcome out through a queue, then one wake-up.

Rules: no worker sends, closes or logs about a peer; that is the reactor's. The queue of jobs is bounded by its caller:
the reactor has at most one store job in work. An exception of a job is an outcome like any other; it is the reactor
that decides what it means.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs

_CLOSE_S: Final = 1.0
"""Seconds for threads that have nothing to do, and end at once."""

T = TypeVar("T")


@attrs.frozen
class Outcome(Generic[T]):
    """What became of a job: its value, or the exception that it ended with."""

    value: T | None = None
    error: BaseException | None = None


class WorkerPool(Generic[T]):
    """Threads that run jobs and leave the outcomes for one reader.

    Args:
        size: how many threads.
        wake: called by a worker after each outcome, from its own thread; must not block.

    Raises:
        RuntimeError: the system allows no further thread; none of them is left.

    Thread: `submit`, `outcomes` and `close` belong to the reactor.
    """

    def __init__(self, size: int, wake: Callable[[], None]) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], T] | None] = queue.SimpleQueue()
        self._outcomes: deque[Outcome[T]] = deque()  # appended by workers, emptied by the reactor; both ends atomic
        self._wake = wake
        self._threads: list[threading.Thread] = []
        try:
            for number in range(1, size + 1):
                thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self.close(_CLOSE_S)
            raise

    def submit(self, job: Callable[[], T]) -> None:
        """Has `job` run by a worker."""
        self._jobs.put(job)

    def outcomes(self) -> list[Outcome[T]]:
        """The outcomes that have come since the last call, in the order in which they came."""
        found = []
        while self._outcomes:
            found.append(self._outcomes.popleft())
        return found

    def close(self, timeout_s: float) -> bool:
        """Ends every thread once the jobs before are done; False where one still runs after `timeout_s`."""
        for _ in self._threads:
            self._jobs.put(None)
        share = timeout_s / max(1, len(self._threads))
        for thread in self._threads:
            thread.join(share)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                outcome = Outcome(value=job())
            except BaseException as error:  # noqa: BLE001  # a worker's top loop: the reactor decides what it means
                outcome = Outcome(error=error)
            self._outcomes.append(outcome)
            self._wake()
