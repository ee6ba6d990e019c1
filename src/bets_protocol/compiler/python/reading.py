"""Emits `check_<frame>` and `decode_<frame>`: the reading of one whole frame.

The emitted code follows a position through the bytes. Three rules make it safe:

1. The end of a region is compared with the end around it before the region is entered, and afterwards the position must
   be exactly that end; so a slice that is too short, or an integer read past the end, is always noticed.
2. A count is compared with the bytes that are left before its loop is entered, so a count cannot cause more work than
   the bytes of its items justify.
3. The fast path only says that something is wrong; `bets_protocol.layout.diagnose` says what.

Text is sliced out of one latin-1 decoding of the whole frame, which is right for ASCII; other text is decoded again,
strictly. An object is made as an open twin of its frozen class, filled by plain assignment and then given its class, so
that no validator runs a second time.
"""

from __future__ import annotations

import attrs

from bets_protocol.compiler.python.source import (
    Place,
    Source,
    atom,
    class_of,
    is_decimal,
    product,
    python_type,
    read_int,
    text_test,
)
from bets_protocol.compiler.shape import switched_fields
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.rules import CalendarDate, Characters


def emit_check(name: str, layout: ir.Node, constant: str) -> str:
    """`check_<name>`, which makes no objects."""
    return _Reading(layout, build=False).emit(
        f"check_{name}", "None", f"Refuse `data` unless it is one whole sound {name} frame of good values.", constant
    )


def emit_decode(name: str, layout: ir.Node, constant: str) -> str:
    """`decode_<name>`, which makes the message."""
    return _Reading(layout, build=True).emit(
        f"decode_{name}", class_of(layout), f"The message in `data`, which must be one whole {name} frame.", constant
    )


def emit_twin(record: ir.Record) -> str:
    """An open class with the slots of a frozen message class, for decoding to fill."""
    fields = [(field.name, python_type(field.node)) for field in record.attributes]
    source = Source()
    with source.block(f"class _Open{record.name}:"):
        source(f"__slots__ = ({''.join(f'{name!r}, ' for name, _ in fields).rstrip(' ')})")
        if fields:
            source("")
            with source.block(f"def __init__(self, {', '.join(f'{name}: {kind}' for name, kind in fields)}) -> None:"):
                for name, _ in fields:
                    source(f"self.{name} = {name}")
    return str(source)


