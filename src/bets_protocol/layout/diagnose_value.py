"""The slow path of messages: finds out what forbids a value that the fast path has called bad.

The same layouts as for bytes, looked at from the other side: what may a field hold so that its bytes come out sound.
"""

from __future__ import annotations

from struct import error as StructError
from struct import pack

from bets_protocol.errors import InvalidMessage
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import is_whole_number

_SHOWN_CHARACTERS = 48
"""How much of a value an error shows: enough to recognise it, short enough for one log line."""

FLOAT_CODES = {2: "e", 4: "f", 8: "d"}
"""The format character of a float, by its size in bytes."""


def explain_value(node: ir.Node, value: object, path: str = "") -> InvalidMessage | None:
    """What forbids `value` as the value of `node` in a message, or None where nothing does."""
    match node:
        case ir.Int():
            if not is_whole_number(value) or not node.low <= value <= node.high:
                return _refusal(path, f"a number from {node.low} to {node.high}", value)
        case ir.Enum(members=members):
            if not is_whole_number(value) or value not in {number for _, number in members}:
                return _refusal(path, expected_members(node), value)
        case ir.Float():
            return _explain_float(node, value, path)
        case ir.Bytes():
            return _explain_bytes_value(node, value, path)
        case ir.Line():
            return _explain_line(node, value, path)
        case ir.Text():
            return _explain_text(node, value, path)
        case ir.Array():
            return _explain_array(node, value, path)
        case ir.Region():
            return _explain_region(node, value, path)
        case ir.Bounded(sub=sub):
            return explain_value(sub, value, path)
        case ir.Record(name=name):
            if type(value).__name__ != name:
                return _refusal(path, f"a {name}", value)
            return explain_record(node, value, path)
        case _:
            raise TypeError(f"a {type(node).__name__} has no value of its own")
    return None


def explain_record(node: ir.Record, message: object, path: str = "") -> InvalidMessage | None:
    """What forbids a field of `message`, whatever its class is called, or None where nothing does."""
    for field in node.attributes:
        where = f"{path}.{field.name}" if path else field.name
        try:
            value = getattr(message, field.name)
        except AttributeError:
            return _refusal(where, "a value", None)
        part = field.node
        if isinstance(part, ir.Switch):
            # The field that it looks at stands before it, so that has been found good.
            case = dict(part.cases).get(int(getattr(message, part.field)))
            if case is None:
                known = ", ".join(str(number) for number, _ in part.cases)
                return _refusal(where, f"{part.field} to be one of {known}", getattr(message, part.field))
            part = case
        error = explain_value(part, value, where)
        if error is not None:
            return error
    return None


def encoded_size(node: ir.Node, value: object) -> int:
    """How many bytes `value` takes as the value of `node`; what its parts hold must have been found good."""
    match node, value:
        case ir.Bytes() | ir.Line(), bytes():
            return len(value) + _prefix_size(node)
        case ir.Text(encoding=encoding), str():
            return len(value.encode(encoding)) + _prefix_size(node)
        case ir.Region(prefix=prefix, sub=sub), _:
            return prefix.size + encoded_size(sub, value)
        case ir.Bounded(sub=sub), _:
            return encoded_size(sub, value)
        case ir.Array(count=count, item=item), tuple():
            return (count.size if isinstance(count, ir.Int) else 0) + sum(encoded_size(item, part) for part in value)
        case ir.Record(fields=fields), _:
            return sum(_field_size(field, value) for field in fields)
        case _:
            return ir.size_bounds(node)[0]


def _field_size(field: ir.Field, message: object) -> int:
    node = field.node
    if isinstance(node, ir.Const):
        return ir.size_bounds(node)[0]
    if isinstance(node, ir.Switch):
        node = dict(node.cases)[int(getattr(message, node.field))]
    return encoded_size(node, getattr(message, field.name))


def _prefix_size(node: ir.Bytes | ir.Text | ir.Line) -> int:
    return 0 if isinstance(node, ir.Line) or node.prefix is None else node.prefix.size


def _explain_float(node: ir.Float, value: object, path: str) -> InvalidMessage | None:
    if not isinstance(value, float | int):
        return _refusal(path, "a number", value)
    try:
        pack(f">{FLOAT_CODES[node.size]}", value)
    except (OverflowError, StructError):
        return _refusal(path, f"a number that fits {node.size} bytes", value)
    return None


def _explain_bytes_value(node: ir.Bytes, value: object, path: str) -> InvalidMessage | None:
    if not isinstance(value, bytes):
        return _refusal(path, "bytes", value)
    low, high = ir.content_bounds(node)
    if not low <= len(value) <= high:
        return _refusal(path, f"{low} to {high} bytes" if low != high else f"{low} bytes", f"{len(value)} bytes")
    return None


def _explain_line(node: ir.Line, value: object, path: str) -> InvalidMessage | None:
    if isinstance(value, bytes) and is_line(value, *node.first, node.max_bytes):
        return None
    first, last = node.first
    expectation = f"one line of 1 to {node.max_bytes} bytes that begins with 0x{first:02X} to 0x{last:02X}"
    return _refusal(path, expectation, value)


def is_line(value: bytes, first: int, last: int, max_bytes: int) -> bool:
    """Whether `value` is one line, with or without its LF, that begins with a byte from `first` to `last`."""
    text = value.removesuffix(b"\n")
    return bool(text) and first <= text[0] <= last and len(text) <= max_bytes and b"\n" not in text


def _explain_text(node: ir.Text, value: object, path: str) -> InvalidMessage | None:
    if not isinstance(value, str):
        return _refusal(path, "text", value)
    try:
        size = len(value.encode(node.encoding))
    except UnicodeEncodeError:
        return _refusal(path, node.rule.expectation if node.rule else f"{node.encoding.upper()} text", value)
    low, high = ir.content_bounds(node)
    if node.prefix is None and size != low:
        return _refusal(path, f"{low} bytes{f' ({node.rule.expectation})' if node.rule else ''}", value)
    if size > high:
        return _refusal(path, f"at most {high} bytes of {node.encoding.upper()}", f"{size} bytes")
    if node.rule and not node.rule.allows(value):
        return _refusal(path, node.rule.expectation, value)
    if size < low:
        return _refusal(path, f"at least {low} bytes of {node.encoding.upper()}", value)
    return None


def _explain_array(node: ir.Array, value: object, path: str) -> InvalidMessage | None:
    if not isinstance(value, tuple):
        return _refusal(path, "a tuple", value)
    low, high = node.count_bounds
    if not low <= len(value) <= high:
        return _refusal(path, f"{low} to {high} items" if low != high else f"{low} items", f"{len(value)} items")
    for index, element in enumerate(value):
        error = explain_value(node.item, element, f"{path}[{index}]")
        if error is not None:
            return error
    return None


def _explain_region(node: ir.Region, value: object, path: str) -> InvalidMessage | None:
    error = explain_value(node.sub, value, path)
    if error is not None:
        return error
    low, high = ir.region_bounds(node)
    size = encoded_size(node.sub, value)
    if not low <= size <= high:
        return _refusal(path, f"what takes {low} to {high} bytes", f"{size} bytes")
    return None


def expected_members(node: ir.Enum) -> str:
    """The members of `node`, to end the sentence "expected ..."."""
    return "one of " + ", ".join(f"{number} {name}" for name, number in node.members)


def shorten(found: object) -> str:
    """`found` as an error shows it."""
    shown = repr(found)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."


def _refusal(path: str, expectation: str, found: object) -> InvalidMessage:
    return InvalidMessage(f"expected {expectation}", path=path, found=shorten(found))
