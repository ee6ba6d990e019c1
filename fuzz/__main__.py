"""Drives the targets: ``python -m fuzz --seconds N [--target T] [--seed S]``.

The engine is hypothesis (this project brings no coverage-guided fuzzer of its own, and needs none to be installed):
it damages inputs of the corpus, adds random bytes, and makes a failing input as small as it can. The same seed makes
the same inputs. An input that breaks an invariant is written into the corpus, where the tests find it from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from bets_protocol.testing.strategies import damaged
from fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).resolve().parent / "corpus"
ROUND_EXAMPLES = 200
"""Inputs between two looks at the clock."""


def corpus_of(name: str, corpus: Path = CORPUS) -> list[Path]:
    """The inputs that are kept for a target, in order."""
    return sorted((corpus / name).glob("*.bin"))


def inputs(name: str, corpus: Path = CORPUS) -> st.SearchStrategy[bytes]:
    """Bytes for a target: its corpus, damaged or joined, and bytes that are nothing at all."""
    kept = [path.read_bytes() for path in corpus_of(name, corpus)]
    if not kept:
        return st.binary(max_size=100)
    known = st.sampled_from(kept)
    return st.one_of(damaged(known), damaged(known), st.builds(bytes.__add__, known, known), st.binary(max_size=100))


def run_round(name: str, target: Target, seed: int, corpus: Path = CORPUS) -> tuple[bytes, str] | None:
    """Tries `ROUND_EXAMPLES` inputs; returns the smallest one that fails, and how, or None."""
    tried = b""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=ROUND_EXAMPLES,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(inputs(name, corpus))
    def attempt(data: bytes) -> None:
        nonlocal tried
        tried = data
        target(data)

    try:
        attempt()
    except Exception:  # noqa: BLE001  # whatever a target raises is what we look for
        return tried, traceback.format_exc()  # hypothesis ends with the smallest one
    return None


def main(arguments: Sequence[str], *, targets: Mapping[str, Target] = TARGETS, corpus: Path = CORPUS) -> int:
    """Runs; returns the exit code: 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz what reads bytes of a peer.")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long, for all targets together")
    parser.add_argument("--target", choices=sorted(targets), help="only this one")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="makes the same inputs again")
    options = parser.parse_args(arguments)
    chosen = [options.target] if options.target else list(targets)
    print(f"hypothesis {hypothesis.__version__}, seed {options.seed}, corpus {corpus}", flush=True)
    broken = False
    for name in chosen:
        started = time.monotonic()
        deadline = started + options.seconds / len(chosen)
        rounds = 0
        failure = None
        while failure is None and (rounds == 0 or time.monotonic() < deadline):
            failure = run_round(name, targets[name], options.seed + rounds, corpus)
            rounds += 1
        spent = time.monotonic() - started
        if failure is None:
            print(f"{name}: {rounds * ROUND_EXAMPLES} inputs in {spent:.1f} s, nothing found", flush=True)
            continue
        broken = True
        data, how = failure
        path = corpus / name / f"found-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        print(f"{how}\n{name}: broken by {data!r}, kept as {path} (seed {options.seed}, round {rounds})", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
