"""The pool: jobs run on its threads, outcomes come back in order, and it ends."""

from __future__ import annotations

import threading

import pytest

from bets_server.intake.workers import Outcome, WorkerPool
from tests.server.serving import DEADLINE_S, wait_until


def _collect(pool: WorkerPool[int], count: int) -> list[Outcome[int]]:
    found: list[Outcome[int]] = []

    def enough() -> bool:
        found.extend(pool.outcomes())
        return len(found) >= count

    wait_until(enough, f"{count} outcomes")
    return found


@pytest.mark.parametrize("size", [1, 4])
def test_jobs_are_done_and_each_wakes_once(size: int) -> None:
    """Every job's value comes back, with one wake-up each; a pool of one keeps the order."""
    wakes: list[str] = []
    pool: WorkerPool[int] = WorkerPool(size, lambda: wakes.append(threading.current_thread().name))
    try:
        for number in range(50):
            pool.submit(lambda number=number: number)  # type: ignore[misc]
        values = [outcome.value for outcome in _collect(pool, 50)]
        wait_until(lambda: len(wakes) == 50, "50 wake-ups")
    finally:
        assert pool.close(DEADLINE_S)
    assert (values if size == 1 else sorted(value or 0 for value in values)) == list(range(50))
    assert set(wakes) <= {f"worker-{number}" for number in range(1, size + 1)}
    assert pool.outcomes() == []


def test_an_exception_is_an_outcome() -> None:
    """Whatever a job raises comes back, and its thread lives on."""
    pool: WorkerPool[int] = WorkerPool(1, lambda: None)

    def fail() -> int:
        raise SystemExit("not even this ends a worker")

    try:
        pool.submit(fail)
        pool.submit(lambda: 7)
        failed, done = _collect(pool, 2)
    finally:
        assert pool.close(DEADLINE_S)
    assert (failed.value, type(failed.error)) == (None, SystemExit)
    assert done == Outcome(value=7)


def test_close_waits_for_the_jobs_before() -> None:
    """What was submitted is done before the threads end."""
    pool: WorkerPool[int] = WorkerPool(2, lambda: None)
    for number in range(20):
        pool.submit(lambda number=number: number)  # type: ignore[misc]
    assert pool.close(DEADLINE_S)
    assert sorted(outcome.value or 0 for outcome in pool.outcomes()) == list(range(20))


def test_close_gives_up_on_a_job_that_does_not_end() -> None:
    """It says so; the thread goes on, and ends once its job has ended."""
    gate = threading.Event()
    pool: WorkerPool[bool] = WorkerPool(1, lambda: None)
    pool.submit(lambda: gate.wait(DEADLINE_S))
    assert not pool.close(0.01)
    gate.set()
    assert pool.close(DEADLINE_S)
