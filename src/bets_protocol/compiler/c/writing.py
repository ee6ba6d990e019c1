"""Emits `encode` of a frame as C."""

from __future__ import annotations

from typing import Final

from bets_protocol.compiler.c.source import FIXED, WIDE_BYTES, Lines, Texts, c_int, c_string, write_int
from bets_protocol.layout import nodes as ir

_RESERVED_AT_ONCE: Final = 4096
"""A part of at most so many bytes is reserved in one piece: a short record, but not a long array."""


def _largest_written(node: ir.Node) -> int | None:
    """The largest number of bytes that the writing of `node` takes, or None if it is large or not known before."""
    if any(isinstance(part, ir.Bounded) for part in ir.walk(node)):
        return None  # the bound is compared only after the part was written
    largest = ir.size_bounds(node)[1]
    return largest if largest <= _RESERVED_AT_ONCE else None


class Encoding:
    """Emits `encode_<name>`, and `put_frame_<name>`, which appends a message to an output.

    For a small part the room is reserved at once and the part is written through a local pointer, its *cursor*;
    otherwise each field reserves its own.
    """

    def __init__(self, name: str, layout: ir.Node, texts: Texts) -> None:
        self.name, self.layout, self.texts = name, layout, texts
        self.out = Lines()
        self.cursor = ""

    def emit(self) -> str:
        self.put(self.layout, "message")
        return f"""
static int put_frame_{self.name}(const State *state, Output *out, PyObject *message)
{{
    (void)state;
{self.out}
    return 1;
}}

static PyObject *py_encode_{self.name}(PyObject *module, PyObject *message)
{{
    Output out;
    PyObject *result = NULL;
    const State *state = PyModule_GetState(module);
    output_begin(&out);
    int ok = put_frame_{self.name}(state, &out, message);
    if (ok) result = PyBytes_FromStringAndSize((const char *)out.base, out.size);
    output_end(&out);
    return ok ? result : ask_pure(state->pure_encode_{self.name}, message, 1);
}}
"""

    def require(self, condition: str) -> None:
        self.out(f"if (!({condition})) return 0;")

    def reserve(self, size: str) -> None:
        """Emits the making of room for `size` bytes, unless it was reserved for the whole part."""
        if not self.cursor:
            self.require(f"reserve(out, {size})")

    @property
    def here(self) -> str:
        """The address of the next byte."""
        return self.cursor or "(out->base + out->size)"

    def advance(self, size: str) -> None:
        self.out(f"{self.cursor or 'out->size'} += {size};")

    def put_int(self, node: ir.Int, value: str) -> None:
        self.out(f"{write_int(node, self.here, f'(uint64_t){value}')};")
        self.advance(str(node.size))

    def write_raw(self, pointer: str, size: str) -> None:
        self.out(f"memcpy({self.here}, {pointer}, (size_t){size});")
        self.advance(size)

    def put(self, node: ir.Node, access: str) -> None:
        """Emits the writing of the object `access`: a borrowed reference, which may be NULL."""
        largest = _largest_written(node)
        if self.cursor or largest is None:
            self.put_at(node, access)
            return
        out = self.out
        self.require(f"reserve(out, {largest})")
        with out.block(""):
            self.cursor = out.name("w")
            out(f"u8 *{self.cursor} = out->base + out->size;")
            self.put_at(node, access)
            out(f"out->size = {self.cursor} - out->base;")
            self.cursor = ""

    def put_at(self, node: ir.Node, access: str) -> None:
        out = self.out
        match node:
            case ir.Int() | ir.Enum() | ir.Float() | ir.Const():
                self.put_fixed(node, access)
            case ir.Text(prefix=prefix, size=size):
                length, chars = out.name("n"), out.name("t")
                out(f"Py_ssize_t {length} = 0;")
                out(f"const u8 *{chars} = get_text({access}, &{length});")
                self.require(f"{chars} && {self.texts.call(node, chars, length)}")
                self.put_chunk(prefix, size, chars, length)
            case ir.Bytes(prefix=prefix, size=size):
                self.require(f"{access} && PyBytes_Check({access})")
                self.put_chunk(prefix, size, f"PyBytes_AS_STRING({access})", f"PyBytes_GET_SIZE({access})")
            case ir.Region(prefix=prefix, sub=sub):
                low, high = ir.region_bounds(node)
                start, length = out.name("s"), out.name("n")
                self.reserve(str(prefix.size))
                self.advance(str(prefix.size))
                out(f"Py_ssize_t {start} = {self.here} - out->base;")  # an offset, since the output may move
                self.put(sub, access)
                out(f"Py_ssize_t {length} = {self.here} - out->base - {start};")
                self.require(f"{length} >= {low} && {length} <= {min(high, 2**62)}")
                out(f"{write_int(prefix, f'(out->base + {start} - {prefix.size})', f'(uint64_t){length}')};")
            case ir.Array(count=count, item=item):
                self.put_array(count, item, access)
            case ir.Record():
                self.put_record(node, access)
            case ir.Bounded(max_bytes=max_bytes, sub=sub):
                start = out.name("s")
                out(f"Py_ssize_t {start} = out->size;")
                self.put(sub, access)
                self.require(f"out->size - {start} <= {max_bytes}")
            case ir.Line(first=(low, high), max_bytes=max_bytes):
                self.require(f"{access} && PyBytes_Check({access})")
                chars, length = f"PyBytes_AS_STRING({access})", f"PyBytes_GET_SIZE({access})"
                self.require(f"is_line((const u8 *){chars}, {length}, {low}, {high}, {max_bytes})")
                self.put_chunk(None, None, chars, length)
            case _:
                raise TypeError(f"{node!r} cannot be encoded here")

    def put_fixed(self, node: FIXED, access: str) -> None:
        out = self.out
        size = ir.size_bounds(node)[0]
        match node:
            case ir.Const():
                self.reserve(str(size))
                self.write_raw(c_string(node.raw), str(size))
            case ir.Float(little=little):
                self.require(access)
                self.reserve(str(size))
                value = out.name("v")
                out(f"double {value} = PyFloat_AsDouble({access});")
                self.require(f"!({value} == -1.0 && PyErr_Occurred())")
                self.require(f"PyFloat_Pack{size}({value}, (char *){self.here}, {int(little)}) == 0")
                self.advance(str(size))
            case ir.Int() if node.size > WIDE_BYTES:
                self.reserve(str(size))
                self.require(f"put_wide_int({self.here}, {access}, {size}, {int(node.little)}, {int(node.signed)})")
                self.advance(str(size))
            case ir.Int() | ir.Enum():
                sub = node.sub if isinstance(node, ir.Enum) else node
                value = out.name("v")
                wide = sub.size == WIDE_BYTES and not sub.signed
                low, high = c_int(sub.low, sub), c_int(sub.high, sub)
                out(f"{'uint64_t' if wide else 'int64_t'} {value} = 0;")
                self.require(f"{'get_u64' if wide else 'get_int'}({access}, {low}, {high}, &{value})")
                if isinstance(node, ir.Enum):
                    with out.block(f"switch ({value})"):
                        out(" ".join(f"case {number}:" for _, number in node.members) + " break;")
                        out("default: return 0;")
                self.reserve(str(size))
                self.put_int(sub, value)

    def put_chunk(self, prefix: ir.Int | None, size: int | None, pointer: str, length: str) -> None:
        if prefix is not None:
            self.require(f"{length} >= {prefix.low} && {length} <= {min(prefix.high, 2**62)}")
            self.reserve(f"{length} + {prefix.size}")
            self.put_int(prefix, length)
        elif size is not None:
            self.require(f"{length} == {size}")
            length = str(size)
            self.reserve(length)
        else:
            self.reserve(length)
        self.write_raw(pointer, length)

    def put_array(self, count: ir.Int | int, item: ir.Node, access: str) -> None:
        out = self.out
        items, length, index = out.name("a"), out.name("n"), out.name("i")
        self.require(f"{access} && (PyTuple_Check({access}) || PyList_Check({access}))")
        out(f"PyObject **{items} = PySequence_Fast_ITEMS({access});")
        out(f"Py_ssize_t {length} = PySequence_Fast_GET_SIZE({access});")
        if isinstance(count, ir.Int):
            self.require(f"{length} >= {count.low} && {length} <= {min(count.high, 2**62)}")
            self.reserve(str(count.size))
            self.put_int(count, length)
        else:
            self.require(f"{length} == {count}")
        with out.block(f"for (Py_ssize_t {index} = 0; {index} < {length}; {index}++)"):
            self.put(item, f"{items}[{index}]")

    def put_record(self, node: ir.Record, access: str) -> None:
        out = self.out
        record = out.name("r")
        out(f"PyObject *{record} = {access};")
        self.require(f"{record} && Py_IS_TYPE({record}, state->type_{node.name})")
        slots = {field.name: f"state->slots_{node.name}[{index}]" for index, field in enumerate(node.attributes)}
        for field in node.fields:
            if isinstance(field.node, ir.Const):
                self.put(field.node, "")
                continue
            value = out.name("f")
            out(f"PyObject *{value} = get_slot({record}, {slots[field.name]});")
            if isinstance(field.node, ir.Switch):
                key = out.name("k")
                out(f"int64_t {key} = 0;")
                self.require(f"get_int(get_slot({record}, {slots[field.node.field]}), INT64_MIN, INT64_MAX, &{key})")
                with out.block(f"switch ({key})"):
                    for number, case in field.node.cases:
                        with out.block(f"case {number}:"):
                            self.put(case, value)
                            out("break;")
                    out("default: return 0;")
            else:
                self.put(field.node, value)
