"""The selector loop: the one thread that owns every stream, decodes, and sends.

One round: wait until something is ready; read every ready stream; take the outcome of the store's job, if one has
come; hand everything that was collected meanwhile to the next job. At most one job is in work, and while it waits for
the disk the next group grows: that is the group commit. Answers leave only after the job that they belong to.

Rules:

1. Only this thread touches sessions and streams. Workers get `Work`, which is plain data, and give `GroupOutcome`.
2. A session that waits for the draw holds no thread and costs a descriptor and a few hundred bytes.
3. Time is read here, once a round, and passed on.
4. An error of one stream closes that stream. An error of the store ends the process: nobody can know what is on disk.
5. A stop has a deadline. What still runs then, a call of the store included, is left behind.
"""

from __future__ import annotations

import contextlib
import logging
import select
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from bets_protocol import (
    OpenUpload,
    Probe,
    RejectCode,
    StorageError,
    TransportError,
    TruncatedFrame,
    UploadStatus,
    WinnersRequest,
)
from bets_protocol.programs.exit_codes import ExitCode
from bets_protocol.transports import Listener
from bets_server.handlers import Answer, GroupOutcome, Handlers, Work, answer_at_once
from bets_server.listeners import Listeners
from bets_server.logs import ServerLog
from bets_server.owners import Owners
from bets_server.session import LINGER_BYTES, Session
from bets_server.workers import Outcome, WorkerPool

DRAIN_S = 10.0
"""Seconds that a peer may take to read its last answer."""

LINGER_S = 1.0
"""Seconds that a peer may still send after its last answer, so that no reset overtakes it."""

STOP_LINGER_S = 0.3
"""The same while the server stops: shorter, since a stop must be quick."""

SWEEP_S = 30.0
"""Seconds between looks at the peers that wait for the draw: are they still there, and do they know that we are?"""


