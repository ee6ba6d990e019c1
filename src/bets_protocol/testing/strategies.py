"""Hypothesis strategies for every message, derived from the layouts of the wire.

What a field may hold is written once, in the declarations; here it is only read: the range of an integer, the
characters and the bytes of a text, the number of items. So a new field or message is tried out without a line here.

Small values come first, since hypothesis shrinks towards them; values that fill their bounds to the last byte are
drawn on purpose, as chance alone hardly ever gives one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate, cycle, islice, takewhile
from typing import Any, TypeAlias

import attrs
from hypothesis import strategies as st

import bets_protocol
from bets_protocol import Bet, Message
from bets_protocol.generated.layouts import FRAMES
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose import encoded_size
from bets_protocol.layout.rules import CalendarDate, Characters, CodeRanges

Classes: TypeAlias = Mapping[str, Callable[..., Any]]
"""What makes a message, by the name of its class; called with the fields as keywords."""

_MANY = 300
"""Items of an array and bytes of a text at most, where the layout allows more: above what fills a frame of 8192 bytes,
and quick enough to draw often."""

_SURROGATES = (0xD800, 0xDFFF)
_LAYOUTS = {frame.name: frame.layout for frame in FRAMES}
_CLASSES: Classes = {frame.class_name: getattr(bets_protocol, frame.class_name) for frame in FRAMES}


def messages(frame_name: str) -> st.SearchStrategy[Any]:
    """The messages of one kind of frame, as ``bet_batch``; each of them can be encoded."""
    return values(_LAYOUTS[frame_name])


def bets() -> st.SearchStrategy[Bet]:
    """Bets, with names of one byte, of several scripts, and of exactly 255 bytes."""
    return messages("bet_frame")


def any_message() -> st.SearchStrategy[Message]:
    """Messages of every class; a batch of them may fit the frame of revision 6 only, which has no type."""
    return st.one_of([messages(name) for name in _LAYOUTS])


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """One of `good` with one or two bytes changed, inserted or dropped, or cut off, or gone on with.

    Such bytes reach far deeper into a decoder than random ones do.
    """
    frame = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 2))):
        # Most of what decides stands in front.
        place = draw(st.integers(0, min(len(frame), 60)) | st.integers(0, len(frame)))
        match draw(st.sampled_from(("set", "add", "insert", "drop", "cut", "append"))):
            case "set" if place < len(frame):
                frame[place] = draw(st.sampled_from((0x00, 0x7F, 0x80, 0xFF, 0x0A, 0x20)) | st.integers(0, 255))
            case "add" if place < len(frame):
                frame[place] = (frame[place] + draw(st.sampled_from((-1, 1)))) % 256
            case "insert":
                frame.insert(place, draw(st.integers(0, 255)))
            case "drop":
                del frame[place : place + 1]
            case "cut":
                del frame[place:]
            case _:
                frame += draw(st.binary(min_size=1, max_size=4))
    return bytes(frame)


def values(node: ir.Node, classes: Classes = _CLASSES) -> st.SearchStrategy[Any]:
    """What a message may hold where the layout is `node`.

    Args:
        node: any layout but a constant, which no message holds, and a switch, which needs the record around it.
        classes: makes the messages inside.
    """
    match node:
        case ir.Int():
            return st.integers(node.low, node.high) | st.sampled_from((node.low, node.high))
        case ir.Enum(members=members):
            return st.sampled_from([number for _, number in members])
        case ir.Float(size=size):
            return st.floats(allow_nan=False, width=16 if size == 2 else 32 if size == 4 else 64)
        case ir.Bytes():
            low, high = ir.content_bounds(node)
            return st.binary(min_size=low, max_size=min(high, max(low, _MANY)))
        case ir.Text():
            return _texts(node)
        case ir.Line():
            return _lines(node)
        case ir.Array():
            return _arrays(node, classes)
        case ir.Record():
            return _records(node, classes)
        case ir.Region(sub=sub):
            low, high = ir.region_bounds(node)
            found = values(sub, classes)
            if (low, high) == ir.size_bounds(sub):
                return found
            return found.filter(lambda value: low <= encoded_size(sub, value) <= high)
        case ir.Bounded(max_bytes=max_bytes, sub=sub):
            trimmed = values(sub, classes).map(lambda value: _trimmed(sub, value, max_bytes))
            return trimmed.filter(lambda value: encoded_size(sub, value) <= max_bytes)
    raise TypeError(f"a {type(node).__name__} has no values of its own")


def _texts(node: ir.Text) -> st.SearchStrategy[str]:
    if isinstance(node.rule, CalendarDate):
        return st.dates().map(lambda day: day.isoformat())
    low, high = ir.content_bounds(node)
    high = min(high, max(low, _MANY))
    ranges = _code_ranges(node)
    alphabet = st.one_of([st.characters(min_codepoint=first, max_codepoint=last) for first, last in ranges])
    narrow = next((chr(first) for first, _ in ranges if first < 0x80), "")
    if low == high == 0:
        return st.just("")
    drawn = st.lists(alphabet, min_size=1, max_size=24)
    brimful = drawn.map(lambda found: _of_size(found, high, narrow))
    if low == high:
        return brimful.filter(lambda text: len(text.encode()) == high)
    short = st.lists(alphabet, min_size=min(low, 24), max_size=24).map(lambda found: _at_most(found, high))
    return st.one_of(short, short, short, brimful).filter(lambda text: len(text.encode()) >= low)


def _code_ranges(node: ir.Text) -> CodeRanges:
    """The characters that `node` may hold, as ascending ranges of code points."""
    rule = node.rule if isinstance(node.rule, Characters) else Characters(label="any text")
    last = 0x7F if node.encoding == "ascii" else 0x10FFFF
    allowed = rule.allowed or ((0, last),)
    ranges: list[tuple[int, int]] = []
    for low, high in allowed:
        start = low
        for barred_low, barred_high in sorted((*rule.excluded, _SURROGATES)):
            if start < barred_low:
                ranges.append((start, min(barred_low - 1, high, last)))
            start = max(start, barred_high + 1)
        ranges.append((start, min(high, last)))
    return tuple((low, high) for low, high in ranges if low <= high)


def _at_most(characters: list[str], size: int) -> str:
    """As many of `characters` as `size` bytes hold, none cut in two."""
    sizes = accumulate(len(character.encode()) for character in characters)
    return "".join(characters[: sum(1 for _ in takewhile(lambda total: total <= size, sizes))])


def _of_size(characters: list[str], size: int, narrow: str) -> str:
    """`characters` over and over, then `narrow`, which takes one byte, up to exactly `size` bytes."""
    text = _at_most(list(islice(cycle(characters), size)), size)
    return text + narrow * (size - len(text.encode()))


def _lines(node: ir.Line) -> st.SearchStrategy[bytes]:
    first, last = node.first
    starts = st.integers(first, last).filter(lambda code: code != 0x0A).map(lambda code: bytes([code]))
    rests = st.one_of(
        st.binary(max_size=min(40, node.max_bytes - 1)),
        st.binary(max_size=min(4, node.max_bytes - 1)).map(lambda end: end.rjust(node.max_bytes - 1, b"~")),
    )
    ends = st.sampled_from((b"\n", b""))
    return st.builds(lambda start, rest, end: start + rest.replace(b"\n", b"~") + end, starts, rests, ends)


def _arrays(node: ir.Array, classes: Classes) -> st.SearchStrategy[tuple[Any, ...]]:
    low, high = node.count_bounds
    if high == 0:
        return st.just(())
    item = values(node.item, classes)
    few = st.lists(item, min_size=low, max_size=high) if low <= 8 else st.nothing()
    some = st.lists(item, min_size=1, max_size=4)
    counts = st.integers(min(low, _MANY), max(low, min(high, _MANY)))
    many = st.builds(lambda found, count: list(islice(cycle(found), max(count, low))), some, counts)
    return st.one_of(few, many).map(tuple)


def _records(node: ir.Record, classes: Classes) -> st.SearchStrategy[Any]:
    make = classes[node.name]
    switches = [(field.name, field.node) for field in node.attributes if isinstance(field.node, ir.Switch)]
    chosen = {name for name, _ in switches}
    plain = {field.name: values(field.node, classes) for field in node.attributes if field.name not in chosen}
    if not switches:
        return st.builds(make, **plain)
    cases = {name: {number: values(case, classes) for number, case in switch.cases} for name, switch in switches}
    for _, switch in switches:
        plain[switch.field] = _keys(node, switch)
    return st.fixed_dictionaries(plain).flatmap(
        lambda fields: st.builds(
            make,
            **{name: st.just(value) for name, value in fields.items()},
            **{name: cases[name][fields[switch.field]] for name, switch in switches},
        )
    )


def _keys(node: ir.Record, switch: ir.Switch) -> st.SearchStrategy[int]:
    """What the field that `switch` looks at may hold."""
    (key,) = (field.node for field in node.fields if field.name == switch.field)
    known = {number for _, number in key.members} if isinstance(key, ir.Enum) else None
    numbers = [number for number, _ in switch.cases if known is None or number in known]
    if isinstance(key, ir.Int):
        numbers = [number for number in numbers if key.low <= number <= key.high]
    return st.sampled_from(numbers)


def _trimmed(node: ir.Node, value: Any, max_bytes: int) -> Any:
    """`value` without the last items of its arrays, as far as `max_bytes` have no room for them."""
    record = ir.unwrap(node)
    excess = encoded_size(node, value) - max_bytes
    if excess > 0 and isinstance(record, ir.Record):
        for field in record.attributes:
            if isinstance(field.node, ir.Array):
                items = list(getattr(value, field.name))
                while excess > 0 and len(items) > field.node.count_bounds[0]:
                    excess -= encoded_size(field.node.item, items.pop())
                value = attrs.evolve(value, **{field.name: tuple(items)})
    return value
