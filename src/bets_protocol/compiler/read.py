"""Reads a construct declaration into a layout of `bets_protocol.layout.nodes`.

There is one function for each construct class, chosen by exact type, so that a subclass is refused rather than misread.
Anything else is refused with the construct and its path; so is what construct accepts although no frame can satisfy it,
such as a length that fits nothing.
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable
from typing import Any, TypeGuard

import attrs
import construct as c

from bets_protocol.compiler.python.source import GLOBAL_NAMES
from bets_protocol.errors import BetsError
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import CalendarDate, Characters, IntRange, is_whole_number
from bets_protocol.schema import Bounded, Line, Ruled, StrictEnum

_DATE_BYTES = len("YYYY-MM-DD")

_MAX_DEPTH = 32
"""Constructs inside each other: Python allows 100 levels of indentation and 200 of brackets, and emitters recurse."""

_MAX_ARRAYS = 16
"""Arrays inside each other, which become loops: Python allows 20 blocks in a function."""

_MAX_CASES = 256
"""Cases of a Switch, each of which becomes an `elif`; these nest in the grammar."""

_MAX_INTEGER_BYTES = 16


class UnsupportedConstruct(BetsError, TypeError):
    """A declaration with a construct that cannot be compiled."""

    def __init__(self, construct: Any, path: str, reason: str = "") -> None:
        while type(construct) is c.Renamed:
            construct = construct.subcon
        kind = type(construct).__name__
        super().__init__(f"{path or 'the declaration'}: {kind} is not supported{': ' + reason if reason else ''}")


def read_construct(declaration: Any, *, name: str = "") -> ir.Node:
    """The layout of `declaration`.

    Args:
        declaration: any construct of the supported kinds.
        name: the class name of an outermost Struct that has no name of its own.

    Raises:
        UnsupportedConstruct: a construct of another kind; says which and where.
    """
    return _read(declaration, _Spot(name=name))


@attrs.frozen(kw_only=True)
class _Spot:
    """The place of a construct.

    Attributes:
        path: the fields that lead to it.
        name: what a Struct here is called.
        last: whether its end is the end of the frame, or of the region around it.
        depth: how many constructs it is inside of.
        arrays: how many of them are arrays.
    """

    path: str = ""
    name: str = ""
    last: bool = True
    depth: int = 0
    arrays: int = 0


def _read(x: Any, at: _Spot) -> ir.Node:
    """The layout of `x`, which must say where it ends."""
    node = _read_part(x, at)
    if _is_endless(node):
        raise UnsupportedConstruct(x, at.path, "nothing says where this text ends")
    if isinstance(node, ir.Text):
        low, high = ir.content_bounds(node)
        least = node.rule.min_bytes if isinstance(node.rule, Characters) else low
        if max(low, least) > high or (isinstance(node.rule, CalendarDate) and not low <= _DATE_BYTES <= high):
            raise UnsupportedConstruct(x, at.path, "no text of its length keeps its rule")
    return node


def _read_part(x: Any, at: _Spot) -> ir.Node:
    """The layout of `x`, which may be text whose end is said by the construct around it."""
    while type(x) is c.Renamed:
        # The innermost name of a Struct is its class's, the outermost one its field's.
        at = attrs.evolve(at, name=x.name or at.name)
        x = x.subcon
    reader = _READERS.get(type(x))
    if reader is None:
        raise UnsupportedConstruct(x, at.path)
    if at.depth == _MAX_DEPTH:
        raise UnsupportedConstruct(x, at.path, f"more than {_MAX_DEPTH} constructs inside each other")
    return reader(x, attrs.evolve(at, depth=at.depth + 1))


def _is_endless(node: ir.Node) -> TypeGuard[ir.Text]:
    return isinstance(node, ir.Text) and node.size is None and node.prefix is None


def _length(x: Any, at: _Spot) -> ir.Int:
    node = _read(x, at)
    if not isinstance(node, ir.Int) or node.signed:
        raise UnsupportedConstruct(x, at.path, "a length or count must be an unsigned integer")
    return node


def _format_field(x: Any, at: _Spot) -> ir.Node:
    order, code = x.fmtstr
    if order not in "<>":
        raise UnsupportedConstruct(x, at.path, "native byte order differs between machines")
    if code in "efd":
        return ir.Float(size=x.length, little=order == "<")
    if code in "BHLQbhlq":
        return ir.Int(size=x.length, signed=code.islower(), little=order == "<" and x.length > 1)
    raise UnsupportedConstruct(x, at.path, f"format {x.fmtstr}")


def _bytes_integer(x: Any, at: _Spot) -> ir.Node:
    if not isinstance(x.length, int) or not isinstance(x.swapped, bool):
        raise UnsupportedConstruct(x, at.path, "its length or byte order is computed")
    if x.length < 1:
        raise UnsupportedConstruct(x, at.path, "an integer takes at least one byte")
    if x.length > _MAX_INTEGER_BYTES:
        raise UnsupportedConstruct(x, at.path, f"an integer takes at most {_MAX_INTEGER_BYTES} bytes")
    return ir.Int(size=int(x.length), signed=x.signed, little=x.swapped and x.length > 1)


def _fixed_size(x: Any, at: _Spot) -> int:
    if not isinstance(x.length, int):
        raise UnsupportedConstruct(x, at.path, "its length is computed")
    if x.length < 0:
        raise UnsupportedConstruct(x, at.path, "its length is negative")
    return int(x.length)


def _string(x: Any, at: _Spot) -> ir.Node:
    encoding = {"utf8": "utf-8", "utf-8": "utf-8", "utf_8": "utf-8", "ascii": "ascii"}.get(x.encoding.lower())
    if encoding is None:
        raise UnsupportedConstruct(x, at.path, f"encoding {x.encoding}")
    sub = x.subcon
    if type(sub) is c.Prefixed and sub.subcon is c.GreedyBytes and not sub.includelength:
        return ir.Text(prefix=_length(sub.lengthfield, at), encoding=encoding)
    if sub is c.GreedyBytes:
        return ir.Text(encoding=encoding)  # sized by what surrounds it
    raise UnsupportedConstruct(x, at.path, "only PascalString, and GreedyString in FixedSized or Prefixed")


def _fixed_sized(x: Any, at: _Spot) -> ir.Node:
    size = _fixed_size(x, at)
    if x.subcon is c.GreedyBytes:
        return ir.Bytes(size=size)
    inner = _read_part(x.subcon, at)
    if _is_endless(inner):
        return attrs.evolve(inner, size=size)
    raise UnsupportedConstruct(x, at.path, "only around GreedyString or GreedyBytes")


def _prefixed(x: Any, at: _Spot) -> ir.Node:
    if x.includelength:
        raise UnsupportedConstruct(x, at.path, "a length that counts itself")
    prefix = _length(x.lengthfield, at)
    if x.subcon is c.GreedyBytes:
        return ir.Bytes(prefix=prefix)
    inner = _read_part(x.subcon, attrs.evolve(at, last=True))
    if _is_endless(inner):
        return attrs.evolve(inner, prefix=prefix)
    if isinstance(inner, ir.Const):
        raise UnsupportedConstruct(x, at.path, "around a Const")
    region = ir.Region(prefix=prefix, sub=inner)
    low, high = ir.region_bounds(region)
    if low > high or high == 0:
        raise UnsupportedConstruct(x, at.path, "what it holds fits no length")
    return region


def _array(x: Any, at: _Spot) -> ir.Node:
    if not isinstance(x.count, int) or x.discard:
        raise UnsupportedConstruct(x, at.path, "its count is computed")
    if x.count < 0:
        raise UnsupportedConstruct(x, at.path, "its count is negative")
    return ir.Array(count=int(x.count), item=_item(x.subcon, at))


def _prefixed_array(x: Any, at: _Spot) -> ir.Node:
    names = [sub.name for sub in x.subcons]
    count: Any = x.subcons[0].subcon if names == ["count", "items"] else None
    items: Any = x.subcons[1].subcon if names == ["count", "items"] else None
    if not (
        x.parsebuildfrom == "items"
        and type(count) is c.Rebuild
        and repr(count.func) == repr(c.len_(c.this.items))
        and type(items) is c.Array
        and repr(items.count) == repr(c.this.count)
        and not items.discard
    ):
        raise UnsupportedConstruct(x, at.path, "only as PrefixedArray makes it")
    return ir.Array(count=_length(count.subcon, at), item=_item(items.subcon, at))


def _item(x: Any, at: _Spot) -> ir.Node:
    item = attrs.evolve(at, path=f"{at.path}[]", name=f"{at.name}_item", last=False, arrays=at.arrays + 1)
    if item.arrays > _MAX_ARRAYS:
        raise UnsupportedConstruct(x, item.path, f"more than {_MAX_ARRAYS} arrays inside each other")
    node = _read(x, item)
    if isinstance(node, ir.Const):
        raise UnsupportedConstruct(x, item.path, "an item without a value")
    if ir.size_bounds(node)[0] == 0:
        raise UnsupportedConstruct(x, item.path, "an item that may take no bytes")
    return node


def _const(x: Any, at: _Spot) -> ir.Node:
    sub = _read(x.subcon, at)
    if isinstance(sub, ir.Int) and is_whole_number(x.value) and sub.low <= x.value <= sub.high:
        return ir.Const(value=int(x.value), sub=sub)
    if isinstance(sub, ir.Bytes) and isinstance(x.value, bytes) and sub.size == len(x.value):
        return ir.Const(value=x.value, sub=sub)
    raise UnsupportedConstruct(x, at.path, "only of an integer or of bytes, with a value that fits")


def _enum(x: Any, at: _Spot) -> ir.Node:
    sub = _read(x.subcon, at)
    if not isinstance(sub, ir.Int) or sub.rule is not None:
        raise UnsupportedConstruct(x, at.path, "only of an integer")
    members = tuple((str(name), int(number)) for number, name in x.ksymapping.items())
    if not members or not all(sub.low <= number <= sub.high for _, number in members):
        raise UnsupportedConstruct(x, at.path, "only of members that fit its integer")
    return ir.Enum(sub=sub, members=members)


def _ruled(x: Any, at: _Spot) -> ir.Node:
    node = _read_part(x.subcon, at)
    rule = x.rule
    if isinstance(node, ir.Int) and node.rule is None and isinstance(rule, IntRange):
        ruled = attrs.evolve(node, rule=IntRange(int(rule.low), int(rule.high)))
        if ruled.low <= ruled.high:
            return ruled
    if isinstance(node, ir.Text) and node.rule is None and isinstance(rule, Characters | CalendarDate):
        return attrs.evolve(node, rule=rule)
    raise UnsupportedConstruct(x, at.path, f"the rule {rule!r} does not fit what it is put on")


def _bounded(x: Any, at: _Spot) -> ir.Node:
    sub = _read(x.subcon, at)
    if isinstance(sub, ir.Const) or ir.size_bounds(sub)[0] > x.max_bytes:
        raise UnsupportedConstruct(x, at.path, "what it holds never fits, or has no value")
    return ir.Bounded(max_bytes=int(x.max_bytes), sub=sub)


def _line(x: Any, at: _Spot) -> ir.Node:
    if not at.last:
        raise UnsupportedConstruct(x, at.path, "only at the end of a frame or of a Prefixed")
    return ir.Line(max_bytes=int(x.max_bytes), first=(int(x.first[0]), int(x.first[1])))


def _struct(x: Any, at: _Spot) -> ir.Node:
    name = "".join(part[:1].upper() + part[1:] for part in (at.name or "Record").split("_"))
    why = _why_no_name(name) or ("emitted code needs that name" if name in GLOBAL_NAMES else "")
    if why:
        raise UnsupportedConstruct(x, at.path, f"no class can be called {_shown(name)}: {why}")
    subs = list(x.subcons)
    if subs and subs[-1] is c.Terminated:
        if not at.last:
            raise UnsupportedConstruct(c.Terminated, at.path, "more follows")
        subs.pop()
    fields: list[ir.Field] = []
    taken: set[str] = set()
    for index, sub in enumerate(subs):
        shown = _shown(sub.name or "")
        where = f"{at.path}.{shown}" if at.path and shown else (shown or f"{at.path}[{index}]")
        spot = attrs.evolve(at, path=where, name="", last=at.last and index == len(subs) - 1)
        is_switch = type(sub) is c.Renamed and type(sub.subcon) is c.Switch
        node = _switch(sub, spot, fields) if is_switch else _read(sub, spot)
        if not sub.name and not isinstance(node, ir.Const):
            raise UnsupportedConstruct(sub, where, "a field without a name")
        if sub.name and sub.name in taken:
            raise UnsupportedConstruct(sub, where, "a second field of this name")
        if sub.name and (why := _why_no_name(sub.name, constant=isinstance(node, ir.Const))):
            raise UnsupportedConstruct(sub, where, f"no attribute can have this name: {why}")
        if sub.name == "self":
            raise UnsupportedConstruct(sub, where, "no attribute can have this name: emitted code needs it")
        taken.add(sub.name or "")
        name_of_constant = f"constant_{index}"
        while any(name_of_constant == other.name for other in subs):
            name_of_constant += "_"
        fields.append(ir.Field(name=sub.name or name_of_constant, node=node))
    return ir.Record(name=name, fields=tuple(fields))


def _switch(renamed: Any, at: _Spot, earlier: list[ir.Field]) -> ir.Node:
    x = renamed.subcon
    if x.default is not c.Error:
        raise UnsupportedConstruct(x, at.path, "the default must be Error")
    key = next((field for field in earlier if repr(x.keyfunc) == repr(c.this[field.name])), None)
    if key is None or not isinstance(key.node, ir.Int | ir.Enum):
        raise UnsupportedConstruct(x, at.path, "the key must be this.<an earlier integer or Enum of the same Struct>")
    numbers = dict(key.node.members) if isinstance(key.node, ir.Enum) else {}
    cases: dict[int, ir.Node] = {}
    if len(x.cases) > _MAX_CASES:
        raise UnsupportedConstruct(x, at.path, f"more than {_MAX_CASES} cases")
    for case, sub in x.cases.items():
        number = numbers.get(str(case), case)
        if not is_whole_number(number) or number in cases:
            raise UnsupportedConstruct(x, at.path, f"the case {case!r} names no number of its own")
        inner = attrs.evolve(at, path=f"{at.path}<{case}>", name=f"{renamed.name}_{case}")
        cases[int(number)] = _read(sub, inner)
        if isinstance(cases[number], ir.Const):
            raise UnsupportedConstruct(sub, inner.path, "a case without a value")
    if not cases:
        raise UnsupportedConstruct(x, at.path, "no case")
    return ir.Switch(field=key.name, cases=tuple(cases.items()))


def why_no_identifier(name: str) -> str:
    """Why `name` cannot be an identifier of Python; empty if it can."""
    if not name.isidentifier():
        return "it is no identifier of Python"
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    read = unicodedata.normalize("NFKC", name)
    # Python looks for an attribute under the normalized name, which is not the name that it was given.
    return "" if read == name else f"Python reads it as {read}"


def _why_no_name(name: str, *, constant: bool = False) -> str:
    """The same for a class or an attribute. The name of a constant is internal, so it may begin with _."""
    if name.startswith("__" if constant else "_"):
        return "it begins with _"
    return why_no_identifier(name)


def _shown(name: str) -> str:
    """`name` as part of one line of text."""
    return name if name.isprintable() else ascii(name)


_READERS: dict[type, Callable[[Any, _Spot], ir.Node]] = {
    c.FormatField: _format_field,
    c.BytesInteger: _bytes_integer,
    c.Bytes: lambda x, at: ir.Bytes(size=_fixed_size(x, at)),
    c.StringEncoded: _string,
    c.FixedSized: _fixed_sized,
    c.Prefixed: _prefixed,
    c.Array: _array,
    c.FocusedSeq: _prefixed_array,
    c.Const: _const,
    c.Enum: _enum,
    StrictEnum: _enum,
    Ruled: _ruled,
    Bounded: _bounded,
    Line: _line,
    c.Struct: _struct,
}
