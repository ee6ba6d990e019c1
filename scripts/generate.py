"""Writes what is made from the schema (modules, C source, tables of the docs), or with --check says what is stale.

The package itself imports what is written here, so a broken output could not be mended by importing it: the compiler
is imported beside the `__init__` of the package and of its connections, from bare packages of the same names.
"""

from __future__ import annotations

import subprocess
import sys
import types

from scripts.outputs import ROOT, write

PACKAGE = ROOT / "src" / "bets_protocol"
PROTOCOL_PAGE = ROOT / "docs" / "protocol.md"


def main(arguments: list[str]) -> int:
    """Writes or compares; returns the exit code."""
    for name, folder in {"bets_protocol": PACKAGE, "bets_protocol.connection": PACKAGE / "connection"}.items():
        bare = types.ModuleType(name)
        bare.__path__ = [str(folder)]
        sys.modules[name] = bare
    from bets_protocol.compiler import bets  # only now: see above

    outputs = {
        PACKAGE / "generated" / "layouts.py": bets.emit_layouts_module(),
        PACKAGE / "generated" / "values.py": bets.emit_values_module(),
        PACKAGE / "generated" / "codec.py": bets.emit_codec_module(),
        PACKAGE / "generated" / "_native.c": bets.emit_native_module(),
        PROTOCOL_PAGE: bets.fill_protocol_page(PROTOCOL_PAGE.read_text(encoding="utf-8")),
    }
    return write(outputs, arguments)


if __name__ == "__main__":
    tables = [sys.executable, "-m", "scripts.settings_tables", *sys.argv[1:]]
    sys.exit(main(sys.argv[1:]) | subprocess.call(tables, cwd=ROOT))
