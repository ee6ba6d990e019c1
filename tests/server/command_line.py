"""Commands of `bets-server`, run in this process."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from bets_server.cli import main


@attrs.frozen
class Result:
    """How a command has ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def command_line(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs a command in `folder`, in this process, without settings of the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/bets-server"])
    for name in list(os.environ):
        if re.match(r"(BETS|SERVER)_|EXPECTED_CLIENTS$|LOGGING_LEVEL$", name):
            monkeypatch.delenv(name)
    sigterm = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        signal.signal(signal.SIGTERM, sigterm)  # some commands give it back to the system, for good
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return run
