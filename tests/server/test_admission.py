"""Who gets in, how often one is complained about, until when one may go on, and whose handshake is next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bets_protocol import RejectCode, WinnersRequest
from bets_protocol.transports import Stream, connect, listen
from bets_server.admission.complaints import WINDOW_S, Complaints
from bets_server.admission.handshakes import PATIENCE_S, Handshakes
from bets_server.admission.peers import MAX_PEERS, origin_of
from bets_server.admission.quotas import Quotas
from bets_server.intake.identity import Holder
from bets_server.intake.requests import Refusal
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.reactor.deadlines import SPARE_ENTRIES, Deadlines
from bets_server.reactor.phases import Phase
from bets_server.reactor.session import Session
from tests.server.serving import captured_log, wait_until


class Crowd:
    """Sessions that nobody serves, from whatever address a test says."""

    def __init__(self) -> None:
        self._listener = listen("memory://crowd")
        self._ends: list[Stream] = []
        self.sessions: dict[int, Session] = {}

    def one(self, peer: str = "1.2.3.4", agency: int | None = None) -> Session:
        """A new session."""
        self._ends.append(connect("memory://crowd"))
        stream: Stream | None = None

        def accepted() -> bool:
            nonlocal stream
            stream = self._listener.accept()
            return stream is not None

        wait_until(accepted, "the connection")
        assert stream is not None
        stream.peer = peer
        self._ends.append(stream)
        session = Session(len(self.sessions) + 1, stream, revision=9)
        session.agency = agency
        self.sessions[session.number] = session
        return session

    def shaking(self) -> Session:
        """One that begins a handshake."""
        session = self.one()
        session.phase = Phase.SHAKING
        return session

    def close(self) -> None:
        """Closes every end."""
        for end in self._ends:
            end.close()
        self._listener.close()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Sessions; closed at the end."""
    crowd = Crowd()
    try:
        yield crowd
    finally:
        crowd.close()


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("unix", ""),
        ("memory", ""),
    ],
)
def test_what_a_peer_is_counted_by(peer: str, origin: str) -> None:
    """An IPv6 peer has a whole /64 to itself; those of this machine have no address."""
    assert origin_of(peer) == origin


def _why(refusal: Refusal | None) -> str:
    """What a quota says; empty: nothing."""
    if refusal is None:
        return ""
    assert refusal.code is RejectCode.LIMIT
    return refusal.reason


def test_connections_are_counted_by_address(crowd: Crowd) -> None:
    """So many from one, so many in all; who leaves makes room."""
    quotas = Quotas[Session](Limits(max_connections=3, max_per_address=2))
    inside = [crowd.one() for _ in range(2)]
    for session in inside:
        assert _why(quotas.refusal("1.2.3.4")) == ""
        quotas.enter(session)
    assert _why(quotas.refusal("1.2.3.4")) == "1.2.3.4 has 2 connections"
    assert _why(quotas.refusal("unix")) == ""
    quotas.enter(crowd.one("1.2.3.5"))
    assert _why(quotas.refusal("unix")) == "the server has 3 connections"
    quotas.leave(inside[0])
    assert _why(quotas.refusal("1.2.3.4")) == ""


def _waits(crowd: Crowd, quotas: Quotas[Session], peer: str, agency: int) -> Session:
    """A session that is in, and waits for the draw."""
    session = crowd.one(peer, agency)
    quotas.enter(session)
    session.waiting = WinnersRequest(agency=agency)
    quotas.wait(session)
    return session


def test_who_waits_does_not_count_for_its_address(crowd: Crowd) -> None:
    """One of each expected agency, the newest, whether or not it has its answer by now; all others do."""
    quotas = Quotas[Session](Limits(max_per_address=1), lambda agency: agency <= 3)
    kept = [_waits(crowd, quotas, "1.2.3.4", agency) for agency in (1, 2, 3)]
    assert _why(quotas.refusal("1.2.3.4")) == ""
    kept[0].waiting = None
    assert _why(quotas.refusal("1.2.3.4")) == ""
    unexpected = _waits(crowd, quotas, "1.2.3.4", 4)
    refusal = "1.2.3.4 has 1 connections, and 3 that have asked for their winners"
    assert _why(quotas.refusal("1.2.3.4")) == refusal
    assert quotas.yields_to("1.2.3.4") is unexpected
    quotas.leave(unexpected)
    newer = _waits(crowd, quotas, "1.2.3.4", 2)
    assert _why(quotas.refusal("1.2.3.4")) == refusal
    assert quotas.yields_to("1.2.3.4") is kept[1]
    kept[1].waiting = None  # and so under a deadline
    assert (_why(quotas.refusal("1.2.3.4")), quotas.yields_to("1.2.3.4")) == (refusal, None)
    kept[1].waiting = WinnersRequest(agency=3)  # the same connection may ask for another agency
    quotas.wait(kept[1])
    assert quotas.yields_to("1.2.3.4") is kept[2]
    for session in (newer, *kept):
        quotas.leave(session)
    assert (quotas._waiting_at, quotas._asked_for) == ({}, {})


