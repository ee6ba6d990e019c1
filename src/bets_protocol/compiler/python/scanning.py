"""Emits `scan_<frame>`: a generator that finds the end of a frame in a buffer that still grows.

It reads only what says where the frame ends (lengths, counts, the keys of a Switch) and constants, and yields how many
bytes it needs to continue. It keeps its position between two calls, so no byte is read twice. A bound is compared
before the bytes after it are asked for.
"""

from __future__ import annotations

import attrs

from bets_protocol.compiler.python.source import Place, Source, path_source, product, read_int
from bets_protocol.compiler.shape import looks_inside, switched_fields
from bets_protocol.layout import nodes as ir


def emit_scan(name: str, layout: ir.Node) -> str:
    """`scan_<name>`."""
    return _Scanning().emit(name, layout)


class _Scanning:
    """Emits one function."""

    def __init__(self) -> None:
        self.out = Source()
        self.bounds: list[tuple[Place, int]] = []  # those around the place at hand: where each starts, and its size
        self.scope: dict[str, str] = {}  # the variables of what a Switch of the record at hand looks at
        self.compared: Place | None = None  # with the bounds around it
        self.awaited: Place | None = None  # and compared: what is before it is there on every way that leads here

    def emit(self, name: str, layout: ir.Node) -> str:
        out = self.out
        with out.block(f"def scan_{name}(data: bytes | bytearray) -> Generator[int, None, int]:"):
            out(f'"""Find the end of the {name} frame in front: yields how many bytes it needs, returns its size."""')
            with out.block("if type(data) is not bytearray:"):
                out("data = as_bytes(data)")
            place = self.visit(layout, Place(""), "", "value")
            if not isinstance(layout, ir.Bounded):
                self.await_bytes(place, "")
            out(f"return {place}")
        return str(out)

    def fail(self, condition: str, error: str, reason: str, path: str, offset: Place) -> None:
        quoted = ("f" if "{" in reason else "") + f'"{reason}"'
        with self.out.block(f"if {condition}:"):
            self.out(f"raise {error}({quoted}, path={path_source(path)}, offset={offset})")

    def await_bytes(self, place: Place, path: str) -> None:
        """Emits the wait for the bytes before `place`, after comparing it with the bounds around."""
        if place == self.awaited:
            return
        self.require_bounds(place, path)
        with self.out.block(f"while len(data) < {place}:"):
            self.out(f"yield {place}")

    def require_bounds(self, place: Place, path: str) -> None:
        if place == self.compared:
            return
        for start, max_bytes in self.bounds:
            # When compiling it was found that a fixed number of bytes from the start of a bound fits it.
            if place.variable != start.variable:
                limit = start.plus(max_bytes)
                self.fail(f"{place} > {limit}", "FrameTooLarge", f"expected at most {max_bytes} bytes", path, limit)

    def visit(self, node: ir.Node, place: Place, path: str, stem: str) -> Place:
        """Emits the scanning of `node`; returns where the next field starts."""
        size = ir.static_size(node)
        if size is not None and not looks_inside(node) and not isinstance(node, ir.Bounded):
            return place.plus(size)
        match node:
            case ir.Const(value=int(value), sub=ir.Int() as sub):
                self.await_bytes(place.plus(sub.size), path)
                found = self.out.variable(read_int(sub, place), stem)
                self.fail(f"{found} != {value}", "DecodeError", f"expected {value}, not {{{found}}}", path, place)
                return place.plus(sub.size)
            case ir.Bytes(prefix=ir.Int() as prefix) | ir.Text(prefix=ir.Int() as prefix):
                return self.length(prefix, place, path, stem, prefix.low, prefix.high)
            case ir.Region(prefix=prefix):
                return self.length(prefix, place, path, stem, *ir.region_bounds(node))
            case ir.Array():
                return self.array(node, place, path, stem)
            case ir.Record():
                return self.record(node, place, path)
            case ir.Switch():
                return self.switch(node, place, path, stem)
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                self.bounds.append((place, max_bytes))
                self.compared = None
                place = self.visit(sub, place, path, stem)
                self.await_bytes(place, path)
                self.bounds.pop()
                self.compared = None
                return place
            case ir.Line():
                return self.line(node, place, path)
        raise TypeError(f"not a layout node: {node!r}")  # pragma: no cover - all kinds are above

    def number(self, node: ir.Int, place: Place, path: str, stem: str) -> str:
        """Emits the wait for an integer and its reading; returns its variable."""
        self.await_bytes(place.plus(node.size), path)
        return self.out.variable(read_int(node, place), stem)

    def require_range(self, value: str, low: int, high: int, node: ir.Int, what: str, path: str, place: Place) -> None:
        fits = attrs.evolve(node, rule=None)
        if low > fits.low or high < fits.high:
            reason = f"expected a {what} from {low} to {high}, not {{{value}}}"
            self.fail(f"not {low} <= {value} <= {high}", "DecodeError", reason, path, place)

    def length(self, prefix: ir.Int, place: Place, path: str, stem: str, low: int, high: int) -> Place:
        length = self.number(prefix, place, path, f"{stem}_length")
        self.require_range(length, low, high, prefix, "length", path, place)
        # Compared at once, so that the error names the field whose length it is.
        after = Place(self.out.variable(f"{place.plus(prefix.size)} + {length}", "position"))
        self.require_bounds(after, path)
        self.compared = after
        return after

    def array(self, node: ir.Array, place: Place, path: str, stem: str) -> Place:
        out = self.out
        if isinstance(node.count, ir.Int):
            count = self.number(node.count, place, path, f"{stem}_count")
            self.require_range(count, node.count.low, node.count.high, node.count, "count", path, place)
            place = place.plus(node.count.size)
        else:
            count = str(node.count)
        size = ir.static_size(node.item)
        if size is not None and not looks_inside(node.item):
            return Place(out.variable(f"{place} + {product(count, size)}", "position"))
        position = Place(out.variable(str(place), "position"))
        index = out.name("item_index")
        with out.block(f"for {index} in range({count}):"):
            after = self.visit(node.item, position, f"{path}[{{{index}}}]", f"{stem}_item")
            self.await_bytes(after, f"{path}[{{{index}}}]")
            out(f"{position} = {after}")
        if node.count != 0:
            self.awaited = position  # the last item was, or the count where there are no items
        return position

    def record(self, node: ir.Record, place: Place, path: str) -> Place:
        outer, self.scope = self.scope, {}
        switched = switched_fields(node)
        for field in node.fields:
            where = f"{path}.{field.name}" if path else field.name
            key = field.node.sub if isinstance(field.node, ir.Enum) else field.node
            if field.name in switched and isinstance(key, ir.Int):
                self.scope[field.name] = self.number(key, place, where, field.name)
                place = place.plus(key.size)
            else:
                place = self.visit(field.node, place, where, field.name)
        self.scope = outer
        return place

    def switch(self, node: ir.Switch, place: Place, path: str, stem: str) -> Place:
        out = self.out
        key = self.scope[node.field]
        position = Place(out.variable(str(place), "position"))
        for index, (number, case) in enumerate(node.cases):
            with out.block(f"{'el' if index else ''}if {key} == {number}:"):
                out(f"{position} = {self.visit(case, position, path, stem)}")
        known = ", ".join(str(number) for number, _ in node.cases)
        with out.block("else:"):
            reason = f"expected {node.field} to be one of {known}, not {{{key}}}"
            out(f'raise DecodeError(f"{reason}", path={path_source(path)}, offset={position})')
        return position

    def line(self, node: ir.Line, place: Place, path: str) -> Place:
        out = self.out
        first, last = node.first
        self.await_bytes(place.plus(1), path)
        expected = f"expected a byte from 0x{first:02X} to 0x{last:02X}"
        found = out.variable(f"data[{place}]", "first")
        self.fail(f"{found} == 10 or not {first} <= {found} <= {last}", "DecodeError", expected, path, place)
        limit = place.plus(node.max_bytes)
        position, stop = out.variable(str(place), "position"), out.name("stop")
        with out.block(f'while ({stop} := data.find(b"\\n", {position})) < 0 and len(data) <= {limit}:'):
            out(f"{position} = len(data)")
            out(f"yield {position} + 1")
        expected = f"expected a line of at most {node.max_bytes} bytes"
        self.fail(f"{stop} < 0 or {stop} > {limit}", "FrameTooLarge", expected, path, limit)
        self.awaited = Place(stop, 1)
        return self.awaited
