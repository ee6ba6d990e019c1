"""The selector loop: the one thread that owns every stream, decodes, and sends.

One round: wait until something is ready; read every ready stream; take the outcome of the store's job, if one has
come; hand everything that was collected meanwhile to the next job. At most one job is in work, and while it waits for
the disk the next group grows: that is the group commit. Answers leave only after the job that they belong to.

Rules:

1. Only this thread touches sessions and streams. Workers get `Work`, which is plain data, and give `GroupOutcome`.
2. A session that waits for the draw holds no thread and costs a descriptor and a few hundred bytes.
3. Time is read here, once a round, and passed on. Every session has a deadline, save those that wait for the store or
   the draw.
4. An error of one stream closes that stream. An error of the store ends the process: nobody can know what is on disk.
5. A stop has a deadline. What still runs then, a call of the store included, is left behind.
6. No session keeps the others waiting: of each, a round takes one reading and one unit of requests, and a job of the
   store a few of what costs it a flush to disk of its own.
7. Log lines are written at the end of a round, after the answers have left.
"""

from __future__ import annotations

import contextlib
import logging
import select
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from bets_protocol import RejectCode, StorageError, TransportError, TruncatedFrame
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.transports import Listener
from bets_server.admission.gate import Gate
from bets_server.intake.group_commit import GroupCommit
from bets_server.intake.handlers import Handlers, answer_at_once
from bets_server.intake.identity import change_of_holder, holder_of
from bets_server.intake.requests import Answer, Work
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.reactor.answer_log import AnswerLog, ArrivalLog
from bets_server.reactor.deadlines import Deadlines
from bets_server.reactor.exit_policy import ExitPolicy
from bets_server.reactor.fencing import Fencing
from bets_server.reactor.listeners import ACCEPTS_A_ROUND, Listeners
from bets_server.reactor.outbox import SharedAnswers
from bets_server.reactor.poller import Poller, Turns
from bets_server.reactor.session import Session

LOOK_AT_STORE_S = 1.0
"""Seconds between two looks at whether the store is still where it was opened, when nothing is stored."""


