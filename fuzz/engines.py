"""What makes new inputs: atheris where it is installed, else hypothesis.

atheris (libFuzzer for Python) watches which branches an input takes and goes on from those that took a new one.
hypothesis damages and joins the inputs of the corpus without looking at what they do; it is everywhere where the tests
are. Both make the same inputs again for the same seed, and both end with the input that broke the target in a file.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final, TypeAlias

import attrs

from fuzz.inputs import name_of

Target: TypeAlias = Callable[[bytes], None]

ENGINES: Final = ("atheris", "hypothesis")

MAX_SECONDS_PER_INPUT: Final = 25
"""After which an input counts as one that hangs."""

MAX_MEGABYTES: Final = 1024

MAX_INPUT_BYTES: Final = 9_000
"""A little more than the largest frame."""

ROUND_EXAMPLES: Final = 200
"""Inputs of hypothesis between two looks at the clock."""

SHRINK_S: Final = 20.0
"""Seconds that a finding may be made smaller; hypothesis does so as well, but goes back to the input it began with."""

_INSTRUMENTED: Final = ("bets_protocol", "bets_client", "bets_server", "configparser")


@attrs.frozen(kw_only=True)
class Order:
    """What a worker is to do.

    Attributes:
        module: where `TARGETS` is.
        seeds: inputs to begin with.
        folder: for new inputs (``new/``) and for what breaks the target (``crash-...``).
        max_inputs: 0: as many as there is time for.
    """

    module: str
    target: str
    seconds: float
    seed: int
    seeds: tuple[bytes, ...]
    folder: Path
    max_inputs: int = 0


def installed_engine() -> str:
    """The best one that is there."""
    return "atheris" if importlib.util.find_spec("atheris") is not None else "hypothesis"


def described(engine: str) -> str:
    """An engine in words."""
    if engine == "atheris":
        return f"atheris {version('atheris')}, coverage-guided"
    why = "" if importlib.util.find_spec("atheris") else ": atheris is not installed"
    return f"hypothesis {version('hypothesis')}, not coverage-guided{why}"


def targets_of(module: str) -> Mapping[str, Target]:
    """The targets of a module."""
    found: Mapping[str, Target] = importlib.import_module(module).TARGETS
    return found


def run_atheris(order: Order) -> None:
    """Fuzz with libFuzzer, which ends the process: with 0, or with another code where it has written a ``crash-``."""
    atheris: Any = importlib.import_module("atheris")
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=list(_INSTRUMENTED)):
        targets = targets_of(order.module)
    new, seeds = order.folder / "new", order.folder / "seeds"
    for folder in (new, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for data in order.seeds:
        (seeds / name_of(data)).write_bytes(data)
    options = {
        "seed": order.seed % 2**32 or 1,  # 0 would let libFuzzer choose one
        "max_total_time": max(1, round(order.seconds)),
        "max_len": MAX_INPUT_BYTES,
        "timeout": MAX_SECONDS_PER_INPUT,
        "rss_limit_mb": MAX_MEGABYTES,
        "artifact_prefix": f"{order.folder}/",
        "print_final_stats": 1,
    }
    if order.max_inputs:
        options["runs"] = order.max_inputs
    arguments = ["fuzz", *(f"-{name}={value}" for name, value in options.items()), str(new), str(seeds)]
    atheris.Setup(arguments, targets[order.target])
    atheris.Fuzz()


def run_hypothesis(order: Order) -> int:
    """Fuzz with hypothesis; gives the exit code."""
    target = targets_of(order.module)[order.target]
    deadline = time.monotonic() + order.seconds
    rounds = 0
    while rounds == 0 or (time.monotonic() < deadline and not 0 < order.max_inputs <= rounds * ROUND_EXAMPLES):
        failure = run_round(order.seeds, target, order.seed + rounds)
        rounds += 1
        if failure is not None:
            data, how = failure
            order.folder.mkdir(parents=True, exist_ok=True)
            (order.folder / f"crash-{name_of(data)}").write_bytes(data)
            print(f" === Uncaught Python exception: ===\n{how}\n", flush=True)
            break
    # As libFuzzer says it, so that one reader will do.
    print(f"stat::number_of_executed_units: {rounds * ROUND_EXAMPLES}", flush=True)
    return 0 if failure is None else 77


def run_round(seeds: Sequence[bytes], target: Target, seed: int) -> tuple[bytes, str] | None:
    """Tries `ROUND_EXAMPLES` inputs; returns the smallest one that fails, and how, or None."""
    hypothesis: ModuleType = importlib.import_module("hypothesis")
    tried = b""

    def attempt(data: bytes) -> None:
        nonlocal tried
        tried = data
        with time_limit():
            target(data)

    settings = hypothesis.settings(
        max_examples=ROUND_EXAMPLES,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    test = hypothesis.seed(seed)(settings(hypothesis.given(strategy(seeds))(attempt)))
    try:
        test()
    except Exception:  # noqa: BLE001  # whatever a target raises is what we look for
        return tried, traceback.format_exc()  # hypothesis ends with the smallest one
    return None


def strategy(seeds: Sequence[bytes]) -> Any:
    """Bytes for a target: what it begins with, damaged or joined, and bytes that are nothing at all."""
    st: Any = importlib.import_module("hypothesis.strategies")
    if not seeds:
        return st.binary(max_size=100)
    damaged = importlib.import_module("bets_protocol.testing.strategies").damaged
    known = st.sampled_from(seeds)
    return st.one_of(damaged(known), damaged(known), st.builds(bytes.__add__, known, known), st.binary(max_size=100))


def shrink(target: Target, data: bytes, *, seconds: float = SHRINK_S) -> bytes:
    """The smallest input found that breaks the target in the same way: pieces are left out, bytes made zero."""
    how = _failure(target, data)
    deadline = time.monotonic() + seconds
    size = len(data) // 2
    while how is not None and size:
        at = 0
        while at < len(data) and time.monotonic() < deadline:
            before, piece, behind = data[:at], data[at : at + size], data[at + size :]
            for smaller in (before + behind, before + bytes(len(piece)) + behind):
                if smaller != data and _failure(target, smaller) == how:
                    data = smaller
                    break
            else:
                at += size
                continue
            if len(smaller) == len(data) and not any(data[at : at + size]):
                at += size
        size //= 2
    return data


def _failure(target: Target, data: bytes) -> tuple[type[BaseException], int] | None:
    """The kind of the error and the line of the target that it comes through; None: there is none."""
    try:
        with time_limit():
            target(data)
    except Exception as error:  # noqa: BLE001  # as above
        frames = traceback.extract_tb(error.__traceback__)
        return type(error), next((frame.lineno or 0 for frame in reversed(frames) if "fuzz" in frame.filename), 0)
    return None


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """An input that takes too long fails like any other; outside the main thread, where no signal comes, it goes on."""

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the input takes longer than {MAX_SECONDS_PER_INPUT} s")

    try:
        before = signal.signal(signal.SIGALRM, too_long)
    except ValueError:  # not the main thread
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS_PER_INPUT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@attrs.frozen
class Said:
    """What a worker's output says.

    Attributes:
        inputs: how many it has tried.
        edges: how many branches they took; 0 where nobody has counted.
        trace: of the error that broke the target; empty: there is none.
    """

    inputs: int
    edges: int
    trace: str


def read_output(text: str) -> Said:
    """Reads what a worker has printed."""
    inputs = re.findall(r"stat::number_of_executed_units: (\d+)", text)
    edges = re.findall(r"\bcov: (\d+)", text)
    found = re.search(r"=== Uncaught Python exception: ===\n(.*?)(?=\n\n|\n==\d+== ERROR|\Z)", text, re.DOTALL)
    return Said(int(inputs[-1]) if inputs else 0, int(edges[-1]) if edges else 0, found[1] if found else "")
