"""What an attack is, and how one is tried and told about."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.campaigns.attacks.scene import Pace, Scene, TooSlow
from tests.campaigns.faults.kinds import no_obstacle

TRIES = 3
"""Of an attack under which the honest client was too slow: noise passes, a slow server does not."""


@attrs.frozen(kw_only=True)
class Attack:
    """One form of one row of the matrix.

    Args:
        name: on the command line.
        row: its number in the matrix of faults.
        run: attacks and judges; raises what it finds.
        obstacle: why it cannot run on this machine; empty where it can.
    """

    name: str
    row: str
    run: Callable[[Scene], None]
    obstacle: Callable[[], str] = no_obstacle


@attrs.frozen(kw_only=True)
class Finding:
    """What became of one try.

    Attributes:
        error: empty where all held.
        only_slow: the error is about the honest client's pace alone.
    """

    seconds: float
    pace: Pace | None
    notes: tuple[str, ...]
    error: str = ""
    only_slow: bool = False


def tried(attack: Attack, seconds: float, keep: Path | None = None) -> Finding:
    """Tries an attack once.

    Args:
        seconds: as for `Scene`.
        keep: where the folder of a failure goes; None: nowhere.
    """
    began = time.monotonic()
    error, only_slow = "", False
    with tempfile.TemporaryDirectory(prefix=f"bets-{attack.name}-", ignore_cleanup_errors=True) as name:
        scene = Scene(Path(name), seconds)
        try:
            try:
                attack.run(scene)
            finally:
                scene.close()
            if scene.too_slow is not None:
                raise scene.too_slow
        except Exception as found:  # noqa: BLE001 - whatever an attack raises is what it found
            error, only_slow = "".join(traceback.format_exception(found)), isinstance(found, TooSlow)
            if keep is not None:
                shutil.copytree(name, keep / attack.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ctl*"))
    return Finding(
        seconds=time.monotonic() - began, pace=scene.pace, notes=tuple(scene.notes), error=error, only_slow=only_slow
    )