class Reactor:
    """Serves listeners until it is told to stop.

    Args:
        listeners: where peers come from; closed by the reactor.
        handlers: what answers; called by one worker at a time.
        log: where events go.
        revision: as for `ServerConnection`.
        limits: what peers may cost.
        workers: threads of the pool.
        grace_s: seconds that a stop may take before connections are cut.
        exit_after_draw: stop once the draw was made and everyone that waited has the answer, see `after_draw`.

    Attributes:
        pins: the certificates that speak for an agency, see `identity`; None: all of the CA. Set before `run`, and by
            `renew_pins`.

    Raises:
        StorageError: the store cannot be read.
        OSError, RuntimeError: the system allows no further descriptor or thread; nothing is left open.

    Thread: `run` belongs to one thread; `stop` may be called from any, and from a signal handler.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        handlers: Handlers,
        log: ServerLog,
        *,
        revision: int = 9,
        limits: Limits | None = None,
        workers: int = 4,
        grace_s: float = 8.0,
        exit_after_draw: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pins: Mapping[str, int] | None = None
        self._handlers = handlers
        self._log = log
        self._revision = revision
        self._limits = limits = limits or Limits()
        self._grace_s = grace_s
        self._exit_policy = ExitPolicy(handlers, limits.after_draw_timeout_s) if exit_after_draw else None
        self._clock = clock
        with contextlib.ExitStack() as parts:
            self._poller = parts.enter_context(contextlib.closing(Poller()))
            self.wake = self._poller.wake
            self._listeners = Listeners(listeners, self._poller.selector, log)
            self._jobs = GroupCommit(handlers, workers=workers, wake=self.wake)
            parts.pop_all()  # from here on they are closed by `close`
        self._sessions: dict[int, Session] = {}
        self._unfinished: dict[int, Session] = {}  # to be gone on with in the next round, whatever the poller says
        self._deadlines = Deadlines(self._sessions)
        self._gate = Gate[Session](limits, log, handlers.expects, evict=self._evict, drop=self._drop)
        self._arrivals = ArrivalLog(log)
        self._answer_log = AnswerLog(log, self._gate.complaints, handlers, revision=revision)
        self._shared = SharedAnswers()
        self._fencing = Fencing()
        self._seen: dict[int, float] = {}  # by agency: when a message of it was answered last
        self._next_number = 0
        self._turns = Turns()
        self._next_sweep = 0.0
        self._next_look = 0.0
        self._drawn_here = False
        self._drawn_elsewhere = False  # set by other threads: the draw took place, and the reactor has not heard of it
        self._failure: StorageError | None = None  # likewise: of a call of the store that was not the reactor's
        self._actions: deque[Callable[[], None]] = deque()
        self._stop_asked = False
        self._stop_deadline: float | None = None
        self._failed = False
        self._closed = False

    def stop(self) -> None:
        """Asks for a stop: what was read is stored and answered, then everything closes. Thread: any; signal-safe."""
        self._stop_asked = True
        self.wake()

    def call(self, action: Callable[[], None]) -> None:
        """Has the loop do `action` between two sessions. Thread: any; signal-safe."""
        self._actions.append(action)
        self.wake()

    def renew_pins(self, pins: Mapping[str, int] | None) -> None:
        """Takes other pins; whoever speaks for another agency by them, or for none any more, is let go.

        Thread: the loop, by `call`.
        """
        self.pins = pins
        now = self._clock()
        for session in list(self._sessions.values()):
            session.revoked = change_of_holder(session.holder, session.stream.certificate, pins)
            self._let_go_if_revoked(session, now)

    def draw_took_place(self) -> None:
        """The draw was made by somebody else, an operator: whoever waits is answered now. Thread: any."""
        self._drawn_elsewhere = True
        self.wake()

    def fail(self, error: StorageError) -> None:
        """The store failed under somebody else's call: the server ends, and answers nobody. Thread: any."""
        self._failure = error
        self.wake()

    def connections(self) -> list[int | None]:
        """For each open connection, the agency that it said it speaks for, or None. Thread: any."""
        return [session.agency for session in list(self._sessions.values())]

    def silences(self) -> dict[int, float]:
        """For each agency that was heard since the start: seconds since its last message. Thread: any."""
        now = self._clock()
        return {agency: now - seen for agency, seen in list(self._seen.items())}

    @property
    def store_in_use(self) -> bool:
        """Whether a call of the store is running; after `run`, one that did not come back before the deadline."""
        return self._jobs.running

    def run(self) -> ExitCode:
        """Serves until `stop`, the end after the draw, or a failure of the store; then everything is closed.

        Returns:
            `DONE`, or `STORE_FAILED`.
        """
        now = self._clock()
        self._next_sweep, self._next_look = now + self._limits.heartbeat_s, now + LOOK_AT_STORE_S
        try:
            if self._exit_policy is not None and self._exit_policy.begin(now):
                self._log.serves_after_draw(self._limits.after_draw_timeout_s)
            self._listeners.resume()
            while not self._round():
                self._log.write_held()
        finally:
            self._log.write_held()
            self.close()
        return ExitCode.STORE_FAILED if self._failed or self.store_in_use else ExitCode.DONE

    # -- one round

    def _round(self) -> bool:
        """One turn of the loop; returns whether it was the last."""
        ready = self._poller.wait(self._timeout())
        now = self._clock()
        self._log.hold()
        self._gate.handshakes.begin_round()
        self._go_on(now)
        for key, mask in self._turns.of(ready, beside_a_job=self._jobs.running):
            if isinstance(key.data, Session):
                self._serve(key.data, mask, now)
            else:
                self._accept(key.data, now)
        try:
            for answered, drawn_now in self._jobs.finished():
                self._take_group(answered, now, drawn_now=drawn_now)
        except StorageError as error:
            self._failure = error
        if self._failure is not None:
            self._failed = True  # what is on disk is unknown: nobody is answered any more
            self._log.store_failed(self._failure)
            return True
        if self._drawn_elsewhere:
            self._drawn_elsewhere = False
            self._begin_answering_the_draw()
        while self._actions:
            self._actions.popleft()()
        self._tick(now)
        self._jobs.start()
        if self._stop_deadline is None or self._sessions:
            return False
        return not self._jobs.running or now >= self._stop_deadline

    def _timeout(self) -> float:
        if self._unfinished:
            return 0.0
        now = self._clock()
        times = [self._next_sweep, self._next_look, self._deadlines.next_at, self._arrivals.next_at]
        times += [self._gate.next_at(now)]
        times += [at for at in (self._listeners.again_at, self._stop_deadline) if at is not None]
        times += [self._exit_policy.next_at] if self._exit_policy is not None and self._stop_deadline is None else []
        return max(0.0, min(times) - now)

    def _tick(self, now: float) -> None:
        if self._listeners.again_at is not None and now >= self._listeners.again_at:
            self._listeners.resume()
        for session in self._deadlines.passed(now):
            self._expire(session, now)
        self._admit_handshakes(now)
        self._arrivals.tick(now)
        self._gate.complaints.tick(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_AT_STORE_S
            try:
                self._handlers.store.require_in_place()
            except StorageError as error:
                self.fail(error)
        if now >= self._next_sweep:
            self._next_sweep = now + self._limits.heartbeat_s
            self._listeners.look_after()
            self._sweep(now)
        if self._exit_policy is not None and self._exit_policy.is_over(self._sessions.values(), now):
            self._stop_asked = True  # whoever has asked is answered first
        if self._stop_asked and self._stop_deadline is None:
            self._begin_stop(now)
        if self._stop_deadline is not None and now >= self._stop_deadline:
            self._jobs.forget()
            for session in list(self._sessions.values()):
                self._drop(session)

    def _sweep(self, now: float) -> None:
        """Tells those that wait for the draw that the server is there; drops those that are gone since they asked.

        Of one that has ended its side only the system's poll tells: reading goes on to give the end of the stream.
        """
        for session in [s for s in self._sessions.values() if s.waiting is not None and s.binding is not None]:
            session.beat()
            self._advance(session, now)
        poll = select.poll()
        parked = {s.stream.fileno(): s for s in self._sessions.values() if s.ended and s.waiting is not None}
        for descriptor in parked:
            poll.register(descriptor, 0)
        for descriptor, _ in poll.poll(0):
            self._drop(parked[descriptor])

    def _begin_stop(self, now: float) -> None:
        """Closes the listeners; what was read is still answered, who waits for the draw is let go.

        Of whoever is still shaking hands nothing was read, and to go on with that for all of them would take seconds.
        """
        self._stop_deadline = now + self._grace_s
        self._listeners.close()
        for session in list(self._sessions.values()):
            if session.stream.handshaking:
                self._drop(session)
                continue
            if session.made_to_wait:
                session.end_wait()
            self._advance(session, now)

    # -- sessions

    def _accept(self, listener: Listener, now: float) -> None:
        for stream in self._listeners.accept(listener, now, at_most=1 if self._jobs.running else ACCEPTS_A_ROUND):
            refusal = self._gate.may_enter(stream.peer, now)
            if refusal is not None:
                stream.close()
                self._gate.complaints.refuse(stream.peer, "accept_connections", refusal.reason, now)
                continue
            self._next_number += 1
            session = Session(self._next_number, stream, revision=self._revision, opened_at=now, shared=self._shared)
            self._sessions[session.number] = session
            self._gate.enter(session)
            if self._gate.complaints.holds_back(stream.peer, now):
                session.make_wait(now + self._limits.penalty_s)
            else:
                self._arrivals.came(session, now)
            self._update(session, now)

    def _evict(self, session: Session, now: float) -> None:
        """Ends the connection of one that waits for the draw, since a new one needs its place."""
        self._complain("close_connection", session, "it waits for the draw, and a new connection needs its place", now)
        session.end_upload(RejectCode.LIMIT)
        with contextlib.suppress(TransportError):
            session.flush()  # as far as there is room: to wait for more would keep the place
        self._drop(session)

    def _serve(self, session: Session, mask: int, now: float) -> None:
        if session.number not in self._sessions:  # dropped earlier in this round
            return
        if not mask & selectors.EVENT_READ and not session.stream.needs_write:
            self._advance(session, now)
        elif not session.stream.handshaking or self._gate.handshakes.admit(session, now):
            self._take_in(session, now)
        else:
            self._update(session, now)

    def _take_in(self, session: Session, now: float) -> None:
        """Has bytes of the session's stream read, then does what follows from them."""
        handshaking, unheard = session.stream.handshaking, session.unheard
        try:
            if session.closing:
                session.throw_away()
            else:
                session.read()
        except TransportError as error:
            if handshaking:
                self._complain("accept_connections", session, str(error), now)
            self._drop(session)
            return
        if unheard and not session.unheard:
            self._arrivals.write(session)
        if handshaking and not session.stream.handshaking:
            self._gate.handshakes.leave(session)
            if session.stream.certificate is not None:
                session.identify(holder_of(session.stream.certificate, self.pins))
        self._advance(session, now)

    def _let_go_if_revoked(self, session: Session, now: float) -> None:
        if not session.revoked or session.busy or session.closing:
            return
        self._complain("close_connection", session, session.revoked, now)
        session.end_upload(RejectCode.NOT_AUTHORIZED)
        self._advance(session, now)

    def _go_on(self, now: float) -> None:
        """Goes on with those of which the last round has left something: bytes or requests."""
        unfinished, self._unfinished = self._unfinished, {}
        for session in unfinished.values():
            if session.number not in self._sessions:
                continue
            if session.cut_short and session.wants_read:
                self._take_in(session, now)
            else:
                self._advance(session, now)

    def _admit_handshakes(self, now: float) -> None:
        """Lets those go on that had to wait, as far as there is room."""
        while (overstaying := self._gate.handshakes.overstaying(now)) is not None:
            self._cut(overstaying, "its handshake was slow, and others waited", now)
        while (session := self._gate.handshakes.next_admitted(now)) is not None:
            self._take_in(session, now)

    def _expire(self, session: Session, now: float) -> None:
        """The deadline of `session` has passed."""
        _, reason = session.due(self._limits)
        if reason:
            self._cut(session, reason, now)
        elif session.made_to_wait:
            session.end_wait()
            self._advance(session, now)
        else:
            self._drop(session)

    def _cut(self, session: Session, reason: str, now: float) -> None:
        """Closes the connection of a peer that costs too much."""
        self._complain("close_connection", session, reason, now)
        self._drop(session, abort=not session.has_said_all)

    def _complain(self, action: str, session: Session, reason: str, now: float) -> None:
        self._arrivals.write(session)
        self._gate.complaints.refuse(session.stream.peer, action, reason, now, holder=session.holder)

    def _advance(self, session: Session, now: float) -> None:
        """Moves a session as far as it goes: the outbox, requests, answers that need no store, the end."""
        if session.number not in self._sessions:  # it had to make room for another meanwhile
            return
        try:
            session.flush()
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
                    self._take_answers(session, work, answers, now)
                    self._unfinished[session.number] = session
            if session.refused is not None and session.closing and not session.refusal_logged:
                session.refusal_logged = True
                if session.is_health_check:  # the revisions 5 and 6 have no other answer to it
                    self._log.bad_frame(session.stream.peer, session.refused, level=logging.DEBUG)
                elif not isinstance(session.refused, TruncatedFrame):
                    self._answer_log.write_bad_frame(
                        session.stream.peer, session.refused, now, head=session.head, holder=session.holder
                    )
                    self._slow_down(session, now)
            if self._stop_deadline is not None and session.number not in self._unfinished:
                self._let_go(session)
            session.flush()
            if session.closing:
                self._end(session, now)
        except TransportError:
            self._drop(session)
        if session.number in self._sessions:
            self._update(session, now)

    def _take_answers(self, session: Session, work: Work, answers: Sequence[Answer], now: float) -> None:
        """Gives a session its answers; where it gets one refusal after the other, they have to wait."""
        self._answer_log.write(work, answers, now)
        session.take_answers(answers)
        if session.agency is not None:
            self._seen[session.agency] = now
        if session.waiting is not None:
            self._gate.waits(session)
        if answers[-1].is_fault:
            self._slow_down(session, now)

    def _slow_down(self, session: Session, now: float) -> None:
        """Has a peer wait for the refusal that is due to it, where it was given very many.

        So one that tries again at once and for ever, each time on a new connection, does so once a second, and nobody
        else is kept waiting who comes from the same address.
        """
        if self._stop_deadline is not None:
            return
        if self._gate.complaints.slows_down(session.stream.peer, now, holder=session.holder):
            session.make_wait(now + self._limits.penalty_s)

    def _let_go(self, session: Session) -> None:
        """Ends a session because the server stops, once everything that was read of it is answered.

        Raises:
            ReadError: the connection broke.
        """
        if session.busy or session.closing or session.choked:
            return
        if session.binding is not None:
            session.end_upload(RejectCode.SHUTTING_DOWN)
            return
        # Closing with bytes unread makes a reset, which could overtake the last answers; without any, close at once.
        session.closing = True
        session.throw_away()
        session.lingering = bool(session.drained_bytes)

    def _end(self, session: Session, now: float) -> None:
        """Once the last answer is out: closes at once, or lets the peer finish what it is saying first.

        One that says more than is read of it has as long to take its answer: closing would make a reset.

        Raises:
            WriteError: the connection broke.
        """
        if not session.has_said_all:
            return
        if not session.lingering or session.ended:
            self._drop(session)
        elif not session.half_closed:
            session.half_closed = True
            session.stream.close_writing()
            stopping = self._stop_deadline is not None
            limits = self._limits
            session.linger_until = now + (limits.stop_linger_timeout_s if stopping else limits.linger_timeout_s)

    def _update(self, session: Session, now: float) -> None:
        """Tells the selector what the session waits for now, and the deadlines until when."""
        stream = session.stream
        reads = session.wants_read and (session.closing or self._stop_deadline is None)
        if reads and session.cut_short and not session.closing:
            self._unfinished[session.number] = session
        session.note(now, self._limits)
        self._deadlines.set(session, session.due(self._limits)[0])
        wanted = selectors.EVENT_READ if reads or (stream.needs_read and not session.held) else 0
        wanted |= selectors.EVENT_WRITE if session.wants_write or stream.needs_write else 0
        self._poller.watch(session, wanted)

    def _drop(self, session: Session, *, abort: bool = False) -> None:
        """Closes the session's stream and forgets it; an answer that is still in work finds nobody."""
        if self._sessions.pop(session.number, None) is not None:
            self._gate.leave(session)
        self._arrivals.write(session)
        self._unfinished.pop(session.number, None)
        self._fencing.forget(session)
        self._poller.forget(session)
        if abort:
            session.stream.abort()
        else:
            session.stream.close()
        on_the_way_out = self._stop_deadline is not None or self._failed
        self._log.closed_connection(session.stream.peer, level=logging.INFO if on_the_way_out else logging.DEBUG)
        if self._listeners.again_at is not None:
            self._listeners.resume()

    # -- the store's job

    def _take_group(self, group: Sequence[tuple[Work, Sequence[Answer]]], now: float, *, drawn_now: bool) -> None:
        """Gives each session its answers of a job that has ended."""
        answered: list[Session] = []
        for work, answers in group:
            self._gate.answered(work, answers, now)
            session = self._sessions.get(work.session)
            if session is None:
                self._answer_log.write(work, answers, now)  # what is stored is stored, whether or not the peer is there
            else:
                self._take_answers(session, work, answers, now)
                if self._exit_policy is not None:
                    self._exit_policy.answered(session, answers, now)
                self._let_go_if_revoked(session, now)
                answered.append(session)
        if drawn_now:
            self._begin_answering_the_draw()
        elif self._drawn_here:
            self._ask_again(answered)  # who of them was told "not yet" while somebody else made the draw
        for session in answered:
            self._advance(session, now)
            self._fence(session, now)

    def _fence(self, session: Session, now: float) -> None:
        """Lets go of whoever `session` has overtaken on their upload."""
        overtaken = self._fencing.claim(session) if session.number in self._sessions else None
        if overtaken is not None and not overtaken.busy:  # one with work gets its answer first, and then comes here
            overtaken.end_upload(RejectCode.FENCED)
            self._advance(overtaken, now)

    def _begin_answering_the_draw(self) -> None:
        """The draw has taken place: everyone that waits for it asks again."""
        self._drawn_here = True
        if self._exit_policy is not None:
            self._exit_policy.draw_took_place()
        self._log.drawn()
        # Who reads the logs of both ends must see the draw before the winners. What gathers logs takes its time, and a
        # draw comes once.
        self._log.write_held()
        time.sleep(0.01)
        self._ask_again(self._sessions.values())

    def _ask_again(self, sessions: Iterable[Session]) -> None:
        """Those of `sessions` that wait for the draw ask again."""
        self._jobs.add([again for session in sessions if (again := session.ask_again()) is not None])

    # -- the end

    def close(self) -> None:
        """Gives back every descriptor and thread, whatever happened before, also where `run` never began.

        Twice is harmless.
        """
        if self._closed:
            return
        self._closed = True
        self._gate.complaints.close()
        self._listeners.close()
        for session in list(self._sessions.values()):
            self._drop(session)
        if self._jobs.close(self._grace_s):
            self._log.closed("workers")
        else:
            self._log.failed_to_close("workers", "a job still runs")
        self._poller.close()
