"""What follows from a layout: sizes, bounds, places of fields."""

from __future__ import annotations

import pytest

from bets_protocol.compiler import read_construct
from bets_protocol.generated.layouts import BET_FRAME, FRAMES
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import IntRange, digits, printable_name
from bets_protocol.schema import BETS

U8, U16 = ir.Int(1), ir.Int(2)
NAME = ir.Text(prefix=U8, rule=printable_name())
PAIR = ir.Record("Pair", (ir.Field("kind", U8), ir.Field("name", NAME), ir.Field("code", ir.Text(4, rule=digits()))))


@pytest.mark.parametrize(
    ("node", "low", "high"),
    [
        (U8, 0, 255),
        (ir.Int(1, signed=True), -128, 127),
        (ir.Int(2, signed=True, little=True), -32768, 32767),
        (ir.Int(8), 0, 2**64 - 1),
        (ir.Int(1, rule=IntRange(1, 9)), 1, 9),
        (ir.Int(1, rule=IntRange(-5, 999)), 0, 255),
        (ir.Int(1, signed=True, rule=IntRange(1, 127)), 1, 127),
    ],
)
def test_the_values_of_an_integer(node: ir.Int, low: int, high: int) -> None:
    """What fits its bytes, and what its rule leaves of that."""
    assert (low, high) == (node.low, node.high)


@pytest.mark.parametrize(
    ("node", "bounds"),
    [
        (U16, (2, 2)),
        (ir.Float(8), (8, 8)),
        (ir.Bytes(5), (5, 5)),
        (ir.Bytes(prefix=U8), (1, 256)),
        (ir.Bytes(prefix=ir.Int(1, rule=IntRange(2, 9))), (3, 10)),
        (ir.Text(8, rule=digits()), (8, 8)),
        (ir.Text(prefix=U8), (1, 256)),
        (NAME, (2, 256)),
        (ir.Const(1, U8), (1, 1)),
        (ir.Const(b"abc", ir.Bytes(3)), (3, 3)),
        (ir.Enum(U16, (("A", 1),)), (2, 2)),
        (PAIR, (7, 261)),
        (ir.Region(U16, PAIR), (9, 263)),
        (ir.Region(U8, PAIR), (8, 256)),
        (ir.Region(ir.Int(1, rule=IntRange(20, 30)), PAIR), (21, 31)),
        (ir.Array(3, U16), (6, 6)),
        (ir.Array(0, U16), (0, 0)),
        (ir.Array(ir.Int(1, rule=IntRange(2, 4)), U16), (5, 9)),
        (ir.Array(ir.Int(8), ir.Region(ir.Int(8), ir.Bytes(prefix=ir.Int(8)))), (8, ir.UNBOUNDED)),
        (ir.Switch("kind", ((1, U8), (2, PAIR))), (1, 261)),
        (ir.Bounded(100, PAIR), (7, 100)),
        (ir.Bounded(1000, PAIR), (7, 261)),
        (ir.Line(10, (32, 126)), (1, 11)),
    ],
)
def test_size_bounds(node: ir.Node, bounds: tuple[int, int]) -> None:
    """The smallest and the largest number of bytes that a sound value takes."""
    assert bounds == ir.size_bounds(node)
    assert ir.static_size(node) == (bounds[0] if bounds[0] == bounds[1] else None)


def test_where_a_field_stands() -> None:
    """From the front and from the back, as far as what lies between has a fixed size."""
    assert ir.field_offset(PAIR, "kind") == (0, U8)
    assert ir.field_offset(PAIR, "name") == (1, NAME)
    assert ir.field_offset(PAIR, "code", from_end=True)[0] == 4
    with pytest.raises(LookupError, match=r"Pair.code: its place varies with name"):
        ir.field_offset(PAIR, "code")
    with pytest.raises(LookupError, match=r"Pair.kind: its place from the end varies with name"):
        ir.field_offset(PAIR, "kind", from_end=True)
    for from_end in (False, True):
        with pytest.raises(LookupError, match="Triple has no field other"):
            ir.field_offset(ir.Record("Triple", (ir.Field("one", U8),)), "other", from_end=from_end)


def test_unwrapping_gives_what_the_value_is_made_of() -> None:
    """Bounds and regions are looked through, however deep."""
    assert ir.unwrap(ir.Bounded(9, ir.Region(U8, ir.Region(U8, PAIR)))) is PAIR


def test_records_come_inner_ones_first_and_once() -> None:
    """Equal records once; records of one name that differ are all there."""
    other = ir.Record("Pair", (ir.Field("kind", ir.Const(2, U8)), *PAIR.fields))
    outer = ir.Record(
        "Outer",
        (
            ir.Field("kind", U8),
            ir.Field("one", ir.Region(U8, PAIR)),
            ir.Field("many", ir.Array(2, ir.Bounded(99, PAIR))),
            ir.Field("either", ir.Switch("kind", ((1, PAIR), (2, other)))),
        ),
    )
    assert list(ir.records(outer)) == [PAIR, other, outer]


@pytest.mark.parametrize(
    ("fields", "first_bytes"),
    [
        ((ir.Field("type", ir.Const(3, U8)),), range(3, 4)),
        ((ir.Field("line", ir.Line(9, (0x20, 0x7E))),), range(0x20, 0x7F)),
        ((ir.Field("type", ir.Const(300, U16)),), None),
        ((ir.Field("count", U8),), None),
    ],
)
def test_the_first_bytes_of_a_frame(fields: tuple[ir.Field, ...], first_bytes: range | None) -> None:
    """What tells frames apart, through a bound but not through a length."""
    record = ir.Record("Made", fields)

    def found(layout: ir.Node) -> range | None:
        return ir.Frame("made", layout, "client", (8,), "").first_bytes

    assert first_bytes == found(record) == found(ir.Bounded(99, record))
    assert found(ir.Region(U8, record)) is None


def test_a_frame_is_a_record() -> None:
    """Its class is the record's; a layout without one is a bug."""
    assert {frame.name: frame.class_name for frame in FRAMES}["untyped_batch"] == "BetBatch"
    with pytest.raises(TypeError, match="odd: a frame must be a record"):
        _ = ir.Frame("odd", U8, "client", (8,), "").class_name


def test_the_generated_layouts_are_what_the_declarations_say() -> None:
    """A part of the schema read now equals what was written down when generating."""
    assert read_construct(BETS) == ir.Array(ir.Int(1, rule=IntRange(1, 255)), BET_FRAME)
