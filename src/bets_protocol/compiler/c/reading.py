"""Emits `check` and `decode` of a frame as C.

Before every read the position is compared with the end of the innermost region; consecutive fields of fixed size share
one comparison.
"""

from __future__ import annotations

import attrs

from bets_protocol.compiler.c.source import (
    FIXED,
    WIDE_BYTES,
    Lines,
    Texts,
    c_int,
    c_string,
    c_type,
    fixed_bytes_ahead,
    is_fixed,
    read_int,
    run_of_fixed,
)
from bets_protocol.layout import nodes as ir


def emit_check(name: str, layout: ir.Node, texts: Texts) -> str:
    """`check_<name>`, which needs no interpreter, and the Python function around it."""
    reading = Reading(texts, build=False)
    reading.visit(layout, "e")
    return f"""
static int check_{name}(const u8 *p, Py_ssize_t n)
{{
    const u8 *e = p + n;
{reading.out}
    return p == e;
}}

static PyObject *py_check_{name}(PyObject *module, PyObject *data)
{{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_{name}, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {{
        Py_BEGIN_ALLOW_THREADS
        ok = check_{name}(p, n);
        Py_END_ALLOW_THREADS
    }} else
        ok = check_{name}(p, n);
    if (!ok) return ask_pure(state->pure_check_{name}, data, 0);
    Py_RETURN_NONE;
}}
"""


def emit_decode(name: str, layout: ir.Node, texts: Texts) -> str:
    """`decode_<name>`. Every object that it owns is in `o[]` until another object owns it."""
    reading = Reading(texts, build=True)
    value = reading.visit(layout, "e")
    return f"""
static PyObject *py_decode_{name}(PyObject *module, PyObject *data)
{{
    PyObject *o[{reading.objects}] = {{NULL}};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_{name}, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
{reading.out}
    if (p == e) return {value};
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_{name}, data, 0);
}}
"""


