"""The slow path: finds out what is wrong with bytes, or with a value, that the fast path has refused.

The generated code only says yes or no. Here the layout is walked once more, field by field, to say where the fault is,
what was expected and what was found. For bytes this also decides the *kind* of error: a frame whose layout breaks
anywhere is a framing error, even when a value before that place breaks a rule.
"""

from __future__ import annotations

from struct import error as StructError
from struct import pack
from typing import NoReturn, TypeAlias

import attrs

from bets_protocol.errors import DecodeError, FrameTooLarge, InvalidMessage, InvalidValue, RemoteProtocolError
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import is_whole_number

_SHOWN_BYTES = 24
"""How much of a frame an error shows: enough to recognise the place, short enough for one log line."""

_SHOWN_CHARACTERS = 48
"""How much of a value an error shows, for the same reasons."""

Scope: TypeAlias = dict[str, int]
"""The integer fields of the record at hand, for a Switch to look at."""


def explain_bytes(layout: ir.Node, data: bytes) -> RemoteProtocolError | None:
    """What is wrong with `data` as a whole frame of `layout`, or None where nothing is."""
    walk = _Walk(data)
    try:
        walk.visit(layout, "", len(data), {})
        if walk.position != len(data):
            walk.fail("", f"expected the end of the frame, {len(data) - walk.position} bytes sooner")
    except DecodeError as error:
        return error
    return walk.value_error


@attrs.define
class _Walk:
    """A reader over one frame that remembers the first value error and raises the first layout error."""

    data: bytes
    position: int = 0
    value_error: InvalidValue | None = None
    bound: tuple[int, int] | None = None  # where the narrowest bound ends, and its size; None inside a region

    def fail(self, path: str, reason: str) -> NoReturn:
        shown = self.data[self.position : self.position + _SHOWN_BYTES]
        found = f"the bytes {shown.hex(' ')}" if shown else "the end of the frame"
        raise DecodeError(reason, path=path, offset=self.position, found=found)

    def blame(self, path: str, offset: int, expectation: str, found: object) -> None:
        if self.value_error is None:
            self.value_error = InvalidValue(f"expected {expectation}", path=path, offset=offset, found=_shorten(found))

    def require(self, size: int, path: str, end: int) -> None:
        """Fails unless there are `size` more bytes before `end`."""
        if self.position + size <= end:
            return
        limit, max_bytes = self.bound or (ir.UNBOUNDED, 0)
        if self.position + size > limit:
            raise FrameTooLarge(f"expected at most {max_bytes} bytes", path=path, offset=limit)
        self.fail(path, f"expected {size} bytes, only {end - self.position} are left")

    def take(self, size: int, path: str, end: int) -> bytes:
        self.require(size, path, end)
        chunk = self.data[self.position : self.position + size]
        self.position += size
        return chunk

    def length(self, node: ir.Int, path: str, end: int, low: int, high: int, what: str) -> int:
        value = _integer(node, self.take(node.size, path, end))
        if not low <= value <= high:
            self.position -= node.size
            self.fail(path, f"expected a {what} from {low} to {high}, not {value}")
        return value

    def visit(self, node: ir.Node, path: str, end: int, scope: Scope) -> int | None:
        """Walks `node`, which must not pass `end`; returns its value where it is an integer."""
        match node:
            case ir.Int() | ir.Enum():
                return self.integer(node, path, end)
            case ir.Const(value=value, sub=sub):
                chunk = self.take(len(node.raw), path, end)
                if chunk != node.raw:
                    self.position -= len(chunk)
                    found = _integer(sub, chunk) if isinstance(sub, ir.Int) else chunk
                    self.fail(path, f"expected {value!r}, not {found!r}")
            case ir.Float(size=size):
                self.take(size, path, end)
            case ir.Bytes():
                self.content(node, path, end)
            case ir.Text():
                self.text(node, path, end)
            case ir.Region(prefix=prefix, sub=sub):
                size = self.length(prefix, path, end, *ir.region_bounds(node), "length")
                self.require(size, path, end)
                stop = self.position + size
                outer, self.bound = self.bound, None
                self.visit(sub, path, stop, scope)
                self.bound = outer
                if self.position != stop:
                    self.fail(path, f"expected the end of its length, {stop - self.position} bytes sooner")
            case ir.Array(count=count, item=item):
                if isinstance(count, ir.Int):
                    count = self.length(count, path, end, count.low, count.high, "count")
                for index in range(count):
                    self.visit(item, f"{path}[{index}]", end, {})
            case ir.Record(fields=fields):
                inner: Scope = {}
                for field in fields:
                    number = self.visit(field.node, f"{path}.{field.name}" if path else field.name, end, inner)
                    if number is not None:
                        inner[field.name] = number
            case ir.Switch(field=key, cases=cases):
                case = dict(cases).get(scope[key])
                if case is None:
                    known = ", ".join(str(number) for number, _ in cases)
                    self.fail(path, f"expected {key} to be one of {known}, not {scope[key]}")
                self.visit(case, path, end, {})
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                outer = self.bound
                limit = self.position + max_bytes
                if outer is None or limit < outer[0]:
                    self.bound = (limit, max_bytes)
                self.visit(sub, path, min(end, limit), scope)
                self.bound = outer
            case _:
                self.line(node, path, end)
        return None

    def integer(self, node: ir.Int | ir.Enum, path: str, end: int) -> int:
        start = self.position
        sub = node.sub if isinstance(node, ir.Enum) else node
        number = _integer(sub, self.take(sub.size, path, end))
        if isinstance(node, ir.Enum):
            if number not in {known for _, known in node.members}:
                self.blame(path, start, _expected_members(node), number)
        elif node.rule and not node.rule.allows(number):
            self.blame(path, start, node.rule.expectation, number)
        return number

    def content(self, node: ir.Bytes | ir.Text, path: str, end: int) -> bytes:
        """Takes the bytes of `node`, whose number its length says or its layout fixes."""
        if node.prefix is None:
            return self.take(node.size or 0, path, end)
        size = self.length(node.prefix, path, end, node.prefix.low, node.prefix.high, "length")
        return self.take(size, path, end)

    def text(self, node: ir.Text, path: str, end: int) -> None:
        chunk = self.content(node, path, end)
        start = self.position - len(chunk)
        try:
            value = chunk.decode(node.encoding)
        except UnicodeDecodeError as error:
            self.blame(path, start + error.start, f"{node.encoding.upper()} text", chunk)
            return
        if node.rule and not node.rule.allows(value):
            self.blame(path, start, node.rule.expectation, value)

    def line(self, node: ir.Line, path: str, end: int) -> None:
        first, last = node.first
        found = self.data[self.position : min(self.position + 1, end)]
        if not found or found == b"\n" or not first <= found[0] <= last:
            self.fail(path, f"expected a byte from 0x{first:02X} to 0x{last:02X}")
        stop = self.data.find(b"\n", self.position, end)
        text_end = end if stop < 0 else stop
        if text_end - self.position > node.max_bytes:
            raise FrameTooLarge(
                f"expected a line of at most {node.max_bytes} bytes", path=path, offset=self.position + node.max_bytes
            )
        self.position = text_end if stop < 0 else stop + 1


