"""The phases of a session: the whole table is walked with a real session, and each phase has its deadline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bets_protocol import RejectCode, Winners
from bets_protocol.transports import Stream, connect, listen
from bets_server.intake.requests import Close, Park, Reply
from bets_server.limits import Limits
from bets_server.reactor.phases import NEXT, Event, Phase
from bets_server.reactor.session import Session
from bets_server.reactor.timers import DEADLINES
from tests.server.wire import ask, batch, bet

NEVER = float("inf")
LIMITS = Limits(first_message_timeout_s=40, handshake_timeout_s=10, idle_timeout_s=70, drain_timeout_s=50)


class Walker:
    """A session of revision 8 that is brought into any phase by what the reactor does, one event a second.

    Attributes:
        peer: the other end.
        now: seconds.
    """

    def __init__(self, stream: Stream, peer: Stream) -> None:
        self.session = Session(1, stream, revision=8)
        self.session.phase = Phase.SHAKING  # as over an encrypted stream
        self.now = 0.0
        self.peer = peer

    def go_to(self, phase: Phase) -> None:
        """The shortest way there."""
        for event in _ways()[phase]:
            self.happen(event)
        assert self.session.phase is phase

    def happen(self, event: Event) -> None:
        """One event."""
        self.now += 1
        session = self.session
        match event:
            case Event.NO_PLACE:
                session.wait_for_handshake()
            case Event.PLACE:
                session.begin_handshake(self.now)
            case Event.SHAKEN:
                session.end_handshake(None)
            case Event.WORK if session.phase is Phase.PARKED:
                assert session.ask_again() is not None
            case Event.WORK:
                self.peer.send(ask(1))
                session.read()
                assert session.next_work() is not None
            case Event.ANSWERED:
                session.take_answers([Reply(reply=Winners(documents=()))])
            case Event.PARK:
                session.take_answers([Park()])
            case Event.END if session.phase is Phase.WORKING:
                session.take_answers([Close(error="too many winners")])
            case Event.END:
                session.let_go()
            case Event.LAST_WORD:
                session.end_upload(RejectCode.FENCED)
            case Event.HALF_CLOSE:
                session.half_close(self.now + 5)
        session.flush()
        session.note(self.now, LIMITS)


def _ways() -> dict[Phase, list[Event]]:
    """By phase: the fewest events that lead there from the beginning."""
    ways: dict[Phase, list[Event]] = {Phase.SHAKING: []}
    found = [Phase.SHAKING]
    for phase in found:  # which grows meanwhile
        for (before, event), after in NEXT.items():
            if before is phase and after not in ways:
                ways[after] = [*ways[phase], event]
                found.append(after)
    return ways


@pytest.fixture
def walker() -> Iterator[Walker]:
    """A session at its beginning."""
    with listen("memory://phases") as listener, connect("memory://phases") as peer:
        stream = listener.accept()
        assert stream is not None
        peer.set_timeout(0)
        with stream:
            yield Walker(stream, peer)


@pytest.mark.parametrize(("phase", "event"), NEXT, ids=lambda each: each.name)
def test_each_row_of_the_table(walker: Walker, phase: Phase, event: Event) -> None:
    """What the reactor does to a session leads where the table says."""
    walker.go_to(phase)
    walker.happen(event)
    assert walker.session.phase is NEXT[phase, event]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_does_not_name_cannot_happen(walker: Walker, phase: Phase, event: Event) -> None:
    """It is a bug of the reactor that must not go unseen; and the session stays in its phase."""
    walker.go_to(phase)
    if (phase, event) not in NEXT:
        with pytest.raises(KeyError):
            walker.session._move(event)
        assert walker.session.phase is phase


def test_the_end_is_the_end() -> None:
    """Every phase can be reached, and from one in which nothing is read, none leads back to one that takes requests."""
    assert set(_ways()) == set(DEADLINES) == set(Phase)
    ending = {Phase.ENDING, Phase.LINGERING, Phase.HALF_CLOSED}
    assert {after for (before, _), after in NEXT.items() if before in ending} <= ending


@pytest.mark.parametrize("phase", Phase)
def test_what_a_phase_allows(walker: Walker, phase: Phase) -> None:
    """Requests are taken in one phase only, and bytes are read behind the end as long as the peer may be sending."""
    walker.go_to(phase)
    session = walker.session
    takes = (Phase.SHAKING, Phase.OPEN, Phase.WORKING, Phase.PARKED, Phase.LINGERING, Phase.HALF_CLOSED)
    assert session.wants_read == (phase in takes)
    assert session.held == (phase is Phase.QUEUED)
    assert (session.waiting is not None) == (phase is Phase.PARKED)
    if phase is not Phase.ENDING:
        walker.peer.send(batch(bet(1)))
    session.read()
    assert (session.next_work() is not None) == (phase is Phase.OPEN)


UNTIL = {
    Phase.QUEUED: (40, "no room for its handshake in time"),
    Phase.SHAKING: (10, "the handshake was not done in time"),
    Phase.OPEN: (40, "its first message was not whole in time"),
    Phase.WORKING: (NEVER, ""),
    Phase.PARKED: (NEVER, ""),
    Phase.ENDING: (NEVER, ""),
    Phase.LINGERING: (NEVER, ""),
    Phase.HALF_CLOSED: (8, ""),
}


@pytest.mark.parametrize("phase", Phase)
def test_deadline_of_each_phase(walker: Walker, phase: Phase) -> None:
    """And what goes before it: a peer that is made to wait, and one that leaves its answers unread."""
    walker.go_to(phase)
    session = walker.session
    assert session.deadline(LIMITS) == UNTIL[phase]
    session.make_wait(99.0)
    assert session.note(walker.now, LIMITS) == (99.0, "")
    session.end_wait()
    session.outbox.append(b"\x01")
    shaking = phase in (Phase.QUEUED, Phase.SHAKING)
    unread = (walker.now + 50, "it leaves its answers unread")
    assert session.note(walker.now, LIMITS) == (UNTIL[phase] if shaking else unread)


def test_deadline_of_a_place_that_was_waited_for(walker: Walker) -> None:
    """The handshake has its time from then on, as far as there is time until the first message."""
    walker.happen(Event.NO_PLACE)
    walker.now = 20
    walker.happen(Event.PLACE)
    assert walker.session.deadline(LIMITS) == (31, "the handshake was not done in time")
    walker.now = 34
    walker.happen(Event.PLACE)
    assert walker.session.deadline(LIMITS) == (40, "the handshake was not done in time")


def test_deadlines_of_an_open_session(walker: Walker) -> None:
    """Behind its first message, a peer has time to say something, and then to say all of it."""
    walker.go_to(Phase.OPEN)
    walker.happen(Event.WORK)
    walker.happen(Event.ANSWERED)
    assert walker.session.deadline(LIMITS) == (walker.now + 70, "it said nothing for too long")
    walker.peer.send(batch(bet(1))[:9])
    walker.session.read()
    walker.now += 1
    at = walker.now + LIMITS.frame_timeout_s
    assert walker.session.note(walker.now, LIMITS) == (at, "its message was not whole in time")