class Reading:
    """Emits the reading of bytes by a pointer `p` that moves up to an end; `build` says whether it makes objects."""

    def __init__(self, texts: Texts, *, build: bool) -> None:
        self.texts, self.build = texts, build
        self.out = Lines()
        self.fail = "goto bad;" if build else "return 0;"
        self.objects = 0
        self.scope: dict[str, str] = {}  # the variables of the integer fields of the record at hand
        self.last_number = ""  # the variable that was read last

    def need(self, size: str, end: str) -> None:
        self.out(f"if ((size_t)({end} - p) < (size_t)({size})) {self.fail}")

    def require(self, condition: str) -> None:
        self.out(f"if (!({condition})) {self.fail}")

    def new(self) -> str:
        """A place for an object; empty if no objects are made."""
        if not self.build:
            return ""
        self.objects += 1
        return f"o[{self.objects - 1}]"

    def object(self, expression: str) -> str:
        """Emits the making of an object, where objects are made; returns its place."""
        if place := self.new():
            self.out(f"if (!({place} = {expression})) goto bad;")
        return place

    def give(self, value: str, move: str) -> None:
        """Emits `move`, by which another object becomes the owner of `value`."""
        if self.build:
            self.out(f"{move} {value} = NULL;")

    def number(self, node: ir.Int, value: str) -> str:
        kind = "LongLong" if node.signed else "UnsignedLongLong"
        return self.object(f"PyLong_FromLong((long){value})" if node.size <= 2 else f"PyLong_From{kind}({value})")

    def raw(self, size: str) -> str:
        return self.object(f"PyBytes_FromStringAndSize((const char *)p, {size})")

    def visit(self, node: ir.Node, end: str, *, needed: bool = False) -> str:
        """Emits the reading of `node` at `p`; returns the source of its value. `needed`: the end was compared."""
        out = self.out
        match node:
            case ir.Int() | ir.Enum() | ir.Float() | ir.Const():
                return self.fixed(node, end, needed=needed)
            case ir.Bytes() | ir.Text():
                return self.chunk(node, end, needed=needed)
            case ir.Region(prefix=prefix, sub=sub):
                size = self.prefix(prefix, end)
                self.need(size, end)
                stop = out.name("e")
                out(f"const u8 *{stop} = p + {size};")
                value = self.visit(sub, stop)
                self.require(f"p == {stop}")
                return value
            case ir.Array(count=count, item=item):
                return self.array(count, item, end)
            case ir.Record():
                return self.record(node, end)
            case ir.Switch(field=field, cases=cases):
                chosen = self.new()
                with out.block(f"switch ({self.scope[field]})"):
                    for number, case in cases:
                        with out.block(f"case {number}:"):
                            value = self.visit(case, end)
                            self.give(value, f"{chosen} = {value};")
                            out("break;")
                    out(f"default: {self.fail}")
                return chosen
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                start = out.name("s")
                out(f"const u8 *{start} = p;")
                value = self.visit(sub, end)
                self.require(f"p - {start} <= {max_bytes}")
                return value
            case ir.Line(max_bytes=max_bytes, first=(low, high)):
                self.require(f"is_line(p, {end} - p, {low}, {high}, {max_bytes})")
                value = self.raw(f"{end} - p")
                out(f"p = {end};")
                return value

    def fixed(self, node: FIXED, end: str, *, needed: bool) -> str:
        out = self.out
        size = ir.size_bounds(node)[0]
        if not needed:
            self.need(str(size), end)
        match node:
            case ir.Const():
                out(f"if (memcmp(p, {c_string(node.raw)}, {size})) {self.fail}")
                result = ""
            case ir.Int() if node.size > WIDE_BYTES:
                if node.rule is not None:
                    raise TypeError("a rule on an integer of more than 8 bytes")
                result = self.object(f"new_wide_int(p, {size}, {int(node.little)}, {int(node.signed)})")
            case ir.Enum(sub=sub, members=members):
                value = self.variable(sub)
                with out.block(f"switch ({value})"):
                    out(" ".join(f"case {number}:" for _, number in members) + " break;")
                    out(f"default: {self.fail}")
                result = self.number(sub, value)
            case ir.Int():
                value = self.variable(node)
                self.require_range(node, value)
                result = self.number(node, value)
            case ir.Float(little=little):
                result = self.object(f"new_float{size}(p, {int(little)})")
        out(f"p += {size};")
        return result

    def variable(self, node: ir.Int) -> str:
        name = self.out.name("v")
        self.out(f"{c_type(node)} {name} = {read_int(node)};")
        self.out(f"(void){name};")
        self.last_number = name
        return name

    def require_range(self, node: ir.Int, value: str) -> None:
        fits = attrs.evolve(node, rule=None)
        conditions = []
        if node.low > fits.low:
            conditions.append(f"{value} >= {c_int(node.low, node)}")
        if node.high < fits.high:
            conditions.append(f"{value} <= {c_int(node.high, node)}")
        if conditions:
            self.require(" && ".join(conditions))

    def prefix(self, node: ir.Int, end: str, *, needed: bool = False) -> str:
        if not needed:
            self.need(str(node.size), end)
        value = self.variable(node)
        self.require_range(node, value)
        self.out(f"p += {node.size};")
        return value

    def chunk(self, node: ir.Bytes | ir.Text, end: str, *, needed: bool) -> str:
        if node.prefix is not None:
            size = self.prefix(node.prefix, end, needed=needed)
            self.need(size, end)
        else:
            size = str(node.size)
            if not needed:
                self.need(size, end)
        length = f"(Py_ssize_t){size}"
        if isinstance(node, ir.Text):
            kind = self.out.name("k")
            self.out(f"int {kind} = {self.texts.call(node, 'p', length)};")
            self.require(kind)
            # Names repeat; texts of a fixed size are more often keys, which do not.
            make = "new_text(" if node.prefix is None else "known_text(&state->shared, "
            value = self.object(f"{make}p, {length}, {kind})")
        else:
            value = self.raw(length)
        self.out(f"p += {size};")
        return value

    def array(self, count: ir.Int | int, item: ir.Node, end: str) -> str:
        out = self.out
        size = self.prefix(count, end) if isinstance(count, ir.Int) else str(count)
        least = ir.size_bounds(item)[0]
        self.require(f"(uint64_t){size} <= (uint64_t)({end} - p) / {least}")
        array, index = self.object(f"PyTuple_New((Py_ssize_t){size})"), out.name("i")
        with out.block(f"for (Py_ssize_t {index} = 0; {index} < (Py_ssize_t){size}; {index}++)"):
            value = self.visit(item, end)
            self.give(value, f"PyTuple_SET_ITEM({array}, {index}, {value});")
        return array

    def record(self, node: ir.Record, end: str) -> str:
        outer, self.scope = self.scope, {}
        values: list[str] = []
        known = 0  # how many bytes from here on were compared with the end
        for index, field in enumerate(node.fields):
            ahead = fixed_bytes_ahead(field.node)
            if ahead and known < ahead:
                known = run_of_fixed(node.fields[index:])
                self.need(str(known), end)
            value = self.visit(field.node, end, needed=bool(ahead))
            known = known - ahead if is_fixed(field.node) else 0
            if isinstance(field.node, ir.Int | ir.Enum) and ir.size_bounds(field.node)[0] <= WIDE_BYTES:
                self.scope[field.name] = self.last_number
            if not isinstance(field.node, ir.Const):
                values.append(value)
        self.scope = outer
        made = self.object(f"new_object(state->type_{node.name})")
        for index, value in enumerate(values):
            self.give(value, f"set_slot({made}, state->slots_{node.name}[{index}], {value});")
        if self.build and any(
            isinstance(part, ir.Record | ir.Array) for field in node.fields for part in ir.walk(field.node)
        ):
            self.out(f"track({made});")  # text and numbers are in no cycle
        return made
