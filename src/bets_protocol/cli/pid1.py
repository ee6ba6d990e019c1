"""What a program has to see to when it is the first process of a container.

The kernel drops a signal for which the first process has no handler. A SIGTERM that comes while Python still starts
would be lost, and the stop would end in a kill. So the images start a program with SIGTERM blocked, by `env
--block-signal=TERM`: what comes early waits, and `take_stops` lets it come when somebody listens.
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
    """Let SIGTERM come from now on: it ends the process as `Stopped` says, until the program has its own handler.

    Thread: main, while the process has nothing open yet.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end(number: int, _frame: FrameType | None) -> None:
    say_shutdown()
    # Nothing is open yet, and an exception may be lost in a finaliser of the modules that are being loaded.
    os._exit(Stopped(number).exit_code)  # pragma: no cover - it ends the process, and what was measured with it


def use_config_file(path: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the settings from the file at `path` if it is there and the environment names no other."""
    if not environ.get(CONFIG_VARIABLE) and Path(path).exists():
        environ[CONFIG_VARIABLE] = path
