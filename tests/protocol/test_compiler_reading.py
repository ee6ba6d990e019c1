"""Which declarations the compiler takes, what it reads off them, and how it refuses the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import construct as c
import pytest

from bets_protocol.compiler import UnsupportedConstruct, compile_schema, read_construct
from bets_protocol.compiler.modules import read_frames
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import CalendarDate, IntRange, digits, printable_name
from bets_protocol.schema import Bounded, FrameSchema, Line, Ruled, StrictEnum
from tests.protocol.declarations import LONG, U8, U16, made


def test_every_supported_construct_is_read() -> None:
    """One declaration with all of them, and the form that it takes."""
    declaration = made(
        c.Const(b"MZ"),
        "version" / c.Const(1, U16),
        "kind" / StrictEnum(U8, a=1, b=2),
        "small" / Ruled(c.Int8sl, IntRange(-1, 1)),
        "wide" / c.BytesInteger(5, swapped=True),
        "real" / c.Float32l,
        "raw" / c.Bytes(3),
        "blob" / c.Prefixed(U16, c.GreedyBytes),
        "fixed" / c.FixedSized(2, c.GreedyBytes),
        "code" / Ruled(c.FixedSized(4, c.GreedyString("ascii")), digits()),
        "name" / Ruled(c.PascalString(U8, "utf-8"), printable_name()),
        "day" / c.FixedSized(10, Ruled(c.GreedyString("ascii"), CalendarDate())),
        "note" / c.Prefixed(U16, c.GreedyString("utf_8")),
        "pair" / c.Array(2, U8),
        "many" / c.PrefixedArray(U8, "Item" / c.Struct("x" / U8)),
        "inner_part" / c.Prefixed(U8, c.Struct("x" / U8, c.Terminated)),
        "body" / c.Switch(c.this.kind, {"a": U8, 2: U16}, default=c.Error),
        "bounded" / Bounded(9, c.PascalString(U8, "ascii")),
        "line" / Line(9, first=(1, 2)),
        c.Terminated,
    )
    assert read_construct(declaration) == ir.Record(
        "Made",
        (
            ir.Field("constant_0", ir.Const(b"MZ", ir.Bytes(2))),
            ir.Field("version", ir.Const(1, ir.Int(2))),
            ir.Field("kind", ir.Enum(ir.Int(1), (("a", 1), ("b", 2)))),
            ir.Field("small", ir.Int(1, signed=True, rule=IntRange(-1, 1))),
            ir.Field("wide", ir.Int(5, little=True)),
            ir.Field("real", ir.Float(4, little=True)),
            ir.Field("raw", ir.Bytes(3)),
            ir.Field("blob", ir.Bytes(prefix=ir.Int(2))),
            ir.Field("fixed", ir.Bytes(2)),
            ir.Field("code", ir.Text(4, encoding="ascii", rule=digits())),
            ir.Field("name", ir.Text(prefix=ir.Int(1), rule=printable_name())),
            ir.Field("day", ir.Text(10, encoding="ascii", rule=CalendarDate())),
            ir.Field("note", ir.Text(prefix=ir.Int(2))),
            ir.Field("pair", ir.Array(2, ir.Int(1))),
            ir.Field("many", ir.Array(ir.Int(1), ir.Record("Item", (ir.Field("x", ir.Int(1)),)))),
            ir.Field("inner_part", ir.Region(ir.Int(1), ir.Record("InnerPart", (ir.Field("x", ir.Int(1)),)))),
            ir.Field("body", ir.Switch("kind", ((1, ir.Int(1)), (2, ir.Int(2))))),
            ir.Field("bounded", ir.Bounded(9, ir.Text(prefix=ir.Int(1), encoding="ascii"))),
            ir.Field("line", ir.Line(9, (1, 2))),
        ),
    )


def test_classes_are_called_after_structs_or_their_fields() -> None:
    """The innermost name of a Struct; else the field's, the array's with _item, the switch's with its case."""
    node = read_construct(
        made(
            "kind" / U8,
            "by_field" / c.Struct("x" / U8),
            "by_itself" / ("Named" / c.Struct("x" / U8)),
            "list" / c.Array(2, c.Struct("x" / U8)),
            "body" / c.Switch(c.this.kind, {1: c.Struct("x" / U8)}, default=c.Error),
        )
    )
    assert [record.name for record in ir.records(node)] == ["ByField", "Named", "ListItem", "Body1", "Made"]
    assert read_construct(c.Struct("x" / U8), name="outer_one") == ir.Record("OuterOne", (ir.Field("x", ir.Int(1)),))


