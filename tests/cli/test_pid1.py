"""The programs as the first process of a container: what stops them while they start, and where their settings lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bets_protocol.cli.pid1 import use_config_file
from tests.e2e.processes import clean_environment, wait_until
from tests.log_reader import read_log

DEADLINE_S = 30
BLOCKED_TERM = 1 << (signal.SIGTERM - 1)


def blocks_sigterm(process: subprocess.Popen[str]) -> bool:
    """Whether the process keeps SIGTERM waiting."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask, 16) & BLOCKED_TERM)


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("bets_server.container", [], 0),
        ("bets_client.container", [], 0),
        ("bets_client.container", ["send", "agency-1.csv"], 143),
    ],
)
def test_a_stop_that_comes_before_the_program_is_there_is_not_lost(
    module: str, arguments: list[str], code: int, tmp_path: Path
) -> None:
    """SIGTERM while Python starts: the container's command line ends as it would later, and says so."""
    with subprocess.Popen(
        ["env", "--block-signal=TERM", sys.executable, "-m", module, *arguments],
        cwd=tmp_path,
        env=clean_environment(SERVER_PORT="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: blocks_sigterm(process), "SIGTERM blocked")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, err) == (code, "")
    assert [(line.action, line.result) for line in read_log(out)] == [("shutdown", "success")]


@pytest.mark.parametrize(
    ("given", "there", "taken"),
    [
        ({}, True, True),
        ({"BETS_CONFIG": ""}, True, True),
        ({}, False, False),
        ({"BETS_CONFIG": "mine.ini"}, True, False),
    ],
)
def test_the_file_is_used_where_it_lies_and_nothing_else_is_named(
    tmp_path: Path, given: dict[str, str], there: bool, taken: bool
) -> None:
    """The mounted file counts less than the environment, and its absence is no error."""
    file = tmp_path / "config.ini"
    if there:
        file.touch()
    environ = dict(given)
    use_config_file(str(file), environ)
    assert (given | {"BETS_CONFIG": str(file)} if taken else given) == environ
    assert os.environ.get("BETS_CONFIG") != str(file)
