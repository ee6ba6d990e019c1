"""The fault harness: real programs that are killed, cut off and misled, until everything is done exactly once.

Usage: ``nox -s faults -- [--trials N] [--seed S] [--kinds a,b] [--jobs 2] [--keep DIR] [--replay KIND:SEED]``
"""

from __future__ import annotations

import argparse
import sys

from tests.campaigns.faults.campaign import KINDS, run_campaign


def say(text: str) -> None:
    """Prints at once: a campaign takes minutes."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The program; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.faults", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--trials", type=int, help="of each kind (default: what each kind needs on a push)")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial of each kind (default 1)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"comma-separated, of: {', '.join(KINDS)}")
    parser.add_argument("--without", default="", help="kinds to leave out, comma-separated")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--keep", metavar="DIR", help="keep the folders of failing trials in DIR")
    parser.add_argument("--replay", metavar="KIND:SEED", help="one trial again")
    options = parser.parse_args(arguments)
    names = [name for name in options.kinds.split(",") if name not in options.without.split(",")]
    if options.replay:
        name, _, seed = options.replay.partition(":")
        names, options.seed, options.trials, options.jobs = [name], int(seed) if seed.isdigit() else 1, 1, 1
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        parser.error(f"unknown kinds: {', '.join(unknown)}; known are {', '.join(KINDS)}")
    good = run_campaign(names, trials=options.trials, seed=options.seed, jobs=options.jobs, keep=options.keep, say=say)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
