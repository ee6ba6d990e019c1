"""What a process costs, as the system counts it: memory, processor time, descriptors, threads."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

KB = 1024
MB = 1024 * 1024
PERIOD_S = 0.1


def rss_bytes(pid: int, field: str = "VmRSS") -> int:
    """What is resident of a process now; `VmHWM`: at most so far. 0 once it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * KB
    return 0


def cpu_s(pid: int) -> float:
    """Seconds of processor time that all threads of a process have had, in nanoseconds' steps."""
    return _schedstat(pid, 0) / 1e9


def waited_s(pid: int) -> float:
    """Seconds that its threads could have run, and others had the processors."""
    return _schedstat(pid, 1) / 1e9


def _schedstat(pid: int, column: int) -> int:
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while we look.
        with contextlib.suppress(OSError):
            found += int((task / "schedstat").read_text().split()[column])
    return found


def threads(pid: int) -> int:
    """How many threads it has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> int:
    """How many descriptors it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets(pid: int) -> int:
    """How many of them are sockets."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found


@attrs.frozen
class Sample:
    """One look at a process."""

    at: float
    rss: int
    descriptors: int
    threads: int


class Watch:
    """Looks at a process ten times a second, as long as the block lasts.

    Attributes:
        samples: what was seen, in order.
        waited_s: how long its threads could have run meanwhile, and others had the processors.
    """

    def __init__(self, pid: int, period_s: float = PERIOD_S) -> None:
        self.samples: list[Sample] = []
        self.waited_s = 0.0
        self._pid = pid
        self._period_s = period_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")

    def __enter__(self) -> Self:
        self.waited_s = -waited_s(self._pid)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.waited_s += waited_s(self._pid)

    def _look(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                now = time.monotonic()
                self.samples.append(Sample(now, rss_bytes(self._pid), descriptors(self._pid), threads(self._pid)))
            if self._over.wait(self._period_s):
                return

    def highest_rss(self, since: float = 0.0) -> int:
        """The most that was seen."""
        return max((sample.rss for sample in self.samples if sample.at >= since), default=0)
