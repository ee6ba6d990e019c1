"""The shape of a frame as plain frozen data, which generated code carries so that errors can be explained.

Every property that follows from a layout (smallest and largest size, the place of a field) is computed here.

A *layout* says which bytes belong to which field; a *rule* (`rules`) says which values a field may have. A rule on a
length or a count and a bound on a region are part of the layout: once one of them is broken, the place of the next
field is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from bets_protocol.layout.rules import Characters, IntRange, Rule

UNBOUNDED = 1 << 62
"""Instead of a largest size where there is none; far above anything that fits a machine."""


@attrs.frozen
class Int:
    """An integer of `size` bytes."""

    size: int
    signed: bool = False
    little: bool = False
    rule: IntRange | None = None

    @property
    def low(self) -> int:
        """The smallest value that fits and that the rule allows."""
        fits = -(1 << (8 * self.size - 1)) if self.signed else 0
        return max(fits, self.rule.low) if self.rule else fits

    @property
    def high(self) -> int:
        """The largest value that fits and that the rule allows."""
        fits = (1 << (8 * self.size - self.signed)) - 1
        return min(fits, self.rule.high) if self.rule else fits

    @property
    def byteorder(self) -> Literal["little", "big"]:
        return "little" if self.little else "big"


@attrs.frozen
class Float:
    """An IEEE 754 number of `size` bytes: 2, 4 or 8."""

    size: int
    little: bool = False

    @property
    def format(self) -> str:
        """Its format for the module `struct`."""
        return ("<" if self.little else ">") + {2: "e", 4: "f", 8: "d"}[self.size]


@attrs.frozen
class Bytes:
    """Raw bytes: exactly `size` of them, or as many as the `prefix` says."""

    size: int | None = None
    prefix: Int | None = None


@attrs.frozen
class Text:
    """Text in `encoding` (utf-8 or ascii), strictly decoded: `size` bytes, or as many as the `prefix` says."""

    size: int | None = None
    prefix: Int | None = None
    encoding: str = "utf-8"
    rule: Rule | None = None


@attrs.frozen
class Const:
    """A value that never varies: an integer or bytes, in the form of `sub`."""

    value: int | bytes
    sub: Int | Bytes

    @property
    def raw(self) -> bytes:
        """The bytes that represent it."""
        if isinstance(self.value, bytes) or isinstance(self.sub, Bytes):
            return bytes(self.value)
        return self.value.to_bytes(self.sub.size, self.sub.byteorder, signed=self.sub.signed)


@attrs.frozen
class Enum:
    """An integer that must be one of `members` (name, number); it is decoded to the number."""

    sub: Int
    members: tuple[tuple[str, int], ...]


@attrs.frozen
class Region:
    """A length `prefix`, then exactly so many bytes, which `sub` must fill to the last."""

    prefix: Int
    sub: Node


@attrs.frozen
class Array:
    """`item` as many times as the `count` in front says, or exactly `count` times."""

    count: Int | int
    item: Node

    @property
    def count_bounds(self) -> tuple[int, int]:
        """The smallest and the largest number of items."""
        return (self.count.low, self.count.high) if isinstance(self.count, Int) else (self.count, self.count)


@attrs.frozen
class Field:
    """A named part of a record. A constant needs no name."""

    name: str
    node: Node


@attrs.frozen
class Record:
    """Consecutive fields; becomes an object of the class `name`."""

    name: str
    fields: tuple[Field, ...]

    @property
    def attributes(self) -> tuple[Field, ...]:
        """The fields that carry information: all but the constants."""
        return tuple(field for field in self.fields if not isinstance(field.node, Const))


@attrs.frozen
class Switch:
    """One of `cases` (number, layout), chosen by an earlier integer `field` of the same record."""

    field: str
    cases: tuple[tuple[int, Node], ...]


@attrs.frozen
class Bounded:
    """`sub`, in at most `max_bytes` bytes; enforced before the bytes are there."""

    max_bytes: int
    sub: Node


@attrs.frozen
class Line:
    """A line of bytes that begins with a byte from `first`, ended by LF (part of the value) or by the end of stream.

    `max_bytes` does not count the LF.
    """

    max_bytes: int
    first: tuple[int, int]


Node: TypeAlias = Int | Float | Bytes | Text | Const | Enum | Region | Array | Record | Switch | Bounded | Line


@attrs.frozen
class Frame:
    """One kind of frame: its layout, who sends it, and in which revisions.

    Attributes:
        name: as in ``bet_batch``; the generated functions are called after it.
        layout: the bytes.
        sender: "client", "server" or "both".
        revisions: the revisions that have it.
        title: what it is, in a few words.
    """

    name: str
    layout: Node
    sender: str
    revisions: tuple[int, ...]
    title: str

    @property
    def class_name(self) -> str:
        """The message class that it decodes to."""
        node = unwrap(self.layout)
        if not isinstance(node, Record):
            raise TypeError(f"{self.name}: a frame must be a record")
        return node.name

    @property
    def first_bytes(self) -> range | None:
        """The bytes that it may begin with, or None where any may."""
        inner = self.layout.sub if isinstance(self.layout, Bounded) else self.layout
        first = inner.fields[0].node if isinstance(inner, Record) else None
        match first:
            case Const(value=int(value), sub=Int(size=1)):
                return range(value, value + 1)
            case Line(first=(low, high)):
                return range(low, high + 1)
            case _:
                return None


def size_bounds(node: Node) -> tuple[int, int]:
    """The smallest and the largest number of bytes that a sound `node` takes on the wire."""
    match node:
        case Int(size=size) | Float(size=size):
            return size, size
        case Const(sub=sub) | Enum(sub=sub):
            return size_bounds(sub)
        case Bytes(prefix=prefix) | Text(prefix=prefix):
            low, high = content_bounds(node)
            return (low, high) if prefix is None else (prefix.size + low, prefix.size + high)
        case Region(prefix=prefix, sub=sub):
            low, high = region_bounds(node)
            return prefix.size + low, prefix.size + high
        case Array(count=count, item=item):
            size = count.size if isinstance(count, Int) else 0
            (fewest, most), (low, high) = node.count_bounds, size_bounds(item)
            return size + fewest * low, min(UNBOUNDED, size + most * high)
        case Record(fields=fields):
            bounds = [size_bounds(field.node) for field in fields]
            return sum(low for low, _ in bounds), min(UNBOUNDED, sum(high for _, high in bounds))
        case Switch(cases=cases):
            bounds = [size_bounds(case) for _, case in cases]
            return min(low for low, _ in bounds), max(high for _, high in bounds)
        case Bounded(max_bytes=max_bytes, sub=sub):
            low, high = size_bounds(sub)
            return low, min(max_bytes, high)
        case Line(max_bytes=max_bytes):
            return 1, max_bytes + 1


def content_bounds(node: Bytes | Text) -> tuple[int, int]:
    """The smallest and the largest number of bytes of a sound value of `node`, without its length."""
    if node.prefix is None:
        size = node.size or 0
        return size, size
    least = node.rule.min_bytes if isinstance(node, Text) and isinstance(node.rule, Characters) else 0
    return max(node.prefix.low, least), node.prefix.high


def region_bounds(region: Region) -> tuple[int, int]:
    """The smallest and the largest length that the prefix of a sound `region` may announce."""
    low, high = size_bounds(region.sub)
    return max(low, region.prefix.low), min(high, region.prefix.high)


def static_size(node: Node) -> int | None:
    """How many bytes `node` always takes, or None where that varies."""
    low, high = size_bounds(node)
    return low if low == high else None


def unwrap(node: Node) -> Node:
    """The layout inside bounds and regions: what the value is made of."""
    while isinstance(node, Bounded | Region):
        node = node.sub
    return node


def walk(node: Node) -> Iterator[Node]:
    """Every layout in `node`, lengths and counts included, inner ones first, and then `node` itself."""
    parts: tuple[object, ...] = ()
    match node:
        case Region(prefix=prefix, sub=sub):
            parts = prefix, sub
        case Bounded(sub=sub) | Const(sub=sub) | Enum(sub=sub):
            parts = (sub,)
        case Array(count=count, item=item):
            parts = count, item
        case Switch(cases=cases):
            parts = tuple(case for _, case in cases)
        case Record(fields=fields):
            parts = tuple(field.node for field in fields)
        case Text(prefix=prefix) | Bytes(prefix=prefix):
            parts = (prefix,)
    for part in parts:
        if isinstance(part, Node):
            yield from walk(part)
    yield node


def records(*layouts: Node) -> Iterator[Record]:
    """Every record in `layouts`, inner ones first, equal ones once.

    Records of one name are not always equal: frames of one message class may differ in their constants.
    """
    found = (part for layout in layouts for part in walk(layout) if isinstance(part, Record))
    yield from dict.fromkeys(found)


def field_offset(record: Record, name: str, *, from_end: bool = False) -> tuple[int, Node]:
    """Where the field `name` starts, counted from the start of `record` or back from its end, and its layout.

    Raises:
        LookupError: no such field, or its place varies.
    """
    offset = 0
    for field in reversed(record.fields) if from_end else record.fields:
        if field.name == name and not from_end:
            return offset, field.node
        size = static_size(field.node)
        if size is None:
            place = "place from the end" if from_end else "place"
            raise LookupError(f"{record.name}.{name}: its {place} varies with {field.name}")
        offset += size
        if field.name == name:
            return offset, field.node
    raise LookupError(f"{record.name} has no field {name}")
