"""Emits plain typed scalar Python from the intermediate form: `check`, `decode`, `encode` and `scan` for each frame.

What the functions of several frames share (the open twins of the message classes, the bytes of one record) is emitted
once, in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bets_protocol.compiler.python.reading import emit_check, emit_decode, emit_twin
from bets_protocol.compiler.python.scanning import emit_scan
from bets_protocol.compiler.python.values import emit_valid
from bets_protocol.compiler.python.writing import PutNames, emit_encode, emit_put
from bets_protocol.compiler.shape import classes
from bets_protocol.layout import nodes as ir


def emit_codec(nodes: Mapping[str, ir.Node]) -> str:
    """The functions of every frame in `nodes`; the layout of the frame `name` is called `layouts.NAME`."""
    puts = _put_names(nodes.values())
    pieces = [emit_twin(record) for record in classes(nodes.values())]
    pieces += [emit_put(record, puts) for record in puts]
    for name, layout in nodes.items():
        constant = f"layouts.{name.upper()}"
        pieces += [
            emit_check(name, layout, constant),
            emit_decode(name, layout, constant),
            emit_encode(name, layout, constant, puts),
            emit_scan(name, layout),
        ]
    return "\n\n\n".join(pieces) + "\n"


def emit_values(nodes: Mapping[str, ir.Node]) -> str:
    """`valid_<Record>` for every message class in `nodes`, and `VALID`, the table of them."""
    records = classes(nodes.values())
    table = "".join(f"    {record.name!r}: valid_{record.name},\n" for record in records)
    table = f"VALID: Final[Mapping[str, Callable[[Any, Mapping[str, type]], bool]]] = {{\n{table}}}\n"
    return "\n\n\n".join([*(emit_valid(record) for record in records), table])


def _put_names(nodes: Iterable[ir.Node]) -> PutNames:
    """A function for each record, numbered where records of one class differ in their constants."""
    names: dict[ir.Record, str] = {}
    for record in ir.records(*nodes):
        earlier = sum(other.name == record.name for other in names)
        names[record] = f"_put_{record.name}" + (f"_{earlier + 1}" if earlier else "")
    return names