def test_who_waits_elsewhere_makes_no_room_at_an_address(crowd: Crowd) -> None:
    """And what another address asks for takes nobody's place here."""
    quotas = Quotas[Session](Limits(max_per_address=1))
    mine = _waits(crowd, quotas, "1.2.3.4", 1)
    other = _waits(crowd, quotas, "1.2.3.5", 1)
    quotas.enter(crowd.one("1.2.3.4"))
    assert _why(quotas.refusal("1.2.3.4")) == "1.2.3.4 has 1 connections, and 1 that have asked for their winners"
    assert quotas.yields_to("1.2.3.4") is None
    quotas.leave(other)
    quotas.leave(mine)
    assert _why(quotas.refusal("1.2.3.4")) == "1.2.3.4 has 1 connections"


def test_who_waits_makes_room_where_the_server_is_full(crowd: Crowd) -> None:
    """The oldest of those that an agency has beside its newest one, wherever they come from; then nobody."""
    quotas = Quotas[Session](Limits(max_connections=8))
    first = _waits(crowd, quotas, "1.2.3.4", 1)
    second = _waits(crowd, quotas, "1.2.3.5", 1)
    others = [_waits(crowd, quotas, "unix", agency) for agency in (1, 2, 3)]
    for _ in range(3):
        quotas.enter(crowd.one("1.2.3.6"))
    assert _why(quotas.refusal("1.2.3.7")) == _why(quotas.refusal("unix")) == "the server has 8 connections"
    for gone in (first, second):
        assert quotas.yields_to("unix") is gone
        quotas.leave(gone)
        quotas.enter(crowd.one("1.2.3.7"))
    assert quotas.yields_to("unix") is None
    assert [session.waiting is not None for session in others] == [True] * 3


def test_peers_without_an_address_are_not_counted_by_it(crowd: Crowd) -> None:
    """Programs of this machine share no address with anybody."""
    quotas = Quotas[Session](Limits(max_per_address=1))
    for _ in range(5):
        assert _why(quotas.refusal("unix")) == ""
        quotas.enter(crowd.one("unix"))


def test_connections_are_counted_by_agency(crowd: Crowd) -> None:
    """As soon as they say whom they speak for; one that speaks for another counts there from then on."""
    quotas = Quotas[Session](Limits(max_per_agency=2))
    one, two, three = (crowd.one(agency=7) for _ in range(3))
    nobody = crowd.one()
    for session in (one, two, three, nobody):
        quotas.enter(session)
    assert [_why(quotas.claim_agency(session)) for session in (one, two, one, nobody)] == [""] * 4
    assert _why(quotas.claim_agency(three)) == "agency 7 has 2 connections"
    one.agency = 8
    assert _why(quotas.claim_agency(one)) == ""
    assert _why(quotas.claim_agency(three)) == ""
    quotas.leave(one)
    quotas.leave(two)
    assert _why(quotas.claim_agency(crowd.one(agency=7))) == ""


class Grumbler:
    """Complaints, and what they have written."""

    def __init__(self, **limits: int) -> None:
        log, self._output = captured_log()
        self.complaints = Complaints(Limits(**limits), ServerLog(log))

    @property
    def lines(self) -> list[str]:
        """The lines from their result on."""
        return [line.partition("action: ")[2] for line in self._output.getvalue().splitlines()]


def test_refusals_are_written_once_a_minute() -> None:
    """The first one at once, the others as a number when the minute is over; then it begins anew."""
    grumbler = Grumbler()
    assert grumbler.complaints.next_at == float("inf")
    for second in range(5):
        grumbler.complaints.refuse("1.2.3.4", "close_connection", f"reason {second}", float(second))
    grumbler.complaints.refuse("1.2.3.5", "accept_connections", "full", 5.0)
    first = "close_connection | result: fail | ip: 1.2.3.4 | error: reason 0"
    other = "accept_connections | result: fail | ip: 1.2.3.5 | error: full"
    assert grumbler.lines == [first, other]
    assert grumbler.complaints.next_at == WINDOW_S
    grumbler.complaints.tick(WINDOW_S - 1)
    assert len(grumbler.lines) == 2
    grumbler.complaints.tick(WINDOW_S)
    assert grumbler.lines[2:] == ["close_connection | result: fail | ip: 1.2.3.4 | error: reason 4 | repeated: 4"]
    grumbler.complaints.tick(2 * WINDOW_S)
    assert len(grumbler.lines) == 3
    grumbler.complaints.refuse("1.2.3.4", "close_connection", "again", 3 * WINDOW_S)
    assert grumbler.lines[3:] == ["close_connection | result: fail | ip: 1.2.3.4 | error: again"]


