"""What every test obeys: it leaves nothing running and nothing open, and its random examples follow one profile.

The leak check compares this process before and after each test: threads, child processes (finished ones that nobody
waited for included) and open file descriptors. What a test has just closed may take a moment to go, so a difference
is a leak only when it outlasts a garbage collection and a short deadline.

What starts servers, programs and authorities is not here but in the folders that use it, so that the tests of a package
run where the other packages, or cryptography, are missing.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol.transports import registry as _registry
from tests import effort

PROJECT = Path(__file__).resolve().parent.parent
LEAK_DEADLINE_S = 2.0
PROFILE = effort.PROFILE  # importing it has chosen how many random examples a test tries


def _open_descriptors() -> set[str]:
    """What is open, each as `number -> target`: a number that was closed and taken again shows as another entry."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of this very listing is gone by now.
        with contextlib.suppress(FileNotFoundError):
            found.add(f"descriptor {number} -> {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def _children() -> set[str]:
    """Child processes, whichever thread started them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {f"child process {pid}" for pid in (task / "children").read_text().split()}
    return found


def _threads() -> set[str]:
    return {f"thread {thread.name!r} ({thread.ident})" for thread in threading.enumerate()}


def _running() -> set[str]:
    return _open_descriptors() | _children() | _threads()


@contextlib.contextmanager
def _nothing_left(whose: str) -> Iterator[None]:
    before = _running()
    yield
    deadline = time.monotonic() + LEAK_DEADLINE_S
    while left := _running() - before:
        if time.monotonic() > deadline:
            pytest.fail(f"{whose} left behind: " + "; ".join(sorted(left)), pytrace=False)
        gc.collect()
        time.sleep(0.01)


def pytest_collection_finish() -> None:
    """What collecting has made lasts as long as the run: the garbage collector need not go through it again and again.

    Each full collection would take a tenth of a second and more. What the tests make is collected as ever.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _test_leaves_nothing_behind() -> Iterator[None]:
    """Set up before the test's other fixtures, so it looks after they have cleaned up."""
    with _nothing_left("the test"):
        yield


@pytest.fixture(autouse=True)
def _transports_are_those_of_before() -> Iterator[None]:
    """A transport that a test registers is gone afterwards: the table of schemes is one for the whole process."""
    before = dict(_registry._table)
    yield
    _registry._table.clear()
    _registry._table.update(before)


@pytest.fixture(autouse=True, scope="session")
def _run_leaves_nothing_behind() -> Iterator[None]:
    """The same for what fixtures of wider scope start."""
    with _nothing_left("the whole run"):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the five agencies' real files, from `BETS_DATA`, else beside the project."""
    folder = Path(os.environ.get("BETS_DATA") or PROJECT.parent / "shared" / "data")
    missing = [name for number in range(1, 6) if not (folder / (name := f"agency-{number}.csv")).is_file()]
    if missing:
        pytest.skip(f"no real data: {', '.join(missing)} not in {folder} (set BETS_DATA to the folder that has them)")
    return folder
