"""Questions about a layout that more than one emitter asks."""

from __future__ import annotations

from collections.abc import Iterable

from bets_protocol.layout import nodes as ir


def looks_inside(node: ir.Node) -> bool:
    """Whether a scanner must read bytes of `node`, rather than only count them."""
    match node:
        case ir.Const():
            return isinstance(node.value, int)
        case ir.Record(fields=fields):
            return any(looks_inside(field.node) for field in fields)
        case ir.Array(item=item) | ir.Bounded(sub=item):
            return looks_inside(item)
        case ir.Switch():
            return True
        case ir.Int() | ir.Float() | ir.Bytes(prefix=None) | ir.Text(prefix=None) | ir.Enum():
            return False
        case _:
            return True


def switched_fields(record: ir.Record) -> set[str]:
    """The fields of `record` that a Switch of the same record looks at."""
    return {field.node.field for field in record.fields if isinstance(field.node, ir.Switch)}


def classes(layouts: Iterable[ir.Node]) -> tuple[ir.Record, ...]:
    """One record for each message class in `layouts`, inner ones first.

    Records of one class may differ in their constants; then any of them represents the class.
    """
    found: dict[str, ir.Record] = {}
    for record in ir.records(*layouts):
        found.setdefault(record.name, record)
    return tuple(found.values())
