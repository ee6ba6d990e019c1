"""The peers of the reactor: how each goes on, and how it ends.

Rules:

1. Whatever has changed for a session, `advance` moves it as far as it goes: it sends, takes requests, hands them to the
   store's next job or answers them at once, and closes.
2. An error of one stream closes that stream.
3. Of each session, a round takes one reading and one unit of requests. What is left over it goes on with in the next
   round, whatever the poller says.
4. A session that has left is in none of the tables here, and an answer that comes for it finds nobody.
"""

from __future__ import annotations

import contextlib
import logging
import select
import selectors
from collections.abc import Mapping, Sequence

import attrs

from bets_protocol import RejectCode, RemoteProtocolError, TransportError, TruncatedFrame
from bets_protocol.transports import Stream
from bets_server.admission.gate import Gate
from bets_server.intake.group_commit import GroupCommit
from bets_server.intake.handlers import Handlers, answer_at_once
from bets_server.intake.identity import change_of_holder, holder_of
from bets_server.intake.requests import Answer, Work
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.reactor.answer_log import AnswerLog, ArrivalLog
from bets_server.reactor.deadlines import Deadlines
from bets_server.reactor.fencing import Fencing
from bets_server.reactor.listeners import Listeners
from bets_server.reactor.outbox import SharedAnswers
from bets_server.reactor.phases import Phase
from bets_server.reactor.poller import Poller
from bets_server.reactor.session import Session


