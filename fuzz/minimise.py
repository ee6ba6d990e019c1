"""Takes new inputs into the corpus, as few as will do: `python -m fuzz.minimise FOLDER [--target T]`.

FOLDER is what `python -m fuzz --keep-new FOLDER` has filled. A step is a line of the project that runs right after
another line. Inputs are taken one by one, each time the one with the most steps that no kept input has; those that
somebody has named stay in any case. That is the idea of libFuzzer's merge, without needing it: Python's own tracing
counts the steps.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from fuzz.engines import targets_of
from fuzz.inputs import CORPUS, MAX_KEPT, corpus_of, keep, name_of

_SOURCES: Final = str(Path(__file__).resolve().parent.parent / "src")

MAX_NEW_BYTES: Final = 3_000

Step: TypeAlias = tuple[str, int, int]
"""A file, and two lines of it that ran one after the other."""


class _Tracer:
    """Collects the steps of the project's code."""

    def __init__(self) -> None:
        self.steps: set[Step] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(_SOURCES):
            return None
        before = 0

        def lines(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                self.steps.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return lines

        return lines


def steps_of(target: Any, data: bytes) -> set[Step]:
    """Every step that an input takes, in all threads."""
    tracer = _Tracer()
    threading.settrace(tracer)
    sys.settrace(tracer)
    try:
        target(data)
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return tracer.steps


def minimise(name: str, target: Any, new: Sequence[bytes], corpus: Path) -> tuple[int, int]:
    """Take of `new` what the corpus lacks; gives how many were taken and how many are kept in all."""
    kept = corpus_of(name, corpus)
    seen: set[Step] = set()
    for path in kept:
        seen |= steps_of(target, path.read_bytes())
    lacking = {data: steps_of(target, data) - seen for data in sorted(new) if len(data) <= MAX_NEW_BYTES}
    taken = 0
    while len(kept) + taken < MAX_KEPT:
        data = max(lacking, key=lambda data: (len(lacking[data]), -len(data)), default=b"")
        steps = lacking.get(data)
        if not steps:
            break
        keep(name, data, corpus, prefix="")
        taken += 1
        lacking = {other: more for other, some in lacking.items() if (more := some - steps)}
    return taken, len(kept) + taken


def main(arguments: Sequence[str]) -> int:
    """Runs from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.minimise", description="Take new inputs into the corpus.")
    parser.add_argument("folder", type=Path, help="a folder for each target, as --keep-new has made it")
    parser.add_argument("--target", action="append", help="only this one; repeatable")
    parser.add_argument("--anew", action="store_true", help="first let go of those that nobody has named")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args(arguments)
    targets = targets_of("fuzz.targets")
    for name in options.target or targets:
        new = [path.read_bytes() for path in corpus_of(name, options.folder)]
        if options.anew:
            for path in corpus_of(name, options.corpus):
                if path.stem == name_of(path.read_bytes()):
                    new.append(path.read_bytes())
                    path.unlink()
        taken, kept = minimise(name, targets[name], new, options.corpus)
        print(f"{name}: {taken} of {len(new)} taken, {kept} kept", flush=True)
    return 0


if __name__ == "__main__":
    # Of the native codec nobody sees what it does.
    if not os.environ.get("BETS_PURE"):
        command = [sys.executable, "-m", "fuzz.minimise", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "BETS_PURE": "1"})
    sys.exit(main(sys.argv[1:]))
