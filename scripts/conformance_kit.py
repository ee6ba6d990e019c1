"""Writes docs/conformance/golden.json, all golden files in one, or with --check says that it is stale.

The files of tests/golden are the source; the page docs/conformance/index.md says how the one file is read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scripts.outputs import ROOT, write

GOLDEN = ROOT / "tests" / "golden"
KIT = ROOT / "docs" / "conformance" / "golden.json"


def gathered() -> str:
    """The text of the one file: a line for each case and each transcript, so that a change shows as what it is."""
    cases = [_line(path, hex=path.with_suffix(".bin").read_bytes().hex()) for path in _files("revision-*/*.json")]
    transcripts = [_line(path) for path in _files("transcripts/*.json")]
    return f'{{"cases": [\n{_lines(cases)}],\n"transcripts": [\n{_lines(transcripts)}]}}\n'


def _files(pattern: str) -> list[Path]:
    return sorted(GOLDEN.glob(pattern))


def _line(path: Path, **more: Any) -> str:
    name = path.relative_to(GOLDEN).with_suffix("").as_posix()
    return json.dumps({"name": name, **json.loads(path.read_text(encoding="utf-8")), **more}, ensure_ascii=False)


def _lines(lines: list[str]) -> str:
    return ",\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Writes or compares; returns the exit code."""
    return write({KIT: gathered()}, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