UNSUPPORTED: list[tuple[Any, str]] = [
    # What swallows errors or computes what a reader must know.
    ("x" / c.GreedyRange(U8), "x: GreedyRange is not supported"),
    ("x" / c.Optional(U8), "x: Select is not supported"),
    ("x" / c.Select(U8, U16), "x: Select is not supported"),
    ("x" / c.VarInt, "x: VarInt is not supported"),
    ("x" / c.GreedyBytes, "x: GreedyBytes is not supported"),
    ("x" / c.Bytes(c.this.n), "x: Bytes is not supported: its length is computed"),
    ("x" / c.Array(c.this.n, U8), "x: Array is not supported: its count is computed"),
    ("x" / c.Array(2, U8, discard=True), "x: Array is not supported: its count is computed"),
    ("x" / c.FixedSized(c.this.n, c.GreedyBytes), "x: FixedSized is not supported: its length is computed"),
    ("x" / c.BytesInteger(c.this.n), "x: BytesInteger is not supported: its length or byte order is computed"),
    ("x" / c.BytesInteger(2, swapped=c.this.n), "x: BytesInteger is not supported: its length or byte order"),
    ("x" / c.Prefixed(U8, c.GreedyBytes, includelength=True), "x: Prefixed is not supported: a length that counts"),
    ("x" / c.Padding(2), "x: Padded is not supported"),
    ("x" / c.Flag, "x: Flag is not supported"),
    ("x" / c.FormatField(">", "?"), r"x: FormatField is not supported: format >\?"),
    ("x" / c.Computed(1), "x: Computed is not supported"),
    ("x" / c.Rebuild(U8, 1), "x: Rebuild is not supported"),
    ("x" / c.If(c.this.n, U8), "x: IfThenElse is not supported"),
    ("x" / c.BitStruct("y" / c.Nibble), "x: Transformed is not supported"),
    # What differs between machines or readers.
    ("x" / c.FormatField("=", "H"), "x: FormatField is not supported: native byte order differs between machines"),
    ("x" / c.PascalString(U8, "utf16"), "x: StringEncoded is not supported: encoding utf16"),
    ("x" / c.PaddedString(4, "ascii"), "x: StringEncoded is not supported: only PascalString"),
    ("x" / c.CString("ascii"), "x: StringEncoded is not supported: only PascalString"),
    ("x" / c.GreedyString("ascii"), "x: StringEncoded is not supported: nothing says where this text ends"),
    ("x" / c.Array(2, c.GreedyString("ascii")), r"x\[\]: StringEncoded is not supported: nothing says where"),
    ("x" / c.FixedSized(4, U8), "x: FixedSized is not supported: only around GreedyString or GreedyBytes"),
    ("x" / c.FixedSized(4, c.PascalString(U8, "ascii")), "x: FixedSized is not supported: only around"),
    # Lengths and counts.
    ("x" / c.PascalString(c.Int8sb, "ascii"), "x: FormatField is not supported: a length or count must be an unsigned"),
    ("x" / c.PrefixedArray(c.Float32b, U8), "x: FormatField is not supported: a length or count must be an unsigned"),
    ("x" / c.Bytes(-1), "x: Bytes is not supported: its length is negative"),
    ("x" / c.Array(-1, U8), "x: Array is not supported: its count is negative"),
    ("x" / c.BytesInteger(0), "x: BytesInteger is not supported: an integer takes at least one byte"),
    # What no frame can keep.
    ("x" / c.Array(2, c.Bytes(0)), r"x\[\]: Bytes is not supported: an item that may take no bytes"),
    ("x" / c.Array(2, c.Const(1, U8)), r"x\[\]: Const is not supported: an item without a value"),
    ("x" / c.Prefixed(U8, c.Bytes(256)), "x: Prefixed is not supported: what it holds fits no length"),
    ("x" / c.Prefixed(U8, c.Struct()), "x: Prefixed is not supported: what it holds fits no length"),
    ("x" / c.Prefixed(U8, c.Const(1, U8)), "x: Prefixed is not supported: around a Const"),
    ("x" / Bounded(1, U16), "x: Bounded is not supported: what it holds never fits"),
    ("x" / Bounded(1, c.Const(1, U8)), "x: Bounded is not supported: what it holds never fits, or has no value"),
    ("x" / c.Const(256, U8), "x: Const is not supported: only of an integer or of bytes, with a value that fits"),
    ("x" / c.Const(True, U8), "x: Const is not supported: only of an integer or of bytes"),
    ("x" / c.Const(1.5, c.Float32b), "x: Const is not supported: only of an integer or of bytes"),
    ("x" / c.Const(b"ab", c.Bytes(3)), "x: Const is not supported: only of an integer or of bytes"),
    ("x" / c.Enum(U8), "x: Enum is not supported: only of members that fit"),
    ("x" / c.Enum(U8, a=256), "x: Enum is not supported: only of members that fit"),
    ("x" / c.Enum(c.Bytes(1), a=1), "x: Enum is not supported: only of an integer"),
    ("x" / Ruled(U8, digits()), "x: Ruled is not supported: the rule"),
    ("x" / Ruled(U8, IntRange(256, 300)), "x: Ruled is not supported: the rule"),
    ("x" / Ruled(c.Bytes(2), digits()), "x: Ruled is not supported: the rule"),
    ("x" / Ruled(Ruled(U8, IntRange(1, 2)), IntRange(1, 2)), "x: Ruled is not supported: the rule"),
    ("x" / Ruled(c.FixedSized(9, c.GreedyString("ascii")), CalendarDate()), "x: Ruled .*: no text of its length keeps"),
    ("x" / Ruled(c.FixedSized(2, c.GreedyString("ascii")), LONG), "x: Ruled is not supported: no text of its length"),
    ("x" / Ruled(c.PascalString(Ruled(U8, IntRange(0, 2)), "ascii"), LONG), "x: Ruled is not supported: no text"),
    # Places.
    (c.Struct(c.Terminated, "y" / U8), "Terminated is not supported"),
    ("x" / c.Array(2, c.Struct("y" / U8, c.Terminated)), r"x\[\]: Terminated is not supported: more follows"),
    ("x" / Line(9, first=(1, 2)), "x: Line is not supported: only at the end"),
    # Names.
    (U8, r"\[0\]: FormatField is not supported: a field without a name"),
    ("inner" / c.Struct(U8), r"inner\[0\]: FormatField is not supported: a field without a name"),
    ("class" / U8, "class: FormatField is not supported: no attribute can have this name"),
    ("a b" / U8, "a b: FormatField is not supported: no attribute can have this name"),
    ("_x" / U8, "_x: FormatField is not supported: no attribute can have this name"),
    ("self" / U8, "self: FormatField is not supported: no attribute can have this name"),
    ("last" / U8, "last: FormatField is not supported: a second field of this name"),
    ("none" / c.Struct("y" / U8), "none: Struct is not supported: no class can be called None"),
    ("x" / ("Any" / c.Struct("y" / U8)), "x: Struct is not supported: no class can be called Any"),
    # Counted arrays that are none.
    (
        "x" / c.FocusedSeq("count", "count" / c.Rebuild(U8, c.len_(c.this.items)), "items" / U8[c.this.count]),
        "x: FocusedSeq is not supported: only as PrefixedArray makes it",
    ),
    (
        "x" / c.FocusedSeq("items", "count" / c.Rebuild(U8, c.len_(c.this.items)), "items" / U8[5]),
        "x: FocusedSeq is not supported: only as PrefixedArray makes it",
    ),
    ("x" / c.FocusedSeq("items", "items" / U8), "x: FocusedSeq is not supported: only as PrefixedArray makes it"),
]


