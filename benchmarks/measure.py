"""How everything here is measured: interleaved rounds in one process, medians with their spread, ratios to a peer.

Strategy: a machine that others share gets faster and slower while it is measured. So no contender runs alone: each
round runs every contender once, in an order that changes, and what is compared are the medians over the rounds. The
spread (a quarter of the rounds were faster, a quarter slower) stands beside every median; a ratio whose spreads overlap
says nothing.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs


@attrs.frozen
class Contender:
    """One way of doing the work.

    Attributes:
        run: does it once, over everything.
        units: how many units of work that is.
        what: what it does, for the table.
    """

    run: Callable[[], object]
    units: int
    what: str


@attrs.frozen
class Measurement:
    """The median over the rounds, and the quartiles; of the codec in microseconds of a unit."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Measurement:
        """The measurement of samples; one alone is all three."""
        several = samples if len(samples) > 1 else [*samples, *samples]
        low, median, high = statistics.quantiles(several, n=4, method="inclusive")
        return cls(median, low, high)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the ascending values do not exceed; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def measure(contenders: Mapping[str, Contender], *, rounds: int, seed: int = 1) -> dict[str, Measurement]:
    """Runs every contender once a round, after one round that warms up; returns microseconds a unit."""
    names = list(contenders)
    order = random.Random(seed)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        order.shuffle(names)
        for name in names:
            contender = contenders[name]
            gc.collect()
            start = time.perf_counter()
            contender.run()
            elapsed = time.perf_counter() - start
            if number:
                samples[name].append(elapsed / contender.units * 1e6)
    return {name: Measurement.of(samples[name]) for name in contenders}


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown",
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {len(os.sched_getaffinity(0))} cores; Linux {platform.release().split('-')[0]}; {python}"


def disk(folder: Path) -> str:
    """What `folder` lies on, and how long a flush of 8 KB takes there, in a file that has its size already."""
    found = ""
    for line in _lines("/proc/mounts"):
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(found.partition(" ")[0]):
            found = f"{place} {kind}"
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        times = []
        for index in range(101):
            os.pwrite(file.fileno(), b"x" * 8192, 8192 * index)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    kind = found.rpartition(" ")[2] or "a file system"
    low, median, high = statistics.quantiles(times, n=4)
    return f"{kind}, fdatasync of 8 KB {1000 * median:.2f} ms ({1000 * low:.2f} to {1000 * high:.2f})"


def say(text: str) -> None:
    """Tells whoever watches how far a measurement is."""
    print(f"[{text}]", file=sys.stderr, flush=True)


def load_average() -> str:
    """What else the machine did in the last minute, in processes that wanted to run."""
    return f"load average {os.getloadavg()[0]:.1f}"


def versions(*distributions: str) -> str:
    """The versions of `distributions`, for the foot of a table."""
    found = []
    for name in distributions:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
