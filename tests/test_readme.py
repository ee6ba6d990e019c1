"""The examples of the library in README and docs/python.md are run as they are, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 30


def _example(page: str, name: str) -> str:
    """The fenced block behind the marker `<!-- example: NAME -->`."""
    _, _, rest = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- example: {name} -->\n```python\n")
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


EXAMPLES = {
    ("README.md", "client"): ["1", "('30904465',)"],
    ("docs/python.md", "sync"): ["1 0", "('30904465',)"],
    ("docs/python.md", "asyncio"): ["1 0", "('30904465',)"],
    ("docs/python.md", "events"): ["1 bets are stored"],
    ("docs/python.md", "connection"): ["[1]", "('30904465',)"],
}


@pytest.mark.parametrize(("page", "name"), EXAMPLES)
def test_an_example_prints_what_it_says(server_url: str, tmp_path: Path, page: str, name: str) -> None:
    """Each stores one bet; what comments of the README promise is what is printed."""
    (tmp_path / "agency-1.csv").write_text("Ana,Paz,30904465,1999-03-17,7574\n", encoding="utf-8")
    code = _example(page, name).replace("tcp://127.0.0.1:12345", server_url)
    assert server_url in code
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        encoding="utf-8",
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == EXAMPLES[page, name]
    if page == "README.md":
        assert re.findall(r"print\(.*\)  # ([^:\n]*)", code) == EXAMPLES[page, name]


def test_every_example_is_run() -> None:
    """A block of Python on these pages without its marker would be tested by nobody."""
    for page in {page for page, _ in EXAMPLES}:
        blocks = (ROOT / page).read_text(encoding="utf-8").count("```python\n")
        assert blocks == sum(where == page for where, _ in EXAMPLES)