@pytest.mark.parametrize(("part", "message"), UNSUPPORTED)
def test_what_cannot_be_compiled_is_refused_with_its_path(part: Any, message: str) -> None:
    """The error names the field, the construct and the reason."""
    with pytest.raises(UnsupportedConstruct, match=message):
        read_construct(made(part, "last" / U8))


NAMES: list[tuple[Any, str]] = [
    (made("\u00b5" / U8), "^\u00b5: FormatField .*: no attribute can have this name: Python reads it as \u03bc$"),
    (made("ﬁ" / U8), "no attribute can have this name: Python reads it as fi"),
    (made("class" / U8), "^class: .*: it is a keyword of Python"),
    (made("None" / U8), "^None: .*: it is a keyword of Python"),
    (made("a b" / U8), "^a b: .*: it is no identifier of Python"),
    (made("1st" / U8), "^1st: .*: it is no identifier of Python"),
    (made("\ud800" / U8), r"^'\\ud800': .*: it is no identifier of Python"),
    (made("a\nb" / U8), r"^'a\\nb': .*: it is no identifier of Python"),
    (made("__class__" / U8), "^__class__: .*: it begins with _"),
    (made("_x" / U8), "^_x: .*: it begins with _"),
    (made("self" / U8), "^self: .*: emitted code needs it"),
    (made("" / U8), r"^\[0\]: .*: a field without a name"),
    (made(U8), r"^\[0\]: .*: a field without a name"),
    (made("x" / U8, "x" / U16), "^x: .*: a second field of this name"),
    (made("x" / U8, "x" / c.Const(b"x")), "^x: .*: a second field of this name"),
    # The names of constants become part of emitted code, too.
    (made("{print(1)}" / c.Const(1, U8), "x" / U8), r"^\{print\(1\)\}: .*: it is no identifier"),
    (made("\u00b5" / c.Const(1, U8), "x" / U8), "^\u00b5: .*: Python reads it as \u03bc$"),
    (made("__debug__" / c.Const(1, U8), "x" / U8), "^__debug__: .*: it begins with _"),
    # Of classes.
    (
        made("x" / ("a\u00b5" / c.Struct("y" / U8))),
        "^x: Struct .*: no class can be called A\u00b5: Python reads it as A\u03bc",
    ),
    (made("x" / ("a b" / c.Struct("y" / U8))), "^x: Struct .*: no class can be called A b: it is no identifier"),
    (made("x" / ("None" / c.Struct("y" / U8))), "^x: Struct .*: no class can be called None: it is a keyword"),
    (made("x" / ("mapping" / c.Struct("y" / U8))), "no class can be called Mapping: emitted code needs that name"),
    (made("in" / c.Struct("y" / c.Struct("class" / U8))), r"^in\.y\.class: .*: it is a keyword"),
]


