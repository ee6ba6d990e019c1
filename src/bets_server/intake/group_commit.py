"""The jobs that go to the store: one at a time, and each takes what has come in while the one before it ran.

That is the group commit: while a job waits for the disk, the next group grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bets_protocol import OpenUpload, WinnersRequest
from bets_server.intake.handlers import Handlers
from bets_server.intake.requests import Answer, GroupOutcome, Work
from bets_server.intake.workers import WorkerPool

FLUSHES_A_JOB = 16
"""Openings and questions in one job: each may cost a flush to disk of its own, for which all batches would wait."""


class GroupCommit:
    """Gathers work, and has it done.

    Args:
        handlers: what a job is; called by one worker at a time.
        workers: threads of the pool.
        wake: called by a worker when a job has ended.

    Thread: the reactor.
    """

    def __init__(self, handlers: Handlers, *, workers: int, wake: Callable[[], None]) -> None:
        self._handlers = handlers
        self._pool: WorkerPool[GroupOutcome] = WorkerPool(workers, wake)
        self._gathered: list[Work] = []
        self._running: list[Work] = []

    @property
    def running(self) -> bool:
        """Whether a job is in work."""
        return bool(self._running)

    def add(self, work: Iterable[Work]) -> None:
        """Puts work behind what was gathered."""
        self._gathered += work

    def forget(self) -> None:
        """Gives up what was gathered and not begun."""
        self._gathered.clear()

    def start(self) -> None:
        """Begins a job, unless there is nothing to do or one is in work."""
        if not self._gathered or self._running:
            return
        job: list[Work] = []
        later: list[Work] = []
        flushes = 0
        for work in self._gathered:
            flushes += (flushing := isinstance(work.requests[-1], OpenUpload | WinnersRequest))
            (later if flushing and flushes > FLUSHES_A_JOB else job).append(work)
        self._running, self._gathered = job, later
        self._pool.submit(lambda: self._handlers.answer_group(job))

    def finished(self) -> Iterator[tuple[list[tuple[Work, tuple[Answer, ...]]], bool]]:
        """For each job that has ended since: its work with the answers, and whether it has made the draw.

        Raises:
            StorageError: a job failed so: what is on disk is unknown.
        """
        for outcome in self._pool.outcomes():
            job, self._running = self._running, []
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is None:
                raise RuntimeError("a job ended with neither a value nor an error")
            answers = [given for _, given in outcome.value.answers]
            yield list(zip(job, answers, strict=True)), outcome.value.drawn_now

    def close(self, timeout_s: float) -> bool:
        """Ends the threads; False where a job still runs after `timeout_s`, which is not waited for."""
        return self._pool.close(0.0 if self.running else timeout_s)
