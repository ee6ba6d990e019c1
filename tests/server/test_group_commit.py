"""The jobs that go to the store: what is in which, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bets_protocol import BetRun, EncodedBatch, StorageError, WinnersRequest
from bets_server.intake.group_commit import FLUSHES_A_JOB, GroupCommit
from bets_server.intake.handlers import Handlers
from bets_server.intake.requests import GroupOutcome, Work
from bets_server.store import open_store
from tests.server.serving import wait_until
from tests.server.wire import WINNING, bet


class WatchedHandlers(Handlers):
    """Real ones that remember their groups, and that can be held up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_store(f"csv:///{folder}/bets"), agencies=200, pick=lambda: WINNING)
        self.groups: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def answer_group(self, group: Sequence[Work]) -> GroupOutcome:
        self.groups.append([work.session for work in group])
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return super().answer_group(group)


class Jobs:
    """Store jobs, and what has come of them."""

    def __init__(self, folder: Path) -> None:
        self.handlers = WatchedHandlers(folder)
        self._woken = threading.Event()
        self.jobs = GroupCommit(self.handlers, workers=1, wake=self._woken.set)
        self.answered: list[int] = []

    def work_off(self) -> None:
        """Does everything that was gathered."""
        self.jobs.start()
        while self.jobs.running:
            assert self._woken.wait(20)
            self._woken.clear()
            for done, _ in self.jobs.finished():
                self.answered += [work.session for work, _ in done]
            self.jobs.start()

    def close(self) -> None:
        """Ends them."""
        self.handlers.gate.set()
        wait_until(lambda: self.jobs.close(5), "the worker ends")
        self.handlers.store.close()


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Jobs; ended at the end."""
    jobs = Jobs(tmp_path)
    try:
        yield jobs
    finally:
        jobs.close()


def _question(number: int) -> Work:
    return Work(session=number, peer="1.2.3.4", requests=(WinnersRequest(agency=number),))


def _batch(number: int) -> Work:
    run = BetRun(agency=1, count=1, encoded=bet(number))
    return Work(session=number, peer="1.2.3.4", requests=(EncodedBatch(count=1, runs=(run,)),))


def test_what_gathers_meanwhile_is_one_job(jobs: Jobs) -> None:
    """All of it, in its order."""
    jobs.handlers.gate.clear()
    jobs.jobs.add([_batch(1)])
    jobs.jobs.start()
    for number in (2, 3, 4):
        jobs.jobs.add([_batch(number)])
        jobs.jobs.start()
    jobs.handlers.gate.set()
    jobs.work_off()
    assert jobs.handlers.groups == [[1], [2, 3, 4]]
    assert jobs.answered == [1, 2, 3, 4]


def test_flushes_do_not_hold_batches_up(jobs: Jobs) -> None:
    """So many questions in a job and no more; batches wait for none that came behind them."""
    questions = [_question(number) for number in range(1, 2 * FLUSHES_A_JOB + 4)]
    jobs.jobs.add([*questions, _batch(200)])
    jobs.work_off()
    first, second, third = jobs.handlers.groups
    assert first == [*range(1, FLUSHES_A_JOB + 1), 200]
    assert second == list(range(FLUSHES_A_JOB + 1, 2 * FLUSHES_A_JOB + 1))
    assert third == list(range(2 * FLUSHES_A_JOB + 1, 2 * FLUSHES_A_JOB + 4))


def test_failure_of_the_store(jobs: Jobs) -> None:
    """It comes to whoever asks what has finished; nobody is answered."""
    jobs.handlers.failure = StorageError("disk I/O error")
    jobs.jobs.add([_batch(1)])
    with pytest.raises(StorageError, match="disk I/O error"):
        jobs.work_off()
    assert jobs.answered == []


def test_what_has_not_begun_can_be_given_up(jobs: Jobs) -> None:
    """And is never done."""
    jobs.handlers.gate.clear()
    jobs.jobs.add([_batch(1)])
    jobs.jobs.start()
    jobs.jobs.add([_batch(2)])
    assert not jobs.jobs.close(5)
    jobs.jobs.forget()
    jobs.handlers.gate.set()
    jobs.work_off()
    assert jobs.handlers.groups == [[1]]