@pytest.mark.parametrize(("declaration", "message"), NAMES)
def test_a_name_that_python_cannot_have_is_refused_with_its_path(declaration: Any, message: str) -> None:
    """Or would read as another one, or that the emitted code has already."""
    with pytest.raises(UnsupportedConstruct, match=message):
        read_construct(declaration)


NUMBERS = itertools.count()


def nested(wrap: Callable[[Any], Any], times: int) -> Any:
    """A Struct with `times` constructs inside each other."""
    inside: Any = U8
    for _ in range(times):
        inside = wrap(inside)
    return made("x" / inside)


@pytest.mark.parametrize(
    ("wrap", "most", "message"),
    [
        (lambda inner: c.PrefixedArray(U8, inner), 16, r"^x(\[\]){17}: .*: more than 16 arrays inside each other"),
        (lambda inner: c.Array(2, inner), 16, r"^x(\[\]){17}: .*: more than 16 arrays inside each other"),
        (
            lambda inner: f"S{next(NUMBERS)}" / c.Struct("y" / inner),
            30,
            r"^x(\.y){31}: .*: more than 32 constructs inside each other",
        ),
        (
            lambda inner: c.Prefixed(U8, f"S{next(NUMBERS)}" / c.Struct("y" / inner)),
            15,
            r"^x(\.y){15}: .*: more than 32 constructs",
        ),
        (lambda inner: Bounded(99, inner), 30, "^x: .*: more than 32 constructs inside each other"),
    ],
)
def test_nesting_has_a_bound(wrap: Callable[[Any], Any], most: int, message: str) -> None:
    """What is refused would be too deep for Python or for the compiler; just below it, all of it works."""
    compile_schema(nested(wrap, most)).c_source("deep")
    for times in (most + 1, 300, 20_000):
        with pytest.raises(UnsupportedConstruct, match=message):
            compile_schema(nested(wrap, times))


