"""How a reactor ends: listeners first, then the answers to what was read, and a deadline for all of it.

Rules:

1. What was read before the stop is stored and answered.
2. What still runs at the deadline is left behind: connections are cut, and a call of the store is not waited for.
"""

from __future__ import annotations

from bets_server.intake.group_commit import GroupCommit
from bets_server.reactor.conversation import Conversations
from bets_server.reactor.listeners import Listeners


class Shutdown:
    """The stop of a reactor.

    Args:
        grace_s: seconds that it may take before connections are cut.

    Attributes:
        asked: a stop was asked for. Any thread may set it, and a signal handler.
        deadline: when connections are cut, in the loop's seconds; infinity until the stop has begun.

    Thread: reactor.
    """

    def __init__(
        self, conversations: Conversations, listeners: Listeners, jobs: GroupCommit, *, grace_s: float
    ) -> None:
        self.asked = False
        self.deadline = float("inf")
        self._conversations = conversations
        self._listeners = listeners
        self._jobs = jobs
        self._grace_s = grace_s

    @property
    def begun(self) -> bool:
        """Whether the reactor is about to end."""
        return self.deadline < float("inf")

    def tick(self, now: float) -> None:
        """Begins the stop that was asked for, or cuts what is left at its deadline."""
        if self.asked and not self.begun:
            self.deadline = now + self._grace_s
            self._listeners.close()
            self._conversations.stop(now)
        if now >= self.deadline:
            self._jobs.forget()
            self._conversations.drop_all()

    def is_over(self, now: float) -> bool:
        """Whether the reactor may end now."""
        if not self.begun or self._conversations.sessions:
            return False
        return not self._jobs.running or now >= self.deadline
