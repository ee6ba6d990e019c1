"""The selector loop: the one thread that owns every stream, decodes, and sends.

One round: wait until something is ready; read every ready stream; take the outcome of the store's job, if one has
come; hand everything that was collected meanwhile to the next job. At most one job is in work, and while it waits for
the disk the next group grows: that is the group commit. Answers leave only after the job that they belong to.

Rules:

1. Only this thread touches sessions and streams. Workers get `Work`, which is plain data, and give `GroupOutcome`.
2. A session that waits for the draw holds no thread and costs a descriptor and a few hundred bytes.
3. Time is read here, once a round, and passed on. Every session has a deadline, except those that wait for the store or
   the draw.
4. An error of one stream closes that stream. An error of the store ends the process: nobody can know what is on disk.
5. A stop has a deadline. What still runs then, a call of the store included, is left behind.
6. No session keeps the others waiting: of each, a round takes one reading and one unit of requests, and a job of the
   store a few of what costs it a flush to disk of its own.
7. Log lines are written at the end of a round, after the answers have left.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from bets_protocol import StorageError
from bets_protocol.cli.exit_codes import ExitCode
from bets_protocol.transports import Listener
from bets_server.intake.group_commit import GroupCommit
from bets_server.intake.handlers import Handlers
from bets_server.intake.requests import Answer, Work
from bets_server.limits import Limits
from bets_server.logs import ServerLog
from bets_server.reactor.conversation import Conversations
from bets_server.reactor.exit_policy import ExitPolicy
from bets_server.reactor.fairness import Turns
from bets_server.reactor.listeners import ACCEPTS_A_ROUND, Listeners
from bets_server.reactor.poller import Poller
from bets_server.reactor.session import Session
from bets_server.reactor.shutdown import Shutdown

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
        exit_after_draw: stop once the draw was made and everyone that waited has the answer, see `exit_policy`.

    Attributes:
        conversations: the peers that are connected.

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
        self._handlers = handlers
        self._log = log
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
        self.conversations = Conversations(
            self._poller, self._jobs, self._listeners, handlers, log, revision=revision, limits=limits
        )
        self._shutdown = Shutdown(self.conversations, self._listeners, self._jobs, grace_s=grace_s)
        self._turns = Turns()
        self._next_beat = 0.0
        self._next_look = 0.0
        self._drawn_here = False
        self._drawn_elsewhere = False  # set by other threads: the draw took place, and the reactor has not heard of it
        self._failure: StorageError | None = None  # likewise: of a call of the store that was not the reactor's
        self._actions: deque[Callable[[], None]] = deque()
        self._failed = False
        self._closed = False

    def stop(self) -> None:
        """Asks for a stop: what was read is stored and answered, then everything closes. Thread: any; signal-safe."""
        self._shutdown.asked = True
        self.wake()

    def call(self, action: Callable[[], None]) -> None:
        """Has the loop do `action` between two sessions. Thread: any; signal-safe."""
        self._actions.append(action)
        self.wake()

    def renew_pins(self, pins: Mapping[str, int] | None) -> None:
        """Takes other pins; a peer that speaks for another agency by them, or for none any more, is let go.

        Args:
            pins: the certificates that speak for an agency, see `identity`; None: all of the CA.

        Thread: the loop, by `call`; or any, before `run`.
        """
        self.conversations.renew_pins(pins, self._clock())

    def draw_took_place(self) -> None:
        """The draw was made by somebody else, an operator: every peer that waits is answered now. Thread: any."""
        self._drawn_elsewhere = True
        self.wake()

    def fail(self, error: StorageError) -> None:
        """The store failed under somebody else's call: the server ends, and answers nobody. Thread: any."""
        self._failure = error
        self.wake()

    def connections(self) -> list[int | None]:
        """For each open connection, the agency that it said it speaks for, or None. Thread: any."""
        return [session.agency for session in list(self.conversations.sessions.values())]

    def silences(self) -> dict[int, float]:
        """For each agency that was heard since the start: seconds since its last message. Thread: any."""
        now = self._clock()
        return {agency: now - seen for agency, seen in list(self.conversations.seen.items())}

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
        self._next_beat, self._next_look = now + self._limits.heartbeat_s, now + LOOK_AT_STORE_S
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
        self.conversations.begin_round(now)
        for key, mask in self._turns.of(ready, beside_a_job=self._jobs.running):
            if isinstance(key.data, Session):
                self.conversations.serve(key.data, mask, now)
                continue
            for stream in self._listeners.accept(key.data, now, at_most=1 if self._jobs.running else ACCEPTS_A_ROUND):
                self.conversations.accept(stream, now)
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
        return self._shutdown.is_over(now)

    def _timeout(self) -> float:
        """Seconds until something is due."""
        now = self._clock()
        times = [self._next_beat, self._next_look, self.conversations.next_at(now), self._shutdown.deadline]
        if self._listeners.again_at is not None:
            times.append(self._listeners.again_at)
        if self._exit_policy is not None and not self._shutdown.begun:
            times.append(self._exit_policy.next_at)
        return max(0.0, min(times) - now)

    def _tick(self, now: float) -> None:
        """What is due by the clock."""
        if self._listeners.again_at is not None and now >= self._listeners.again_at:
            self._listeners.resume()
        self.conversations.tick(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_AT_STORE_S
            try:
                self._handlers.store.require_in_place()
            except StorageError as error:
                self.fail(error)
        if now >= self._next_beat:
            self._next_beat = now + self._limits.heartbeat_s
            self._listeners.look_after()
            self.conversations.beat(now)
        if self._exit_policy is not None and self._exit_policy.is_over(self.conversations.sessions.values(), now):
            self._shutdown.asked = True  # those that have asked are answered first
        self._shutdown.tick(now)

    # -- the store's job

    def _take_group(self, group: Sequence[tuple[Work, Sequence[Answer]]], now: float, *, drawn_now: bool) -> None:
        """Gives each session its answers of a job that has ended."""
        answered: list[Session] = []
        for work, answers in group:
            session = self.conversations.take_answers(work, answers, now)
            if session is None:
                continue
            answered.append(session)
            if self._exit_policy is not None:
                self._exit_policy.answered(session, answers, now)
        if drawn_now:
            self._begin_answering_the_draw()
        elif self._drawn_here:
            self._ask_again(answered)  # who of them was told "not yet" while somebody else made the draw
        for session in answered:
            self.conversations.advance(session, now)
            self.conversations.fence(session, now)

    def _begin_answering_the_draw(self) -> None:
        """The draw has taken place: everyone that waits for it asks again."""
        self._drawn_here = True
        if self._exit_policy is not None:
            self._exit_policy.draw_took_place()
        self._log.drawn()
        self._log.write_held()  # the line of the draw is there before any client hears of it and writes its own
        self._ask_again(self.conversations.sessions.values())

    def _ask_again(self, sessions: Iterable[Session]) -> None:
        """Those of `sessions` that wait for the draw ask again."""
        self._jobs.add([again for session in sessions if (again := session.ask_again()) is not None])

    # -- the end

    def close(self) -> None:
        """Gives back every descriptor and thread, whatever happened before, also where `run` never began.

        Calling it again has no effect.
        """
        if self._closed:
            return
        self._closed = True
        self._listeners.close()
        self.conversations.close()
        if self._jobs.close(self._grace_s):
            self._log.closed("workers")
        else:
            self._log.failed_to_close("workers", "a job still runs")
        self._poller.close()
