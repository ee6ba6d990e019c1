"""The slow path of reading: finds out what is wrong with bytes that the fast path has called bad.

The generated code only says yes or no. What is here walks the layout once more, field by field, and says where, what
was expected and what stands there instead. It decides the *kind* of error too: a frame whose layout breaks anywhere is
a framing error, even when a value before that place breaks a rule; only in a sound frame is a value to blame.
"""

from __future__ import annotations

from typing import NoReturn, TypeAlias

import attrs

from bets_protocol.errors import DecodeError, FrameTooLarge, InvalidValue, RemoteProtocolError
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose_value import expected_members, shorten

_SHOWN_BYTES = 24
"""How much of a frame an error shows: enough to recognise the place, short enough for one log line."""

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
    bound: tuple[int, int] | None = None  # where the narrowest bound ends, and its size; inside of a region none

    def fail(self, path: str, reason: str) -> NoReturn:
        shown = self.data[self.position : self.position + _SHOWN_BYTES]
        found = f"the bytes {shown.hex(' ')}" if shown else "the end of the frame"
        raise DecodeError(reason, path=path, offset=self.position, found=found)

    def blame(self, path: str, offset: int, expectation: str, found: object) -> None:
        if self.value_error is None:
            self.value_error = InvalidValue(f"expected {expectation}", path=path, offset=offset, found=shorten(found))

    def require(self, size: int, path: str, end: int) -> None:
        """Fails unless `size` more bytes stand before `end`."""
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
            case ir.Int():
                return self.integer(node, path, end)
            case ir.Enum():
                return self.enum(node, path, end)
            case ir.Const():
                self.constant(node, path, end)
            case ir.Float(size=size):
                self.take(size, path, end)
            case ir.Bytes():
                self.content(node, path, end)
            case ir.Text():
                self.text(node, path, end)
            case ir.Region():
                self.region(node, path, end, scope)
            case ir.Array():
                self.array(node, path, end)
            case ir.Record(fields=fields):
                inner: Scope = {}
                for field in fields:
                    number = self.visit(field.node, f"{path}.{field.name}" if path else field.name, end, inner)
                    if number is not None:
                        inner[field.name] = number
            case ir.Switch():
                self.switch(node, path, end, scope)
            case ir.Bounded():
                self.bounded(node, path, end, scope)
            case _:
                self.line(node, path, end)
        return None

    def integer(self, node: ir.Int, path: str, end: int) -> int:
        start = self.position
        number = _integer(node, self.take(node.size, path, end))
        if node.rule and not node.rule.allows(number):
            self.blame(path, start, node.rule.expectation, number)
        return number

    def enum(self, node: ir.Enum, path: str, end: int) -> int:
        start = self.position
        number = _integer(node.sub, self.take(node.sub.size, path, end))
        if number not in {known for _, known in node.members}:
            self.blame(path, start, expected_members(node), number)
        return number

    def constant(self, node: ir.Const, path: str, end: int) -> None:
        size = ir.size_bounds(node)[0]
        chunk = self.take(size, path, end)
        found = _integer(node.sub, chunk) if isinstance(node.sub, ir.Int) else chunk
        if found != node.value:
            self.position -= size
            self.fail(path, f"expected {node.value!r}, not {found!r}")

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

    def region(self, node: ir.Region, path: str, end: int, scope: Scope) -> None:
        low, high = ir.region_bounds(node)
        size = self.length(node.prefix, path, end, low, high, "length")
        self.require(size, path, end)
        stop = self.position + size
        outer, self.bound = self.bound, None
        self.visit(node.sub, path, stop, scope)
        self.bound = outer
        if self.position != stop:
            self.fail(path, f"expected the end of its length, {stop - self.position} bytes sooner")

    def array(self, node: ir.Array, path: str, end: int) -> None:
        count = node.count
        if isinstance(count, ir.Int):
            count = self.length(count, path, end, count.low, count.high, "count")
        for index in range(count):
            self.visit(node.item, f"{path}[{index}]", end, {})

    def switch(self, node: ir.Switch, path: str, end: int, scope: Scope) -> None:
        number = scope[node.field]
        case = dict(node.cases).get(number)
        if case is None:
            known = ", ".join(str(key) for key, _ in node.cases)
            self.fail(path, f"expected {node.field} to be one of {known}, not {number}")
        self.visit(case, path, end, {})

    def bounded(self, node: ir.Bounded, path: str, end: int, scope: Scope) -> None:
        outer = self.bound
        limit = self.position + node.max_bytes
        if outer is None or limit < outer[0]:
            self.bound = (limit, node.max_bytes)
        self.visit(node.sub, path, min(end, limit), scope)
        self.bound = outer

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
    return int.from_bytes(chunk, "little" if node.little else "big", signed=node.signed)
