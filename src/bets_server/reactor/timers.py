"""Since when a peer does what it does, and until when it may: a deadline and its reason for each phase of a session.

Nothing in here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from bets_server.limits import Limits
from bets_server.reactor.phases import Phase

NEVER = float("inf")

Deadline: TypeAlias = tuple[float, str]
"""Until when, infinity: for ever; and what the peer is cut for then, empty: for nothing."""


@attrs.define(eq=False)
class Due:
    """The entry of a session in `Deadlines`, which alone writes it.

    Attributes:
        at: when the session is due.
        looked_at_by: when it is looked at, which may be earlier.
    """

    at: float = NEVER
    looked_at_by: float = NEVER


class Timers:
    """The times of one session.

    Args:
        opened_at: when it was accepted.

    Attributes:
        shaking_since: when its handshake began; when it was accepted, until then.
        held_until: until when it is made to wait; infinity: it is not.
        linger_until: until when it may end its side.
        answered: its messages that were taken and answered, in all.
        taken: bytes of answers that have left, in all.
    """

    __slots__ = (
        "_answered_before",
        "_drain_until",
        "_frame_since",
        "_opened_at",
        "_quiet_since",
        "_taken_before",
        "answered",
        "held_until",
        "linger_until",
        "shaking_since",
        "taken",
    )

    def __init__(self, opened_at: float) -> None:
        self.shaking_since = opened_at
        self.held_until = self.linger_until = NEVER
        self._opened_at = self._quiet_since = opened_at
        self._frame_since: float | None = None
        self._drain_until = NEVER
        self.answered = self._answered_before = 0
        self.taken = self._taken_before = 0

    def note(self, now: float, limits: Limits, *, buffered: int, owes: bool) -> None:
        """Notes since when the peer has been quiet, in the middle of a message, or leaving its answers unread.

        Args:
            buffered: bytes of it that were read and are in no message yet.
            owes: some bytes for it have not left.
        """
        if self.answered != self._answered_before:
            self._answered_before, self._quiet_since = self.answered, now
            self._frame_since = now if buffered else None
        elif not buffered:
            self._frame_since = None
        elif self._frame_since is None:
            self._frame_since = now
        if not owes or self.held_until != NEVER:
            self._drain_until = NEVER
        elif self._drain_until == NEVER:
            self._drain_until = now + limits.drain_timeout_s
        else:
            more_s = (self.taken - self._taken_before) / limits.min_rate
            self._drain_until = min(now + limits.drain_timeout_s, self._drain_until + more_s)
        self._taken_before = self.taken

    def deadline(self, phase: Phase, limits: Limits, *, owes: bool, resuming: bool) -> Deadline:
        """Until when the peer may go on as it does.

        Args:
            owes: as for `note`; until they have left, that has a deadline of its own, in every phase but the first two.
            resuming: it has opened an upload that is half done, and not gone on with it.
        """
        if self.held_until != NEVER:
            return self.held_until, ""
        if owes and phase >= Phase.OPEN:
            return self._drain_until, "it leaves its answers unread"
        return DEADLINES[phase](self, limits, resuming)

    def _queued(self, limits: Limits, _resuming: bool) -> Deadline:
        return self._opened_at + limits.first_message_timeout_s, "no room for its handshake in time"

    def _shaking(self, limits: Limits, _resuming: bool) -> Deadline:
        # A peer that had to wait for a place must still come to its first message in time.
        until = self._opened_at + limits.first_message_timeout_s
        return min(self.shaking_since + limits.handshake_timeout_s, until), "the handshake was not done in time"

    def _open(self, limits: Limits, resuming: bool) -> Deadline:
        if not self.answered:
            return self._opened_at + limits.first_message_timeout_s, "its first message was not whole in time"
        if self._frame_since is not None:
            return self._frame_since + limits.frame_timeout_s, "its message was not whole in time"
        idle_s = limits.resume_timeout_s if resuming else limits.idle_timeout_s
        return self._quiet_since + idle_s, "it said nothing for too long"

    def _never(self, _limits: Limits, _resuming: bool) -> Deadline:
        return NEVER, ""

    def _half_closed(self, _limits: Limits, _resuming: bool) -> Deadline:
        return self.linger_until, ""


DEADLINES: Final[dict[Phase, Callable[[Timers, Limits, bool], Deadline]]] = {
    Phase.QUEUED: Timers._queued,
    Phase.SHAKING: Timers._shaking,
    Phase.OPEN: Timers._open,
    Phase.WORKING: Timers._never,
    Phase.PARKED: Timers._never,
    Phase.ENDING: Timers._never,
    Phase.LINGERING: Timers._never,
    Phase.HALF_CLOSED: Timers._half_closed,
}
"""The deadline of each phase. Those that wait for the store or for the draw have none, and those that end have that of
their last answer."""
