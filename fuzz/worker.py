"""One target in a process of its own: `python -m fuzz` starts it; a hang, a crash of the interpreter or a leak is its
own.

The environment must have been set for the codec that the target is to run over before anything is imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz.engines import ENGINES, Order, run_atheris, run_hypothesis, shrink, targets_of
from fuzz.inputs import known_inputs


def main(arguments: Sequence[str]) -> int:
    """Runs one order; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.worker")
    parser.add_argument("--module", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--max-inputs", type=int, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seeds", nargs="*", default=[], help="targets whose corpora it begins with")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--shrink", type=Path, help="only make this input smaller, in place")
    options = parser.parse_args(arguments)
    if options.shrink:
        data = options.shrink.read_bytes()
        options.shrink.write_bytes(shrink(targets_of(options.module)[options.target], data))
        return 0
    order = Order(
        module=options.module,
        target=options.target,
        seconds=options.seconds,
        max_inputs=options.max_inputs,
        seed=options.seed,
        seeds=tuple(known_inputs(options.seeds, options.corpus)),
        folder=options.folder,
    )
    if options.engine == "atheris":
        run_atheris(order)  # does not come back
    return run_hypothesis(order)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
