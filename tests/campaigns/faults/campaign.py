"""A campaign: many trials of many kinds over a few processes, and the table at the end."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import attrs

from tests.campaigns.faults import (
    kinds_client,
    kinds_disk,
    kinds_files,
    kinds_legacy,
    kinds_network,
    kinds_server,
    power_loss,
)
from tests.campaigns.faults.kinds import Kind, Outcome, run_seed

PROJECT = Path(__file__).resolve().parents[3]
STATE_MACHINE = "tests/server/store/test_store_contract.py"
WORLDS = 100


def simulated(_folder: Path, seed: int) -> int:
    """Worlds without sockets, disks or clocks."""
    simulation = importlib.import_module("tests.campaigns.faults.simulation")
    for world in range(seed * WORLDS, (seed + 1) * WORLDS):
        simulation.run(world)
    return WORLDS


def without_simulation() -> str:
    """The obstacle of the simulation."""
    return (
        ""
        if importlib.util.find_spec("tests.campaigns.faults.simulation")
        else "there is no tests/campaigns/faults/simulation.py"
    )


def state_machine(_folder: Path, seed: int, runs: int = 200) -> int:
    """Random sequences of calls to every store, against a model."""
    environment = {**os.environ, "BETS_STATE_MACHINE_RUNS": str(runs)}
    selected = ("-k", "test_any_history", f"--hypothesis-seed={seed}", STATE_MACHINE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return runs


def without_state_machine() -> str:
    """The obstacle of the state machine."""
    return "" if (PROJECT / STATE_MACHINE).is_file() else f"there is no {STATE_MACHINE}"


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="simulation", row="1", trials=2000, run=simulated, per_seed=WORLDS, obstacle=without_simulation),
        Kind(
            name="state-machine", row="2", trials=200, run=state_machine, per_seed=200, obstacle=without_state_machine
        ),
        *power_loss.KINDS,
        *kinds_server.KINDS,
        *kinds_client.KINDS,
        *kinds_network.KINDS,
        *kinds_disk.KINDS,
        *kinds_files.KINDS,
        *kinds_legacy.KINDS,
    )
}


@attrs.define
class Tally:
    """What one kind came to."""

    kind: Kind
    trials: int = 0
    seeds: list[int] = attrs.Factory(list)
    failures: list[Outcome] = attrs.Factory(list)
    seconds: float = 0.0
    skipped: str = ""

    def add(self, outcome: Outcome) -> None:
        """One more seed is done."""
        self.seconds += outcome.seconds
        self.trials += outcome.trials
        self.seeds.append(outcome.seed)
        if outcome.error:
            self.failures.append(outcome)

    @property
    def row(self) -> str:
        """Its line of the table. No failure in n trials says: at 95 % confidence, less than 3/n of all would fail."""
        bound = f"{3 / self.trials:.4f}" if self.trials and not self.failures else "-"
        seeds = f"{min(self.seeds)}-{max(self.seeds)}" if self.seeds else "-"
        what = f"{self.trials:>7} {len(self.failures):>8} {bound:>8} {seeds:>9} {self.seconds:>8.1f}"
        return f"{self.kind.name:<20} {self.kind.row:<7} " + (f"skipped: {self.skipped}" if self.skipped else what)


HEADING = f"{'kind':<20} {'row':<7} {'trials':>7} {'failures':>8} {'3/n':>8} {'seeds':>9} {'seconds':>8}"


def commit() -> str:
    """What was tried: the commit of the tree, and whether files differ from it; `unknown` outside a repository."""
    git = ("git", "-C", str(PROJECT))
    try:
        found = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip() + (", and changes that are not committed" if changed else "")


def run_one(name: str, seed: int, keep: str | None) -> Outcome:
    """One seed of a kind, in a process of the campaign."""
    return run_seed(KINDS[name], seed, Path(keep) if keep else None)


def run_campaign(
    names: Sequence[str], *, trials: int | None, seed: int, jobs: int, keep: str | None, say: Callable[[str], None]
) -> bool:
    """Runs trials of some kinds and says how it went.

    Args:
        trials: of each kind; None: as many as the kind says.
        seed: of the first trial of each kind; the next one has the next.
        jobs: processes.
        keep: a folder for what failing trials leave behind.

    Returns:
        Whether none failed.
    """
    began = time.monotonic()
    tried = commit()
    tallies = {name: Tally(KINDS[name], skipped=KINDS[name].obstacle()) for name in names}
    work = [
        (name, each)
        for name, tally in tallies.items()
        if not tally.skipped
        for each in _seeds(tally.kind, trials, seed)
    ]
    for outcome in _outcomes(work, jobs, keep):
        tallies[outcome.kind].add(outcome)
        if outcome.error:
            say(f"FAILED {outcome.kind}, seed {outcome.seed}:\n{outcome.error}{replay(outcome)}\n")
    say(HEADING)
    for tally in tallies.values():
        say(tally.row)
    failures = [outcome for tally in tallies.values() for outcome in tally.failures]
    say(f"{len(failures)} failures; {time.monotonic() - began:.0f} s on {jobs} processes; first seed {seed}")
    say(f"commit {tried}")
    for outcome in failures:
        say(replay(outcome))
    return not failures


def _outcomes(work: Sequence[tuple[str, int]], jobs: int, keep: str | None) -> Iterator[Outcome]:
    if jobs == 1:
        yield from (run_one(name, seed, keep) for name, seed in work)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_one, name, seed, keep) for name, seed in work]):
            yield future.result()


def _seeds(kind: Kind, trials: int | None, seed: int) -> Iterator[int]:
    wanted = kind.trials if trials is None else trials
    yield from range(seed, seed + -(-wanted // kind.per_seed))


def replay(outcome: Outcome) -> str:
    """The command that does a trial again."""
    return f"again: python -m tests.campaigns.faults --replay {outcome.kind}:{outcome.seed}"
