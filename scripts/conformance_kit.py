"""Writes docs/conformance/golden.json, all golden files in one, or with --check says that it is stale.

The files of tests/golden are the source; the page docs/conformance/index.md says how the one file is read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
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
    text = gathered()
    if KIT.is_file() and KIT.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"{KIT.relative_to(ROOT)} is stale: run `python scripts/conformance_kit.py`\n")
        return 1
    KIT.write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {KIT.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
