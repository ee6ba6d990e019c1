"""What a session is in the middle of: one table of phases, and nothing else says where an event leads.

Beside its phase a session has facts of its own, each true or not in any phase: whether the peer has ended its side,
whether it leaves its answers unread, whether it is made to wait for a while. They change what is read and sent, and
never where an event leads.
"""

from __future__ import annotations

import enum
from typing import Final


class Phase(enum.IntEnum):
    """What a session is in the middle of."""

    QUEUED = enum.auto()
    """Its handshake waits for a place."""

    SHAKING = enum.auto()
    """The two ends agree on keys. Only encrypted sessions begin here; others begin in OPEN."""

    OPEN = enum.auto()
    """Nothing of it is in work, and requests are taken."""

    WORKING = enum.auto()
    """A unit of its requests is in work."""

    PARKED = enum.auto()
    """It has asked for winners and waits for the draw."""

    ENDING = enum.auto()
    """Nothing more is read; it is closed as soon as its last answer has left."""

    LINGERING = enum.auto()
    """Likewise, and the peer may still be sending: its bytes are thrown away until it ends its side."""

    HALF_CLOSED = enum.auto()
    """Likewise, and the peer was told that nothing more comes from here."""


class Event(enum.IntEnum):
    """What happens to a session."""

    NO_PLACE = enum.auto()
    """Bytes of a handshake have come, and there is no place for it."""

    PLACE = enum.auto()
    """There is a place for its handshake."""

    SHAKEN = enum.auto()
    """The handshake is done."""

    WORK = enum.auto()
    """A unit of its requests goes to the store, also again: the draw has taken place."""

    ANSWERED = enum.auto()
    """Each request of the unit has its answer."""

    PARK = enum.auto()
    """The last request of the unit is answered with the draw."""

    END = enum.auto()
    """Nothing more is said, and the peer has said all."""

    LAST_WORD = enum.auto()
    """Nothing more is said, and the peer may not know that."""

    HALF_CLOSE = enum.auto()
    """The last answer has left, and this side of the stream is ended."""


NEXT: Final = {
    (Phase.SHAKING, Event.NO_PLACE): Phase.QUEUED,
    (Phase.QUEUED, Event.NO_PLACE): Phase.QUEUED,
    (Phase.QUEUED, Event.PLACE): Phase.SHAKING,
    (Phase.SHAKING, Event.PLACE): Phase.SHAKING,
    (Phase.SHAKING, Event.SHAKEN): Phase.OPEN,
    (Phase.OPEN, Event.WORK): Phase.WORKING,
    (Phase.WORKING, Event.ANSWERED): Phase.OPEN,
    (Phase.WORKING, Event.PARK): Phase.PARKED,
    (Phase.WORKING, Event.END): Phase.ENDING,
    (Phase.PARKED, Event.WORK): Phase.WORKING,
    (Phase.OPEN, Event.END): Phase.ENDING,
    (Phase.PARKED, Event.END): Phase.ENDING,
    (Phase.OPEN, Event.LAST_WORD): Phase.LINGERING,
    (Phase.PARKED, Event.LAST_WORD): Phase.LINGERING,
    (Phase.ENDING, Event.LAST_WORD): Phase.LINGERING,
    (Phase.LINGERING, Event.LAST_WORD): Phase.LINGERING,
    (Phase.HALF_CLOSED, Event.LAST_WORD): Phase.HALF_CLOSED,
    (Phase.LINGERING, Event.HALF_CLOSE): Phase.HALF_CLOSED,
}
"""Where each event leads. One that is not listed here for a phase cannot happen in it: that it does is a bug."""