class Conversations:
    """The sessions of a reactor.

    Args:
        poller: told what each session waits for.
        jobs: takes the work that needs the store.
        listeners: accept again as soon as a connection has given its descriptor back.
        handlers: whose store says which agencies are expected.
        revision: as for `ServerConnection`.

    Attributes:
        sessions: those that live, by number.
        seen: by agency: when a message of it was answered last.
        pins: the certificates that speak for an agency, see `identity`; None: all of the CA.
        stopping: the reactor is about to end: what was read is answered, and nothing more is read.

    Thread: reactor.
    """

    def __init__(
        self,
        poller: Poller,
        jobs: GroupCommit,
        listeners: Listeners,
        handlers: Handlers,
        log: ServerLog,
        *,
        revision: int,
        limits: Limits,
    ) -> None:
        self.sessions: dict[int, Session] = {}
        self.seen: dict[int, float] = {}
        self.pins: Mapping[str, int] | None = None
        self.stopping = False
        self._poller = poller
        self._jobs = jobs
        self._listeners = listeners
        self._log = log
        self._revision = revision
        self._limits = limits
        self._unfinished: dict[int, Session] = {}
        self._deadlines = Deadlines(self.sessions)
        self._gate = Gate[Session](limits, log, handlers.expects, evict=self._evict, drop=self.drop)
        self._arrivals = ArrivalLog(log)
        self._answer_log = AnswerLog(log, self._gate.complaints, handlers, revision=revision)
        self._shared = SharedAnswers()
        self._fencing = Fencing()
        self._next_number = 0

    # -- the rounds

    def begin_round(self, now: float) -> None:
        """Goes on with those of which the last round has left something: bytes or requests."""
        self._gate.handshakes.begin_round()
        unfinished, self._unfinished = self._unfinished, {}
        for session in unfinished.values():
            if session.number not in self.sessions:
                continue
            if session.inbox.cut_short and session.wants_read:
                self._take_in(session, now)
            else:
                self.advance(session, now)

    def next_at(self, now: float) -> float:
        """When to `tick` at the latest; infinity: never."""
        if self._unfinished:
            return now
        return min(self._deadlines.next_at, self._arrivals.next_at, self._gate.next_at(now))

    def tick(self, now: float) -> None:
        """What is due: deadlines, handshakes that had to wait, lines."""
        for session in self._deadlines.passed(now):
            self._expire(session, now)
        while (overstaying := self._gate.handshakes.overstaying(now)) is not None:
            self._cut(overstaying, "its handshake was slow, and others waited", now)
        while (admitted := self._gate.handshakes.next_admitted(now)) is not None:
            self._take_in(admitted, now)
        self._arrivals.tick(now)
        self._gate.complaints.tick(now)

    def beat(self, now: float) -> None:
        """Tells those that wait for the draw that the server is there; drops those that are gone since they asked.

        Of one that has ended its side only the system's poll tells: reading goes on to give the end of the stream.
        """
        for session in [s for s in self.sessions.values() if s.waiting is not None and s.binding is not None]:
            session.beat()
            self.advance(session, now)
        poll = select.poll()
        parked = {s.stream.fileno(): s for s in self.sessions.values() if s.ended and s.waiting is not None}
        for descriptor in parked:
            poll.register(descriptor, 0)
        for descriptor, _ in poll.poll(0):
            self.drop(parked[descriptor])

    def renew_pins(self, pins: Mapping[str, int] | None, now: float) -> None:
        """Takes other pins; a peer that speaks for another agency by them, or for none any more, is let go."""
        self.pins = pins
        for session in list(self.sessions.values()):
            session.revoke(change_of_holder(session.holder, session.stream.certificate, pins))
            self._let_go_if_revoked(session, now)

    def stop(self, now: float) -> None:
        """From now on nothing more is read, what was read is answered, and a peer that waits for the draw is let go.

        Nothing was read of a peer that is still shaking hands, and to go on with that for all of them would take
        seconds.
        """
        self.stopping = True
        for session in list(self.sessions.values()):
            if session.stream.handshaking:
                self.drop(session)
                continue
            if session.made_to_wait:
                session.end_wait()
            self.advance(session, now)

    def close(self) -> None:
        """Closes every connection."""
        self.stopping = True
        self._gate.complaints.close()
        self.drop_all()

    def drop_all(self) -> None:
        """Closes every connection, whatever is still due to it."""
        for session in list(self.sessions.values()):
            self.drop(session)

    # -- a session

    def accept(self, stream: Stream, now: float) -> None:
        """A new connection."""
        refusal = self._gate.may_enter(stream.peer, now)
        if refusal is not None:
            stream.close()
            self._gate.complaints.refuse(stream.peer, "accept_connections", refusal.reason, now)
            return
        self._next_number += 1
        session = Session(self._next_number, stream, revision=self._revision, opened_at=now, shared=self._shared)
        self.sessions[session.number] = session
        self._gate.enter(session)
        if self._gate.complaints.holds_back(stream.peer, now):
            session.make_wait(now + self._limits.penalty_s)
        else:
            self._arrivals.came(session, now)
        self._update(session, now)

    def take_answers(self, work: Work, answers: Sequence[Answer], now: float) -> Session | None:
        """Gives a session the answers of the store; None where it is gone."""
        self._gate.answered(work, answers, now)
        session = self.sessions.get(work.session)
        if session is None:
            self._answer_log.write(work, answers, now)  # what is stored is stored, whether or not the peer is there
        else:
            self._give_answers(session, work, answers, now)
            self._let_go_if_revoked(session, now)
        return session

    def fence(self, session: Session, now: float) -> None:
        """Ends the session that `session` has overtaken on its upload."""
        overtaken = self._fencing.claim(session) if session.number in self.sessions else None
        if overtaken is not None and not overtaken.busy:  # one with work gets its answer first, and then comes here
            overtaken.end_upload(RejectCode.FENCED)
            self.advance(overtaken, now)

    def _evict(self, session: Session, now: float) -> None:
        """Ends the connection of one that waits for the draw, since a new one needs its place."""
        self._complain("close_connection", session, "it waits for the draw, and a new connection needs its place", now)
        session.end_upload(RejectCode.LIMIT)
        with contextlib.suppress(TransportError):
            session.flush()  # as far as there is room: to wait for more would keep the place
        self.drop(session)

    def serve(self, session: Session, mask: int, now: float) -> None:
        """The poller has said that `session` is ready for `mask`."""
        if session.number not in self.sessions:  # dropped earlier in this round
            return
        if not mask & selectors.EVENT_READ and not session.stream.needs_write:
            self.advance(session, now)
        elif not session.stream.handshaking or self._gate.handshakes.admit(session, now):
            self._take_in(session, now)
        else:
            self._update(session, now)

    def _take_in(self, session: Session, now: float) -> None:
        """Has bytes of the session's stream read, then does what follows from them."""
        handshaking, unheard = session.stream.handshaking, session.inbox.unheard
        try:
            if session.closing:
                session.throw_away()
            else:
                session.read()
        except TransportError as error:
            if handshaking:
                self._complain("accept_connections", session, str(error), now)
            self.drop(session)
            return
        if unheard and not session.inbox.unheard:
            self._arrivals.write(session)
        self.advance(session, now)

    def _let_go_if_revoked(self, session: Session, now: float) -> None:
        if not session.revoked or session.busy or session.closing:
            return
        self._complain("close_connection", session, session.revoked, now)
        session.end_upload(RejectCode.NOT_AUTHORIZED)
        self.advance(session, now)

    def _expire(self, session: Session, now: float) -> None:
        """The deadline of `session` has passed."""
        _, reason = session.deadline(self._limits)
        if reason:
            self._cut(session, reason, now)
        elif session.made_to_wait:
            session.end_wait()
            self.advance(session, now)
        else:
            self.drop(session)

    def _cut(self, session: Session, reason: str, now: float) -> None:
        """Closes the connection of a peer that costs too much."""
        self._complain("close_connection", session, reason, now)
        self.drop(session, abort=not session.has_said_all)

    def _complain(self, action: str, session: Session, reason: str, now: float) -> None:
        self._arrivals.write(session)
        self._gate.complaints.refuse(session.stream.peer, action, reason, now, holder=session.holder)

    def advance(self, session: Session, now: float) -> None:
        """Moves a session as far as it goes: the outbox, requests, answers that need no store, the end."""
        if session.number not in self.sessions:  # it had to make room for another meanwhile
            return
        try:
            session.flush()
            if session.phase is Phase.SHAKING and not session.stream.handshaking:
                self._gate.handshakes.leave(session)
                certificate = session.stream.certificate
                session.end_handshake(None if certificate is None else holder_of(certificate, self.pins))
            work = session.next_work()
            if work is not None:
                refusal = self._gate.may_ask(session, work, now)
                if refusal is not None and not work.is_opening:
                    self._cut(session, refusal.reason, now)
                    return
                answers = answer_at_once(work)
                if answers is None:
                    self._jobs.add([work if refusal is None else attrs.evolve(work, refusal=refusal)])
                else:
                    self._give_answers(session, work, answers, now)
                    self._unfinished[session.number] = session
            if (error := session.take_refused()) is not None:
                self._note_refused(session, error, now)
            if self.stopping and session.number not in self._unfinished:
                session.let_go()
            session.flush()
            if session.closing:
                self._end(session, now)
        except TransportError:
            self.drop(session)
        if session.number in self.sessions:
            self._update(session, now)

    def _note_refused(self, session: Session, error: RemoteProtocolError, now: float) -> None:
        """The line for bytes of a peer that are no message."""
        if session.inbox.is_health_check:  # the revisions 5 and 6 have no other answer to it
            self._log.bad_frame(session.stream.peer, error, level=logging.DEBUG)
        elif not isinstance(error, TruncatedFrame):
            self._answer_log.write_bad_frame(session, error, now)
            self._slow_down(session, now)

    def _give_answers(self, session: Session, work: Work, answers: Sequence[Answer], now: float) -> None:
        """Gives a session its answers; where it gets one refusal after the other, they have to wait."""
        self._answer_log.write(work, answers, now)
        session.take_answers(answers)
        if session.agency is not None:
            self.seen[session.agency] = now
        if session.waiting is not None:
            self._gate.waits(session)
        if answers[-1].is_fault:
            self._slow_down(session, now)

    def _slow_down(self, session: Session, now: float) -> None:
        """Has a peer wait for the refusal that is due to it, where it was given very many.

        So one that tries again at once and for ever, each time on a new connection, does so once a second, and nobody
        else is kept waiting who comes from the same address.
        """
        if self.stopping:
            return
        if self._gate.complaints.slows_down(session.stream.peer, now, holder=session.holder):
            session.make_wait(now + self._limits.penalty_s)

    def _end(self, session: Session, now: float) -> None:
        """Once the last answer is out: closes at once, or lets the peer finish what it is saying first.

        One that says more than is read of it has as long to take its answer: closing would make a reset.

        Raises:
            WriteError: the connection broke.
        """
        if not session.has_said_all:
            return
        if not session.lingering or session.ended:
            self.drop(session)
        elif session.phase is not Phase.HALF_CLOSED:
            limits = self._limits
            session.half_close(now + (limits.stop_linger_timeout_s if self.stopping else limits.linger_timeout_s))

    def _update(self, session: Session, now: float) -> None:
        """Tells the selector what the session waits for now, and the deadlines until when."""
        stream = session.stream
        reads = session.wants_read and (not self.stopping or session.closing)
        if reads and session.inbox.cut_short and not session.closing:
            self._unfinished[session.number] = session
        self._deadlines.set(session, session.note(now, self._limits)[0])
        wanted = selectors.EVENT_READ if reads or (stream.needs_read and not session.held) else 0
        wanted |= selectors.EVENT_WRITE if session.wants_write or stream.needs_write else 0
        self._poller.watch(session, wanted)

    def drop(self, session: Session, *, abort: bool = False) -> None:
        """Closes the session's stream and forgets it; an answer that is still in work finds nobody."""
        if self.sessions.pop(session.number, None) is not None:
            self._gate.leave(session)
        self._arrivals.write(session)
        self._unfinished.pop(session.number, None)
        self._fencing.forget(session)
        self._poller.forget(session)
        if abort:
            session.stream.abort()
        else:
            session.stream.close()
        self._log.closed_connection(session.stream.peer, level=logging.INFO if self.stopping else logging.DEBUG)
        if self._listeners.again_at is not None:
            self._listeners.resume()
