"""How the tests are laid out.

What several test modules need is in helper modules, named for what they hold. The tests of a package need no package
that it does not need itself.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent
FILES = [str(path.relative_to(PROJECT)) for folder in ("tests", "fuzz") for path in (PROJECT / folder).rglob("*.py")]


def _imported(path: Path) -> list[tuple[int, str]]:
    """What a file imports, wherever in it, as (line, dotted name); a name of a module counts as a module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, node.module or ""))
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("file", FILES)
def test_no_file_imports_a_test_module(file: str) -> None:
    """A test module can be renamed, split or deleted, and no other file notices."""
    bad = [
        f"{file}:{line}: {name}"
        for line, name in _imported(PROJECT / file)
        if name.startswith("tests.") and name.rsplit(".", 1)[-1].startswith("test_")
    ]
    assert bad == []


@pytest.mark.parametrize("file", [file for file in FILES if Path(file).name.startswith("test_")])
def test_every_test_says_in_a_sentence_what_holds(file: str) -> None:
    """Its docstring begins with one; the name alone is too short to say it."""
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"), file)
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    mute = [f"{file}:{test.lineno}: {test.name}" for test in tests if (ast.get_docstring(test) or "")[-1:] != "."]
    assert mute == []


COLLECT_WITHOUT = """
import sys
folder, *blocked = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked))  # importing one of them is a ModuleNotFoundError
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-n0", folder]))
"""


@pytest.mark.parametrize(
    ("folder", "blocked"),
    [
        ("tests/protocol", ["bets_server", "bets_client", "cryptography"]),
        ("tests/cli", ["bets_server", "bets_client", "cryptography"]),
        ("tests/transports", ["bets_server", "bets_client"]),
        ("tests/client", ["bets_server"]),
    ],
)
def test_a_folder_needs_only_what_its_package_needs(folder: str, blocked: list[str]) -> None:
    """Its tests are collected where the other packages cannot be imported."""
    command = [sys.executable, "-c", COLLECT_WITHOUT, folder, *blocked]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