def _integer(node: ir.Int, chunk: bytes) -> int:
    return int.from_bytes(chunk, node.byteorder, signed=node.signed)


def explain_value(node: ir.Node, value: object) -> InvalidMessage | None:
    """What forbids `value` as the value of `node` in a message, or None where nothing does."""
    try:
        _require_value(node, value, "")
    except InvalidMessage as error:
        return error.with_traceback(None)
    return None


def explain_record(node: ir.Record, message: object) -> InvalidMessage | None:
    """What forbids a field of `message`, whatever its class is called, or None where nothing does."""
    try:
        _require_fields(node, message, "")
    except InvalidMessage as error:
        return error.with_traceback(None)
    return None


def _require_value(node: ir.Node, value: object, path: str) -> None:
    match node:
        case ir.Int():
            if not is_whole_number(value) or not node.low <= value <= node.high:
                _refuse(path, f"a number from {node.low} to {node.high}", value)
        case ir.Enum(members=members):
            if not is_whole_number(value) or value not in {number for _, number in members}:
                _refuse(path, _expected_members(node), value)
        case ir.Float():
            if not isinstance(value, float | int):
                _refuse(path, "a number", value)
            if not fits_float(value, node.format):
                _refuse(path, f"a number that fits {node.size} bytes", value)
        case ir.Bytes():
            if not isinstance(value, bytes):
                _refuse(path, "bytes", value)
            low, high = ir.content_bounds(node)
            if not low <= len(value) <= high:
                _refuse(path, f"{low} to {high} bytes" if low != high else f"{low} bytes", f"{len(value)} bytes")
        case ir.Line(first=(low, high), max_bytes=most):
            if not isinstance(value, bytes) or not is_line(value, low, high, most):
                line = f"one line of 1 to {most} bytes that begins with 0x{low:02X} to 0x{high:02X}"
                _refuse(path, line, value)
        case ir.Text():
            _require_text(node, value, path)
        case ir.Array():
            if not isinstance(value, tuple):
                _refuse(path, "a tuple", value)
            low, high = node.count_bounds
            if not low <= len(value) <= high:
                _refuse(path, f"{low} to {high} items" if low != high else f"{low} items", f"{len(value)} items")
            for index, element in enumerate(value):
                _require_value(node.item, element, f"{path}[{index}]")
        case ir.Region(sub=sub):
            _require_value(sub, value, path)
            low, high = ir.region_bounds(node)
            size = encoded_size(sub, value)
            if not low <= size <= high:
                _refuse(path, f"what takes {low} to {high} bytes", f"{size} bytes")
        case ir.Bounded(sub=sub):
            _require_value(sub, value, path)
        case ir.Record(name=name):
            if type(value).__name__ != name:
                _refuse(path, f"a {name}", value)
            _require_fields(node, value, path)
        case _:
            raise TypeError(f"a {type(node).__name__} has no value of its own")


