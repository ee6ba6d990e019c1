"""Emits `check` and `decode` of a frame as C.

Every read is preceded by a comparison with the end of what surrounds it; fields of fixed size that follow each other
share one. `check` touches no Python object. `decode` makes objects as it goes and drops them all when anything is
wrong.
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


class Reading:
    """What `check` and `decode` share: a pointer `p` that moves through the bytes up to an end."""

    def __init__(self, name: str, layout: ir.Node, texts: Texts) -> None:
        self.name, self.layout, self.texts = name, layout, texts
        self.out = Lines()
        self.fail = "return 0;"
        self.scope: dict[str, str] = {}

    # What becomes of a value: nothing in `check`, an object in `decode`.

    def number(self, node: ir.Int, value: str) -> str:  # noqa: ARG002  # decode wants it
        return ""

    def leaf(self, node: ir.Node, pointer: str, size: str) -> str:  # noqa: ARG002  # decode wants it
        return ""

    def begin_array(self, count: str) -> str:  # noqa: ARG002  # decode wants it
        return ""

    def array_item(self, array: str, index: str, item: str) -> None:
        pass

    def made(self, record: ir.Record, values: list[str]) -> str:  # noqa: ARG002  # decode wants it
        return ""

    def chosen(self) -> str:
        return ""

    def choose(self, chosen: str, value: str) -> None:
        pass

    def need(self, size: str, end: str) -> None:
        self.out(f"if ((size_t)({end} - p) < (size_t)({size})) {self.fail}")

    def require(self, condition: str) -> None:
        self.out(f"if (!({condition})) {self.fail}")

    def visit(self, node: ir.Node, end: str, *, needed: bool = False) -> str:
        """Emits the reading of `node` at `p`; `needed` says that its bytes are known to be there."""
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
                chosen = self.chosen()
                with out.block(f"switch ({self.scope[field]})"):
                    for number, case in cases:
                        with out.block(f"case {number}:"):
                            self.choose(chosen, self.visit(case, end))
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
                size = out.name("n")
                self.need("1", end)
                out(f"Py_ssize_t {size} = {end} - p - ({end}[-1] == '\\n');")
                self.require(f"{size} >= 1 && *p >= {low} && *p <= {high} && {size} <= {max_bytes}")
                self.require(f"!memchr(p, '\\n', (size_t){size})")
                value = self.leaf(node, "p", f"{end} - p")
                out(f"p = {end};")
                return value
        raise TypeError(f"not a layout node: {node!r}")  # pragma: no cover - every node kind stands above

    def fixed(self, node: FIXED, end: str, *, needed: bool) -> str:
        out = self.out
        size = ir.size_bounds(node)[0]
        if not needed:
            self.need(str(size), end)
        match node:
            case ir.Const(value=bytes(constant)):
                out(f"if (memcmp(p, {c_string(constant)}, {size})) {self.fail}")
                result = ""
            case ir.Const(value=int(constant), sub=ir.Int() as sub) if sub.size <= WIDE_BYTES:
                self.require(f"{read_int(sub)} == {c_int(constant, sub)}")
                result = ""
            case ir.Const(value=int(constant), sub=ir.Int() as sub):
                raw = constant.to_bytes(sub.size, "little" if sub.little else "big", signed=sub.signed)
                out(f"if (memcmp(p, {c_string(raw)}, {size})) {self.fail}")
                result = ""
            case ir.Int() if node.size > WIDE_BYTES:
                if node.rule is not None:
                    raise TypeError("a rule on an integer of more than 8 bytes")
                result = self.leaf(node, "p", str(size))
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
            case _:
                result = self.leaf(node, "p", str(size))
        out(f"p += {size};")
        return result

    def variable(self, node: ir.Int) -> str:
        name = self.out.name("v")
        self.out(f"{c_type(node)} {name} = {read_int(node)};")
        self.out(f"(void){name};")
        self.last_number = name
        return name

    last_number = ""
    kind = ""

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
        if isinstance(node, ir.Text):
            self.kind = self.out.name("k")
            self.out(f"int {self.kind} = {self.texts.call(node, 'p', f'(Py_ssize_t){size}')};")
            self.require(self.kind)
        value = self.leaf(node, "p", f"(Py_ssize_t){size}")
        self.out(f"p += {size};")
        return value

    def array(self, count: ir.Int | int, item: ir.Node, end: str) -> str:
        out = self.out
        size = self.prefix(count, end) if isinstance(count, ir.Int) else str(count)
        least = ir.size_bounds(item)[0]
        self.require(f"(uint64_t){size} <= (uint64_t)({end} - p) / {least}")
        array, index = self.begin_array(f"(Py_ssize_t){size}"), out.name("i")
        with out.block(f"for (Py_ssize_t {index} = 0; {index} < (Py_ssize_t){size}; {index}++)"):
            self.array_item(array, index, self.visit(item, end))
        return array

    def record(self, node: ir.Record, end: str) -> str:
        outer, self.scope = self.scope, {}
        values: list[str] = []
        known = 0  # bytes ahead that were compared with the end already
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
        return self.made(node, values)


class Checking(Reading):
    """Emits `check_<name>`, which needs no interpreter, and the Python function around it."""

    def emit(self) -> str:
        self.visit(self.layout, "e")
        body = "\n".join(self.out.lines)
        return f"""
