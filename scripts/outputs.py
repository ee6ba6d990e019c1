"""What is generated and committed: written, or only compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write(outputs: Mapping[Path, str], arguments: list[str]) -> int:
    """Writes the texts that differ from their files; with --check among the arguments, only says which do.

    Returns:
        The exit code: 1 if a file is stale and was not written.
    """
    stale = [path for path, text in outputs.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `nox -s generate`\n")
        else:
            path.write_text(outputs[path], encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 1 if stale and "--check" in arguments else 0