class _Reading:
    """Emits one function; `build` says whether it makes objects."""

    def __init__(self, layout: ir.Node, *, build: bool) -> None:
        self.layout, self.build = layout, build
        self.out = Source(record.name for record in ir.records(layout))
        self.scope: dict[str, str] = {}  # the variables of the integer fields of the record at hand
        self.switched: set[str] = set()  # those of its fields that a Switch looks at

    def emit(self, function: str, result: str, documentation: str, constant: str) -> str:
        out = self.out
        with out.block(f"def {function}(data: bytes) -> {result}:"):
            out(f'"""{documentation}"""')
            with out.block("if type(data) is not bytes:"):
                out("data = as_bytes(data)")
            with out.block("try:"):
                out("end = len(data)")
                kinds = {type(part) for part in ir.walk(self.layout)}
                if ir.Text in kinds:
                    out('text = data.decode("latin-1")')
                value, place = self.visit(self.layout, Place(""), "end", "value")
                self.arrive(place, "end")
                if self.build:
                    out(f"result: {result} = {value}")
                    out("return result")
            failures = "IndexError, ValueError" + (", StructError" if self.build and ir.Float in kinds else "")
            with out.block(f"except ({failures}):"):
                out(f"raise explained({constant}, data) from None")
        return str(out)

    def arrive(self, place: Place, end: str) -> None:
        """Emits the comparison of the position with `end`."""
        if str(place) != end:
            self.out.fail_if(f"{place} != {end}")

    def visit(self, node: ir.Node, place: Place, end: str, stem: str) -> tuple[str, Place]:
        """Emits the reading of `node`; returns the source of its value and where the next field starts."""
        match node:
            case ir.Int():
                return self.integer(node, place, stem)
            case ir.Enum(sub=sub, members=members):
                value = self.out.variable(read_int(sub, place), stem)
                self.out.fail_if(f"{value} not in {{{', '.join(str(number) for _, number in members)}}}")
                return value, place.plus(sub.size)
            case ir.Float(size=size):
                unpacked = f'unpack_from("{node.format}", data, {place})[0]'
                return (self.out.variable(unpacked, stem) if self.build else ""), place.plus(size)
            case ir.Const(value=value, sub=sub):
                after = place.plus(ir.size_bounds(sub)[0])
                found = read_int(sub, place) if isinstance(sub, ir.Int) else f"data[{place}:{after}]"
                self.out.fail_if(f"{found} != {value!r}")
                return "", after
            case ir.Bytes():
                begin, after = self.content(node, place, stem)
                return (self.out.variable(f"data[{begin}:{after}]", stem) if self.build else ""), after
            case ir.Text():
                return self.text(node, place, stem)
            case ir.Region(prefix=prefix, sub=sub):
                begin, stop = self.extent(prefix, place, stem, "stop")
                self.out.fail_if(f"{stop} > {end}")
                value, after = self.visit(sub, begin, str(stop), stem)
                self.arrive(after, str(stop))
                return value, stop
            case ir.Array():
                return self.array(node, place, end, stem)
            case ir.Record():
                return self.record(node, place, end)
            case ir.Switch():
                return self.switch(node, place, end, stem)
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                # What follows counts from a variable.
                fixed = not place.variable or not place.offset
                start = place if fixed else Place(self.out.variable(str(place), "start"))
                value, place = self.visit(sub, start, end, stem)
                self.out.fail_if(f"{place} > {start.plus(max_bytes)}")
                return value, place
            case ir.Line(first=(low, high), max_bytes=max_bytes):
                value = self.out.variable(f"data[{place}:{end}]", stem)
                self.out.fail_if(f"not is_line({value}, {low}, {high}, {max_bytes})")
                return value, Place(end)

    def integer(self, node: ir.Int, place: Place, stem: str) -> tuple[str, Place]:
        if node.rule is None and not self.build and stem not in self.switched:
            return "", place.plus(node.size)
        value = self.out.variable(read_int(node, place), stem)
        self.require_range(node, value)
        return value, place.plus(node.size)

    def require_range(self, node: ir.Int, value: str) -> None:
        fits = attrs.evolve(node, rule=None)
        if node.low > fits.low and node.high < fits.high:
            self.out.fail_if(f"not {node.low} <= {value} <= {node.high}")
        elif node.low == 1 and not node.signed:
            self.out.fail_if(f"not {value}")
        elif node.low > fits.low:
            self.out.fail_if(f"{value} < {node.low}")
        elif node.high < fits.high:
            self.out.fail_if(f"{value} > {node.high}")

    def content(self, node: ir.Bytes | ir.Text, place: Place, stem: str) -> tuple[Place, Place]:
        """Where the bytes of `node` begin and end."""
        if node.prefix is None:
            return place, place.plus(node.size or 0)
        return self.extent(node.prefix, place, stem, "end")

    def extent(self, prefix: ir.Int, place: Place, stem: str, end: str) -> tuple[Place, Place]:
        """Where the bytes that follow a length begin and end."""
        length = read_int(prefix, place)
        if prefix.rule is not None:
            length = self.out.variable(length, f"{stem}_length")
            self.require_range(prefix, length)
        begin = place.plus(prefix.size)
        return begin, Place(self.out.variable(f"{begin} + {atom(length)}", f"{stem}_{end}"))

    def text(self, node: ir.Text, place: Place, stem: str) -> tuple[str, Place]:
        out, rule = self.out, node.rule
        begin, after = self.content(node, place, stem)
        value = out.variable(f"text[{begin}:{after}]", stem)
        # One character a byte so far.
        if isinstance(rule, Characters) and rule.min_bytes:
            out.fail_if(f"not {value}" if rule.min_bytes == 1 else f"len({value}) < {rule.min_bytes}")
        if node.encoding == "utf-8":
            with out.block(f"if not {value}.isascii():"):
                out(f'{value} = data[{begin}:{after}].decode("utf-8")')
        elif not isinstance(rule, CalendarDate) and not is_decimal(rule):
            out.fail_if(f"not {value}.isascii()")
        if keeps := text_test(node, value):
            out.fail_if(f"not ({keeps})")
        return value, after

    def array(self, node: ir.Array, place: Place, end: str, stem: str) -> tuple[str, Place]:
        out = self.out
        if isinstance(node.count, ir.Int):
            count = out.variable(read_int(node.count, place), f"{stem}_count")
            self.require_range(node.count, count)
            place = place.plus(node.count.size)
        else:
            count = str(node.count)
        least = ir.size_bounds(node.item)[0]
        out.fail_if(f"{product(count, least)} > {end} - {atom(str(place))}")
        position = Place(out.variable(str(place), "position"))
        items = out.name(stem) if self.build else ""
        if self.build:
            out(f"{items}: list[{python_type(node.item)}] = []")
        with out.block(f"for _ in range({count}):"):
            value, after = self.visit(node.item, position, end, f"{stem}_item")
            if self.build:
                out(f"{items}.append({value})")
            out(f"{position} += {after.offset}" if after.variable == position.variable else f"{position} = {after}")
        return f"tuple({items})", position

    def record(self, node: ir.Record, place: Place, end: str) -> tuple[str, Place]:
        outer = self.scope, self.switched
        values: list[str] = []
        self.scope, self.switched = {}, switched_fields(node)
        for field in node.fields:
            value, place = self.visit(field.node, place, end, field.name)
            self.scope[field.name] = value
            if not isinstance(field.node, ir.Const):
                values.append(value)
        self.scope, self.switched = outer
        if not self.build:
            return "", place
        made = self.out.name("made")
        self.out(f"{made}: Any = _Open{node.name}({', '.join(values)})")
        self.out(f"{made}.__class__ = {node.name}")
        return made, place

    def switch(self, node: ir.Switch, place: Place, end: str, stem: str) -> tuple[str, Place]:
        out = self.out
        key = self.scope[node.field]
        position = Place(out.variable(str(place), "position"))
        chosen = out.name(stem) if self.build else ""
        if self.build:
            out(f"{chosen}: {python_type(node)}")
        # No Switch of this record looks at the value of a case.
        outer, self.switched = self.switched, set()
        for index, (number, case) in enumerate(node.cases):
            with out.block(f"{'el' if index else ''}if {key} == {number}:"):
                value, after = self.visit(case, position, end, stem)
                if self.build:
                    out(f"{chosen} = {value}")
                out(f"{position} = {after}")
        self.switched = outer
        with out.block("else:"):
            out("raise ValueError")
        return chosen, position