def test_a_switch_inside_a_switch_works_as_deep_as_it_may_go() -> None:
    """They need no construct of their own for Python's levels of indentation."""
    inside: Any = U8
    for depth in range(30):
        inside = f"S{depth}" / c.Struct("k" / U8, "v" / c.Switch(c.this.k, {1: inside, 2: U16}, default=c.Error))
    compiled = compile_schema(made("x" / inside))
    data = b"\1" * 31
    assert compiled.encode(compiled.decode(data)) == data


def test_other_things_have_a_bound() -> None:
    """Cases, names around each other, the bytes of an integer."""
    many = made("k" / U16, "v" / c.Switch(c.this.k, dict.fromkeys(range(257), U8), default=c.Error))
    with pytest.raises(UnsupportedConstruct, match=r"^v: Switch .*: more than 256 cases"):
        read_construct(many)
    with pytest.raises(UnsupportedConstruct, match=r"^x: BytesInteger .*: an integer takes at most 16 bytes"):
        read_construct(made("x" / c.BytesInteger(17)))
    renamed: Any = U8
    for number in range(20_000):
        renamed = f"name_{number}" / renamed
    assert read_construct(made("x" / renamed)) == read_construct(made("x" / U8))


@pytest.mark.parametrize(
    ("switch", "message"),
    [
        (c.Switch(c.this.kind, {1: U8}), "body: Switch is not supported: the default must be Error"),
        (c.Switch(c.this.other, {1: U8}, default=c.Error), "body: Switch .*: the key must be this.<an earlier"),
        (c.Switch(c.this._.kind, {1: U8}, default=c.Error), "body: Switch .*: the key must be this.<an earlier"),
        (c.Switch(lambda this: this.kind, {1: U8}, default=c.Error), "body: Switch .*: the key must be this"),
        (c.Switch(c.this.text, {1: U8}, default=c.Error), "body: Switch .*: the key must be this.<an earlier"),
        (c.Switch(c.this.kind, {"a": U8}, default=c.Error), "body: Switch .*: the case 'a' names no number"),
        (
            c.Switch(c.this.named, {"a": U8, 1: U8}, default=c.Error),
            "body: Switch .*: the case 1 names no number of its",
        ),
        (c.Switch(c.this.kind, {1: c.Const(1, U8)}, default=c.Error), "body<1>: Const .*: a case without a value"),
        (c.Switch(c.this.kind, {1: c.VarInt}, default=c.Error), "body<1>: VarInt is not supported"),
        (c.Switch(c.this.kind, {}, default=c.Error), "body: Switch is not supported: no case"),
        (c.Switch(c.this.kind, {-1: c.Struct("y" / U8)}, default=c.Error), "no class can be called Body-1"),
    ],
)
def test_a_switch_must_say_all_beforehand(switch: Any, message: str) -> None:
    """Its key, its cases and what happens to the others."""
    declaration = made("kind" / U8, "text" / c.Bytes(1), "named" / StrictEnum(U8, a=1), "body" / switch)
    with pytest.raises(UnsupportedConstruct, match=message):
        read_construct(declaration)


def test_the_path_leads_through_structs_and_arrays() -> None:
    """A construct deep inside is found by its path."""
    declaration = made("a" / c.PrefixedArray(U8, c.Struct("b" / c.Struct("c" / c.VarInt))))
    with pytest.raises(UnsupportedConstruct, match=r"^a\[\]\.b\.c: VarInt is not supported$"):
        read_construct(declaration)
    with pytest.raises(UnsupportedConstruct, match=r"^the declaration: VarInt is not supported$"):
        read_construct(c.VarInt)


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        ([U8], "first: FormatField is not supported: a frame must be a Struct"),
        ([made("x" / c.Bytes(0))], "first: Struct is not supported: a frame that may take no bytes"),
        ([made("x" / U8), made("y" / U8)], "second: Struct is not supported: another Made has other fields"),
        ([made("x" / U8), made("x" / U16)], "second: Struct is not supported: another Made has other fields"),
    ],
)
def test_frames_that_do_not_go_together_are_refused(layouts: list[Any], message: str) -> None:
    """A frame takes bytes and makes a message, and a message class has one set of fields."""
    frames = [
        FrameSchema(name=name, layout=layout, sender="client", revisions=(), title="")
        for name, layout in zip(("first", "second"), layouts, strict=False)
    ]
    with pytest.raises(UnsupportedConstruct, match=message):
        read_frames(frames)
