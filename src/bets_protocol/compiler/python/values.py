"""Emits `valid_<Record>`: whether the fields of a message hold what the layout allows.

A message class calls it when a message is made; `bets_protocol.layout.diagnose` says what is wrong. The classes come in
as an argument, since the message classes import what is written here. A field that is itself a message was checked when
that was made, so only its class is compared.
"""

from __future__ import annotations

from bets_protocol.compiler.python.source import Source, region_name, text_test
from bets_protocol.layout import nodes as ir

_WHOLE = "(type({0}) is int or is_whole_number({0}))"  # the call is for what is rare, such as members of an IntEnum


def emit_valid(record: ir.Record) -> str:
    """`valid_<Record>`; records of one name agree in all that it asks."""
    out = Source()
    names = {field.name: out.name(field.name) for field in record.attributes}
    tests = [
        _switch(field.node, names[field.name], names[field.node.field])
        if isinstance(field.node, ir.Switch)
        else _holds(field.node, names[field.name])
        for field in record.attributes
    ]
    argument = "classes" if any("classes[" in test for test in tests) else "_classes"
    with out.block(f"def valid_{record.name}(message: Any, {argument}: Mapping[str, type]) -> bool:"):
        out(f'"""Whether every field of the {record.name} `message` holds what its layout allows."""')
        for field, name in names.items():
            out(f"{name} = message.{field}")
        for test in tests[:-1]:
            with out.block(f"if not ({test}):"):
                out("return False")
        out(f"return {tests[-1] if tests else True}")
    return str(out)


def _switch(node: ir.Switch, value: str, key: str) -> str:
    cases = "".join(f"({_holds(case, value)}) if {key} == {number} else " for number, case in node.cases)
    return f"({cases}False)"


def _holds(node: ir.Node, value: str, depth: int = 0) -> str:
    """A condition that holds when `value` is a value of `node`."""
    match node:
        case ir.Int():
            return f"{_WHOLE.format(value)} and {node.low} <= {value} <= {node.high}"
        case ir.Enum(members=members):
            return f"{_WHOLE.format(value)} and {value} in {{{', '.join(str(number) for _, number in members)}}}"
        case ir.Float():
            return f'isinstance({value}, (float, int)) and fits_float({value}, "{node.format}")'
        case ir.Bytes():
            return f"isinstance({value}, bytes) and {_in_bounds(f'len({value})', *ir.content_bounds(node))}"
        case ir.Line(first=(first, last), max_bytes=max_bytes):
            return f"isinstance({value}, bytes) and is_line({value}, {first}, {last}, {max_bytes})"
        case ir.Text():
            return _text(node, value)
        case ir.Array(item=item):
            each = "item" if not depth else f"item_{depth + 1}"
            sizes = _in_bounds(f"len({value})", *node.count_bounds)
            if isinstance(record := ir.unwrap(item), ir.Record) and not _size_matters(item):
                items = f"set(map(type, {value})) <= {{classes[{record.name!r}]}}"
            else:
                items = f"all({_holds(item, each, depth + 1)} for {each} in {value})"
            return f"isinstance({value}, tuple) and {sizes} and {items}"
        case ir.Record(name=name):
            return f"type({value}) is classes[{name!r}]"
        case ir.Region(sub=sub):
            sizes = _in_bounds(f"encoded_size({region_name(node)}, {value})", *ir.region_bounds(node))
            return f"{_holds(sub, value, depth)} and {sizes}" if _size_matters(node) else _holds(sub, value, depth)
        case ir.Bounded(sub=sub):
            return _holds(sub, value, depth)
        case _:
            raise TypeError(f"a {type(node).__name__} can only be the field of a record")


def _text(node: ir.Text, value: str) -> str:
    low, high = ir.content_bounds(node)
    if node.encoding == "ascii":
        size = f"{value}.isascii() and {_in_bounds(f'len({value})', low, high)}"
    else:
        size = _in_bounds(f"(len({value}) if {value}.isascii() else utf8_size({value}))", low, high)
    keeps = text_test(node, value)
    return f"isinstance({value}, str) and {size}" + (f" and ({keeps})" if keeps else "")


def _in_bounds(size: str, low: int, high: int) -> str:
    return f"{size} == {low}" if low == high else f"{low} <= {size} <= {high}"


def _size_matters(node: ir.Node) -> bool:
    """Whether good values of what is inside may take more or fewer bytes than a length around it can say."""
    while isinstance(node, ir.Region | ir.Bounded):
        if isinstance(node, ir.Region) and ir.region_bounds(node) != ir.size_bounds(node.sub):
            return True
        node = node.sub
    return False
