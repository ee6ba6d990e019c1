"""Made-up declarations, and what the compiler makes of them: they have nothing to do with bets.

`declarations()` draws any nesting of the supported constructs, with field names that emitted code might want for
itself. `Compiled` is a declaration brought to life in a namespace of its own, with classes made for it.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import construct as c
from hypothesis import strategies as st

from bets_protocol import DecodeError, FrameTooLarge
from bets_protocol.compiler import modules
from bets_protocol.compiler.shape import classes
from bets_protocol.generated import support
from bets_protocol.layout import nodes as ir
from bets_protocol.layout import rules
from bets_protocol.layout.diagnose import explain_record
from bets_protocol.layout.rules import CalendarDate, Characters, IntRange, digits, printable_name
from bets_protocol.schema import Bounded, FrameSchema, Line, Ruled, StrictEnum

NASTY_NAMES = (
    *("data", "end", "position", "position_2", "value", "made", "made_2", "stop", "start", "text", "record", "item"),
    *("message", "result", "index", "item_index", "classes", "layouts", "is_date", "prefixed", "pack", "explained"),
    *("type", "len", "int", "tuple", "range", "x", "x_2", "x_end", "x_stop", "x_count", "count", "items", "first"),
    *("KNOWN_DATES", "ValueError", "Any", "encoded", "x_bytes", "x_item", "x_length", "bounded", "id", "list"),
    *("bytearray", "bytes", "as_bytes", "is_whole_number", "keeps_rules", "attrs", "match", "mro", "scan", "state"),
)

UPPER = Characters(label="capital letters", allowed=((0x41, 0x5A),))
LONG = Characters(label="long text", min_bytes=3)
NO_VOWELS = Characters(label="text without vowels", excluded=((0x61, 0x61), (0x65, 0x65)), min_bytes=1)
GREEK = Characters(label="Greek", allowed=((0x3B1, 0x3C9),), excluded=((0x3C2, 0x3C2),))

U8, U16 = c.Int8ub, c.Int16ub

KEYS: tuple[tuple[Any, tuple[int, ...]], ...] = (
    (c.Int8ub, (1, 2, 9)),
    (c.Int16sl, (-1, 0, 300)),
    (StrictEnum(c.Int8ub, a=1, b=2, c=200), (1, 200)),
    (Ruled(c.Int8ub, IntRange(1, 3)), (1, 2, 3)),
)
"""What a Switch may look at, and the numbers of its cases."""

COUNTS = (c.Int8ub, c.Int16ul, c.Int24ub, c.Int32ub)


def made(*fields: Any) -> Any:
    """A Struct called Made."""
    return "Made" / c.Struct(*fields)


class Compiled:
    """A declaration as the namespace of its generated code.

    Attributes:
        declaration: the construct, the reference.
        layout: its intermediate form.
        classes: the message classes, by name.
    """

    def __init__(self, declaration: Any) -> None:
        self.declaration = declaration
        frame = FrameSchema(name="frame", layout=declaration, sender="client", revisions=(), title="")
        nodes = modules.read_frames([frame])
        self.layout = nodes["frame"]
        self.source = modules.emit_layouts(nodes) + modules.emit_values(nodes) + modules.emit_codec(nodes)
        layouts = _namespace(ir, rules)
        exec(modules.emit_layouts(nodes), layouts)
        self._names = _namespace(support) | layouts | {"layouts": types.SimpleNamespace(**layouts)}
        self._names |= {"DecodeError": DecodeError, "FrameTooLarge": FrameTooLarge}
        exec("from __future__ import annotations\n" + modules.emit_values(nodes), self._names)
        self.classes: dict[str, type] = {}
        for record in classes(nodes.values()):
            self.classes[record.name] = self._make_class(record)
        self._names |= self.classes
        exec("from __future__ import annotations\n" + modules.emit_codec(nodes), self._names)
        self.check: Callable[[bytes], None] = self._names["check_frame"]
        self.decode: Callable[[bytes], Any] = self._names["decode_frame"]
        self.encode: Callable[[Any], bytes] = self._names["encode_frame"]
        self.scan: Callable[[bytearray], Iterator[int]] = self._names["scan_frame"]

    def _make_class(self, record: ir.Record) -> type:
        valid = self._names["VALID"][record.name]

        def check(message: object) -> None:
            error = explain_record(record, message)
            assert valid(message, self.classes) == (error is None), f"{error}: {message}"
            if error is not None:
                raise error

        return attrs.make_class(
            record.name,
            {field.name: attrs.field() for field in record.attributes},
            class_body={"__attrs_post_init__": check},
            frozen=True,
            slots=True,
            weakref_slot=False,
            kw_only=True,
        )

    def plain(self, value: Any) -> Any:
        """A decoded message as construct gives it: containers, lists and numbers."""
        return plain_value(self.layout, value)


def _namespace(*modules: types.ModuleType) -> dict[str, Any]:
    return {name: value for module in modules for name, value in vars(module).items() if not name.startswith("__")}


def plain_value(node: ir.Node, value: Any) -> Any:
    """`value` of `node`, which may be a message or what construct parsed, as dictionaries, lists and numbers."""
    match node:
        case ir.Region(sub=sub) | ir.Bounded(sub=sub):
            return plain_value(sub, value)
        case ir.Array(item=item):
            return [plain_value(item, part) for part in value]
        case ir.Record():
            parts: dict[str, Any] = {}
            for field in node.attributes:
                part = value[field.name] if isinstance(value, dict) else getattr(value, field.name)
                inner = dict(field.node.cases)[parts[field.node.field]] if isinstance(field.node, ir.Switch) else None
                parts[field.name] = plain_value(inner or field.node, part)
            return parts
        case ir.Enum():
            return int(value)
        case ir.Float():
            return float(value)
        case _:
            return value


def integers() -> st.SearchStrategy[Any]:
    """Integer constructs of all sizes, both signs, both orders, with and without a rule."""
    plain = [getattr(c, f"Int{bits}{sign}{order}") for bits in (8, 16, 24, 32, 64) for sign in "us" for order in "bl"]
    ruled = [
        *(Ruled(c.Int8ub, IntRange(1, 255)), Ruled(c.Int8sb, IntRange(1, 127)), Ruled(c.Int16sl, IntRange(-5, 5))),
        *(
            Ruled(c.Int24ul, IntRange(0, 1000)),
            Ruled(c.Int32sb, IntRange(-(2**31), 0)),
            Ruled(c.Int8ub, IntRange(7, 7)),
        ),
        *(c.BytesInteger(5), c.BytesInteger(9, signed=True, swapped=True), c.BytesInteger(1, signed=True)),
    ]
    return st.sampled_from(plain + ruled)


def leaves() -> st.SearchStrategy[Any]:
    """Constructs without parts that have a value."""
    counts = st.sampled_from((*COUNTS, Ruled(c.Int8ub, IntRange(2, 9))))
    encodings = st.sampled_from(("utf8", "ascii"))
    rules = st.sampled_from((digits(), printable_name(), UPPER, LONG, NO_VOWELS, CalendarDate()))
    pascal = st.builds(c.PascalString, counts, encodings)
    return st.one_of(
        integers(),
        integers(),
        st.sampled_from((c.Float16b, c.Float32l, c.Float64b, c.Float64l)),
        st.builds(c.Bytes, st.integers(0, 5)),
        st.builds(c.Prefixed, counts, st.just(c.GreedyBytes)),
        st.builds(c.FixedSized, st.integers(1, 4), st.just(c.GreedyBytes)),
        pascal,
        st.builds(Ruled, pascal, rules),
        st.builds(Ruled, st.builds(c.PascalString, counts, st.just("utf8")), st.just(GREEK)),
        st.builds(lambda size, encoding: c.FixedSized(size, c.GreedyString(encoding)), st.integers(1, 6), encodings),
        st.builds(
            lambda size, rule: c.FixedSized(size, Ruled(c.GreedyString("ascii"), rule)),
            st.integers(3, 6),
            st.sampled_from((digits(), UPPER, LONG)),
        ),
        st.just(Ruled(c.FixedSized(10, c.GreedyString("utf8")), CalendarDate())),
        st.builds(lambda count: c.Prefixed(count, Ruled(c.GreedyString("utf8"), printable_name())), counts),
        st.sampled_from((StrictEnum(c.Int8ub, a=1, b=2, c=200), StrictEnum(c.Int16sl, minus=-3, zero=0))),
    )


@st.composite
def declarations(draw: st.DrawFn, max_depth: int = 3) -> Any:
    """A declaration of a whole frame."""
    numbers = itertools.count(1)
    body = _struct(draw, max_depth, numbers, last=True)
    form = draw(st.sampled_from(("plain", "region", "bounded")))
    if form == "region":
        return c.Prefixed(draw(st.sampled_from(COUNTS)), body)
    return Bounded(draw(st.sampled_from((300, 5000))), body) if form == "bounded" else body


def _struct(draw: st.DrawFn, depth: int, numbers: Iterator[int], *, last: bool) -> Any:
    """A Struct with a class name of its own; `last` says that nothing follows it, so that it may end with a line."""
    names = draw(st.lists(st.sampled_from(NASTY_NAMES), min_size=1, max_size=5, unique=True))
    fields: list[Any] = []
    for name in names:
        match draw(st.sampled_from(("leaf", "leaf", "constant", "deep", "switch"))):
            case "constant":
                constants = (c.Const(5, c.Int8ub), c.Const(-2, c.Int16sl), c.Const(b"AB"), c.Const(2**40, c.Int64ub))
                part = draw(st.sampled_from(constants))
                fields.append(part if draw(st.booleans()) else name / part)
            case "switch":
                key, numbers_of_cases = draw(st.sampled_from(KEYS))
                fields.append(name / key)
                if draw(st.booleans()):
                    fields.append(f"{name}_between" / draw(leaves()))
                cases = {number: _part(draw, depth - 1, numbers) for number in numbers_of_cases}
                fields.append(f"{name}_case" / c.Switch(c.this[name], cases, default=c.Error))
            case kind:
                fields.append(name / _part(draw, depth - 1 if kind == "deep" else 0, numbers))
    if last and draw(st.integers(0, 5)) == 0:
        first = draw(st.sampled_from(((0x20, 0x7E), (0, 255))))
        fields.append("line" / Line(draw(st.sampled_from((1, 10))), first=first))
    if last:
        fields.append(c.Terminated)
    return f"Made{next(numbers)}" / c.Struct(*fields)


def _part(draw: st.DrawFn, depth: int, numbers: Iterator[int]) -> Any:
    if depth <= 0:
        return draw(leaves())
    count = st.sampled_from((*COUNTS, Ruled(c.Int8ub, IntRange(1, 4))))
    item = st.sampled_from(("leaf", "struct", "region", "array"))
    kind = draw(st.sampled_from(("leaf", "struct", "region", "bounded", "array", "counted")))
    if kind == "leaf":
        return draw(leaves())
    if kind == "struct":
        return _struct(draw, depth, numbers, last=False)
    if kind == "region":
        length = draw(st.sampled_from((*COUNTS, Ruled(c.Int8ub, IntRange(0, 40)))))
        return c.Prefixed(length, _struct(draw, depth, numbers, last=True))
    if kind == "bounded":
        return Bounded(400, _struct(draw, depth, numbers, last=False))
    inner: Any
    match draw(item):
        case "leaf":
            inner = draw(leaves())
        case "struct":
            inner = _struct(draw, depth - 1, numbers, last=False)
        case "region":
            inner = c.Prefixed(draw(st.sampled_from(COUNTS)), _struct(draw, depth - 1, numbers, last=True))
        case _:
            inner = c.Array(draw(st.integers(1, 3)), c.PrefixedArray(c.Int8ub, draw(leaves())))
    return c.Array(draw(st.integers(0, 3)), inner) if kind == "array" else c.PrefixedArray(draw(count), inner)
