"""How long the client goes on, and how long it rests between two attempts.

The one place of the client that reads a clock. `RetryDeadline` is a deadline that moves: `--retry-for` counts from the
last progress (an acknowledged batch), not from the start, so that an upload that takes longer than that is not cut
short while it goes well; on revisions 5 to 8 running it again would store everything twice.
"""

from __future__ import annotations

import random
import time

CONNECT_TIMEOUT_S = 10.0
"""Seconds for one attempt to connect."""

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0

_LEAST_S = 0.1
"""Seconds that even `--retry-for 0` gives to the one attempt."""


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()


class RetryDeadline:
    """Seconds without progress until the client gives up.

    Args:
        limit_s: how long, as the user said it.

    Attributes:
        limit_s: how long it is in fact: even no patience is enough for one attempt.
        said_s: as the user said it, for messages.
    """

    def __init__(self, limit_s: float) -> None:
        self.said_s = limit_s
        self.limit_s = max(limit_s, _LEAST_S)
        self.renew()

    def renew(self) -> None:
        """There was progress."""
        self._until = now() + self.limit_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 when it is over."""
        return max(0.0, self._until - now())

    @property
    def over(self) -> bool:
        """Whether it is time to give up."""
        return self.left_s <= 0

    @property
    def connect_timeout_s(self) -> float:
        """Seconds that an attempt to connect may take now; more than 0."""
        return min(CONNECT_TIMEOUT_S, max(self.left_s, _LEAST_S))


class Backoff:
    """Rests between attempts, with full jitter: many clients that lost one server do not come back all at once."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._bound_s = MIN_BACKOFF_S

    def next_s(self) -> float:
        """Seconds to rest before the next attempt; the bound doubles with each call, up to `MAX_BACKOFF_S`."""
        rest = self._random.uniform(0, self._bound_s)
        self._bound_s = min(MAX_BACKOFF_S, self._bound_s * 2)
        return rest

    def reset(self) -> None:
        """There was progress: begin with short rests again."""
        self._bound_s = MIN_BACKOFF_S
