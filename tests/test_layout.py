"""How the tests are laid out: what several test modules need is in helper modules, named for what they hold."""

from __future__ import annotations

import ast
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
