"""How long the client tries, and how long it pauses between two attempts.

A retry deadline counts from the last progress (an acknowledged batch) and
not from the start, so that a long upload is not ended while it makes progress: on revisions 5 to 8 running it again
would store everything twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

CONNECT_TIMEOUT_S = 10.0
"""Seconds for one attempt to connect."""

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0

_LEAST_S = 0.1
"""Seconds of the one attempt that a limit of 0 allows."""


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()


class RetryDeadline:
    """Seconds without progress until the client gives up.

    Args:
        limit_s: as the user gave it.
        clock: gives monotonic seconds.

    Attributes:
        limit_s: the real limit, which is long enough for one attempt.
        said_s: as the user gave it, for messages.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self.said_s = limit_s
        self.limit_s = max(limit_s, _LEAST_S)
        self.renew()

    def renew(self, limit_s: float | None = None) -> None:
        """Start again, because there was progress.

        Args:
            limit_s: the limit from now on; by default that of before.
        """
        if limit_s is not None:
            self.said_s, self.limit_s = limit_s, max(limit_s, _LEAST_S)
        self._until = self._clock() + self.limit_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._until - self._clock())

    @property
    def over(self) -> bool:
        """Whether it is time to give up."""
        return self.left_s <= 0

    @property
    def connect_timeout_s(self) -> float:
        """Seconds that an attempt to connect may take now; more than 0."""
        return min(CONNECT_TIMEOUT_S, max(self.left_s, _LEAST_S))


class Backoff:
    """Pauses between attempts, with full jitter, so that many clients of one server do not reconnect at once."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._bound_s = MIN_BACKOFF_S

    def next_s(self) -> float:
        """Seconds until the next attempt. The bound doubles with each call, up to `MAX_BACKOFF_S`."""
        rest = self._random.uniform(0, self._bound_s)
        self._bound_s = min(MAX_BACKOFF_S, self._bound_s * 2)
        return rest

    def reset(self) -> None:
        """Begin with short pauses again, because there was progress."""
        self._bound_s = MIN_BACKOFF_S
