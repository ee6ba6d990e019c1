"""What a program has to do as the first process of a container.

The kernel drops a signal for which the first process has no handler. A SIGTERM that comes while Python starts would be
lost. So the images start a program with SIGTERM blocked, by `env --block-signal=TERM`, and `take_stops` unblocks it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping
from pathlib import Path
from types import FrameType

from bets_protocol.cli.command_group import say_shutdown
from bets_protocol.cli.signals import Stopped

CONFIG_VARIABLE = "BETS_CONFIG"


def take_stops() -> None:
    """Unblock SIGTERM, which ends the process until the program sets its own handler.

    Thread: main, while the process has nothing open.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end(number: int, _frame: FrameType | None) -> None:
    say_shutdown()
    # Nothing is open yet, and an exception may be lost in a finaliser while modules are loaded.
    os._exit(Stopped(number).exit_code)  # pragma: no cover - it ends the process, and what was measured with it


def use_config_file(path: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the settings from the file at `path` if it exists and the environment names no other."""
    if not environ.get(CONFIG_VARIABLE) and Path(path).exists():
        environ[CONFIG_VARIABLE] = path