class Reactor:
    """Serves listeners until it is told to stop.

    Args:
        listeners: where peers come from; closed by the reactor.
        handlers: what answers; called by one worker at a time.
        log: where events go.
        revision: as for `ServerConnection`.
        workers: threads of the pool.
        grace_s: seconds that a stop may take before connections are cut.
        exit_after_draw: stop once the draw was made and everyone that waited has the answer.

    Thread: `run` belongs to one thread; `stop` may be called from any, and from a signal handler.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        handlers: Handlers,
        log: ServerLog,
        *,
        revision: int = 9,
        workers: int = 4,
        grace_s: float = 8.0,
        exit_after_draw: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handlers = handlers
        self._log = log
        self._revision = revision
        self._grace_s = grace_s
        self._exit_after_draw = exit_after_draw
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._listeners = Listeners(listeners, self._selector, log)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._pool: WorkerPool[GroupOutcome] = WorkerPool(workers, self.wake)
        self._sessions: dict[int, Session] = {}
        self._interest: dict[int, int] = {}
        self._lingering: dict[int, Session] = {}
        self._owners = Owners()
        self._seen: dict[int, float] = {}  # by agency: when a message of it was answered last
        self._next_number = 0
        self._next_sweep = 0.0
        self._group: list[Work] = []
        self._in_work: list[Work] = []  # the group that the store's job has; empty: there is no job
        self._drawn_here = False
        self._drawn_elsewhere = False  # set by other threads: the draw took place, and the reactor has not heard of it
        self._failure: StorageError | None = None  # likewise: of a call of the store that was not the reactor's
        self._stop_asked = False
        self._stop_deadline: float | None = None
        self._failed = False

    def wake(self) -> None:
        """Ends the wait of the current round. Thread: any."""
        # Full of wake-ups that were not taken yet, of which one is enough; or closed, since the reactor has ended.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def stop(self) -> None:
        """Asks for a stop: what was read is stored and answered, then everything closes. Thread: any; signal-safe."""
        self._stop_asked = True
        self.wake()

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
        return bool(self._in_work)

    def run(self) -> ExitCode:
        """Serves until `stop`, the end after the draw, or a failure of the store.

        Returns:
            `DONE`, or `STORE_FAILED`.
        """
        self._next_sweep = self._clock() + SWEEP_S
        try:
            self._listeners.resume()
            while not self._round():
                pass
        finally:
            self._close_all()
        return ExitCode.STORE_FAILED if self._failed or self.store_in_use else ExitCode.DONE

    # -- one round

    def _round(self) -> bool:
        """One turn of the loop; returns whether it was the last."""
        ready = self._selector.select(self._timeout())
        now = self._clock()
        for key, mask in ready:
            if key.data is None:
                self._drain_wake_ups()
            elif isinstance(key.data, Session):
                self._serve(key.data, mask, now)
            else:
                self._accept(key.data, now)
        for outcome in self._pool.outcomes():
            self._finish_group(outcome, now)
        if self._failure is not None:
            self._give_up(self._failure)
        if self._failed:
            return True
        if self._drawn_elsewhere:
            self._drawn_elsewhere = False
            self._begin_answering_the_draw()
        self._tick(now)
        self._start_group()
        if self._stop_deadline is None or self._sessions:
            return False
        return not self._in_work or now >= self._stop_deadline

    def _timeout(self) -> float:
        times = [self._next_sweep]
        times += [at for at in (self._listeners.again_at, self._stop_deadline) if at is not None]
        times += [session.linger_until for session in self._lingering.values()]
        return max(0.0, min(times) - self._clock())

    def _drain_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(65_536)  # what is left keeps it readable

    def _tick(self, now: float) -> None:
        if self._listeners.again_at is not None and now >= self._listeners.again_at:
            self._listeners.resume()
        for session in [s for s in self._lingering.values() if now >= s.linger_until]:
            self._drop(session)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._sweep(now)
        if self._exit_after_draw and self._drawn_here:
            self._stop_asked = True  # who waited asks again by now, and is answered first
        if self._stop_asked and self._stop_deadline is None:
            self._begin_stop(now)
        if self._stop_deadline is not None and now >= self._stop_deadline:
            self._group.clear()
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
        """Closes the listeners; what was read is still answered, who waits for the draw is let go."""
        self._stop_deadline = now + self._grace_s
        self._listeners.close()
        for session in list(self._sessions.values()):
            self._advance(session, now)

    # -- sessions

    def _accept(self, listener: Listener, now: float) -> None:
        for stream in self._listeners.accept(listener, now):
            self._next_number += 1
            session = Session(self._next_number, stream, revision=self._revision)
            self._sessions[session.number] = session
            self._log.accepted(stream.peer)
            self._update(session)

    def _serve(self, session: Session, mask: int, now: float) -> None:
        if not mask & selectors.EVENT_READ and not session.stream.needs_write:
            self._advance(session, now)
        else:
            self._take_in(session, session.throw_away if session.closing else session.read, now)

    def _take_in(self, session: Session, read: Callable[[], None], now: float) -> None:
        """Has bytes of the session's stream read, then does what follows from them."""
        try:
            read()
        except TransportError:
            self._drop(session)
        else:
            self._advance(session, now)

    def _advance(self, session: Session, now: float) -> None:
        """Moves a session as far as it goes: the outbox, requests, answers that need no store, the end."""
        try:
            session.flush()
            while (work := session.next_work()) is not None:
                answers = answer_at_once(work)
                if answers is None:
                    self._group.append(work)
                    break
                self._log_answers(work, answers)
                session.take_answers(answers)
                session.flush()
            if session.refused is not None and session.closing and not session.refusal_logged:
                session.refusal_logged = True
                if not isinstance(session.refused, TruncatedFrame):
                    self._log.bad_frame(session.stream.peer, session.refused)
            if self._stop_deadline is not None:
                self._let_go(session)
            session.flush()
            if session.closing:
                self._end(session, now)
        except TransportError:
            self._drop(session)
        if session.number in self._sessions:
            self._update(session)

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

        Raises:
            WriteError: the connection broke.
        """
        if session.outbox:
            if session.number not in self._lingering:
                session.linger_until = now + DRAIN_S
                self._lingering[session.number] = session
        elif not session.lingering or session.ended or session.drained_bytes > LINGER_BYTES:
            self._drop(session)
        elif not session.half_closed:
            session.half_closed = True
            session.stream.close_writing()
            session.linger_until = now + (LINGER_S if self._stop_deadline is None else STOP_LINGER_S)
            self._lingering[session.number] = session

    def _update(self, session: Session) -> None:
        """Tells the selector what the session waits for now."""
        stream = session.stream
        reads = session.wants_read and (session.closing or self._stop_deadline is None)
        wanted = selectors.EVENT_READ if reads or stream.needs_read else 0
        wanted |= selectors.EVENT_WRITE if session.wants_write or stream.needs_write else 0
        known = self._interest.get(session.number, 0)
        if wanted == known:
            return
        if not known:
            self._selector.register(stream.fileno(), wanted, session)
        elif not wanted:
            self._selector.unregister(stream.fileno())
        else:
            self._selector.modify(stream.fileno(), wanted, session)
        self._interest[session.number] = wanted

    def _drop(self, session: Session) -> None:
        """Closes the session's stream and forgets it; an answer that is still in work finds nobody."""
        self._sessions.pop(session.number, None)
        self._lingering.pop(session.number, None)
        self._owners.forget(session)
        if self._interest.pop(session.number, 0):
            self._selector.unregister(session.stream.fileno())
        session.stream.close()
        on_the_way_out = self._stop_deadline is not None or self._failed
        self._log.closed_connection(session.stream.peer, level=logging.INFO if on_the_way_out else logging.DEBUG)
        if self._listeners.again_at is not None:
            self._listeners.resume()

    # -- the store's job

    def _start_group(self) -> None:
        if self._group and not self._in_work:
            group, self._group = self._group, []
            self._in_work = group
            self._pool.submit(lambda: self._handlers.answer_group(group))

    def _finish_group(self, outcome: Outcome[GroupOutcome], now: float) -> None:
        group, self._in_work = self._in_work, []
        if isinstance(outcome.error, StorageError):
            self._give_up(outcome.error)
            return
        if outcome.value is None:
            raise outcome.error or RuntimeError("a job ended with neither a value nor an error")
        answered: list[Session] = []
        for work, (number, answers) in zip(group, outcome.value.answers, strict=True):
            self._log_answers(work, answers)  # what is stored is stored, whether or not the peer is still there
            session = self._sessions.get(number)
            if session is not None:
                session.take_answers(answers)
                if session.agency is not None:
                    self._seen[session.agency] = now
                answered.append(session)
        if outcome.value.drawn_now:
            self._begin_answering_the_draw()
        elif self._drawn_here:
            self._ask_again(answered)  # who of them was told "not yet" while somebody else made the draw
        for session in answered:
            self._advance(session, now)
            self._fence(session, now)

    def _fence(self, session: Session, now: float) -> None:
        """Lets go of whoever `session` has overtaken on their upload."""
        overtaken = self._owners.claim(session) if session.number in self._sessions else None
        if overtaken is not None and not overtaken.busy:  # one with work gets its answer first, and then comes here
            overtaken.end_upload(RejectCode.FENCED)
            self._advance(overtaken, now)

    def _begin_answering_the_draw(self) -> None:
        """The draw has taken place: everyone that waits for it asks again."""
        self._drawn_here = True
        self._log.drawn()
        self._ask_again(self._sessions.values())

    def _ask_again(self, sessions: Iterable[Session]) -> None:
        """Those of `sessions` that wait for the draw ask again."""
        self._group += [again for session in sessions if (again := session.ask_again()) is not None]

    def _give_up(self, error: StorageError) -> None:
        """What is on disk is unknown: nobody is answered, and the server ends."""
        self._failed = True
        self._log.store_failed(error)

    def _log_answers(self, work: Work, answers: Sequence[Answer]) -> None:
        for request, answer in zip(work.requests, answers, strict=False):  # fewer where one of them ends the upload
            if isinstance(request, Probe):
                self._log.probed(work.peer, request.line)
                continue
            if isinstance(request, OpenUpload):
                stored = answer.reply.stored if isinstance(answer.reply, UploadStatus) else 0
                self._log.opened(work.peer, request, stored, answer.error)
                continue
            early = isinstance(answer.reply, UploadStatus) and answer.reply.code == RejectCode.INCOMPLETE
            level = logging.DEBUG if early else logging.ERROR  # it asks again every two seconds, as it should
            self._log.answered(work.peer, request, answer.error, revision=self._revision, level=level)
            if answer.waits and isinstance(request, WinnersRequest) and not self._handlers.expects(request.agency):
                self._log.sealed_in_vain(request.agency, expected=self._handlers.agencies)

    # -- the end

    def _close_all(self) -> None:
        """Gives back every descriptor and thread, whatever happened before."""
        self._listeners.close()
        for session in list(self._sessions.values()):
            self._drop(session)
        if self._pool.close(0.0 if self.store_in_use else self._grace_s):
            self._log.closed("workers")
        else:
            self._log.failed_to_close("workers", "a job still runs")
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