def test_errors_are_written_up_to_a_number() -> None:
    """What is beyond is counted, also at the end; and such a peer has to wait."""
    grumbler = Grumbler(complaints_per_minute=3)
    complaints = grumbler.complaints
    allowed = [complaints.allows_error("1.2.3.4", "bad frame", 0.0) for _ in range(3)]
    assert (allowed, complaints.misbehaves("1.2.3.4")) == ([True] * 3, False)
    assert [complaints.allows_error("1.2.3.4", "bad frame", 0.0) for _ in range(2)] == [False] * 2
    assert (complaints.misbehaves("1.2.3.4"), complaints.misbehaves("1.2.3.5")) == (True, False)
    assert grumbler.lines == []
    complaints.close()
    assert grumbler.lines == ["receive_message | result: fail | ip: 1.2.3.4 | error: bad frame | repeated: 2"]


def test_peers_without_number_are_counted_together() -> None:
    """A flood from ever new addresses fills neither the memory nor the log."""
    grumbler = Grumbler()
    for number in range(MAX_PEERS + 50):
        grumbler.complaints.refuse(f"peer {number}", "accept_connections", "full", 0.0)
    assert len(grumbler.lines) == MAX_PEERS + 1
    assert grumbler.lines[-1] == f"accept_connections | result: fail | ip: peer {MAX_PEERS} | error: full"
    grumbler.complaints.tick(WINDOW_S)
    assert grumbler.lines[MAX_PEERS + 1 :] == [
        "accept_connections | result: fail | ip: others | error: full | repeated: 49"
    ]


def test_peers_of_one_network_are_complained_about_together() -> None:
    """An IPv6 peer has a whole /64: it gets no lines of their own for all addresses in there."""
    grumbler = Grumbler(complaints_per_minute=3)
    complaints = grumbler.complaints
    allowed = [complaints.allows_error(f"2001:db8::{number:x}", "bad frame", 0.0) for number in range(1, 9)]
    assert allowed == [True] * 3 + [False] * 5
    assert complaints.misbehaves("2001:db8::ffff")
    assert not complaints.misbehaves("2001:db8:0:1::1")
    complaints.close()
    assert grumbler.lines == ["receive_message | result: fail | ip: 2001:db8::/64 | error: bad frame | repeated: 5"]


def test_peers_that_are_counted_together_misbehave_together() -> None:
    """Beyond so many nobody can tell any more which of them it is."""
    complaints = Grumbler(complaints_per_minute=3).complaints
    for number in range(MAX_PEERS):
        complaints.allows_error(f"peer {number}", "bad frame", 0.0)
    for number in range(4):
        assert not complaints.misbehaves("another one")
        complaints.allows_error(f"new peer {number}", "bad frame", 0.0)
    assert complaints.misbehaves("another one")
    assert not complaints.misbehaves("peer 1")


def test_holders_of_certificates_are_complained_about_by_them() -> None:
    """Neither their neighbours at the address nor those without one are blamed; the line names the address."""
    grumbler = Grumbler(complaints_per_minute=3)
    complaints = grumbler.complaints
    one, other = (Holder(agency=agency, fingerprint=str(agency) * 64) for agency in (1, 2))
    for _ in range(5):
        complaints.allows_error("1.2.3.4", "bad frame", 0.0, holder=one)
    assert complaints.slows_down("1.2.3.4", 0.0, holder=one)
    assert complaints.slows_down("1.2.3.5", 0.0, holder=one)
    assert not complaints.slows_down("1.2.3.4", 0.0, holder=other)
    assert not complaints.slows_down("1.2.3.4", 0.0)
    assert not complaints.holds_back("1.2.3.4", 0.0)
    complaints.close()
    assert grumbler.lines == ["receive_message | result: fail | ip: 1.2.3.4 | error: bad frame | repeated: 2"]


@pytest.mark.parametrize(("peer", "held"), [("1.2.3.4", True), ("unix", False)])
def test_new_connections_wait_where_very_many_do(peer: str, held: bool) -> None:
    """More than so many within one second; those at a Unix socket never do."""
    complaints = Grumbler(complaints_per_minute=3, penalties_per_second=2).complaints
    assert [complaints.slows_down(peer, 0.0) for _ in range(3)] == [False] * 3
    for _ in range(4):
        complaints.allows_error(peer, "bad frame", 0.0)
    assert [complaints.slows_down(peer, at) for at in (0.0, 0.9, 1.0, 1.5)] == [True] * 4
    assert not complaints.holds_back(peer, 1.5)
    assert complaints.slows_down(peer, 1.9)
    assert complaints.holds_back(peer, 1.9) == held
    assert not complaints.holds_back("1.2.3.5", 1.9)
    assert not complaints.holds_back(peer, 2.0)


