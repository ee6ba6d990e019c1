"""Compiles construct declarations: from one declaration, the code that checks, decodes, encodes and scans frames.

`bets_protocol.schema` is compiled with it, ahead of time; nothing of this package runs on a live connection. Any other
protocol can be compiled too: `compile_schema` gives a codec at once, `python_source` and `c_source` of what it returns
give code to keep. A C module has, besides the functions of its frames, ``bind(classes, pure)``, to be called once: the
classes by name, and the pure functions by name, which are asked when something is wrong.
"""

from __future__ import annotations

from bets_protocol.compiler.compiled import CompiledSchema, compile_schema
from bets_protocol.compiler.read import UnsupportedConstruct, read_construct

__all__ = ["CompiledSchema", "UnsupportedConstruct", "compile_schema", "read_construct"]
