"""Emits `scan` of a frame as C: a function that can stop anywhere and continue there.

It is one `switch` over the places where it may have to wait for more bytes. Every variable that lives across such a
place is in its state.
"""

from __future__ import annotations

from bets_protocol.compiler.c.source import WIDE_BYTES, Lines, c_string, read_int
from bets_protocol.compiler.shape import looks_inside, switched_fields
from bets_protocol.layout import nodes as ir


class Scanning:
    """Emits `scan_<name>`."""

    def __init__(self, name: str, layout: ir.Node) -> None:
        self.name, self.layout = name, layout
        self.out = Lines()
        self.waits = 0
        self.variables = 1  # v[0] is the position
        self.bounds: list[tuple[str, int]] = []  # the start and the size of each bound around the position
        self.scope: dict[str, str] = {}

    def emit(self) -> str:
        ahead = self.visit(self.layout, 0)
        self.await_bytes(ahead)
        return f"""
static int scan_{self.name}(const u8 *d, Py_ssize_t n, Scan *s)
{{
    switch (s->at) {{
    case 0:
{self.out}
    s->need = (Py_ssize_t)s->v[0] + {ahead};
    return SCAN_DONE;
    }}
    return SCAN_BAD;
}}

static PyObject *py_scan_{self.name}(PyObject *module, PyObject *data)
{{
    const State *state = PyModule_GetState(module);
    if (!PyByteArray_Check(data) && !PyBytes_Check(data)) return ask_pure(state->pure_scan_{self.name}, data, 1);
    return new_scanner(&state->shared, data, scan_{self.name}, offsetof(State, pure_scan_{self.name}));
}}
"""

    def variable(self) -> str:
        name = f"s->v[{self.variables}]"
        self.variables += 1
        return name

    def await_bytes(self, ahead: int) -> None:
        """Emits the wait for the `ahead` bytes after the position, once they were compared with every bound."""
        self.waits += 1
        for start, size in self.bounds:
            self.out(f"if (s->v[0] + {ahead} > {start} + {size}) return SCAN_BAD;")
        self.out(f"s->need = (Py_ssize_t)s->v[0] + {ahead};")
        self.out(f"/* fall through */ case {self.waits}:")
        self.out(f"if (n < s->need) {{ s->at = {self.waits}; return SCAN_MORE; }}")

    def settle(self, ahead: int) -> None:
        if ahead:
            self.out(f"s->v[0] += {ahead};")

    def visit(self, node: ir.Node, ahead: int) -> int:
        """Emits the scanning of `node`, `ahead` bytes after the position; returns where the next field is, likewise."""
        size = ir.static_size(node)
        if size is not None and not looks_inside(node):
            return ahead + size
        match node:
            case ir.Const():
                raw = node.raw
                self.await_bytes(ahead + len(raw))
                self.out(f"if (memcmp(d + s->v[0] + {ahead}, {c_string(raw)}, {len(raw)})) return SCAN_BAD;")
                return ahead + len(raw)
            case ir.Bytes(prefix=ir.Int() as prefix) | ir.Text(prefix=ir.Int() as prefix):
                return self.length(prefix, ahead, prefix.low, prefix.high)
            case ir.Region(prefix=prefix):
                return self.length(prefix, ahead, *ir.region_bounds(node))
            case ir.Array(count=count, item=item):
                return self.array(count, item, ahead)
            case ir.Record(fields=fields):
                outer, self.scope = self.scope, {}
                switched = switched_fields(node)
                for field in fields:
                    ahead = self.key(field, ahead) if field.name in switched else self.visit(field.node, ahead)
                self.scope = outer
                return ahead
            case ir.Switch(field=name, cases=cases):
                self.settle(ahead)
                # Not a switch of C: a wait inside it would become a label of the inner switch.
                for index, (number, case) in enumerate(cases):
                    with self.out.block(f"{'else ' if index else ''}if ({self.scope[name]} == {number})"):
                        self.settle(self.visit(case, 0))
                self.out("else return SCAN_BAD;")
                return 0
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                start = self.variable()
                self.out(f"{start} = s->v[0] + {ahead};")
                self.bounds.append((start, max_bytes))
                ahead = self.visit(sub, ahead)
                self.await_bytes(ahead)
                self.bounds.pop()
                return ahead
            case ir.Line():
                return self.line(node, ahead)
        raise TypeError(f"not a layout node: {node!r}")  # pragma: no cover - all kinds are above

    def key(self, field: ir.Field, ahead: int) -> int:
        node = field.node.sub if isinstance(field.node, ir.Enum) else field.node
        if not isinstance(node, ir.Int) or node.size > WIDE_BYTES:
            raise TypeError(f"{field.name}: a Switch cannot look at a {type(node).__name__}")
        self.await_bytes(ahead + node.size)
        self.scope[field.name] = variable = self.variable()
        self.out(f"{variable} = (int64_t){read_int(node, f'(d + s->v[0] + {ahead})')};")
        return ahead + node.size

    def number(self, node: ir.Int, ahead: int, low: int, high: int) -> str:
        """Emits the reading of a length or count and the check of its bounds; returns it as an expression."""
        self.await_bytes(ahead + node.size)
        if node.size > WIDE_BYTES:
            raise TypeError("a length or count of more than 8 bytes")
        value = read_int(node, f"(d + s->v[0] + {ahead})")
        conditions = [f"(uint64_t){value} > {min(high, 2**62)}ULL"]
        if low > 0:
            conditions.append(f"(uint64_t){value} < {low}ULL")
        self.out(f"if ({' || '.join(conditions)}) return SCAN_BAD;")
        return value

    def length(self, prefix: ir.Int, ahead: int, low: int, high: int) -> int:
        value = self.number(prefix, ahead, low, high)
        self.out(f"s->v[0] += {ahead + prefix.size} + (int64_t){value};")
        return 0

    def array(self, count: ir.Int | int, item: ir.Node, ahead: int) -> int:
        size = ir.static_size(item)
        plain = size is not None and not looks_inside(item)
        left = self.variable()
        if isinstance(count, ir.Int):
            self.out(f"{left} = 0;")
            value = self.number(count, ahead, count.low, count.high)
            self.out(f"{left} = (int64_t){value};")
            ahead += count.size
        else:
            self.out(f"{left} = {count};")
        if plain:
            self.out(f"if ({left} > (INT64_MAX / 4 - s->v[0]) / {size}) return SCAN_BAD;")
            self.out(f"s->v[0] += {ahead} + {left} * {size};")
            return 0
        self.settle(ahead)
        with self.out.block(f"for (; {left} > 0; {left}--)"):
            after = self.visit(item, 0)
            self.await_bytes(after)
            self.settle(after)
        return 0

    def line(self, node: ir.Line, ahead: int) -> int:
        out = self.out
        low, high = node.first
        seen = self.variable()
        self.await_bytes(ahead + 1)
        first = f"d[s->v[0] + {ahead}]"
        out(f"if ({first} < {low} || {first} > {high} || {first} == '\\n') return SCAN_BAD;")
        out(f"s->v[0] += {ahead}; {seen} = s->v[0];")
        self.waits += 1
        out(f"/* fall through */ case {self.waits}:;")
        with out.block(""):
            out(f"const u8 *stop = memchr(d + {seen}, '\\n', (size_t)(n - {seen}));")
            with out.block("if (!stop)"):
                out(f"if (n > s->v[0] + {node.max_bytes}) return SCAN_BAD;")
                out(f"{seen} = n; s->need = n + 1; s->at = {self.waits}; return SCAN_MORE;")
            out(f"if (stop - d > s->v[0] + {node.max_bytes}) return SCAN_BAD;")
            out("s->v[0] = stop - d + 1;")
        return 0
