"""The README's example of the library is run as it stands there, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 30


def _example(name: str) -> str:
    """The fenced block behind the marker `<!-- example: NAME -->`."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"<!-- example: {name} -->\n```python\n")
    return rest.partition("```")[0]


@pytest.fixture
def server_url(tmp_path: Path) -> Iterator[str]:
    """A server that waits for one agency."""
    arguments = ["serve", "--listen", "tcp://127.0.0.1:0", "--store", "sqlite:///bets.db", "--agencies", "1"]
    with subprocess.Popen(
        [PROGRAMS / "bets-server", *arguments, "--log-level", "DEBUG"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as server:
        deadline = threading.Timer(DEADLINE_S, server.kill)
        deadline.start()
        try:
            assert server.stdout is not None
            # Ends at the latest when the server does, and that at the latest at the deadline.
            line = next((line for line in server.stdout if "action: config" in line), "")
            port = re.search(r"\| port: (\d+)", line)
            assert port, f"the server did not say its port: {line!r}"
            yield f"tcp://127.0.0.1:{port[1]}"
            server.terminate()
            server.communicate(timeout=DEADLINE_S)
            assert server.returncode == 0
        finally:
            deadline.cancel()
            server.kill()


def test_the_example_stores_a_bet_and_prints_its_winner(server_url: str) -> None:
    """The client of the README prints what its comments say."""
    code = _example("client").replace("tcp://127.0.0.1:12345", server_url)
    assert server_url in code
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False, encoding="utf-8"
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == re.findall(r"print\(.*\)  # ([^:\n]*)", code)
    assert run.stdout.splitlines() == ["[1]", "('30904465',)"]
