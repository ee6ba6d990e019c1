"""A transport of somebody else: installed from a folder, found by its entry point, and as good as the built-in ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "mask_plugin"
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-q", "conformance.py")


def install(source: Path, site: Path) -> None:
    """Puts a distribution of one module where a folder on the path holds it, as pip would without a network."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    shutil.copy(source / "mask_transport.py", site)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    install(SOURCE, folder)
    return folder


def run(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where the distributions in `site` are installed."""
    # What this run was told of pytest is not for that one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env=environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_installed_plugin_passes_the_conformance_suite(site: Path, tmp_path: Path) -> None:
    """Its own tests subclass the suite; all of them run and pass."""
    shutil.copy(SOURCE / "conformance.py", tmp_path)
    done = run(site, tmp_path, *PYTEST)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed in ", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 30


def test_the_conformance_suite_finds_a_broken_plugin(site: Path, tmp_path: Path) -> None:
    """The same plug-in with a bug in its stream fails."""
    module = site / "mask_transport.py"
    text = module.read_text()
    assert text.count("self._beneath.receive(max_bytes)") == 1
    module.write_text(text.replace("self._beneath.receive(max_bytes)", "self._beneath.receive()"))
    shutil.copy(SOURCE / "conformance.py", tmp_path)
    done = run(site, tmp_path, *PYTEST, "-k", "test_receive_takes_no_more_than_asked_for")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout


def test_a_program_uses_an_installed_plugin_by_its_url(site: Path, tmp_path: Path) -> None:
    """Nothing but the url names it."""
    program = """
from bets_protocol.transports import connect, listen
with listen("mask://127.0.0.1:0") as listener, connect(listener.url) as client:
    print(listener.url.partition(":")[0], client.peer)
"""
    done = run(site, tmp_path, "-c", program)
    assert (done.stdout, done.stderr) == ("mask 127.0.0.1\n", "")
