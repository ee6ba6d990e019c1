"""Questions about a layout that more than one emitter asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bets_protocol.layout import nodes as ir


def walk(node: ir.Node) -> Iterator[ir.Node]:
    """`node` and every layout in it, lengths and counts included."""
    yield node
    match node:
        case ir.Region(sub=sub, prefix=prefix):
            yield prefix
            yield from walk(sub)
        case ir.Bounded(sub=sub) | ir.Const(sub=sub) | ir.Enum(sub=sub):
            yield from walk(sub)
        case ir.Array(item=item, count=count):
            if isinstance(count, ir.Int):
                yield count
            yield from walk(item)
        case ir.Switch(cases=cases):
            for _, case in cases:
                yield from walk(case)
        case ir.Record(fields=fields):
            for field in fields:
                yield from walk(field.node)
        case ir.Text(prefix=ir.Int() as prefix) | ir.Bytes(prefix=ir.Int() as prefix):
            yield prefix
        case _:
            pass


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


def records_by_name(layouts: Iterable[ir.Node]) -> dict[str, ir.Record]:
    """Every record in `layouts` by its class name.

    Two layouts may share a class and differ in their constants; then either stands for the class.

    Raises:
        TypeError: two records of one name have different attributes.
    """
    found: dict[str, ir.Record] = {}
    for layout in layouts:
        for record in ir.records(layout):
            known = found.setdefault(record.name, record)
            if [field.name for field in known.attributes] != [field.name for field in record.attributes]:
                raise TypeError(f"two records of the name {record.name} have different fields")
    return found
