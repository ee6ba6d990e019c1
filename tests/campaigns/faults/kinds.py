"""What a kind of trial is, and how one is run and told about."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs


def no_obstacle() -> str:
    """The obstacle of a kind that runs anywhere."""
    return ""


@attrs.frozen(kw_only=True)
class Kind:
    """One row of the matrix.

    Args:
        name: on the command line.
        row: its number in the matrix of faults.
        trials: how many a push gets.
        run: does what one seed says, in an empty folder; gives how many trials that was. Raises what it finds.
        per_seed: how many trials one seed stands for.
        obstacle: why it cannot run on this machine; empty where it can.
    """

    name: str
    row: str
    trials: int
    run: Callable[[Path, int], int]
    per_seed: int = 1
    obstacle: Callable[[], str] = no_obstacle


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one seed."""

    kind: str
    seed: int
    trials: int
    seconds: float
    error: str


def run_seed(kind: Kind, seed: int, keep: Path | None = None) -> Outcome:
    """Runs one seed of a kind.

    Args:
        keep: where the folder of a failure goes; None: nowhere.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"bets-{kind.name}-", ignore_cleanup_errors=True) as name:
        trials, error = kind.per_seed, ""
        try:
            trials = kind.run(Path(name), seed)
        except Exception as found:  # noqa: BLE001 - whatever a trial raises is what it found
            error = "".join(traceback.format_exception(found))
            if keep is not None:
                shutil.copytree(name, keep / f"{kind.name}-{seed}", dirs_exist_ok=True, ignore=_special_files)
    return Outcome(kind=kind.name, seed=seed, trials=trials, seconds=time.monotonic() - began, error=error)


def _special_files(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()]