static int check_{self.name}(const u8 *p, Py_ssize_t n)
{{
    const u8 *e = p + n;
{body}
    return p == e;
}}

static PyObject *py_check_{self.name}(PyObject *module, PyObject *data)
{{
    int ok;
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_check_{self.name}, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data);
    Py_ssize_t n = PyBytes_GET_SIZE(data);
    if (n >= RELEASE_BYTES) {{
        Py_BEGIN_ALLOW_THREADS
        ok = check_{self.name}(p, n);
        Py_END_ALLOW_THREADS
    }} else
        ok = check_{self.name}(p, n);
    if (!ok) return ask_pure(state->pure_check_{self.name}, data, 0);
    Py_RETURN_NONE;
}}
"""


class Decoding(Reading):
    """Emits `decode_<name>`. Every object that it owns stands in `o[]` until something else owns it."""

    def __init__(self, name: str, layout: ir.Node, texts: Texts) -> None:
        super().__init__(name, layout, texts)
        self.fail = "goto bad;"
        self.objects = 0

    def object(self, expression: str) -> str:
        name = f"o[{self.objects}]"
        self.objects += 1
        self.out(f"if (!({name} = {expression})) goto bad;")
        return name

    def number(self, node: ir.Int, value: str) -> str:
        kind = "LongLong" if node.signed else "UnsignedLongLong"
        return self.object(f"PyLong_FromLong((long){value})" if node.size <= 2 else f"PyLong_From{kind}({value})")

    def leaf(self, node: ir.Node, pointer: str, size: str) -> str:
        match node:
            case ir.Text(prefix=prefix):
                # Names repeat; a text of fixed size is more often a key, of which no two are the same.
                make = "new_text(" if prefix is None else "known_text(&state->shared, "
                return self.object(f"{make}{pointer}, {size}, {self.kind})")
            case ir.Float(size=width, little=little):
                return self.object(f"new_float{width}({pointer}, {int(little)})")
            case ir.Int(signed=signed, little=little):
                return self.object(f"new_wide_int(&state->shared, {pointer}, {size}, {int(little)}, {int(signed)})")
            case _:
                return self.object(f"PyBytes_FromStringAndSize((const char *){pointer}, {size})")

    def begin_array(self, count: str) -> str:
        return self.object(f"PyTuple_New({count})")

    def array_item(self, array: str, index: str, item: str) -> None:
        self.out(f"PyTuple_SET_ITEM({array}, {index}, {item}); {item} = NULL;")

    def made(self, record: ir.Record, values: list[str]) -> str:
        made = self.object(f"new_object(state->type_{record.name})")
        for index, value in enumerate(values):
            self.out(f"set_slot({made}, state->slots_{record.name}[{index}], {value}); {value} = NULL;")
        if any(isinstance(part, ir.Record | ir.Array) for field in record.fields for part in ir.walk(field.node)):
            self.out(f"track({made});")  # the others hold text and numbers: no cycle, nothing to collect
        return made

    def chosen(self) -> str:
        name = f"o[{self.objects}]"
        self.objects += 1
        return name

    def choose(self, chosen: str, value: str) -> None:
        self.out(f"{chosen} = {value}; {value} = NULL;")

    def emit(self) -> str:
        value = self.visit(self.layout, "e")
        body = "\n".join(self.out.lines)
        return f"""
static PyObject *py_decode_{self.name}(PyObject *module, PyObject *data)
{{
    PyObject *o[{self.objects}] = {{NULL}};
    const State *state = PyModule_GetState(module);
    if (!PyBytes_Check(data)) return ask_pure(state->pure_decode_{self.name}, data, 1);
    const u8 *p = (const u8 *)PyBytes_AS_STRING(data), *e = p + PyBytes_GET_SIZE(data);
{body}
    if (p == e) return {value};
bad:
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) Py_XDECREF(o[i]);
    return ask_pure(state->pure_decode_{self.name}, data, 0);
}}
"""