def _require_fields(node: ir.Record, message: object, path: str) -> None:
    for field in node.attributes:
        where = f"{path}.{field.name}" if path else field.name
        try:
            value = getattr(message, field.name)
        except AttributeError:
            _refuse(where, "a value", None)
        part = field.node
        if isinstance(part, ir.Switch):
            # The field that it looks at comes before it, so it has been found good.
            key = getattr(message, part.field)
            case = dict(part.cases).get(int(key))
            if case is None:
                known = ", ".join(str(number) for number, _ in part.cases)
                _refuse(where, f"{part.field} to be one of {known}", key)
            part = case
        _require_value(part, value, where)


def _require_text(node: ir.Text, value: object, path: str) -> None:
    if not isinstance(value, str):
        _refuse(path, "text", value)
    encoding, rule = node.encoding.upper(), node.rule
    try:
        size = len(value.encode(node.encoding))
    except UnicodeEncodeError:
        _refuse(path, rule.expectation if rule else f"{encoding} text", value)
    low, high = ir.content_bounds(node)
    if node.prefix is None and size != low:
        _refuse(path, f"{low} bytes{f' ({rule.expectation})' if rule else ''}", value)
    if size > high:
        _refuse(path, f"at most {high} bytes of {encoding}", f"{size} bytes")
    if rule and not rule.allows(value):
        _refuse(path, rule.expectation, value)
    if size < low:
        _refuse(path, f"at least {low} bytes of {encoding}", value)


def is_line(value: bytes, first: int, last: int, max_bytes: int) -> bool:
    """Whether `value` is one line, with or without its LF, that begins with a byte from `first` to `last`."""
    text = value.removesuffix(b"\n")
    return bool(text) and first <= text[0] <= last and len(text) <= max_bytes and b"\n" not in text


def fits_float(value: float, code: str) -> bool:
    """Whether `value` can be packed in the format `code` of the module `struct`."""
    try:
        pack(code, value)
    except (OverflowError, StructError):
        return False
    return True


def encoded_size(node: ir.Node, value: object) -> int:
    """How many bytes `value` takes as the value of `node`; the values of its parts must be good."""
    match node, value:
        case ir.Line(), bytes():
            return len(value)
        case ir.Bytes(prefix=prefix), bytes():
            return len(value) + (prefix.size if prefix else 0)
        case ir.Text(encoding=encoding, prefix=prefix), str():
            return len(value.encode(encoding)) + (prefix.size if prefix else 0)
        case ir.Region(prefix=prefix, sub=sub), _:
            return prefix.size + encoded_size(sub, value)
        case ir.Bounded(sub=sub), _:
            return encoded_size(sub, value)
        case ir.Array(count=count, item=item), tuple():
            return (count.size if isinstance(count, ir.Int) else 0) + sum(encoded_size(item, part) for part in value)
        case ir.Record(fields=fields), _:
            total = 0
            for field in fields:
                part = field.node
                if isinstance(part, ir.Switch):
                    part = dict(part.cases)[int(getattr(value, part.field))]
                total += encoded_size(part, getattr(value, field.name, None))  # a constant is no attribute
            return total
        case _:
            return ir.size_bounds(node)[0]


def _expected_members(node: ir.Enum) -> str:
    """The members of `node`, to end the sentence "expected ..."."""
    return "one of " + ", ".join(f"{number} {name}" for name, number in node.members)


def _shorten(found: object) -> str:
    """`found` as an error shows it."""
    shown = repr(found)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."


def _refuse(path: str, expectation: str, found: object) -> NoReturn:
    raise InvalidMessage(f"expected {expectation}", path=path, found=_shorten(found))