def test_deadlines_of_those_that_are_gone_are_thrown_out(crowd: Crowd) -> None:
    """Short connections with long deadlines leave nothing behind; who lives is looked at when it is due."""
    deadlines = Deadlines(crowd.sessions)
    stays, gone = crowd.one(), crowd.one()
    deadlines.set(stays, 50.0)
    del crowd.sessions[gone.number]
    for number in range(10 * SPARE_ENTRIES):
        gone.due.looked_at_by = float("inf")
        deadlines.set(gone, 1000.0 + number)
    assert len(deadlines._heap) <= 2 + SPARE_ENTRIES
    assert list(deadlines.passed(50.0)) == [stays]


def test_deadlines_pass_once_each(crowd: Crowd) -> None:
    """In their order; one that was moved is looked at when it is due and not before."""
    deadlines = Deadlines(crowd.sessions)
    soon, late, never, moved = (crowd.one() for _ in range(4))
    assert deadlines.next_at == float("inf")
    deadlines.set(late, 20.0)
    deadlines.set(soon, 10.0)
    deadlines.set(never, float("inf"))
    deadlines.set(moved, 5.0)
    for at in (30.0, 40.0, 15.0):
        deadlines.set(moved, at)
    assert deadlines.next_at == 5.0
    assert list(deadlines.passed(9.0)) == []
    assert list(deadlines.passed(12.0)) == [soon]
    assert list(deadlines.passed(20.0)) == [moved, late]
    assert list(deadlines.passed(1e9)) == []


def test_deadline_that_comes_nearer(crowd: Crowd) -> None:
    """It is kept, and the old one does not come up again."""
    deadlines = Deadlines(crowd.sessions)
    session = crowd.one()
    deadlines.set(session, 60.0)
    deadlines.set(session, 10.0)
    assert list(deadlines.passed(10.0)) == [session]
    assert list(deadlines.passed(60.0)) == []


def test_deadline_of_a_session_that_is_gone(crowd: Crowd) -> None:
    """It passes without anybody."""
    deadlines = Deadlines(crowd.sessions)
    session = crowd.one()
    deadlines.set(session, 10.0)
    del crowd.sessions[session.number]
    assert list(deadlines.passed(10.0)) == []


def test_handshakes_begin_at_a_rate(crowd: Crowd) -> None:
    """One a round, as long as some are saved up; then one for each share of a second, the newest first."""
    handshakes = Handshakes[Session](Limits(handshakes_per_second=20))
    sessions = [crowd.shaking() for _ in range(6)]
    assert [handshakes.admit(session, 0.0) for session in sessions[:2]] == [True, False]
    handshakes.begin_round()
    assert handshakes.next_admitted(0.0) is sessions[1]
    handshakes.begin_round()
    assert not any(handshakes.admit(session, 0.0) for session in sessions[2:])
    assert [session.held for session in sessions] == [False, False, True, True, True, True]
    assert handshakes.admit(sessions[0], 0.0)
    assert handshakes.next_admitted(0.01) is None
    assert handshakes.next_at(0.01) == pytest.approx(0.05)
    assert handshakes.next_admitted(0.06) is sessions[5]
    assert (sessions[5].held, sessions[5].shaking_since) == (False, 0.06)
    handshakes.begin_round()
    newest = crowd.shaking()
    assert not handshakes.admit(newest, 0.07)
    handshakes.leave(sessions[4])
    for now, expected in ((1.0, newest), (2.0, sessions[3]), (3.0, sessions[2]), (4.0, None)):
        handshakes.begin_round()
        assert handshakes.next_admitted(now) is expected
        assert handshakes.next_admitted(now) is None
    assert handshakes.next_at(10.0) == float("inf")


def test_slow_handshake_gives_its_place_up(crowd: Crowd) -> None:
    """Only where others wait, only the oldest, and only after a while."""
    handshakes = Handshakes[Session](Limits(max_handshakes=2))
    slow, quick, next_one = (crowd.shaking() for _ in range(3))
    assert handshakes.admit(slow, 0.0)
    handshakes.begin_round()
    assert handshakes.admit(quick, 0.5)
    handshakes.begin_round()
    assert handshakes.overstaying(100.0) is None
    assert not handshakes.admit(next_one, 0.6)
    assert handshakes.overstaying(0.6) is None
    assert handshakes.next_at(0.6) == PATIENCE_S
    assert handshakes.overstaying(PATIENCE_S) is slow
    handshakes.leave(slow)
    assert handshakes.overstaying(PATIENCE_S) is None
    assert handshakes.next_admitted(PATIENCE_S) is next_one
